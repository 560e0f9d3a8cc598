package api

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"github.com/stavily/stavily/protocol"
)

// The paths of what is carried by hand: package protocol/bundle has the format.
const (
	PathBundles = "/v1/bundles"     // POST a bundle of an agent: BundleImported
	PathBundle  = "/v1/bundles/{x}" // GET ?agent: a bundle for the agents of site x
	PathJoins   = "/v1/joins"       // POST a framed protocol.JoinRequest: a framed protocol.JoinReply
)

// BundleImported is what a bundle of an agent brought.
type BundleImported struct {
	Agent   protocol.Address `json:"agent"`
	Records int64            `json:"records"` // in the bundle
	New     int64            `json:"new"`     // of those, not known before
}

// ExportBundle writes a bundle for a site, or for one agent of it, to out.
func (c *Client) ExportBundle(
	ctx context.Context, site protocol.Site, agent protocol.AgentName, out io.Writer,
) error {
	path := Path(PathBundle, string(site)) + "?agent=" + url.QueryEscape(string(agent))
	body, err := c.open(ctx, http.MethodGet, path, nil)
	if err != nil {
		return err
	}
	defer body.Close()
	if _, err := io.Copy(out, body); err != nil {
		return &Error{Code: protocol.CodeUnavailable, Text: fmt.Sprintf("the bundle broke off: %v", err)}
	}
	return nil
}

// Join gives the request of a device without a line to the hub, and returns the reply that is
// to be carried back.
func (c *Client) Join(ctx context.Context, request io.Reader) (reply protocol.JoinReply, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.base+PathJoins, request)
	if err != nil {
		return reply, &Error{Code: protocol.CodeBadInput, Text: err.Error()}
	}
	body, err := c.send(req)
	if err != nil {
		return reply, err
	}
	defer body.Close()
	if err := protocol.ReadFrame(body, protocol.JoinReplyMax, &reply); err != nil {
		return reply, &Error{Code: protocol.CodeBadMessage, Text: fmt.Sprintf("hub's reply: %v", err)}
	}
	return reply, nil
}

// ImportBundle gives a bundle of an agent to the hub.
func (c *Client) ImportBundle(ctx context.Context, from io.Reader) (out BundleImported, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.base+PathBundles, from)
	if err != nil {
		return out, &Error{Code: protocol.CodeBadInput, Text: err.Error()}
	}
	body, err := c.send(req)
	if err != nil {
		return out, err
	}
	defer body.Close()
	if err := json.NewDecoder(body).Decode(&out); err != nil {
		return out, &Error{Code: protocol.CodeBadMessage, Text: fmt.Sprintf("hub's answer: %v", err)}
	}
	return out, nil
}

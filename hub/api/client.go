package api

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"

	"github.com/stavily/stavily/protocol"
)

// SocketPath returns where the API of the hub at home listens.
func SocketPath(home string) string { return filepath.Join(home, "api.sock") }

// TokenPath returns where the token for the API's TCP address lies.
func TokenPath(home string) string { return filepath.Join(home, "keys", "api.token") }

// Client asks one hub.
type Client struct {
	at    string // for people
	base  string
	token string
	http  *http.Client
}

// OnSocket returns a client for the hub whose socket is at path.
func OnSocket(path string) *Client {
	return Over(path, func(ctx context.Context) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", path)
	})
}

// Over returns a client for the hub that dial connects to; at names it in errors.
func Over(at string, dial func(context.Context) (net.Conn, error)) *Client {
	transport := &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx) },
	}
	return &Client{at: at, base: "http://hub", http: &http.Client{Transport: transport}}
}

// Close ends the connections that nobody uses.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// OnAddress returns a client for the hub at base, such as http://127.0.0.1:8080.
func OnAddress(base, token string) *Client {
	return &Client{at: base, base: strings.TrimSuffix(base, "/"), token: token, http: &http.Client{}}
}

// UnreachableError is the error of a hub that did not answer at all.
type UnreachableError struct {
	At  string
	Err error
}

// Error names where the hub was looked for.
func (e *UnreachableError) Error() string {
	return fmt.Sprintf("hub at %s: not reachable: %v", e.At, e.Err)
}

// Unwrap returns the cause.
func (e *UnreachableError) Unwrap() error { return e.Err }

// Path fills the {x} of one of the paths.
func Path(pattern, x string) string { return strings.Replace(pattern, "{x}", url.PathEscape(x), 1) }

// Do asks and decodes the answer into out, unless that is nil. Errors are *Error or
// *UnreachableError.
func (c *Client) Do(ctx context.Context, method, path string, in, out any) error {
	body, err := c.open(ctx, method, path, in)
	if err != nil {
		return err
	}
	defer body.Close()
	if out == nil {
		return nil
	}
	if err := json.NewDecoder(body).Decode(out); err != nil {
		return &Error{Code: protocol.CodeBadMessage, Text: fmt.Sprintf("hub's answer to %s %s: %v", method, path,
			err)}
	}
	return nil
}

// Publish asks for one version of a plugin and tells each line of progress.
func (c *Client) Publish(ctx context.Context, plugin string, in Publish, tell func(Progress)) error {
	body, err := c.open(ctx, http.MethodPost, Path(PathReleases, plugin), in)
	if err != nil {
		return err
	}
	defer body.Close()
	lines := bufio.NewScanner(body)
	lines.Buffer(nil, protocol.DocumentMax)
	for lines.Scan() {
		var p Progress
		if err := json.Unmarshal(lines.Bytes(), &p); err != nil {
			return &Error{Code: protocol.CodeBadMessage, Text: fmt.Sprintf("hub's progress: %v", err)}
		}
		tell(p)
		switch {
		case p.Error != nil:
			return p.Error
		case p.Release != nil:
			return nil
		}
	}
	return &Error{Code: protocol.CodeUnavailable, Text: "the hub went away while publishing"}
}

func (c *Client) open(ctx context.Context, method, path string, in any) (io.ReadCloser, error) {
	var body io.Reader
	if in != nil {
		text, err := json.Marshal(in)
		if err != nil {
			return nil, &Error{Code: protocol.CodeInternal, Text: err.Error()}
		}
		body = bytes.NewReader(text)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, body)
	if err != nil {
		return nil, &Error{Code: protocol.CodeBadInput, Text: err.Error()}
	}
	return c.send(req)
}

// send sends a request and returns the body of a good answer.
func (c *Client) send(req *http.Request) (io.ReadCloser, error) {
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, &UnreachableError{At: c.at, Err: err}
	}
	if resp.StatusCode < http.StatusBadRequest {
		return resp.Body, nil
	}
	defer resp.Body.Close()
	return nil, failure(resp)
}

func failure(resp *http.Response) error {
	var answer struct {
		Error *Error `json:"error"`
	}
	err := json.NewDecoder(io.LimitReader(resp.Body, protocol.DocumentMax)).Decode(&answer)
	if err != nil || answer.Error == nil {
		return &Error{Code: protocol.CodeInternal, Text: "hub: " + resp.Status}
	}
	return answer.Error
}

package source

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
)

// maxRedirects bounds the redirects of the first request; all of them stay on one origin.
const maxRedirects = 3

const refsQuery = "/info/refs?service=" + uploadPack

// httpRemote is a repository behind https.
type httpRemote struct {
	client *http.Client
	base   string // moves when the first request was redirected within its origin
	cred   Credentials
	lim    Limits
	adv    *packp.AdvRefs
}

func newHTTPRemote(at place, opt Options) (*httpRemote, error) {
	roots, err := opt.Credentials.roots()
	if err != nil {
		return nil, err
	}
	return &httpRemote{
		client: &http.Client{
			Transport: &http.Transport{
				Proxy:              opt.Proxy,
				TLSClientConfig:    &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
				DisableCompression: true,
				ForceAttemptHTTP2:  true,
			},
			CheckRedirect: sameOrigin,
		},
		base: at.base,
		cred: opt.Credentials,
		lim:  opt.Limits,
	}, nil
}

// sameOrigin lets only a GET be redirected, and only within its scheme, host and port: a token must never
// reach a host that the operator did not name.
func sameOrigin(req *http.Request, via []*http.Request) error {
	first := via[0]
	switch {
	case first.Method != http.MethodGet:
		return fmt.Errorf("%w: answer to %s", ErrRedirect, first.Method)
	case req.URL.Scheme != first.URL.Scheme || !strings.EqualFold(req.URL.Host, first.URL.Host):
		return fmt.Errorf("%w: from %q to %q", ErrRedirect, origin(first.URL), origin(req.URL))
	case len(via) > maxRedirects:
		return fmt.Errorf("%w: more than %d in a row", ErrRedirect, maxRedirects)
	}
	return nil
}

func origin(u *url.URL) string { return u.Scheme + "://" + u.Host }

func (h *httpRemote) tags(ctx context.Context) (map[string]plumbing.Hash, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, h.base+refsQuery, nil)
	if err != nil {
		return nil, fmt.Errorf("refs: %w", err)
	}
	res, err := h.do(req, "application/x-"+uploadPack+"-advertisement")
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	last := *res.Request.URL
	last.User = nil
	base, ok := strings.CutSuffix(last.String(), refsQuery)
	if !ok {
		return nil, fmt.Errorf("%w: to another service", ErrRedirect)
	}
	h.base = base
	if h.adv, err = readRefs(res.Body, h.lim); err != nil {
		return nil, err
	}
	return tagsOf(h.adv), nil
}

func (h *httpRemote) fetch(ctx context.Context, id plumbing.Hash) (objects, error) {
	want, err := packRequest(h.adv, id)
	if err != nil {
		return nil, err
	}
	body, err := encodeRequest(want)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, h.base+"/"+uploadPack, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("pack: %w", err)
	}
	req.Header.Set("Content-Type", "application/x-"+uploadPack+"-request")
	res, err := h.do(req, "application/x-"+uploadPack+"-result")
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	return readAnswer(res.Body, want, h.lim)
}

// do sends one request and returns an answer of the wanted type, its body still open.
func (h *httpRemote) do(req *http.Request, accept string) (*http.Response, error) {
	req.Header.Set("Accept", accept)
	req.Header.Set("User-Agent", "git/stavily")
	if h.cred.Token != "" {
		user := h.cred.User
		if user == "" {
			user = "git"
		}
		req.SetBasicAuth(user, h.cred.Token)
	}
	res, err := h.client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("https: %w", err)
	}
	if err := judge(res, accept); err != nil {
		_ = res.Body.Close()
		return nil, err
	}
	return res, nil
}

func judge(res *http.Response, accept string) error {
	switch res.StatusCode {
	case http.StatusOK:
	case http.StatusUnauthorized, http.StatusForbidden:
		return fmt.Errorf("https: status %d: %w", res.StatusCode, ErrAuth)
	case http.StatusNotFound, http.StatusGone:
		return fmt.Errorf("https: status %d: repository: %w", res.StatusCode, ErrNotFound)
	default:
		said, _ := io.ReadAll(io.LimitReader(res.Body, 200))
		return fmt.Errorf("https: status %d: remote says %q", res.StatusCode, clip(string(said)))
	}
	if got := res.Header.Get("Content-Type"); got != accept {
		return fmt.Errorf("https: content type %q: want %q", clip(got), accept)
	}
	return nil
}

func (h *httpRemote) close() { h.client.CloseIdleConnections() }

var _ repository = (*httpRemote)(nil)

package wasmhost

import (
	"bytes"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"github.com/stavily/stavily/protocol"
)

// Secrets is where a host finds the values of secrets. It is called from many goroutines.
type Secrets interface {
	// Secret returns the value of a secret that is on this device now. It must not be changed.
	Secret(name protocol.SecretName) (value []byte, found bool)
}

const (
	// handlesMax bounds the secrets of one http.request.
	handlesMax = 8
	// hideMin is the shortest value that is looked for in what comes back: shorter ones
	// stand everywhere by chance.
	hideMin = 4
)

// callSecret tells the plugin the value of a secret: only for a scope that is the bare name.
func callSecret(r *request, args protocol.Raw) (any, error) {
	var in struct {
		Name protocol.SecretName `cbor:"name"`
	}
	if err := readArgs(args, &in); err != nil {
		return nil, err
	}
	if err := in.Name.Check(); err != nil {
		return nil, protocol.Errorf(protocol.CodeBadInput, "secret.use: %w", err)
	}
	grants, _ := r.p.use("", "")
	scopes, _ := grants.Scopes(protocol.CapSecret)
	if !slices.Contains(scopes, string(in.Name)) {
		return nil, r.refuse(protocol.CapSecret, string(in.Name))
	}
	value, err := r.p.host.secret(in.Name)
	if err != nil {
		return nil, err
	}
	r.p.log.hide(in.Name, value)
	out := map[string]any{}
	field{"value", false, bytesRoom}.put(out, value)
	return out, nil
}

// secret returns the value of a secret. The error has CodeUnavailable, which is worth
// another try: the secret may be on its way.
func (h *Host) secret(name protocol.SecretName) ([]byte, error) {
	if h.cfg.Secrets == nil {
		return nil, protocol.Errorf(protocol.CodeUnavailable, "secret %q: this host keeps no secrets", name)
	}
	value, found := h.cfg.Secrets.Secret(name)
	if !found {
		return nil, protocol.Errorf(protocol.CodeUnavailable, "secret %q: not on this device, or not yet", name)
	}
	return value, nil
}

// handle is a secret in an http.request: "${name}" stands for its value, which the plugin
// does not learn.
type handle struct {
	name  protocol.SecretName
	value string
}

func (h handle) text() string { return "${" + string(h.name) + "}" }

// handles are those of one request.
type handles []handle

// handlesFor returns the secrets that a request names, each use counted. A scope
// "name@host:port" opens a secret for that destination, a bare name for every one that
// http.request may reach.
func (r *request) handlesFor(names []protocol.SecretName, t *target) (handles, error) {
	if len(names) > handlesMax {
		return nil, protocol.Errorf(protocol.CodeLimit, "http.request: %d secrets, limit %d",
			len(names), handlesMax)
	}
	var out handles
	for _, name := range names {
		if err := name.Check(); err != nil {
			return nil, protocol.Errorf(protocol.CodeBadInput, "http.request: %w", err)
		}
		grants, granted := r.p.use(protocol.CapSecret, string(name)+" for "+t.String())
		scopes, _ := grants.Scopes(protocol.CapSecret)
		switch {
		case !granted:
			r.denied++
			return nil, protocol.Errorf(protocol.CodeDenied, "http.request: secret %q: capability %s is not granted",
				name, protocol.CapSecret)
		case !secretMayGo(scopes, name, t):
			return nil, r.refuse(protocol.CapSecret, string(name)+"@"+t.String())
		}
		value, err := r.p.host.secret(name)
		if err != nil {
			return nil, protocol.Errorf(protocol.CodeOf(err), "http.request: %w", err)
		}
		out = append(out, handle{name, string(value)})
	}
	return out, nil
}

// secretMayGo reports whether scopes let a secret go to a destination.
func secretMayGo(scopes []string, name protocol.SecretName, t *target) bool {
	return slices.ContainsFunc(scopes, func(scope string) bool {
		of, to, err := protocol.ParseSecretScope(scope)
		if err != nil || of != name {
			return false
		}
		if to == "" {
			return true
		}
		may := parseRules([]string{to}, true)
		if a, err := netip.ParseAddr(t.host); err == nil {
			return may.reaches(a, t.port, false)
		}
		return may.named(t.host, t.port)
	})
}

// put puts the values into the headers and into path and query of the URL, never into its
// host. The error has CodeBadInput for a value that a header cannot hold.
func (hs handles) put(req *http.Request) error {
	for _, h := range hs {
		for _, values := range req.Header {
			for i := range values {
				if !strings.Contains(values[i], h.text()) {
					continue
				}
				if strings.ContainsFunc(h.value, notInHeader) {
					return protocol.Errorf(protocol.CodeBadInput, "secret %q: a control character in it, which no "+
						"header may have", h.name)
				}
				values[i] = strings.ReplaceAll(values[i], h.text(), h.value)
			}
		}
		u := req.URL
		if u.RawPath != "" {
			escaped := (&url.URL{Path: h.value}).EscapedPath()
			u.RawPath = strings.ReplaceAll(u.RawPath, h.text(), escaped)
		}
		u.Path = strings.ReplaceAll(u.Path, h.text(), h.value)
		u.RawQuery = strings.ReplaceAll(u.RawQuery, h.text(), url.QueryEscape(h.value))
	}
	return nil
}

func notInHeader(c rune) bool { return c < ' ' && c != '\t' || c == 0x7f }

// guardLine refuses to say a secret in the clear to the internet: without TLS it goes only
// to addresses of this machine or its own networks.
func (r *request) guardLine(hs handles, s *socket) error {
	_, near := special(s.addr.Addr().Unmap())
	if len(hs) == 0 || s.target.tls || near {
		return nil
	}
	_ = r.refuse(protocol.CapSecret, string(hs[0].name)+"@"+s.target.String()) // counted; the error says more
	return protocol.Errorf(protocol.CodeDenied, "http.request: secret %q: to %s only by https",
		hs[0].name, &s.target)
}

// longest is how many bytes more than wanted must be looked at, so that no value is cut in
// two before it is looked for.
func (hs handles) longest() (n int64) {
	for _, h := range hs {
		n = max(n, 3*int64(len(h.value))) // as a URL may write it
	}
	return n
}

// hide replaces the values in what the other side said back.
func (hs handles) hide(b []byte) []byte {
	for _, h := range hs {
		b = hidden(b, h.name, h.value)
	}
	return b
}

// hidden replaces a value in b, also where a URL wrote it, by the secret's name.
func hidden(b []byte, name protocol.SecretName, value string) []byte {
	if len(value) < hideMin {
		return b
	}
	instead := []byte("<secret " + string(name) + ">")
	asPath := &url.URL{Path: value}
	for _, form := range []string{value, url.QueryEscape(value), url.PathEscape(value), asPath.EscapedPath()} {
		b = bytes.ReplaceAll(b, []byte(form), instead)
	}
	return b
}

// veil is a secret that a plugin was told: its log lines do not repeat it.
type veil struct {
	name  protocol.SecretName
	value string
}

// hide keeps a value out of the plugin's log lines from now on.
func (l *lineWriter) hide(name protocol.SecretName, value []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	v := veil{name, string(value)}
	if slices.Contains(l.veils, v) {
		return
	}
	if len(l.veils) == protocol.SecretsMax { // of values that were replaced since
		l.veils = slices.Delete(l.veils, 0, 1)
	}
	l.veils = append(l.veils, v)
}

// hidden returns text without the values that the plugin was told. l.mu is held.
func (l *lineWriter) hidden(text string) string {
	for _, v := range l.veils {
		text = string(hidden([]byte(text), v.name, v.value))
	}
	return text
}

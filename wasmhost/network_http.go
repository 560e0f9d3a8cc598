package wasmhost

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/stavily/stavily/protocol"
)

// The bounds of http.request.
const (
	httpBodyDefault = 64 << 10 // bytes of the answer's body
	httpBodyMax     = 80 << 10 // in base64 beside the largest head it fits a message
	httpHeadMax     = 16 << 10 // bytes of the answer's first lines
	httpHeadersMax  = 64       // headers of a request
	httpURLMax      = 8 << 10
	httpInterimMax  = 5 // answers 1xx before the one that counts
	httpAgent       = "stavily"
)

var httpMethods = []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}

// httpReserved are the headers that belong to the connection, which is the host's.
var httpReserved = []string{
	"connection", "content-length", "expect", "host", "http2-settings", "keep-alive", "te", "trailer",
	"transfer-encoding", "upgrade",
}

type httpArgs struct {
	Method  string            `cbor:"method"`
	URL     string            `cbor:"url"`
	Headers map[string]string `cbor:"headers"`
	// Secrets are the names for which "${name}" in headers, path and query is replaced.
	Secrets   []protocol.SecretName `cbor:"secrets"`
	Body      *string               `cbor:"body"`
	Body64    *string               `cbor:"body_base64"`
	Max       int64                 `cbor:"max"`
	Base64    bool                  `cbor:"base64"`
	TimeoutMS int64                 `cbor:"timeout_ms"`

	handles handles
}

// callHTTP makes one request on a connection of its own: HTTP/1.1, no proxy, no cookies,
// no redirect followed. It is spoken here and not by http.Transport so that the address
// that was checked is the one that is dialled, every byte is counted, and nothing is
// kept for the next plugin.
func callHTTP(r *request, args protocol.Raw) (any, error) {
	var in httpArgs
	if err := readArgs(args, &in); err != nil {
		return nil, err
	}
	req, t, err := in.request()
	if err != nil {
		return nil, err
	}
	if in.handles, err = r.handlesFor(in.Secrets, t); err != nil {
		return nil, err
	}
	if err := in.handles.put(req); err != nil {
		return nil, err
	}
	began := r.p.host.cfg.Clock()
	ctx, cancel, limit := r.within(in.TimeoutMS)
	defer cancel()
	s, err := r.dial(ctx, t, limit)
	if err != nil {
		return nil, err
	}
	defer s.abort()
	defer context.AfterFunc(ctx, s.abort)()
	if err := r.guardLine(in.handles, s); err != nil {
		return nil, err
	}
	out, err := in.exchange(s, req)
	if err != nil {
		return nil, r.fault(ctx, s, "http.request", err)
	}
	out["took_ms"] = r.p.host.cfg.Clock().Sub(began).Milliseconds()
	return out, nil
}

// request makes the request, and the target that it goes to.
func (in *httpArgs) request() (*http.Request, *target, error) {
	if in.Method == "" {
		in.Method = http.MethodGet
	}
	if !slices.Contains(httpMethods, in.Method) {
		return nil, nil, protocol.Errorf(protocol.CodeBadInput, "method %q: want one of %s",
			clip(in.Method, 32), strings.Join(httpMethods, ", "))
	}
	u, t, err := in.url()
	if err != nil {
		return nil, nil, err
	}
	header, err := in.header()
	if err != nil {
		return nil, nil, err
	}
	body, err := bytesOf("body", in.Body, in.Body64)
	if err != nil {
		return nil, nil, err
	}
	if in.Max <= 0 {
		in.Max = httpBodyDefault
	}
	in.Max = min(in.Max, httpBodyMax)
	req := &http.Request{
		Method: in.Method, URL: u, Header: header, Host: u.Host, Close: true, Body: http.NoBody,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
	}
	if len(body) > 0 {
		req.Body, req.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	}
	return req, t, nil
}

// url reads the URL, and says it again with the host in the form that was checked.
func (in *httpArgs) url() (*url.URL, *target, error) {
	wrong := func(what string) (*url.URL, *target, error) {
		return nil, nil, protocol.Errorf(protocol.CodeBadInput, "url %q: want %s", clip(in.URL, 64), what)
	}
	for i := range len(in.URL) {
		if c := in.URL[i]; c <= ' ' || c >= 0x7f {
			return wrong("ASCII without spaces")
		}
	}
	u, err := url.Parse(in.URL)
	switch {
	case len(in.URL) > httpURLMax:
		return wrong("fewer bytes")
	case err != nil || u.Opaque != "" || u.Host == "":
		return wrong("http://host/path or https://host/path")
	case u.Scheme != "http" && u.Scheme != "https":
		return wrong("http or https")
	case u.User != nil:
		return wrong("no user: there is the header authorization")
	}
	t := &target{capability: protocol.CapHTTP, port: 80}
	if u.Scheme == "https" {
		t.port, t.tls, t.protocol = 443, true, "http/1.1"
	}
	usual := t.port
	if text := u.Port(); text != "" || strings.HasSuffix(u.Host, ":") {
		var ok bool
		if t.port, ok = portOf(text); !ok {
			return wrong("a port from 1 to 65535")
		}
	}
	if t.host, err = hostOf(u.Hostname()); err != nil {
		return nil, nil, err
	}
	u.Host = t.String()
	if t.port == usual {
		u.Host = strings.TrimSuffix(u.Host, u.Host[strings.LastIndexByte(u.Host, ':'):])
	}
	u.Fragment, u.RawFragment = "", ""
	return u, t, nil
}

// header checks the request's headers.
func (in *httpArgs) header() (http.Header, error) {
	out := http.Header{"User-Agent": {httpAgent}}
	if len(in.Headers) > httpHeadersMax {
		return nil, protocol.Errorf(protocol.CodeLimit, "headers: %d, limit %d", len(in.Headers), httpHeadersMax)
	}
	seen := map[string]bool{}
	for _, name := range slices.Sorted(maps.Keys(in.Headers)) {
		value, lower := in.Headers[name], strings.ToLower(name)
		switch {
		case !isToken(name) || seen[lower]:
			return nil, protocol.Errorf(protocol.CodeBadInput, "header %q: no name, or stands twice", clip(name, 64))
		case slices.Contains(httpReserved, lower) || strings.HasPrefix(lower, "proxy-"):
			return nil, protocol.Errorf(protocol.CodeBadInput, "header %q: is the host's to say", name)
		case strings.ContainsFunc(value, func(c rune) bool { return c < ' ' && c != '\t' || c == 0x7f }):
			return nil, protocol.Errorf(protocol.CodeBadInput, "header %q: value with a control character", name)
		}
		seen[lower] = true
		out.Set(name, value)
	}
	return out, nil
}

// isToken reports whether name is a token of RFC 9110.
func isToken(name string) bool {
	const others = "!#$%&'*+-.^_`|~"
	return name != "" && !strings.ContainsFunc(name, func(c rune) bool {
		return (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') &&
			!strings.ContainsRune(others, c)
	})
}

// exchange sends the request and reads the answer.
func (in *httpArgs) exchange(s *socket, req *http.Request) (map[string]any, error) {
	if err := sayHTTP(s.conn, req); err != nil {
		return nil, err
	}
	head := &io.LimitedReader{R: s.conn, N: httpHeadMax}
	resp, err := readHeads(bufio.NewReader(head), req) //nolint:bodyclose // it ends with the socket
	if err != nil {
		if head.N <= 0 {
			err = protocol.Errorf(protocol.CodeLimit, "http.request: answer's head over %d bytes", httpHeadMax)
		}
		return nil, err
	}
	head.N = 1 << 62 // from here the body's own bound holds
	body, err := io.ReadAll(io.LimitReader(resp.Body, in.Max+1+in.handles.longest()))
	if err != nil {
		return nil, err
	}
	body = in.handles.hide(body)
	truncated := int64(len(body)) > in.Max
	if truncated {
		body = whole(body[:in.Max])
	}
	headers, size := headersOf(resp.Header, in.handles)
	out := map[string]any{"status": resp.StatusCode, "headers": headers}
	cut := field{"body", in.Base64, bytesRoom - size}.put(out, body)
	out["truncated"] = truncated || cut
	return out, nil
}

// sayHTTP says req. http.Request's own Write would link 100 kB of what is never needed
// here: chunks, trailers, traces and host names beyond ASCII, which hostOf has refused.
func sayHTTP(to io.Writer, req *http.Request) error {
	uri := req.URL.RequestURI()
	if strings.ContainsFunc(uri, notInHeader) {
		return protocol.Errorf(protocol.CodeBadInput, "url: a control character in it")
	}
	out := bufio.NewWriter(to)
	first := []string{req.Method, " ", uri, " HTTP/1.1\r\nHost: ", req.Host, "\r\nConnection: close\r\n"}
	for _, part := range first {
		_, _ = out.WriteString(part) // Flush has the error
	}
	if req.ContentLength > 0 || slices.Contains([]string{"POST", "PUT", "PATCH"}, req.Method) {
		_, _ = out.WriteString("Content-Length: " + strconv.FormatInt(req.ContentLength, 10) + "\r\n")
	}
	for _, name := range slices.Sorted(maps.Keys(req.Header)) {
		_, _ = out.WriteString(name + ": " + strings.TrimSpace(req.Header.Get(name)) + "\r\n")
	}
	_, _ = out.WriteString("\r\n")
	if _, err := io.Copy(out, req.Body); err != nil {
		return err
	}
	return out.Flush()
}

// readHeads reads the head of the answer, after those that only say that it will come.
func readHeads(from *bufio.Reader, req *http.Request) (*http.Response, error) {
	for range httpInterimMax {
		resp, err := http.ReadResponse(from, req)
		if err != nil || resp.StatusCode >= 200 {
			return resp, err
		}
		_ = resp.Body.Close()
	}
	return nil, protocol.Errorf(protocol.CodeUnavailable, "http.request: no answer but 1xx")
}

// headersOf returns headers by name in lower case. Values of one name are joined by a
// comma, as RFC 9110 allows, and those of set-cookie by a line feed, for they hold
// commas. size is what all need in a line of JSON.
func headersOf(h http.Header, hide handles) (out map[string]string, size int) {
	out = make(map[string]string, len(h))
	for name, values := range h {
		lower, between := strings.ToLower(string(hide.hide([]byte(name)))), ", "
		if lower == "set-cookie" {
			between = "\n"
		}
		lower = strings.ToValidUTF8(lower, "?")
		out[lower] = strings.ToValidUTF8(string(hide.hide([]byte(strings.Join(values, between)))), "?")
		size += jsonSize(lower) + jsonSize(out[lower]) + len(":,")
	}
	return out, size
}

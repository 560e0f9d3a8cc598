package wasmhost

import (
	"bufio"
	"context"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stavily/stavily/protocol"
)

// site is a real server on loopback which is 8.8.8.8 on the internet of the test, and
// called www.example.com there.
func site(t *testing.T, n *internet, handler http.Handler) *x509.CertPool {
	t.Helper()
	plain, secure := httptest.NewServer(handler), httptest.NewUnstartedServer(handler)
	secure.Config.ErrorLog = log.New(io.Discard, "", 0)
	secure.EnableHTTP2 = true
	secure.StartTLS() // its certificate is for example.com, *.example.com and 127.0.0.1
	t.Cleanup(plain.Close)
	t.Cleanup(secure.Close)
	for _, name := range []string{"www.example.com", "example.com", "other.test"} {
		n.name(name, "8.8.8.8")
	}
	n.hosts["8.8.8.8:80"], n.hosts["8.8.8.8:443"] = plain.Listener.Addr().String(), secure.Listener.Addr().String()
	n.hosts["8.8.8.8:8080"] = n.hosts["8.8.8.8:80"]
	roots := x509.NewCertPool()
	roots.AddCert(secure.Certificate())
	return roots
}

// handler answers what the tests ask for by path.
func handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/echo", func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Header().Add("X-Many", "a")
		w.Header().Add("X-Many", "b")
		w.Header().Add("Set-Cookie", "a=1")
		w.Header().Add("Set-Cookie", "b=2")
		fmt.Fprintf(w, "%s %s %s %s|%s|%s|%q", r.Method, r.Host, r.URL.RequestURI(), r.Proto, r.Header.Get("X-Own"),
			r.Header.Get("User-Agent"), body)
		if c := r.Header.Get("Cookie"); c != "" {
			fmt.Fprint(w, " cookie ", c)
		}
	})
	mux.HandleFunc("/binary", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte{0xff, 0, 1}) })
	mux.HandleFunc("/redirect", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "http://169.254.169.254/latest", http.StatusFound)
	})
	mux.HandleFunc("/big", func(w http.ResponseWriter, _ *http.Request) { // in chunks, without a length
		for range 100 {
			_, _ = io.WriteString(w, strings.Repeat("ü", 1024))
		}
	})
	mux.HandleFunc("/escapes", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Long", strings.Repeat(`"`, 8000))
		_, _ = io.WriteString(w, strings.Repeat("\x01", 200<<10))
	})
	mux.HandleFunc("/head", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Long", strings.Repeat("x", httpHeadMax))
	})
	mux.HandleFunc("/early", func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusEarlyHints)
		w.WriteHeader(http.StatusTeapot)
	})
	mux.HandleFunc("/hang", func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusOK)
		_, _ = io.WriteString(w, "begun")
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	})
	return mux
}

func browser(t *testing.T, n *internet, roots *x509.CertPool) *Plugin {
	t.Helper()
	return load(t, newHost(t, Config{Network: NetworkConfig{Network: n, Roots: roots}}), networked(t,
		"http.request:*.example.com:*", "http.request:other.test:443", "http.request:8.8.8.8:8080"))
}

// TestHTTP makes real requests over TCP and TLS.
func TestHTTP(t *testing.T) {
	t.Setenv("HTTP_PROXY", "http://127.0.0.1:1")
	t.Setenv("HTTPS_PROXY", "http://127.0.0.1:1")
	n := newInternet()
	p := browser(t, n, site(t, n, handler()))
	for _, c := range []struct{ args, status, body string }{
		{`{"url":"http://www.example.com/echo"}`, "200", `GET www.example.com /echo HTTP/1.1||stavily|""`},
		{
			`{"url":"https://WWW.Example.com./echo?a=b%20c#part"}`, "200",
			`GET www.example.com /echo?a=b%20c HTTP/1.1||stavily|""`,
		},
		{
			`{"url":"https://www.example.com:443/echo","method":"PUT","headers":{"x-own":"ü","user-agent":"me"},"body":"in"}`,
			"200", `PUT www.example.com /echo HTTP/1.1|ü|me|"in"`,
		},
		{
			`{"url":"http://8.8.8.8:8080/echo","method":"POST","body_base64":"/wA="}`, "200",
			`POST 8.8.8.8:8080 /echo HTTP/1.1||stavily|"\xff\x00"`,
		},
		{`{"url":"http://www.example.com/echo","method":"HEAD"}`, "200", ""},
		{`{"url":"http://www.example.com/binary"}`, "200", "base64:/wAB"},
		{
			`{"url":"http://www.example.com/echo","base64":true,"max":3}`, "200",
			"base64:" + base64.StdEncoding.EncodeToString([]byte("GET")),
		},
		{`{"url":"http://www.example.com/none"}`, "404", "404 page not found\n"},
		{`{"url":"http://www.example.com/early"}`, "418", ""},
	} {
		got, _ := calls(t, p, "http.request "+c.args)
		body, isText := got[0].OK["body"].(string)
		if !isText {
			body = fmt.Sprint("base64:", got[0].OK["body_base64"])
		}
		if got[0].code() != "ok" || fmt.Sprint(got[0].OK["status"]) != c.status || body != c.body {
			t.Errorf("%s: got %v %+v, want %s %s", c.args, got[0].OK, got[0].Error, c.status, c.body)
		}
	}
	got, _ := calls(t, p, `http.request {"url":"http://www.example.com/echo"}`, `http.request {"url":"http://www.example.com/echo"}`)
	headers, _ := got[0].OK["headers"].(map[string]any)
	if headers["x-many"] != "a, b" || headers["set-cookie"] != "a=1\nb=2" || got[0].OK["truncated"] != false {
		t.Errorf("got %v", got[0].OK)
	}
	if body, _ := got[1].OK["body"].(string); strings.Contains(body, "cookie") {
		t.Errorf("a cookie came back: %s", body)
	}
}

// TestHTTPRedirects: a redirect goes back to the plugin, whose next request is judged as
// any other.
func TestHTTPRedirects(t *testing.T) {
	n := newInternet()
	p := browser(t, n, site(t, n, handler()))
	got, _ := calls(t, p, `http.request {"url":"http://www.example.com/redirect"}`,
		`http.request {"url":"http://169.254.169.254/latest"}`)
	headers, _ := got[0].OK["headers"].(map[string]any)
	if got[0].OK["status"] != 302.0 || headers["location"] != "http://169.254.169.254/latest" {
		t.Errorf("got %v %+v", got[0].OK, got[0].Error)
	}
	if _, dialled := n.asked(); dialled != "8.8.8.8:80" || got[1].code() != "denied" {
		t.Errorf("dialled %q, then %s", dialled, got[1].code())
	}
}

// TestHTTPBounds: the answer is cut so that it fits a message, whatever it holds.
func TestHTTPBounds(t *testing.T) {
	n := newInternet()
	p := browser(t, n, site(t, n, handler()))
	got, _ := calls(t, p, `http.request {"url":"http://www.example.com/big","max":1001}`)
	if body, _ := got[0].OK["body"].(string); body != strings.Repeat("ü", 500) || got[0].OK["truncated"] != true {
		t.Errorf("%d bytes, truncated %v %+v", len(body), got[0].OK["truncated"], got[0].Error)
	}
	// One reply fills a message of its own: ask the host, not the guest's answer.
	for _, c := range []struct {
		args httpArgs
		code string
		size int
	}{
		{httpArgs{URL: "http://www.example.com/big"}, "ok", httpBodyDefault},
		{httpArgs{URL: "http://www.example.com/big", Max: 1 << 40}, "ok", httpBodyMax},
		{httpArgs{URL: "http://www.example.com/big", Max: 1 << 40, Base64: true}, "ok", httpBodyMax},
		{httpArgs{URL: "http://www.example.com/escapes", Max: 1 << 40}, "ok", httpBodyMax},
		{httpArgs{URL: "http://www.example.com/head"}, "limit", 0},
	} {
		raw, err := direct(t, p, "http.request", map[string]any{"url": c.args.URL, "max": c.args.Max, "base64": c.args.Base64})
		if protocol.CodeOf(err).String() != c.code {
			t.Errorf("%+v: %v, want %s", c.args, err, c.code)
			continue
		}
		var out struct {
			Body   string `cbor:"body"`
			Body64 string `cbor:"body_base64"`
		}
		if err != nil {
			continue
		}
		must(t, protocol.Unmarshal(raw, &out))
		b, err := base64.StdEncoding.DecodeString(out.Body64)
		if got := len(out.Body) + len(b); err != nil || got != c.size {
			t.Errorf("%+v: %d bytes, want %d, %v", c.args, got, c.size, err)
		}
		if n := len(toJSON(nil, raw)); n > protocol.MessageMax-64 {
			t.Errorf("%+v: the reply has %d bytes as JSON", c.args, n)
		}
	}
}

// direct makes one host call without a guest.
func direct(t *testing.T, p *Plugin, name string, args any) (protocol.Raw, error) {
	t.Helper()
	raw, err := protocol.Marshal(args)
	must(t, err)
	r := &request{p: p, in: p.live, ctx: context.Background(), limit: 10 * time.Second}
	defer r.close()
	return r.call(name, raw)
}

// TestHTTPRefuses what is no request that a plugin may make.
func TestHTTPRefuses(t *testing.T) {
	n := newInternet()
	p := browser(t, n, site(t, n, handler()))
	list := []string{
		`{}`, `{"url":""}`, `{"url":"/echo"}`, `{"url":"www.example.com/echo"}`, `{"url":"file:///etc/passwd"}`,
		`{"url":"ftp://www.example.com/"}`, `{"url":"http:www.example.com"}`, `{"url":"http://"}`, `{"url":"http://:80/"}`,
		`{"url":"http://user:pw@www.example.com/"}`, `{"url":"http://www.example.com:0/"}`, `{"url":"http://www.example.com:/"}`,
		`{"url":"http://www.example.com:99999/"}`, `{"url":"http://www.example.com/a b"}`, `{"url":"http://www.example.com/?a b"}`,
		`{"url":"http://www.example.com/\r\nx: y"}`, `{"url":"http://bücher.example.com/"}`, `{"url":"http://a..example.com/"}`,
		`{"url":"http://www.example.com/` + strings.Repeat("a", httpURLMax) + `"}`,
		`{"url":"http://www.example.com/","method":"CONNECT"}`, `{"url":"http://www.example.com/","method":"get"}`,
		`{"url":"http://www.example.com/","method":"GET / HTTP/1.1\r\nx: y\r\n\r\n"}`,
		`{"url":"http://www.example.com/","body":"a","body_base64":"YQ=="}`, `{"url":"http://www.example.com/","body_base64":"!"}`,
	}
	for _, header := range []string{
		"host", "Host", "CONNECTION", "keep-alive", "te", "Trailer", "transfer-encoding", "Upgrade", "Proxy-Authorization",
		"proxy-connection", "content-length", "expect", "", "a b", "a:b", "a\\r\\nb", "\u212A",
	} {
		list = append(list, `{"url":"http://www.example.com/","headers":{"`+header+`":"x"}}`)
	}
	for _, value := range []string{"a\\r\\nb: c", "a\\nb", "a\\u0000", "\\u007f"} {
		list = append(list, `{"url":"http://www.example.com/","headers":{"x":"`+value+`"}}`)
	}
	list = append(list, `{"url":"http://www.example.com/","headers":{"x":"1","X":"2"}}`)
	for _, args := range list {
		got, _ := calls(t, p, "http.request "+args)
		if resolved, dialled := n.asked(); got[0].code() != "bad-input" || resolved+dialled != "" {
			t.Errorf("%s: %v %+v, dialled %q", clip(args, 120), got[0].OK, got[0].Error, dialled)
		}
	}
}

// TestHTTPFails: TLS that does not verify, servers that say nothing or nonsense.
func TestHTTPFails(t *testing.T) {
	n := newInternet()
	roots := site(t, n, handler())
	n.hosts["8.8.4.4:80"] = "silence"
	n.hosts["8.8.4.4:81"] = listen(t, func(c net.Conn) { _, _ = io.Copy(io.Discard, c) })
	for at, said := range map[string]string{
		"8.8.4.4:82": "SSH-2.0-x\r\n",
		"8.8.4.4:83": "",
		"8.8.4.4:84": strings.Repeat("HTTP/1.1 100 Continue\r\n\r\n", 50),
		"8.8.4.4:85": "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort",
	} {
		n.hosts[at] = listen(t, func(c net.Conn) {
			_, _ = http.ReadRequest(bufio.NewReader(c)) // or the end would be a reset
			_, _ = io.WriteString(c, said)
		})
	}
	n.name("bad.example.com", "8.8.4.4")
	p := browser(t, n, roots)
	for _, c := range []struct{ url, code, text string }{
		{"https://other.test/echo", "unavailable", "certificate is valid for"},
		{"http://bad.example.com/", "deadline", "no answer in time"},
		{"http://bad.example.com:81/", "deadline", "no answer in time"},
		{"http://bad.example.com:82/", "unavailable", "malformed HTTP"},
		{"http://bad.example.com:83/", "unavailable", "EOF"},
		{"http://bad.example.com:84/", "unavailable", "1xx"},
		{"http://bad.example.com:85/", "unavailable", "unexpected EOF"},
		{"http://bad.example.com:86/", "unavailable", "no route"},
		{"http://www.example.com/hang", "deadline", "no answer in time"},
		{"https://www.example.com/hang", "deadline", "no answer in time"},
		{"https://www.example.com:80/echo", "unavailable", "TLS"},
	} {
		args := fmt.Sprintf(`http.request {"url":%q,"timeout_ms":300}`, c.url)
		if !strings.Contains("deadline", c.code) {
			args = fmt.Sprintf(`http.request {"url":%q}`, c.url)
		}
		if got, _ := calls(t, p, args); got[0].code() != c.code || !strings.Contains(got[0].Error.Text, c.text) {
			t.Errorf("%s: %+v, want %s: %s", c.url, got[0].Error, c.code, c.text)
		}
	}
	unknown := browser(t, n, nil)
	got, _ := calls(t, unknown, `http.request {"url":"https://www.example.com/echo"}`)
	if got[0].code() != "unavailable" || !strings.Contains(got[0].Error.Text, "certificate") {
		t.Errorf("a certificate of nobody: %+v", got[0])
	}
	r := work(t, `{"calls":[{"name":"http.request","args":{"url":"http://bad.example.com/"}}]}`)
	r.TimeoutMS = 300
	began := time.Now()
	if a := p.Call(context.Background(), r); protocol.CodeOf(asError(a)) != protocol.CodeDeadline ||
		time.Since(began) > 5*time.Second {
		t.Errorf("the request's own deadline: %v after %v", a.Error, time.Since(began))
	}
}

// FuzzHTTPTarget: the URL that is sent says the host and the port that were checked.
func FuzzHTTPTarget(f *testing.F) {
	for _, text := range []string{"http://a.test/b?c#d", "https://[::1]:8/", "http://a@b/", "http://a.test:80\\@b/", "HTTP://A."} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		in := httpArgs{URL: text}
		req, to, err := in.request()
		if err != nil {
			return
		}
		again, err := url.Parse(req.URL.String())
		if err != nil || again.Hostname() != to.host || again.User != nil || req.Host != again.Host {
			t.Fatalf("%q: target %s, sent to %v, %v", text, to, again, err)
		}
		var wire strings.Builder
		if err := req.Write(&wire); err != nil {
			return
		}
		if head, _, _ := strings.Cut(wire.String(), "\r\n"); strings.Count(head, " ") != 2 {
			t.Fatalf("%q: request line %q", text, head)
		}
	})
}

package wasmhost

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/stavily/stavily/protocol"
)

// drawer holds secrets by name.
type drawer map[protocol.SecretName]string

func (d drawer) Secret(name protocol.SecretName) ([]byte, bool) {
	value, found := d[name]
	return []byte(value), found
}

// secretValue is looked for wherever it must not be.
const secretValue = "hunter2/se cret+value"

// echo says back all that it was told.
func echo(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("X-Back", r.Header.Get("Authorization"))
	w.Header().Set("Location", "https://www.example.com"+r.URL.RequestURI())
	fmt.Fprintf(w, "%s|%s|%s", r.Header.Get("Authorization"), r.URL.Path, r.URL.Query().Get("key"))
}

// holder is a plugin with secrets and a network, and what it logs.
func holder(t *testing.T, d drawer, log io.Writer, permissions ...string) (*Plugin, *internet, *[]string) {
	t.Helper()
	n, told := newInternet(), &[]string{}
	roots := site(t, n, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		*told = append(*told, r.Header.Get("Authorization")+"|"+r.URL.RequestURI())
		echo(w, r)
	}))
	h := newHost(t, Config{
		Secrets: d, Network: NetworkConfig{Network: n, Roots: roots},
		Log: slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	})
	return load(t, h, networked(t, append([]string{"http.request:*.example.com:*", "http.request:other.test:*"}, permissions...)...)), n, told
}

// TestSecretIsPutIn: the other side gets the value, the plugin does not, whatever the other
// side says back; nor does the recording. Each use is counted.
func TestSecretIsPutIn(t *testing.T) {
	var log bytes.Buffer
	p, _, told := holder(t, drawer{"api-key": secretValue}, &log, "secret.use:api-key@*.example.com:443")
	ask := work(t, `{"calls":[{"name":"http.request","args":{"url":"https://www.example.com/a/${api-key}/%2F?key=${api-key}&x=${other}",
		"headers":{"authorization":"Bearer ${api-key}"},"secrets":["api-key"]}}]}`)
	answers, r := recorded(t, p, 0, ask)
	want := "Bearer " + secretValue + "|/a/" + (&url.URL{Path: secretValue}).EscapedPath() + "/%2F?key=" + url.QueryEscape(secretValue) + "&x=${other}"
	if len(*told) != 1 || (*told)[0] != want {
		t.Fatalf("the server was told %q, want %q; answer %s", *told, want, jsonOf(answers[0].Data))
	}
	said := jsonOf(answers[0].Data)
	if strings.Count(said, "<secret api-key>") != 6 {
		t.Errorf("the plugin got %s", said)
	}
	b, err := r.Encode()
	must(t, err)
	if r.Cut != CutNot || !bytes.Contains(b, []byte("Bearer ${api-key}")) {
		t.Errorf("cut %q: the recording lacks the placeholder", r.Cut)
	}
	for where, text := range map[string]string{"answer": said, "recording": string(b), "log": log.String()} {
		for _, form := range []string{secretValue, url.QueryEscape(secretValue), url.PathEscape(secretValue), "hunter2"} {
			if strings.Contains(text, form) {
				t.Errorf("%s: holds %q", where, form)
			}
		}
	}
	if got, err := newHost(t, Config{}).Replay(context.Background(), networked(t, "kv"), r); err != nil || !got.Held {
		t.Errorf("replay: %v, %s", err, got.Difference)
	}
	if c := counterOf(p, protocol.CapSecret); c.Allowed != 1 || c.Denied != 0 {
		t.Errorf("counted %+v", c)
	}
}

// TestSecretIsBound: a grant binds secret and destination, and nothing else gets it. S-04.
func TestSecretIsBound(t *testing.T) {
	d := drawer{"api-key": secretValue, "lines": "a value\nof two lines", "bare": "plugin's own"}
	p, n, told := holder(t, d, io.Discard, "secret.use:api-key@www.example.com:443", "secret.use:api-key@www.example.com:80",
		"secret.use:gone@www.example.com:443", "secret.use:lines@www.example.com:443", "secret.use:bare", "secret.use:@x:1")
	get := func(host, secret string) string {
		return fmt.Sprintf(`http.request {"url":"%s/x","headers":{"authorization":"${%s}"},"secrets":["%s"]}`, host, secret, secret)
	}
	for _, c := range []struct{ call, code, text string }{
		{get("https://www.example.com", "api-key"), "ok", ""},
		{get("https://www.example.com", "bare"), "ok", ""},
		{get("https://other.test", "bare"), "unavailable", "certificate"}, // it may go there, if that were other.test
		{get("https://other.test", "api-key"), "denied", `"api-key@other.test:443"`},
		{get("https://www.example.com:8443", "api-key"), "denied", `"api-key@www.example.com:8443"`},
		{get("https://example.com", "api-key"), "denied", "api-key@example.com:443"},
		{get("http://www.example.com", "api-key"), "denied", "only by https"},
		{get("https://www.example.com", "gone"), "unavailable", `secret "gone": not on this device`},
		{get("https://www.example.com", "never-granted"), "denied", "never-granted@www"},
		{get("https://www.example.com", "Bad_Name"), "bad-input", "secret name"},
		{get("https://www.example.com", "lines"), "bad-input", "control character"},
		{get("https://${api-key}.example.com", "api-key"), "bad-input", ""},
		{`secret.use {"name":"api-key"}`, "denied", "api-key"},
		{`secret.use {"name":"bare"}`, "ok", ""},
		{`secret.use {"name":"gone"}`, "denied", "gone"},
		{`secret.use {"name":""}`, "bad-input", ""},
	} {
		*told = nil
		got, _ := calls(t, p, c.call)
		text := ""
		if got[0].Error != nil {
			text = got[0].Error.Text
		}
		if got[0].code() != c.code || !strings.Contains(text, c.text) {
			t.Errorf("%s: got %s %q, want %s %q", c.call, got[0].code(), text, c.code, c.text)
		}
		if strings.Contains(strings.Join(*told, ""), "hunter2") != (c.code == "ok" && strings.Contains(c.call, "api-key")) {
			t.Errorf("%s: the server was told %q", c.call, *told)
		}
		if strings.Contains(text, "hunter2") {
			t.Errorf("%s: the error tells: %s", c.call, text)
		}
	}
	n.asked()
	before := counterOf(p, protocol.CapSecret)
	p.SetGrants([]protocol.Grant{{Capability: protocol.CapHTTP, Scopes: []string{"www.example.com:443"}}})
	got, _ := calls(t, p, get("https://www.example.com", "api-key"), `secret.use {"name":"bare"}`)
	if _, dialled := n.asked(); got[0].code() != "denied" || got[1].code() != "denied" || dialled != "" {
		t.Errorf("a grant that was taken back: %v, dialled %q", got, dialled)
	}
	if after := counterOf(p, protocol.CapSecret); after.Denied != before.Denied+2 || after.Allowed != before.Allowed {
		t.Errorf("counted %+v, before %+v", after, before)
	}
}

// TestToldSecretIsNotLogged: a plugin that was told a value does not get it into the log.
func TestToldSecretIsNotLogged(t *testing.T) {
	var log bytes.Buffer
	p, _, _ := holder(t, drawer{"bare": secretValue}, &log, "secret.use:bare")
	got, _ := calls(t, p, `secret.use {"name":"bare"}`, `log {"level":8,"text":"my `+secretValue+` is it"}`)
	if got[0].OK["value"] != secretValue {
		t.Errorf("told %v", got[0].OK)
	}
	if text := log.String(); strings.Contains(text, "hunter2") || !strings.Contains(text, "my <secret bare> is it") {
		t.Errorf("log: %s", text)
	}
}

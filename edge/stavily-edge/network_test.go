package main

import (
	"crypto/x509"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stavily/stavily/wasmhost"
)

// S-07: the budget of plugins is the device's to say.
func TestPluginBytes(t *testing.T) {
	for text, want := range map[string]wasmhost.NetworkBudget{
		"":        {},
		"100":     {InPerMinute: 100, OutPerMinute: 100},
		"64k:16M": {InPerMinute: 64 << 10, OutPerMinute: 16 << 20},
		"1M:0":    {InPerMinute: 1 << 20, OutPerMinute: -1},
		"0":       {InPerMinute: -1, OutPerMinute: -1},
	} {
		var args []string
		if text != "" {
			args = []string{"--plugin-bytes", text}
		}
		o, err := parseOptions("run", args)
		if err != nil {
			t.Fatal(err)
		}
		if n, err := o.pluginNetwork(); err != nil || n.Budget != want || n.Roots != nil {
			t.Errorf("%q: %+v, %v, want %+v", text, n, err, want)
		}
	}
	for _, text := range []string{"-1", "x", "1:", ":1", "1:2:3", "1.5M", "1G", "99999999999999999999"} {
		if _, err := parseOptions("run", []string{"--plugin-bytes", text}); err == nil || !strings.Contains(err.Error(), "plugin-bytes") {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// Roots are added to the system's, and verify a server that those do not know.
func TestPluginRoots(t *testing.T) {
	s := httptest.NewTLSServer(http.NotFoundHandler())
	defer s.Close()
	file := filepath.Join(t.TempDir(), "roots.pem")
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	o, err := parseOptions("run", []string{"--plugin-roots", file})
	if err != nil {
		t.Fatal(err)
	}
	n, err := o.pluginNetwork()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Certificate().Verify(x509.VerifyOptions{Roots: n.Roots, DNSName: "example.com"}); err != nil {
		t.Error(err)
	}
	if err := os.WriteFile(file, []byte("nothing"), 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{file: "no certificate", file + "x": "no such file"} {
		o.roots = path
		if _, err := o.pluginNetwork(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", path, err, want)
		}
	}
}

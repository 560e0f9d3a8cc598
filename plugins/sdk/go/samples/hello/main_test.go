package main

import (
	"strings"
	"testing"

	"github.com/stavily/stavily/plugins/sdk/go/stavilytest"
)

func TestHello(t *testing.T) {
	h := stavilytest.Start(t, plugin, map[string]string{"name": "Ada"})
	data, err := h.Run(nil)
	if err != nil || !strings.Contains(string(data), `"hello, Ada"`) {
		t.Errorf("got %s, %v", data, err)
	}
	if len(h.Logs) != 1 || h.Logs[0].Text != "greeting Ada" {
		t.Errorf("logs: %v", h.Logs)
	}
}

func TestHelloConfig(t *testing.T) {
	_, err := stavilytest.TryStart(t, plugin, map[string]string{"nmae": "Ada"})
	if err == nil || err.Error() != `config: unknown key "nmae"` {
		t.Errorf("unknown key: %v", err)
	}
	_, err = stavilytest.TryStart(t, plugin, map[string]string{"name": strings.Repeat("a", 81)})
	if err == nil || err.Error() != "config: name: want at most 80 bytes" {
		t.Errorf("long name: %v", err)
	}
}

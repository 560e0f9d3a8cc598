package main

import (
	"testing"
	"time"

	"github.com/stavily/stavily/plugins/sdk/go/stavilytest"
)

func TestCounterGoesOnAfterRestart(t *testing.T) {
	h := stavilytest.Start(t, plugin, map[string]string{"every": "1s"})
	if got := h.Advance(3 * time.Second); len(got) != 3 || string(got[2]) != `{"count":3}` {
		t.Fatalf("before: %s", got)
	}
	h.Restart()
	if got := h.Advance(2 * time.Second); len(got) != 2 || string(got[1]) != `{"count":5}` {
		t.Errorf("after: %s", got)
	}
}

func TestCounterConfig(t *testing.T) {
	for _, every := range []string{"", "1ms", "-1s", "soon"} {
		if _, err := stavilytest.TryStart(t, plugin, map[string]string{"every": every}); err == nil {
			t.Errorf("every %q: not refused", every)
		}
	}
}

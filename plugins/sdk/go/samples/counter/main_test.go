package main

import (
	"testing"
	"time"

	"github.com/stavily/stavily/plugins/sdk/go/stavilytest"
)

func TestCounterGoesOnAfterRestart(t *testing.T) {
	h := stavilytest.Start(t, plugin, map[string]string{"every": "1s"})
	if got := h.Advance(3 * time.Second); len(got) != 3 || string(got[2]) != `{"count":3,"for_ms":3000}` {
		t.Fatalf("before: %s", got)
	}
	h.Restart()
	h.SetNow(h.Now().Add(-365 * 24 * time.Hour)) // the clock was wrong, and is set
	if got := h.Advance(2 * time.Second); len(got) != 2 || string(got[1]) != `{"count":5,"for_ms":5000}` {
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

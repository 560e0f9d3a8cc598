package main

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stavily/stavily/plugins/sdk/go/stavilytest"
)

type m = map[string]any

// times returns when events say that they fired, after the epoch of the tests.
func times(t *testing.T, events []json.RawMessage) []time.Duration {
	t.Helper()
	all := []time.Duration{}
	for _, raw := range events {
		var e event
		if err := json.Unmarshal(raw, &e); err != nil {
			t.Fatal(err)
		}
		all = append(all, time.UnixMilli(e.AtMS).Sub(epoch))
	}
	return all
}

var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC) // a Thursday

const (
	hour = time.Hour
	day  = 24 * hour
)

func TestFires(t *testing.T) {
	for name, c := range map[string]struct {
		config m
		over   time.Duration
		want   []time.Duration
	}{
		"cron":            {m{"cron": "0 */6 * * *"}, day, []time.Duration{6 * hour, 12 * hour, 18 * hour, day}},
		"cron in a zone":  {m{"cron": "30 6 * * fri", "zone": "Europe/Oslo"}, 3 * day, []time.Duration{day + 5*hour + 30*time.Minute}},
		"every":           {m{"every": "8h"}, day, []time.Duration{8 * hour, 16 * hour, day}},
		"at":              {m{"at": "2026-01-02T03:00"}, 9 * day, []time.Duration{day + 3*hour}},
		"at, zone":        {m{"at": "2026-01-02T03:00", "zone": "Asia/Tokyo"}, 9 * day, []time.Duration{18 * hour}},
		"at, offset":      {m{"at": "2026-01-02T03:00:00+01:00"}, 9 * day, []time.Duration{day + 2*hour}},
		"at, long passed": {m{"at": "2020-01-02T03:00"}, 9 * day, []time.Duration{}},
	} {
		t.Run(name, func(t *testing.T) {
			h := stavilytest.Start(t, plugin, c.config)
			if got := times(t, h.Advance(c.over)); !slices.Equal(got, c.want) {
				t.Errorf("fired at %v, want %v", got, c.want)
			}
		})
	}
}

// A device fires later by the same time each time, also after a restart.
func TestJitter(t *testing.T) {
	h := stavilytest.Start(t, plugin, m{"cron": "@hourly", "jitter": "20m"})
	f, err := h.Wake()
	if err != nil {
		t.Fatal(err)
	}
	late := f.At.Sub(epoch) // midnight's own is still ahead
	if late < 0 || late > 20*time.Minute {
		t.Fatalf("first at %s", f.At)
	}
	h.Advance(3 * hour)
	h.Restart()
	if f, err = h.Wake(); err != nil || f.At.Truncate(hour).Add(late) != f.At || f.At.Before(h.Now()) {
		t.Errorf("after the restart at %s, %v, want %s after the hour", f.At, err, late)
	}
}

// A period goes on over a restart.
func TestEveryOverRestart(t *testing.T) {
	h := stavilytest.Start(t, plugin, m{"every": "10m"})
	h.Advance(25 * time.Minute)
	h.Restart()
	if f, err := h.Wake(); err != nil || len(f.Events) != 0 || f.After != 5*time.Minute {
		t.Errorf("after the restart %d events, next after %s, %v, want 5m", len(f.Events), f.After, err)
	}
}

// What a schedule does without a clock is its setting.
func TestWithoutClock(t *testing.T) {
	for mode, want := range map[string][2]int{"wait": {0, 1}, "": {0, 1}, "steady": {3, 0}, "skip": {0, 0}} {
		config := m{"cron": "@hourly"}
		if mode != "" {
			config["without-clock"] = mode
		}
		h := stavilytest.Start(t, plugin, config)
		h.NoClock = true
		without := len(h.Advance(3*hour + 30*time.Second))
		if mode == "wait" {
			h.Restart() // what is held is held on
			without += len(h.Advance(time.Minute))
		}
		h.NoClock = false
		with := len(h.Advance(2 * time.Minute))
		if without != want[0] || with != want[1] {
			t.Errorf("%q: %d firings without a clock and %d when there is one, want %v", mode, without, with, want)
		}
		if again := len(h.Advance(2 * hour)); again != 2 {
			t.Errorf("%q: %d firings in the two hours after, want 2", mode, again)
		}
	}
	h := stavilytest.Start(t, plugin, m{"every": "1h"})
	h.NoClock = true
	if n := len(h.Advance(3 * hour)); n != 3 {
		t.Errorf("a period without a clock fired %d times, want 3", n)
	}
}

// The host wakes with the times of missed firings, one behind the other; their number is bounded.
func TestMissed(t *testing.T) {
	h := stavilytest.Start(t, plugin, m{"cron": "@hourly", "missed-max": 3})
	h.Advance(hour)
	h.Restart()
	now := epoch.Add(100 * hour)
	h.SetNow(now)
	if _, err := h.Wake(); err != nil {
		t.Fatal(err)
	}
	at, fired := epoch.Add(2*hour), 0
	for !at.After(now) { // as the host does with catch-up: all
		h.SetNow(at)
		f, err := h.Wake()
		if err != nil || f.At.IsZero() {
			t.Fatalf("next %s, %v", f.At, err)
		}
		fired += len(f.Events)
		at = f.At
	}
	if want := now.Add(hour); fired != 3 || !at.Equal(want) {
		t.Errorf("%d brought back, then at %s, want 3 and %s", fired, at, want)
	}
}

func TestRefused(t *testing.T) {
	for want, config := range map[string]m{
		"exactly one": {}, "cron, every, at": {"cron": "@daily", "every": "1h"}, "want five fields": {"cron": "x"},
		"100ms or more": {"every": "1ms"}, "at \"x\"": {"at": "x"}, "Europe/Atlantis": {"cron": "@daily", "zone": "Europe/Atlantis"},
		"wait, steady or skip": {"cron": "@daily", "without-clock": "run"}, "missed-max": {"cron": "@daily", "missed-max": -1},
		"jitter": {"cron": "@daily", "jitter": "25h"}, "duration": {"every": "soon"},
	} {
		if _, err := stavilytest.TryStart(t, plugin, config); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: got %v, want %q", config, err, want)
		}
	}
}

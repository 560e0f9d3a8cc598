package main

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stavily/stavily/plugins/sdk/go/stavilytest"
)

type m = map[string]any

const cpu = "cpu.percent"

// fired returns the values of events, in order.
func fired(t *testing.T, events []json.RawMessage) []float64 {
	t.Helper()
	values := []float64{}
	for _, raw := range events {
		var e event
		if err := json.Unmarshal(raw, &e); err != nil {
			t.Fatal(err)
		}
		values = append(values, e.Value)
	}
	return values
}

// a table of measurements one second apart and of what fires.
func TestWatch(t *testing.T) {
	for name, test := range map[string]struct {
		config m
		values []float64 // at 0 s, 1 s, 2 s ...; -1 is a machine without the metric
		want   []float64
	}{
		"above fires once":         {m{"above": 80}, []float64{70, 81, 90, 95}, []float64{81}},
		"the threshold is not it":  {m{"above": 80}, []float64{80, 80}, []float64{}},
		"below fires once":         {m{"below": 10}, []float64{20, 9, 8}, []float64{9}},
		"below is strict":          {m{"below": 10}, []float64{10, 10}, []float64{}},
		"again after it went back": {m{"above": 80}, []float64{81, 80, 82}, []float64{81, 82}},
		"long enough":              {m{"above": 80, "for": "3s"}, []float64{81, 82, 83, 84, 85}, []float64{84}},
		"a break starts anew": {
			m{"above": 80, "for": "2s"}, []float64{81, 82, 70, 83, 84, 85, 86}, []float64{85},
		},
		"not back far enough": {m{"above": 80, "hysteresis": 5}, []float64{81, 76, 90, 79, 91}, []float64{81}},
		"back far enough":     {m{"above": 80, "hysteresis": 5}, []float64{81, 75, 90}, []float64{81, 90}},
		"below, back":         {m{"below": 10, "hysteresis": 5}, []float64{9, 14, 8, 15, 7}, []float64{9, 7}},
		"hysteresis is no delay": {
			m{"above": 80, "hysteresis": 5, "for": "1s"}, []float64{81, 78, 82, 83}, []float64{83},
		},
		"repeat": {m{"above": 80, "repeat": "2s"}, []float64{81, 82, 83, 84, 85}, []float64{81, 83, 85}},
		"no repeat within hysteresis": {
			m{"above": 80, "repeat": "1s", "hysteresis": 9}, []float64{81, 79, 82}, []float64{81, 82},
		},
		"the sensor comes and goes": {m{"above": 80, "for": "2s"}, []float64{81, -1, 83}, []float64{83}},
	} {
		t.Run(name, func(t *testing.T) {
			test.config["metric"], test.config["every"] = cpu, "1s"
			h := stavilytest.Start(t, plugin, test.config)
			events := []json.RawMessage{}
			for i, v := range test.values {
				delete(h.Metrics, cpu)
				if v >= 0 {
					h.Metrics[cpu] = v
				}
				if i == 0 {
					events = append(events, h.Advance(0)...)
				} else {
					events = append(events, h.Advance(time.Second)...)
				}
			}
			if got := fired(t, events); !slices.Equal(got, test.want) {
				t.Errorf("fired at %v, want %v", got, test.want)
			}
		})
	}
}

// neither the time that has run nor what has fired is lost in a reboot.
func TestSurvivesReboot(t *testing.T) {
	h := stavilytest.Start(t, plugin, m{
		"metric": cpu, "above": 80, "for": "1m", "hysteresis": 10, "every": "10s",
	})
	h.Metrics[cpu] = 90
	if got := h.Advance(50 * time.Second); len(got) != 0 {
		t.Fatalf("fired after 50 s: %s", got)
	}
	h.Restart()
	got := h.Advance(10 * time.Second)
	want := `{"metric":"cpu.percent","value":90,"above":80,"for_ms":60000,"since_ms":1767225600000}`
	if len(got) != 1 || string(got[0]) != want {
		t.Fatalf("after the reboot: %s, want %s", got, want)
	}
	h.Restart()
	h.Metrics[cpu] = 75 // within the hysteresis
	if got := h.Advance(2 * time.Minute); len(got) != 0 {
		t.Errorf("fired again: %s", got)
	}
}

// A clock that is set, back as without a battery or forward by years, neither holds the watch
// up nor has it fire before its time.
func TestClockIsSet(t *testing.T) {
	for _, by := range []time.Duration{-365 * 24 * time.Hour, 3650 * 24 * time.Hour} {
		h := stavilytest.Start(t, plugin, m{"metric": cpu, "above": 80, "for": "30s", "every": "10s"})
		h.Metrics[cpu] = 90
		h.Advance(20 * time.Second)
		h.SetNow(h.Now().Add(by))
		h.Restart()
		if got := h.Advance(9 * time.Second); len(got) != 0 {
			t.Errorf("set by %s: fired too early", by)
		}
		if got := h.Advance(time.Second); len(got) != 1 {
			t.Errorf("set by %s: fired %d times, want once", by, len(got))
		}
	}
}

// A measurement falls on the moment at which the watch is due, not an interval later.
func TestFiresOnTime(t *testing.T) {
	h := stavilytest.Start(t, plugin, m{"metric": cpu, "above": 80, "for": "15s"})
	h.Metrics[cpu] = 90
	if got := h.Advance(14_999 * time.Millisecond); len(got) != 0 {
		t.Errorf("too early: %s", got)
	}
	if got := h.Advance(time.Millisecond); len(got) != 1 {
		t.Errorf("not at 15 s")
	}
}

// The demonstration's heartbeat: each second, with the value of that second.
func TestHeartbeat(t *testing.T) {
	h := stavilytest.Start(t, plugin, m{"metric": "memory.percent", "above": 0, "every": "1s", "repeat": "1s"})
	h.Metrics["memory.percent"] = 41
	if got := h.Advance(4 * time.Second); len(got) != 5 {
		t.Errorf("fired %d times in 0 to 4 s, want 5", len(got))
	}
	h.Metrics["memory.percent"] = 42
	if got := fired(t, h.Advance(time.Second)); !slices.Equal(got, []float64{42}) {
		t.Errorf("fired %v, want 42", got)
	}
}

// State that was saved for another threshold, or is no state at all, counts for nothing.
func TestForeignState(t *testing.T) {
	a := new(config)
	if err := json.Unmarshal([]byte(`{"metric":"load.1","above":1}`), a); err != nil {
		t.Fatal(err)
	}
	if got := (saved{Threshold: "load.5 > 1", Fired: true}).of(a); got != (saved{Threshold: "load.1 > 1"}) {
		t.Errorf("got %+v", got)
	}
}

func TestAbsentMetric(t *testing.T) {
	h := stavilytest.Start(t, plugin, m{"metric": "temperature.cpu", "above": 80})
	h.Advance(time.Minute)
	const none = `metric "temperature.cpu": this machine does not have it`
	if len(h.Logs) != 1 || h.Logs[0].Text != none {
		t.Errorf("logs: %v, want one line", h.Logs)
	}
	err := h.Check()
	if err == nil || err.Error() != none {
		t.Errorf("check: %v", err)
	}
	h.Metrics["temperature.cpu"] = 85
	if err := h.Check(); err != nil {
		t.Errorf("check with the metric: %v", err)
	}
	if got := h.Advance(10 * time.Second); len(got) != 1 {
		t.Errorf("with the metric: fired %d times", len(got))
	}
}

func TestDenied(t *testing.T) {
	h := stavilytest.Start(t, plugin, m{"metric": cpu, "above": 80})
	h.Deny("metrics.read")
	if _, err := h.Wake(); err == nil || !strings.Contains(err.Error(), "not granted") {
		t.Errorf("wake: %v", err)
	}
	if err := h.Check(); err == nil {
		t.Error("check: no error")
	}
	h.Answer("metrics.read", func(json.RawMessage) (any, error) { return nil, errors.New("no") })
	if _, err := h.Wake(); err == nil {
		t.Error("wake: no error")
	}
}

func TestConfig(t *testing.T) {
	for config, want := range map[string]string{
		`{"metric":"cpu","above":1}`:                    `config: metric "cpu": want one of cpu.percent,`,
		`{"above":1}`:                                   `config: metric "": want one of`,
		`{"metric":"load.1"}`:                           "config: above, below: want exactly one",
		`{"metric":"load.1","above":1,"below":1}`:       "config: above, below: want exactly one",
		`{"metric":"load.1","above":"1"}`:               "config: above: want float64, got string",
		`{"metric":"load.1","above":1,"hysteresis":-1}`: "config: hysteresis -1: want 0 or more",
		`{"metric":"load.1","above":1,"every":"99ms"}`:  "config: every 99ms: want 100ms or more",
		`{"metric":"load.1","above":1,"every":"0s"}`:    "config: every 0s: want 100ms or more",
		`{"metric":"load.1","above":1,"repeat":"1ms"}`:  "config: repeat 1ms: want 100ms or more",
		`{"metric":"load.1","above":1,"for":"long"}`:    `config: duration "long": want a number with a unit`,
		`{"metric":"load.1","above":1,"treshold":2}`:    `config: unknown key "treshold"`,
	} {
		_, err := stavilytest.TryStart(t, plugin, json.RawMessage(config))
		if err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("config %s: got %v, want %q", config, err, want)
		}
	}
}

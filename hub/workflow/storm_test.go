package workflow

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/stavily/stavily/hub/document"
	"github.com/stavily/stavily/protocol"
)

func TestStormReadsEveryField(t *testing.T) {
	w, err := Parse("w.yaml", []byte(guard+"limit: { runs: 10, per: 1m, burst: 20, over: queue }\n"+
		"once: { key: [event.sensor, event.at.rack], within: 5m }\nallow-circle: true\n"))
	if err != nil {
		t.Fatal(err)
	}
	if want := (protocol.RunLimit{Runs: 10, PerMS: 60_000, Burst: 20, Over: protocol.OverQueue}); *w.Limit != want || !w.Circle {
		t.Errorf("limit %+v, circle %t", *w.Limit, w.Circle)
	}
	if !slices.Equal(w.Once.Fields, []string{"sensor", "at.rack"}) || w.Once.WithinMS != 300_000 {
		t.Errorf("once %+v", w.Once)
	}
	w, err = Parse("w.yaml", []byte(guard+"limit: { runs: 3, per: 1s }\nonce: { within: 1s }\n"))
	if err != nil || w.Limit.Burst != 3 || w.Limit.Over != protocol.OverDrop || len(w.Once.Fields) != 0 {
		t.Errorf("what is not said: %+v, %+v, %v", w.Limit, w.Once, err)
	}
}

func TestStormRefuses(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"limit: { per: 1m }", "w.yaml:17:8: limit.runs: 0, want 1 to 100000"},
		{"limit: { runs: 1 }", "limit.per: missing"},
		{"limit: { runs: 1, per: 800h }", "w.yaml:17:24: limit.per: 800h0m0s"},
		{"limit: { runs: 1, per: 1m, burst: 0 }", "w.yaml:17:35: limit.burst: 0"},
		{"limit: { runs: 1, per: 700h, burst: 100000 }", "LimitAheadMaxMS"},
		{"limit: { runs: 1, per: 1m, over: wait }", `w.yaml:17:34: limit.over: "wait": want drop, latest, queue`},
		{"limit: { runs: 1, per: 1m, ofer: drop }", `did you mean "over"?`},
		{"once: { key: event.a }", "w.yaml:17:7: once.within: 0s"},
		{"once: { key: sensor, within: 1m }", `w.yaml:17:14: once.key: "sensor": want a field of the event`},
		{"once: { key: [event.a, event..b], within: 1m }", `"event..b": want a field`},
		{"once: { key: [], within: 1m }", "once.key: 0 fields"},
		{"allow-circle: true", "w.yaml:17:15: allow-circle: a circle is allowed only at a pace"},
		// contradictory windows
		{`rollout: { waves: [{ count: 1, soak: 2h }], timeout: 1h }`, "w.yaml:17:38: rollout.waves[0].soak: 2h0m0s, but the rollout waits"},
		{
			`rollout: { waves: [{ count: 1 }], windows: [{ from: "01:00", to: "02:00" }, { from: "01:00", to: "02:00" }] }`,
			"w.yaml:17:77: rollout.windows[1]: the same as windows[0]",
		},
		{
			`rollout: { waves: [{ count: 1 }], timeout: 24h, windows: [{ days: [sat], from: "22:00", to: "02:00" }] }`,
			"w.yaml:17:58: rollout.windows: they are closed for 164h0m0s on end",
		},
	} {
		_, err := Parse("w.yaml", []byte(guard+c.text+"\n"))
		var place *document.Error
		if !errors.As(err, &place) || place.Line != 17 || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %s", c.text, err, c.want)
		}
	}
}

package workflow

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stavily/stavily/hub/document"
)

func TestRolloutReadsEveryField(t *testing.T) {
	w, err := Parse("w.yaml", []byte(guard+`rollout:
  waves: [{ percent: 0.5, soak: 30m }, { count: 50 }, { group: { ring: early } }]
  max-errors: 2.5
  max-failed: 0
  per-site: 1
  timeout: 24h
  windows: [{ days: [sat, Sun], from: "22:00", to: "06:00", zone: Europe/Oslo }, { from: "02:30", to: "24:00" }]
`))
	if err != nil {
		t.Fatal(err)
	}
	r := w.Rollout
	if len(r.Waves) != 3 || r.Waves[0].Percent != 0.5 || r.Waves[0].Soak != 30*time.Minute || r.Waves[1].Count != 50 ||
		r.Waves[2].String() != "group ring=early" {
		t.Errorf("waves %+v", r.Waves)
	}
	if r.MaxErrors != 2.5 || r.MaxFailed != 0 || r.PerSite != 1 || r.Timeout != 24*time.Hour {
		t.Errorf("%+v", r)
	}
	first, second := r.Windows[0], r.Windows[1]
	if len(first.Days) != 2 || first.Days[1] != time.Sunday || first.From != 1320 || first.To != 360 || first.Zone.String() != "Europe/Oslo" ||
		second.Zone != nil || second.From != 150 || second.To != 1440 {
		t.Errorf("windows %+v", r.Windows)
	}
	w, err = Parse("w.yaml", []byte(guard+"rollout: { waves: [{ count: 1 }] }\n"))
	if err != nil || w.Rollout.MaxErrors != maxErrorsDefault || w.Rollout.MaxFailed != maxFailedDefault || w.Rollout.Timeout != timeoutDefault {
		t.Errorf("what is not said: %+v, %v", w.Rollout, err)
	}
}

func TestRolloutRefuses(t *testing.T) {
	for _, c := range []struct{ rollout, want string }{
		{`{}`, "w.yaml:17:10: rollout.waves: 0 of them"},
		{`{ waves: [{}] }`, "rollout.waves[0]: 0 sizes, want exactly one"},
		{`{ waves: [{ percent: 1, count: 1 }] }`, "2 sizes"},
		{`{ waves: [{ percent: 0 }] }`, "rollout.waves[0].percent: 0, want above 0"},
		{`{ waves: [{ percent: 101 }] }`, "101, want above 0 and up to 100"},
		{`{ waves: [{ count: 0 }] }`, "want 1 or more"},
		{`{ waves: [{ count: 3 }, { count: 3 }] }`, "w.yaml:17:34: rollout.waves[1]: 3 agents after 3 agents"},
		{`{ waves: [{ percent: 30 }, { percent: 10 }] }`, "10 % after 30 %"},
		{`{ waves: [{ group: {} }] }`, "no label: that is everybody"},
		{`{ waves: [{ count: 1, soak: 9000h }] }`, "rollout.waves[0].soak: 9000h0m0s"},
		{`{ waves: [{ count: 1 }], max-errors: 101 }`, "rollout.max-errors: 101"},
		{`{ waves: [{ count: 1 }], max-failed: -1 }`, "rollout.max-failed: -1"},
		{`{ waves: [{ count: 1 }], per-site: -1 }`, "rollout.per-site: -1"},
		{`{ waves: [{ count: 1 }], timeout: 0s }`, "rollout.timeout: 0s"},
		{`{ waves: [{ count: 1 }], windows: [{ days: [funday], from: "1:00", to: "2:00" }] }`, `rollout.windows[0].days[0]: "funday": want one of sun`},
		{`{ waves: [{ count: 1 }], windows: [{ from: "25:00", to: "2:00" }] }`, `rollout.windows[0].from: "25:00"`},
		{`{ waves: [{ count: 1 }], windows: [{ from: "24:00", to: "2:00" }] }`, `"24:00": want a time of day`},
		{`{ waves: [{ count: 1 }], windows: [{ from: "02:00", to: "02:00" }] }`, "nobody would ever change"},
		{`{ waves: [{ count: 1 }], windows: [{ from: "02:00", to: "03:00", zone: Mars/Olympus }] }`, `"Mars/Olympus": no such time zone`},
		{`{ wave: [{ count: 1 }] }`, `did you mean "waves"?`},
	} {
		_, err := Parse("w.yaml", []byte(guard+"rollout: "+c.rollout+"\n"))
		var place *document.Error
		if !errors.As(err, &place) || place.Line != 17 || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %s", c.rollout, err, c.want)
		}
	}
}

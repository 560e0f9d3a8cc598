package rollout

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stavily/stavily/hub/workflow"
	"github.com/stavily/stavily/protocol"
)

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// fleet returns n agents, three to a site, all heard of and without the change.
func fleet(n int) []Agent {
	out := make([]Agent, n)
	for i := range out {
		out[i] = Agent{
			Name: protocol.AgentName(fmt.Sprintf("a-%03d", i)), Site: protocol.Site(fmt.Sprintf("s-%02d", i/3)), Heard: true,
			Labels: map[string]string{"ring": fmt.Sprint(i % 4)},
		}
	}
	return out
}

// waves reads a rollout as people write it.
func waves(t testing.TB, text string) *workflow.Rollout {
	t.Helper()
	w, err := workflow.Parse("w.yaml", []byte(`workflow: w
trigger: { plugin: t, at: { group: { env: x } } }
actions: [{ plugin: a }]
outputs: [{ plugin: o }]
rollout: `+text))
	if err != nil {
		t.Fatal(err)
	}
	return w.Rollout
}

// takes lets all that were given the change run it well for so long.
func takes(s *State, agents []Agent, ran time.Duration) {
	for i := range agents {
		if a := &agents[i]; a.Heard && s.Has(a.Name) {
			a.Holds = true
			a.Status = &protocol.AssignmentStatus{
				Phase: protocol.PhaseRunning,
				Trial: protocol.Trial{RunningS: uint64(ran / time.Second), Ended: 10},
			}
		}
	}
}

// story is a rollout that is told step by step.
type story struct {
	t      *testing.T
	r      *workflow.Rollout
	s      State
	agents []Agent
	now    time.Time
}

func tell(t *testing.T, text string, agents []Agent) *story {
	return &story{t: t, r: waves(t, text), s: Begin("id", start), agents: agents, now: start}
}

// advance until nothing changes.
func (y *story) advance() *story {
	for range 100 {
		next, changed := Advance(y.r, y.s, y.agents, y.now)
		if y.s = next; !changed {
			return y
		}
	}
	y.t.Fatalf("never at rest: %+v", y.s)
	return y
}

func (y *story) takes(ran time.Duration) *story {
	takes(&y.s, y.agents, ran)
	return y
}

func (y *story) pass(d time.Duration) *story {
	y.now = y.now.Add(d)
	return y
}

func (y *story) is(phase Phase, wave, taken int) *story {
	y.t.Helper()
	if y.s.Phase != phase || y.s.Wave != wave || len(y.s.Taken) != taken {
		y.t.Fatalf("is %s in wave %d with %d agents (%s), want %s, %d, %d", y.s.Phase, y.s.Wave, len(y.s.Taken), y.s.Reason, phase, wave,
			taken)
	}
	return y
}

// taken returns the agents that have the change.
func (y *story) taken() (out []*Agent) {
	for i := range y.agents {
		if y.s.Has(y.agents[i].Name) {
			out = append(out, &y.agents[i])
		}
	}
	return out
}

func TestWavesGoOn(t *testing.T) {
	y := tell(t, `{ waves: [{ percent: 1, soak: 10m }, { count: 12, soak: 1h }, { group: { ring: "2" }, soak: 1m }] }`, fleet(60))
	y.advance().is(Running, 0, 1)
	y.pass(time.Hour).advance().is(Running, 0, 1) // it has not said that it has it
	y.takes(9*time.Minute).advance().is(Running, 0, 1)
	y.takes(10*time.Minute).advance().is(Running, 1, 12)
	y.takes(time.Hour).advance()
	if y.s.Wave != 2 || len(y.s.Taken) < 15 || len(y.s.Taken) > 27 {
		t.Fatalf("group: %+v", y.s)
	}
	for _, a := range y.agents {
		if a.Labels["ring"] == "2" && !y.s.Has(a.Name) {
			t.Errorf("%s is of the group and was left out", a.Name)
		}
	}
	y.takes(time.Hour).advance().is(Running, 3, 60)
	y.takes(time.Hour).advance().is(Done, 3, 0)
	if !y.s.Has("one that comes later") {
		t.Error("who joins after it is done is left out")
	}
}

// Agents that are away count neither way, but those who were given the change and went
// away do not make it spread.
func TestAway(t *testing.T) {
	agents := fleet(40)
	for i := range agents {
		agents[i].Heard = i < 20
	}
	y := tell(t, `{ waves: [{ percent: 10 }], timeout: 24h }`, agents)
	y.advance().is(Running, 0, 2) // a tenth of those who are there
	for _, a := range y.taken() {
		if !a.Heard {
			t.Errorf("%s is away and was taken", a.Name)
		}
		a.Heard = false
	}
	y.advance().is(Running, 0, 4)
	for _, a := range y.taken() {
		a.Heard = false
	}
	y.advance().is(Running, 0, 4) // no more are given up
	y.pass(24*time.Hour).advance().is(Paused, 0, 4)
	if !strings.Contains(y.s.Reason, "4 agents that were given it are away") {
		t.Error(y.s.Reason)
	}
}

// Nobody there: no wave passes by itself.
func TestNobodyThere(t *testing.T) {
	agents := fleet(3)
	for i := range agents {
		agents[i].Heard = false
	}
	y := tell(t, `{ waves: [{ count: 1 }] }`, agents)
	y.advance().is(Running, 0, 0).pass(7*24*time.Hour).advance().is(Paused, 0, 0)
	tell(t, `{ waves: [{ group: { ring: none } }] }`, fleet(3)).pass(8*24*time.Hour).advance().is(Paused, 0, 0)
}

func TestTakenBack(t *testing.T) {
	refused := protocol.AsError(protocol.Errorf(protocol.CodeIncompatible, "no such call"))
	for _, c := range []struct {
		name   string
		change func(n int, a *Agent)
		want   string // empty: it goes on
	}{
		{"refused", func(n int, a *Agent) { a.Holds, a.Refused = false, refused }, "wave 1 of 1 (10 agents): 10 of 10 agents failed, allowed are 10 %; a-0"},
		{"one of ten refuses", func(n int, a *Agent) {
			if n == 0 {
				a.Refused = refused
			}
		}, ""},
		{"two of ten fail", func(n int, a *Agent) {
			if n < 2 {
				a.Status = &protocol.AssignmentStatus{Phase: protocol.PhaseFailed, Error: refused}
			}
		}, "2 of 10 agents failed, allowed are 10 %; a-0"},
		{"runs fail", func(n int, a *Agent) { a.Status.Trial.Failed = 2 }, "20 of 100 runs ended in an error or met a limit, allowed are 5 %"},
		{"few runs fail", func(n int, a *Agent) {
			if n < 4 {
				a.Status.Trial.Failed = 1
			}
		}, ""},
		{"wakes fail", func(n int, a *Agent) { a.Status.Trial = protocol.Trial{RunningS: 60, Troubles: 1} }, "10 of 10 runs"},
		{"one bad run of one", func(n int, a *Agent) {
			a.Status.Trial = protocol.Trial{RunningS: 60}
			if n == 0 {
				a.Status.Trial = protocol.Trial{RunningS: 60, Ended: 1, Failed: 1}
			}
		}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			y := tell(t, `{ waves: [{ count: 10, soak: 1m }] }`, fleet(30))
			y.advance().is(Running, 0, 10).takes(time.Minute)
			for n, a := range y.taken() {
				c.change(n, a)
			}
			y.advance()
			if c.want == "" {
				y.is(Running, 1, 30)
				return
			}
			if y.is(Returned, 0, 0); !strings.Contains(y.s.Reason, c.want) {
				t.Errorf("%q, want %q", y.s.Reason, c.want)
			}
			if y.s.Has(y.agents[0].Name) {
				t.Error("somebody still has it")
			}
		})
	}
}

// A pause holds everybody where he is, and still takes back what goes wrong.
func TestPaused(t *testing.T) {
	y := tell(t, `{ waves: [{ count: 2 }] }`, fleet(9))
	y.advance().is(Running, 0, 2).takes(0)
	y.s.Phase = Paused
	y.advance().is(Paused, 0, 2)
	for _, a := range y.taken() {
		a.Status.Phase = protocol.PhaseFailed
	}
	y.advance().is(Returned, 0, 0)
}

func TestPerSite(t *testing.T) {
	y := tell(t, `{ waves: [{ percent: 100 }], per-site: 1 }`, fleet(9)) // three sites
	y.advance().is(Running, 0, 3)
	sites := map[protocol.Site]int{}
	for _, a := range y.taken() {
		sites[a.Site]++
	}
	if len(sites) != 3 {
		t.Errorf("%v", sites)
	}
	first := y.taken()[0]
	first.Holds, first.Status = true, &protocol.AssignmentStatus{Phase: protocol.PhaseRunning}
	y.advance().is(Running, 0, 4) // its site bears another one
	y.takes(0).advance().is(Running, 0, 7).takes(0).advance().is(Running, 0, 9).takes(0).advance().is(Done, 1, 0)
}

func TestWindows(t *testing.T) {
	oslo, err := time.LoadLocation("Europe/Oslo")
	if err != nil {
		t.Fatal(err)
	}
	sunday := time.Date(2026, 3, 29, 0, 0, 0, 0, oslo) // summer time begins at 02:00
	for _, c := range []struct {
		window string
		zone   string // of the site
		at     time.Time
		want   bool
	}{
		{`{ from: "02:00", to: "04:00", zone: Europe/Oslo }`, "", time.Date(2026, 1, 5, 1, 0, 0, 0, time.UTC), true},
		{`{ from: "02:00", to: "04:00", zone: Europe/Oslo }`, "", time.Date(2026, 1, 5, 3, 0, 0, 0, time.UTC), false},
		{`{ from: "02:00", to: "04:00", zone: Europe/Oslo }`, "", time.Date(2026, 7, 5, 0, 0, 0, 0, time.UTC), true},
		{`{ from: "02:00", to: "04:00" }`, "Asia/Tokyo", time.Date(2026, 7, 5, 17, 30, 0, 0, time.UTC), true},
		{`{ from: "02:00", to: "04:00", zone: site }`, "", time.Date(2026, 7, 5, 3, 59, 0, 0, time.UTC), true},
		{`{ from: "02:00", to: "04:00", zone: site }`, "no/where", time.Date(2026, 7, 5, 4, 0, 0, 0, time.UTC), false},
		{`{ days: [sat], from: "22:00", to: "06:00", zone: UTC }`, "", time.Date(2026, 7, 4, 23, 0, 0, 0, time.UTC), true},  // Saturday
		{`{ days: [sat], from: "22:00", to: "06:00", zone: UTC }`, "", time.Date(2026, 7, 5, 5, 0, 0, 0, time.UTC), true},   // Sunday morning
		{`{ days: [sat], from: "22:00", to: "06:00", zone: UTC }`, "", time.Date(2026, 7, 5, 23, 0, 0, 0, time.UTC), false}, // Sunday night
		{`{ days: [sat], from: "22:00", to: "06:00", zone: UTC }`, "", time.Date(2026, 7, 4, 5, 0, 0, 0, time.UTC), false},
		{`{ days: [sun], from: "00:00", to: "24:00", zone: Europe/Oslo }`, "", sunday, true},
		{`{ days: [sun], from: "02:00", to: "03:00", zone: Europe/Oslo }`, "", sunday.Add(2 * time.Hour), false}, // the hour that is skipped
		{`{ days: [sun], from: "03:00", to: "04:00", zone: Europe/Oslo }`, "", sunday.Add(2 * time.Hour), true},
	} {
		r := waves(t, `{ waves: [{ count: 1 }], windows: [`+c.window+`] }`)
		agents := fleet(1)
		agents[0].Labels[workflow.ZoneLabel] = c.zone
		s, _ := Advance(r, Begin("id", c.at), agents, c.at)
		if got := len(s.Taken) == 1; got != c.want {
			t.Errorf("%s, zone %q, at %v: open %v, want %v", c.window, c.zone, c.at, got, c.want)
		}
	}
}

// Whatever the agents do, in whatever order they are told of, what a rollout promises holds.
func TestPromises(t *testing.T) {
	specs := []string{
		`{ waves: [{ percent: 2 }, { percent: 30, soak: 1m }], per-site: 1, timeout: 48h }`,
		`{ waves: [{ count: 1, soak: 5m }, { group: { ring: "1" } }], max-failed: 0 }`,
		`{ waves: [{ percent: 100, soak: 1h }], max-errors: 50 }`,
	}
	ends := map[Phase]int{}
	for seed := range uint64(300) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		r := waves(t, specs[seed%3])
		agents, s, now := fleet(1+rnd.IntN(40)), Begin("id", start), start
		bad := rnd.IntN(3) == 0
		for range 400 {
			shuffled := slices.Clone(agents)
			rnd.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
			next, changed := Advance(r, s, agents, now)
			again, _ := Advance(r, s, shuffled, now)
			if fmt.Sprint(next) != fmt.Sprint(again) {
				t.Fatalf("seed %d: the order of agents matters: %v, %v", seed, next, again)
			}
			check(t, seed, r, s, next, agents)
			if s = next; s.Phase == Done || s.Phase == Returned {
				break
			}
			if changed {
				continue
			}
			now = now.Add(time.Duration(rnd.IntN(120)) * time.Minute)
			live(rnd, &s, agents, bad)
		}
		ends[s.Phase]++
	}
	if ends[Done] == 0 || ends[Returned] == 0 || ends[Paused] == 0 {
		t.Errorf("the fleets did not live much: %v", ends)
	}
}

// live lets something happen to each agent.
func live(rnd *rand.Rand, s *State, agents []Agent, bad bool) {
	for i := range agents {
		a := &agents[i]
		a.Heard = rnd.IntN(10) > 0
		if !a.Heard || !s.Has(a.Name) {
			continue
		}
		a.Holds = true
		if a.Status == nil {
			a.Status = &protocol.AssignmentStatus{Phase: protocol.PhaseLoading}
			continue
		}
		a.Status.Phase = protocol.PhaseRunning
		a.Status.Trial.RunningS += 1800
		a.Status.Trial.Ended += 10
		if bad {
			a.Status.Trial.Failed += 7
		}
	}
}

func check(t *testing.T, seed uint64, r *workflow.Rollout, before, after State, agents []Agent) {
	t.Helper()
	heard, wellOff := 0, 0
	changing := map[protocol.Site]int{}
	for i := range agents {
		a := &agents[i]
		if a.Heard {
			heard++
		}
		if after.Phase == Running && after.Has(a.Name) && !before.Has(a.Name) {
			if changing[a.Site]++; !a.Heard {
				t.Fatalf("seed %d: %s is away and was taken", seed, a.Name)
			}
		}
		if a.Heard && before.Has(a.Name) && a.Holds && a.Status.Phase == protocol.PhaseRunning {
			wellOff++
		}
	}
	for site, n := range changing {
		if r.PerSite > 0 && n > r.PerSite {
			t.Fatalf("seed %d: %d of site %s at once", seed, n, site)
		}
	}
	switch {
	case after.Phase == Done && (wellOff < heard*9/10 || wellOff == 0):
		t.Fatalf("seed %d: done with %d of %d", seed, wellOff, heard)
	case after.Phase == Running && after.Wave < before.Wave:
		t.Fatalf("seed %d: a wave back: %v, %v", seed, before, after)
	case after.Phase == Running && before.Phase == Running && after.Wave == 0 && r.Waves[0].Percent == 2 && len(after.Taken) > 2:
		t.Fatalf("seed %d: %d agents in a wave of 2 %% of %d", seed, len(after.Taken), heard)
	}
}

package edge_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/stavily/stavily/edge"
	"github.com/stavily/stavily/protocol"
	"github.com/stavily/stavily/wasmhost"
)

// mesh is several agents whose words to each other a relay passes on, as it likes.
type mesh struct {
	t      testing.TB
	all    []*world // the first one's trigger fires
	relay  func(protocol.Hop) []protocol.Hop
	held   []protocol.Hop
	now    time.Time
	asked  map[string][]string // by key: who was asked, in order
	within time.Duration
}

func addressOf(i int) protocol.Address {
	return protocol.Address{Site: "plant", Agent: protocol.AgentName(fmt.Sprintf("a%d", i+1))}
}

// newMesh is n agents: workflow w fires at the first, its action do runs at the members.
func newMesh(t testing.TB, n int, pick protocol.Pick, members ...int) *mesh {
	m := &mesh{t: t, now: start, asked: map[string][]string{}, within: 5 * time.Minute}
	m.relay = func(h protocol.Hop) []protocol.Hop { return []protocol.Hop{h} }
	place := &protocol.Place{Pick: pick, WithinMS: m.within.Milliseconds()}
	for _, i := range members {
		place.Members = append(place.Members, addressOf(i))
	}
	for i := range n {
		w := newWorldAt(t, addressOf(i))
		w.hub.standard()
		from := w.cfg.Address
		w.hub.hop = func(h protocol.Hop) {
			h.From = from // as a relay knows it
			m.held = append(m.held, m.relay(h)...)
		}
		w.plugins.answers["w/do"] = func(c edge.Call) wasmhost.Answer { return m.ran(w, c) }
		m.all = append(m.all, w)
		m.deploy(i, place)
		w.boot()
		w.online()
	}
	return m
}

// deploy gives the i-th agent its part.
func (m *mesh) deploy(i int, place *protocol.Place) {
	w := m.all[i]
	d := w.hub.desired(1)
	if i == 0 {
		of := w.hub.workflow("w")
		of.Actions[0] = protocol.Step{Name: "do", Timeout: 10_000, Place: place, Retry: protocol.Retry{}}
		d = w.hub.desired(1, of)
	}
	for _, member := range place.Members {
		if member == w.cfg.Address {
			d.Hosts = append(d.Hosts, protocol.Host{
				Workflow: "w", Type: protocol.Action, Step: protocol.Step{Name: "do", Release: w.hub.release["work"].Digest, Timeout: 10_000},
				Origins: []protocol.AgentName{m.all[0].cfg.Address.Agent},
			})
		}
	}
	w.hub.deploy(d)
}

func (m *mesh) ran(w *world, c edge.Call) wasmhost.Answer {
	m.asked[c.Request.Key] = append(m.asked[c.Request.Key], string(w.cfg.Address.Agent))
	return wasmhost.Answer{Data: protocol.MustMarshal(string(w.cfg.Address.Agent))}
}

// pass lets the time go on for all agents, and every word arrive.
func (m *mesh) pass(d time.Duration) {
	m.t.Helper()
	end := m.now.Add(d)
	for range 100000 {
		m.settle()
		next := end
		for _, w := range m.all {
			if t := w.agent.Next(); !t.IsZero() && t.Before(next) {
				next = t
			}
		}
		if next.After(m.now) {
			m.now = next
		}
		for _, w := range m.all {
			w.now = m.now
		}
		if !m.now.Before(end) {
			return
		}
		for _, w := range m.all {
			w.agent.Tick(w.now)
		}
	}
	m.t.Fatal("the mesh does not come to rest")
}

func (m *mesh) settle() {
	for {
		for _, w := range m.all {
			w.drain()
		}
		if len(m.held) == 0 {
			return
		}
		held := m.held
		m.held = nil
		for _, h := range held {
			for _, w := range m.all {
				if w.cfg.Address == h.To && w.link.up {
					w.hub.say(protocol.DownHop, h)
				}
			}
		}
	}
}

// cut is a power cut and the boot after it.
func (m *mesh) cut(i int) {
	m.all[i].hub.out = nil
	m.all[i].boot()
}

// kept counts the results that the agents keep for each other.
func (m *mesh) kept() (n int) {
	for _, w := range m.all {
		err := w.store.Scan("hop/", "", func(string, []byte) bool {
			n++
			return true
		})
		if err != nil {
			m.t.Fatal(err)
		}
	}
	return n
}

func (m *mesh) fires(n int) { m.all[0].plugins.answers["w/when"] = fires(n) }

// A step that another agent runs is asked once there, and its run ends at the first.
func TestHop(t *testing.T) {
	m := newMesh(t, 2, protocol.PickRendezvous, 1)
	m.fires(3)
	m.pass(time.Minute)
	hub := m.all[0].hub
	if got := hub.said(); got != "do ok, say ok., do ok, say ok., do ok, say ok." {
		t.Fatalf("results %q", got)
	}
	for _, res := range hub.results {
		if res.Step == "do" && (res.By != addressOf(1) || res.Type != protocol.Action || len(res.Data) == 0) {
			t.Errorf("result %+v", res)
		}
	}
	for key, who := range m.asked {
		if len(who) != 1 || who[0] != "a2" {
			t.Errorf("%s was asked of %v", key, who)
		}
	}
	if len(m.asked) != 3 || m.kept() != 0 {
		t.Errorf("%d keys, %d results are kept for ever", len(m.asked), m.kept())
	}
	if s := m.all[1].agent.Status().Assignments; len(s) != 1 || s[0].Workflow != "w" || s[0].Phase != protocol.PhaseRunning || s[0].Fired != 3 {
		t.Errorf("the member says %+v", s)
	}
}

// A step that another agent runs has its configuration filled there, from the event and the
// results that come with it; where that cannot be, the run hears why.
func TestHopFills(t *testing.T) {
	m := newMesh(t, 2, protocol.PickRendezvous, 1)
	member := m.all[1]
	d := member.hub.desired(2)
	d.Hosts = []protocol.Host{{Workflow: "w", Type: protocol.Action, Step: protocol.Step{
		Name: "do", Release: member.hub.release["work"].Digest, Timeout: 10_000,
		Config: protocol.MustMarshal(map[string]any{"n": nil}), Template: filledBy(),
	}, Origins: []protocol.AgentName{m.all[0].cfg.Address.Agent}}}
	member.hub.deploy(d)
	var told []string
	member.plugins.answers["w/do"] = func(c edge.Call) wasmhost.Answer {
		told = append(told, string(c.Request.Config))
		return wasmhost.Answer{}
	}
	events := []any{map[string]int{"value": 4}, map[string]int{"other": 4}}
	m.all[0].plugins.answers["w/when"] = func(edge.Call) (a wasmhost.Answer) {
		for _, e := range events {
			a.Events = append(a.Events, protocol.MustMarshal(e))
		}
		events = nil
		return a
	}
	m.pass(time.Minute)
	hub := m.all[0].hub
	want := string(protocol.MustMarshal(map[string]int{"n": 4}))
	if got := hub.said(); got != "do ok, do error, say ok., say ok." || len(told) != 1 || told[0] != want {
		t.Fatalf("results %q, the plugin was told %x", got, told)
	}
	for _, res := range hub.results {
		if res.Error != nil && res.Error.Text != `step "do": with.n: ${{ event.value }}: no field "value"` {
			t.Errorf("result %+v", res.Error)
		}
	}
}

// An agent may be a member of its own workflow's place.
func TestHopToItself(t *testing.T) {
	m := newMesh(t, 1, protocol.PickRendezvous, 0)
	m.all[0].offline() // no line is needed for it
	m.fires(1)
	m.pass(time.Minute)
	m.all[0].online()
	m.pass(time.Minute)
	if got := m.all[0].hub.said(); got != "do ok, say ok." {
		t.Fatalf("results %q", got)
	}
}

// A member that is away gets the step when it comes, until its time is over: then the step
// has expired, and nothing that is still on its way has it run.
func TestHopExpires(t *testing.T) {
	for _, c := range []struct {
		name string
		back time.Duration
		want string
	}{
		{"in time", 4 * time.Minute, "do ok, say ok."},
		{"late", 6 * time.Minute, "do error, say ok."},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := newMesh(t, 2, protocol.PickRendezvous, 1)
			m.pass(time.Second)
			var late []protocol.Hop // a broker keeps what it could not deliver
			m.relay = func(h protocol.Hop) []protocol.Hop {
				late = append(late, h)
				return nil
			}
			m.fires(1)
			m.cut(0)
			m.all[0].online()
			m.pass(c.back)
			m.relay = func(h protocol.Hop) []protocol.Hop { return []protocol.Hop{h} }
			m.held = late
			m.pass(10 * time.Minute)
			if got := m.all[0].hub.said(); got != c.want {
				t.Fatalf("results %q, want %q", got, c.want)
			}
			if ran := len(m.asked); ran != strings.Count(c.want, "do ok") {
				t.Errorf("ran %d times", ran)
			}
		})
	}
}

// A Go that lay somewhere begins nothing: the member waits for one that answers its newest
// Take.
func TestHopStaleGo(t *testing.T) {
	m := newMesh(t, 2, protocol.PickRendezvous, 1)
	var goes []protocol.Hop
	m.relay = func(h protocol.Hop) []protocol.Hop {
		if h.Word == protocol.HopGo {
			goes = append(goes, h)
			return nil
		}
		return []protocol.Hop{h}
	}
	m.fires(1)
	m.pass(2 * time.Minute)
	if len(goes) < 2 || len(m.asked) != 0 {
		t.Fatalf("%d goes, asked %v", len(goes), m.asked)
	}
	m.relay = func(protocol.Hop) []protocol.Hop { return nil }
	m.held = goes[:1]
	m.pass(time.Second)
	if len(m.asked) != 0 {
		t.Fatalf("a stale go began the step: %v", m.asked)
	}
}

// A member that never heard its Go does not get another one when the step's time is over.
func TestHopNoGoAfterItsTime(t *testing.T) {
	m := newMesh(t, 2, protocol.PickRendezvous, 1)
	m.relay = func(h protocol.Hop) []protocol.Hop {
		if h.Word == protocol.HopGo && m.now.Before(start.Add(m.within)) {
			return nil
		}
		return []protocol.Hop{h}
	}
	m.fires(1)
	m.pass(20 * time.Minute)
	if got := m.all[0].hub.said(); got != "do error, say ok." || len(m.asked) != 0 {
		t.Fatalf("results %q, asked %v", got, m.asked)
	}
}

// Power cuts on either side: the run ends once; the member asks its plugin again only when
// it was cut off before it knew the result, and under the same key.
func TestHopPowerCuts(t *testing.T) {
	for _, c := range []struct {
		name string
		cut  int // whose power
		at   protocol.HopWord
		runs int
	}{
		{"member before it is told to begin", 1, protocol.HopGo, 1},
		{"member when it is done", 1, protocol.HopDone, 1},
		{"origin when it offers", 0, protocol.HopOffer, 1},
		{"origin when the member takes it", 0, protocol.HopTake, 1},
		{"origin when the member is done", 0, protocol.HopDone, 1},
		{"origin when it lets go", 0, protocol.HopKept, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := newMesh(t, 2, protocol.PickRendezvous, 1)
			cut := false
			m.relay = func(h protocol.Hop) []protocol.Hop {
				if h.Word == c.at && !cut {
					cut = true
					return nil // lost with the power
				}
				return []protocol.Hop{h}
			}
			m.fires(1)
			for range 200 {
				m.pass(100 * time.Millisecond)
				if cut {
					m.cut(c.cut)
					m.all[c.cut].online()
					break
				}
			}
			m.pass(10 * time.Minute)
			if got := m.all[0].hub.said(); !cut || got != "do ok, say ok." {
				t.Fatalf("cut %t, results %q", cut, got)
			}
			for key, who := range m.asked {
				if len(who) != c.runs {
					t.Errorf("%s was asked of %v", key, who)
				}
			}
			if m.kept() != 0 {
				t.Errorf("%d results are kept for ever", m.kept())
			}
		})
	}
}

// T-02, G-13: of a pool exactly one takes each step, and the pool shares the work.
func TestPool(t *testing.T) {
	for _, pick := range []protocol.Pick{protocol.PickRendezvous, protocol.PickRoundRobin, protocol.PickLeastLoaded} {
		m := newMesh(t, 4, pick, 1, 2, 3)
		m.fires(40)
		m.pass(20 * time.Minute)
		by := map[string]int{}
		for key, who := range m.asked {
			if len(who) != 1 {
				t.Errorf("pick %d: %s was asked of %v", pick, key, who)
			}
			by[who[0]]++
		}
		if got := strings.Count(m.all[0].hub.said(), "do ok"); got != 40 {
			t.Fatalf("pick %d: %d runs, %v", pick, got, by)
		}
		if pick != protocol.PickLeastLoaded && len(by) != 3 {
			t.Errorf("pick %d: the work is not shared: %v", pick, by)
		}
	}
}

// T-02: a taker that dies in the middle is replaced when it can no longer be at the step, and
// its own end of it, which comes late, changes nothing.
func TestPoolTakerDies(t *testing.T) {
	m := newMesh(t, 3, protocol.PickRendezvous, 1, 2)
	silent := protocol.Address{}
	var late []protocol.Hop
	m.relay = func(h protocol.Hop) []protocol.Hop {
		if h.Word == protocol.HopGo && silent == (protocol.Address{}) {
			silent = h.To
			return []protocol.Hop{h} // it begins, and then its line is dead
		}
		if h.From == silent {
			late = append(late, h)
			return nil
		}
		return []protocol.Hop{h}
	}
	m.fires(1)
	m.pass(30 * time.Second)
	if len(m.all[0].hub.results) != 0 {
		t.Fatalf("somebody else ran it while the first could be at it: %v", m.asked)
	}
	m.pass(3 * time.Minute)
	if got := m.all[0].hub.said(); got != "do ok, say ok." {
		t.Fatalf("results %q", got)
	}
	if res := m.all[0].hub.results[0]; res.By == silent {
		t.Errorf("the dead one is said to have run it")
	}
	m.relay = func(h protocol.Hop) []protocol.Hop { return []protocol.Hop{h} }
	m.held = late
	m.pass(5 * time.Minute)
	if got := m.all[0].hub.said(); got != "do ok, say ok." || m.kept() != 0 {
		t.Errorf("after it came back: %q, %d kept", got, m.kept())
	}
}

// T-03: all of a group run the step; its result has what each of them said.
func TestHopToAll(t *testing.T) {
	m := newMesh(t, 4, protocol.PickAll, 1, 2, 3)
	m.fires(1)
	m.pass(time.Minute)
	var data map[string]string
	if err := protocol.Unmarshal(m.all[0].hub.results[0].Data, &data); err != nil {
		t.Fatal(err)
	}
	if m.all[0].hub.said() != "do ok, say ok." || len(data) != 3 || data["plant/a3"] != "a3" {
		t.Fatalf("%q, %v", m.all[0].hub.said(), data)
	}
	m = newMesh(t, 4, protocol.PickAll, 1, 2, 3)
	m.all[2].plugins.answers["w/do"] = refuses(protocol.CodePlugin, "no paper")
	m.all[3].offline()
	m.fires(1)
	m.pass(10 * time.Minute)
	res := m.all[0].hub.results[0]
	if res.Status != protocol.StatusError || !strings.Contains(res.Error.Text, "2 of 3 agents: plant/a3: no paper; plant/a4: did not begin it in time") {
		t.Fatalf("%+v", res.Error)
	}
}

// A retryable error has the step offered again, as often as it says.
func TestHopRetries(t *testing.T) {
	m := newMesh(t, 2, protocol.PickRendezvous, 1)
	of := m.all[0].hub.workflow("w")
	of.Actions[0] = protocol.Step{
		Name: "do", Timeout: 10_000, Retry: protocol.Retry{Times: 3, WaitMS: 1000},
		Place: &protocol.Place{Members: []protocol.Address{addressOf(1)}, Pick: protocol.PickRendezvous, WithinMS: 60_000},
	}
	m.all[0].hub.deploy(m.all[0].hub.desired(2, of))
	m.all[1].plugins.answers["w/do"] = failsFirst(2, protocol.CodeRetryable)
	m.fires(1)
	m.pass(5 * time.Minute)
	if got := m.all[0].hub.said(); got != "do ok, say ok." {
		t.Fatalf("results %q", got)
	}
	if res := m.all[0].hub.results[0]; res.Tries != 3 {
		t.Errorf("%d tries", res.Tries)
	}
}

// Whatever the relay loses, repeats and delays, each run ends once, and while nobody loses
// power each step is run once.
func TestHopOnABadLine(t *testing.T) {
	for seed := range uint64(20) {
		rnd := rand.New(rand.NewPCG(seed, 2))
		m := newMesh(t, 4, []protocol.Pick{protocol.PickRendezvous, protocol.PickRoundRobin, protocol.PickLeastLoaded}[seed%3], 1, 2, 3)
		m.within = time.Hour
		var late []protocol.Hop
		m.relay = func(h protocol.Hop) (out []protocol.Hop) {
			for _, old := range late {
				if rnd.IntN(4) == 0 {
					out = append(out, old)
				}
			}
			if rnd.IntN(3) > 0 {
				out = append(out, h)
			}
			if rnd.IntN(3) == 0 {
				late = append(late, h)
				late = late[max(0, len(late)-5):]
			}
			return out
		}
		m.fires(10)
		m.pass(40 * time.Minute)
		said := m.all[0].hub.said()
		if got := strings.Count(said, "say ok."); got != 10 {
			t.Fatalf("seed %d: %d runs ended: %s", seed, got, said)
		}
		for key, who := range m.asked {
			if len(who) != 1 {
				t.Errorf("seed %d: %s was asked of %v", seed, key, who)
			}
		}
	}
}

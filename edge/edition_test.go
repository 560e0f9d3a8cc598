package edge_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stavily/stavily/edge"
	"github.com/stavily/stavily/protocol"
	"github.com/stavily/stavily/wasmhost"
)

// editions is a fleet in which the first and the third agent ask the second one, each for a
// version of the step, while a change goes through it.
type editions struct {
	*mesh
	did map[string][]uint32 // by origin: which of the member's instances ran its steps
}

func newEditions(t testing.TB) *editions {
	e := &editions{mesh: newMesh(t, 3, protocol.PickRendezvous, 1), did: map[string][]uint32{}}
	for n, w := range e.all {
		w.plugins.answers["w/do"] = func(c edge.Call) wasmhost.Answer {
			from := string(c.Request.Event.Data)
			e.did[from] = append(e.did[from], c.Instance.Turn)
			return wasmhost.Answer{}
		}
		w.plugins.answers["w/when"] = once(fmt.Sprint("a", n+1))
		w.seed = byte(100 * n) // no two agents draw the same names of runs
		w.boot()
		w.online()
	}
	return e
}

// once answers the first wake with one event.
func once(text string) func(edge.Call) wasmhost.Answer {
	left := 1
	return func(edge.Call) (a wasmhost.Answer) {
		for ; left > 0; left-- {
			a.Events = append(a.Events, protocol.MustMarshal(text))
		}
		return a
	}
}

// asks has the n-th agent's workflow ask for an edition.
func (e *editions) asks(n int, revision uint64, edition protocol.Edition, of *protocol.Once) {
	w := e.all[n]
	as := w.hub.workflow("w")
	as.Actions[0] = protocol.Step{Name: "do", Timeout: 10_000, Place: &protocol.Place{
		Members: []protocol.Address{addressOf(1)}, Pick: protocol.PickRendezvous, WithinMS: e.within.Milliseconds(), Edition: edition,
	}}
	as.Once = of
	w.hub.deploy(w.hub.desired(revision, as))
}

// hosts has the second agent run editions.
func (e *editions) hosts(revision uint64, of *protocol.Once, all ...protocol.Edition) {
	w := e.all[1]
	d := w.hub.desired(revision)
	for _, edition := range all {
		d.Hosts = append(d.Hosts, protocol.Host{
			Open:     true,
			Workflow: "w", Type: protocol.Action, Edition: edition, Once: of,
			Step: protocol.Step{Name: "do", Release: w.hub.release["work"].Digest, Timeout: 10_000},
		})
	}
	w.hub.deploy(d)
}

func (e *editions) wants(want string) {
	e.t.Helper()
	var got []string
	for _, from := range []string{"a1", "a3"} {
		did := e.did[string(protocol.MustMarshal(from))]
		got = append(got, strings.Trim(fmt.Sprint(did), "[]"))
	}
	if strings.Join(got, "; ") != want {
		e.t.Errorf("done by %q, want %q", got, want)
	}
}

// Two versions of one step stand side by side at one member, and each origin is answered by the
// one that it asks for, and by no other.
func TestEditionsSideBySide(t *testing.T) {
	e := newEditions(t)
	e.hosts(2, nil, 7, 8)
	e.asks(0, 2, 7, nil)
	e.asks(2, 2, 8, nil)
	e.pass(time.Minute)
	e.wants("7; 8")

	e = newEditions(t)
	e.hosts(2, nil, 8)
	e.asks(0, 2, 7, nil)
	e.asks(2, 2, 8, nil)
	e.pass(4 * time.Minute)
	e.wants("; 8")
	e.hosts(3, nil, 7, 8) // it comes while the step waits
	e.pass(2 * time.Minute)
	e.wants("7; 8")
}

// A run ends at the hosts that it began with, also when its agent moves in the middle and the
// power is cut; then the agent says that none is left.
func TestRunEndsAtItsEdition(t *testing.T) {
	e := newEditions(t)
	e.asks(0, 2, 7, nil)
	e.pass(time.Second)
	e.asks(0, 3, 8, nil) // nobody runs either yet
	e.pass(time.Second)
	origin := e.all[0]
	origin.agent.Tick(origin.now)
	if s := origin.status("w"); s.Ending != 1 || s.Phase != protocol.PhaseRunning {
		t.Fatalf("in the middle: %+v", s)
	}
	e.cut(0)
	origin.online()
	e.pass(time.Second)
	e.hosts(2, nil, 7, 8)
	e.pass(2 * time.Minute)
	e.wants("7; ")
	if s := origin.status("w"); s.Ending != 0 {
		t.Errorf("in the end: %+v", s)
	}
	if got := origin.hub.said(); got != "do ok, say ok." {
		t.Errorf("results %q", got)
	}
}

// What two agents detect is done once, also when one of them has moved and the other has not,
// and over a power cut of the member.
func TestOnceOverEditions(t *testing.T) {
	for _, cut := range []bool{false, true} {
		e := newEditions(t)
		of := &protocol.Once{WithinMS: time.Hour.Milliseconds()}
		e.hosts(2, of, 7, 8)
		e.asks(0, 2, 7, of)
		e.pass(time.Minute)
		e.wants("7; ")
		if cut {
			e.cut(1)
			e.all[1].online()
		}
		e.asks(2, 2, 8, of)
		e.pass(time.Minute)
		e.wants("7; ")
	}
}

// A workflow's own step and the one that is run for others, as it was before, go together.
func TestEditionBesideOwnStep(t *testing.T) {
	e := newEditions(t)
	w := e.all[1]
	d := w.hub.desired(2, w.hub.workflow("w"))
	d.Hosts = []protocol.Host{{
		Open:     true,
		Workflow: "w", Type: protocol.Action, Edition: 7,
		Step: protocol.Step{Name: "do", Release: w.hub.release["work"].Digest, Timeout: 10_000},
	}}
	w.hub.deploy(d)
	e.asks(0, 2, 7, nil)
	e.pass(time.Minute)
	e.wants("7; ")
	if got := fmt.Sprint(e.did[string(protocol.MustMarshal("a2"))]); got != "[0]" {
		t.Errorf("its own run was done by %s", got)
	}
	twice := w.hub.desired(3)
	twice.Hosts = append(d.Hosts, d.Hosts...)
	w.hub.deploy(twice)
	w.pass(time.Second)
	if r := w.hub.reported(); r.Refused == nil || !strings.Contains(r.Refused.Error.Text, `step "do" is here twice`) {
		t.Errorf("one edition twice: %+v", r.Refused)
	}
}

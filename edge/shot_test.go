package edge_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stavily/stavily/edge"
	"github.com/stavily/stavily/protocol"
	"github.com/stavily/stavily/wasmhost"
)

// states is a world whose plugins are published in formats of their state.
type states struct{ *world }

// takes has the agent take workflow w with releases that leave a format and read others.
func (v states) takes(revision uint64, format uint32, older ...uint32) {
	v.t.Helper()
	v.hub.state = protocol.StateFormat{Format: format, Older: older}
	version := string('0'+rune(format)) + ".0.0"
	v.hub.publish("tick", protocol.Trigger, version, []byte("tick "+version))
	v.hub.publish("work", protocol.Action, version, []byte("work "+version))
	v.hub.deploy(v.hub.desired(revision, v.hub.workflow("w")))
	v.pass(time.Minute)
	if s := v.agent.Status(); s.Revision != revision {
		v.t.Fatalf("holds %d, want %d: %+v", s.Revision, revision, s.Refused)
	}
}

// puts has the action's plugin put something by, and its trigger leave a state.
func (v states) puts(key, value string) {
	v.t.Helper()
	check(v.t, v.disk.Apply([]edge.Change{{Key: edge.KeyKV("w") + "do/" + key, Value: []byte(value)}}))
	v.leaves(func(protocol.Raw) protocol.Raw { return protocol.MustMarshal(value) })
	v.pass(time.Minute)
}

// leaves has the trigger leave a state every second.
func (v states) leaves(state func(protocol.Raw) protocol.Raw) {
	v.plugins.answers["w/when"] = func(c edge.Call) (a wasmhost.Answer) {
		a.State, a.Next.AfterMS = state(c.Request.State), 1000
		return a
	}
}

// kept returns what the action has put by, and the shots that are there.
func (v states) kept() (kv, shots string) {
	v.t.Helper()
	var all, formats []string
	for _, prefix := range []string{edge.KeyKV("w") + "do/", "shot/w/do/"} {
		check(v.t, v.disk.Scan(prefix, "", func(key string, value []byte) bool {
			if rest, ok := strings.CutPrefix(key, "shot/w/do/"); ok {
				if format := strings.TrimLeft(rest[:10], "0"); !slices.Contains(formats, format) {
					formats = append(formats, format)
				}
				return true
			}
			all = append(all, strings.TrimPrefix(key, prefix)+"="+string(value))
			return true
		}))
	}
	return strings.Join(all, " "), strings.Join(formats, " ")
}

func (v states) wants(kv, shots string) {
	v.t.Helper()
	if gotKV, gotShots := v.kept(); gotKV != kv || gotShots != shots {
		v.t.Errorf("put by %q, shots of %q, want %q, %q", gotKV, gotShots, kv, shots)
	}
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// O-04: a release that comes back meets what it left itself, and not what its successor made of
// it, also when the power was cut in between; what is kept for that is bounded and goes with its
// workflow.
func TestStateComesBack(t *testing.T) {
	for _, cut := range []bool{false, true} {
		v := states{newWorld(t)}
		v.hub.standard()
		v.leaves(func(protocol.Raw) protocol.Raw { return nil })
		v.boot()
		v.online()
		v.takes(2, 1)
		v.puts("a", "1")
		v.takes(3, 2, 1)
		v.wants("a=1", "1")
		v.puts("a", "2")
		v.puts("b", "2")
		if cut {
			v.boot()
			v.online()
		}
		var told protocol.Raw
		v.leaves(func(state protocol.Raw) protocol.Raw {
			told = state
			return state
		})
		v.takes(4, 1)
		v.wants("a=1", "")
		if want := protocol.MustMarshal("1"); string(told) != string(want) {
			t.Errorf("the trigger was told %x, want %x", told, want)
		}
		v.takes(5, 2, 1)
		v.takes(6, 3, 1, 2)
		v.takes(7, 4, 1, 2, 3)
		v.wants("a=1", "2 3")
		v.hub.deploy(v.hub.desired(8))
		v.pass(time.Minute)
		v.wants("", "")
	}
}

// A release in the same format goes on with what is there, and so does one that reads it.
func TestStateGoesOn(t *testing.T) {
	v := states{newWorld(t)}
	v.hub.standard()
	v.boot()
	v.online()
	v.takes(2, 2)
	v.puts("a", "2")
	v.takes(3, 3, 2)
	v.puts("a", "3")
	v.takes(4, 2, 3) // it can read what it finds
	v.wants("a=3", "2 3")
}

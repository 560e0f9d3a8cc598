package workflow

import (
	"slices"
	"strings"
	"time"

	"github.com/stavily/stavily/hub/document"
	"github.com/stavily/stavily/protocol"
)

// TargetKind is how a target names agents.
type TargetKind string

// The kinds (T-01 to T-04, and the hub's own agent).
const (
	OneAgent TargetKind = "agent"    // exactly this one
	Pool     TargetKind = "pool"     // any one of a pool takes it
	Group    TargetKind = "group"    // all whose labels match
	Affected TargetKind = "affected" // the agents on which the trigger fired
	Hub      TargetKind = "hub"      // the hub's own agent
)

// Target is where a step goes.
type Target struct {
	Kind  TargetKind
	Agent protocol.AgentName // for OneAgent
	Pool  string             // for Pool
	Group Selector           // for Group
	// Pick says which agent of a pool takes a step, 0 for the default, and Within how long
	// the step may wait for another agent to begin it, 0 for the default.
	Pick   protocol.Pick
	Within time.Duration
}

// String returns the target as people write it.
func (t Target) String() string {
	switch t.Kind {
	case OneAgent:
		return "agent " + string(t.Agent)
	case Pool:
		return "pool " + t.Pool
	case Group:
		return "group " + t.Group.String()
	default:
		return string(t.Kind)
	}
}

// Selector is a question about labels: all of these pairs must be there. It is in
// ascending order of keys; an empty one matches every agent.
type Selector []Label

// Label is one pair.
type Label struct{ Key, Value string }

// Match reports whether labels hold every pair of s.
func (s Selector) Match(labels map[string]string) bool {
	for _, l := range s {
		if have, ok := labels[l.Key]; !ok || have != l.Value {
			return false
		}
	}
	return true
}

// String returns key=value pairs joined by commas.
func (s Selector) String() string {
	pairs := make([]string, len(s))
	for i, l := range s {
		pairs[i] = l.Key + "=" + l.Value
	}
	return strings.Join(pairs, ",")
}

// FromDocument reads "affected", "hub", {agent: NAME}, {pool: NAME} or
// {group: {label: value}}.
func (t *Target) FromDocument(v document.Value) error {
	if text, ok := v.Text(); ok {
		if k := TargetKind(text); k == Affected || k == Hub {
			t.Kind = k
			return nil
		}
		return v.Errorf("%q: want affected, hub, {agent: NAME}, {pool: NAME} or {group: {label: value}}", text)
	}
	var in struct {
		Agent  *string            `json:"agent"`
		Pool   *string            `json:"pool"`
		Group  *map[string]string `json:"group"`
		Pick   string             `json:"pick"`
		Within time.Duration      `json:"within"`
	}
	if err := v.Decode(&in); err != nil {
		return err
	}
	given := 0
	if in.Agent != nil {
		given++
		t.Kind, t.Agent = OneAgent, protocol.AgentName(*in.Agent)
		if err := t.Agent.Check(); err != nil {
			return v.Errorf("%v", err)
		}
	}
	if in.Pool != nil {
		given++
		t.Kind, t.Pool = Pool, *in.Pool
	}
	if in.Group != nil {
		given++
		t.Kind, t.Group = Group, selectorOf(*in.Group)
	}
	if given != 1 {
		return v.Errorf("%d targets, want exactly one of agent, pool and group", given)
	}
	if t.Within = in.Within; t.Within < 0 || t.Within > withinMax {
		return v.Errorf("within %v, want up to %v", t.Within, withinMax)
	}
	return t.pick(v, in.Pick)
}

// withinMax bounds how long a step waits for another agent.
const withinMax = 30 * 24 * time.Hour

// picks are the ways to choose one of a pool, by their names.
var picks = []string{"rendezvous", "round-robin", "least-loaded"}

func (t *Target) pick(v document.Value, name string) error {
	if name == "" {
		return nil
	}
	if t.Kind != Pool {
		return v.Errorf("pick is for pools, which only one agent takes from")
	}
	at := slices.Index(picks, name)
	if at < 0 {
		return v.Errorf("pick %q: want %s", name, strings.Join(picks, ", "))
	}
	t.Pick = protocol.Pick(at + 1)
	return nil
}

func selectorOf(pairs map[string]string) Selector {
	s := make(Selector, 0, len(pairs))
	for k, v := range pairs {
		s = append(s, Label{k, v})
	}
	slices.SortFunc(s, func(a, b Label) int { return strings.Compare(a.Key, b.Key) })
	return s
}

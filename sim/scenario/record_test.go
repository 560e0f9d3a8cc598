package scenario

import (
	"strings"
	"testing"
	"time"

	"github.com/stavily/stavily/protocol"
)

// What a hub knows becomes a scenario that people can read, and that reads again.
func TestRecord(t *testing.T) {
	agent := func(site, name string) KnownAgent {
		return KnownAgent{
			Address: protocol.Address{Site: protocol.Site(site), Agent: protocol.AgentName(name)}, Platform: "linux-arm64",
			MemoryMiB: 512, Labels: map[string]string{"role": "store"},
		}
	}
	known := Known{Plugins: []KnownPlugin{
		{"tick", "1.0.0", protocol.Trigger}, {"work", "1.2.0", protocol.Action}, {"note", "1.0.0", protocol.Output},
	}}
	for _, name := range []string{"store-1", "store-0", "store-2", "till-3", "till-5", "office"} {
		known.Agents = append(known.Agents, agent("berlin", name))
	}
	known.Agents = append(known.Agents, agent("paris", "shop-0"), agent("paris", "shop-01"))
	for _, name := range []string{"gate-2", "gate-1", "desk-7", "desk-6"} {
		one := agent("rome", name)
		if one.Gateway = strings.HasPrefix(name, "gate"); !one.Gateway {
			one.Via = "gate-2"
		}
		known.Agents = append(known.Agents, one)
	}
	ran := []Ran{{Text: []byte(strings.Replace(oldWork, "tick@1,", "tick@1, with: {metric: x},", 1)), Every: 5*time.Minute + 123}}
	text, err := Record("friday", time.Date(2026, 11, 1, 6, 0, 0, 0, time.UTC), known, ran)
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	s, err := Parse("friday.yaml", text, nil)
	if err != nil {
		t.Fatal(err)
	}
	var groups []string
	for _, g := range s.Fleet {
		groups = append(groups, g.Name)
	}
	if got := strings.Join(groups, " "); got != "store till-3 till-5 office shop-0 shop-01 gate desk" || s.Fleet[0].Count != 3 {
		t.Errorf("groups %s, the first of %d", got, s.Fleet[0].Count)
	}
	if a := s.Agents()[2]; a.Name != "store-2" || a.Site != "berlin" || a.Class.MemoryMiB != 512 || a.Labels[0].Value != "store" {
		t.Errorf("%+v", a)
	}
	if g := s.Fleet[7]; len(g.Behind) != 1 || g.Behind[0] != "gate" || s.Agents()[len(s.Agents())-1].Name != "desk-7" {
		t.Errorf("%+v", g)
	}
	for _, want := range []string{"# The fleet of a hub", "start: 2026-11-01T06:00:00Z", "with: {every: 5m0s}", "work: {model: pass, version: 1.2.0}"} {
		if !strings.Contains(string(text), want) {
			t.Errorf("no %s in\n%s", want, text)
		}
	}
	if strings.Contains(string(text), "allow") || strings.Contains(string(text), "metric") {
		t.Errorf("a model asks for nothing:\n%s", text)
	}
}

package scenario

import (
	"strings"
	"testing"
	"time"

	"github.com/stavily/stavily/protocol"
)

const conditions = `stavily: sim/v1
name: conditions
seed: 3
duration: 6h
plugins: {tick: {model: timer}, work: {model: pass}, note: {model: sink}}
deploy:
  - at: 10m
    workflow: {workflow: watch, trigger: {plugin: tick@1, at: {group: {role: store}}}, actions: [{plugin: work@1}], outputs: [{plugin: note@1}]}
fleet:
  - {group: offices, count: 5}
  - {group: stores, count: 9, labels: {role: store}, link: {profile: lte}, clock: none}
faults:
  - {what: power-cut, at: 2h, where: "site == 'stores'"}
expect:
  - eventually: {cond: "fleet.active('watch') == 100%", within: 3h}
`

const oldWork = `workflow: old
trigger: {plugin: tick@1, at: {group: {role: store}}}
actions: [{plugin: work@1, allow: {process.execute: [uname]}}]
outputs: [{plugin: note@1}]
`

// A rehearsal has the hub's own agents, under the conditions of the scenario.
func TestRehearse(t *testing.T) {
	s, err := Parse("c.yaml", []byte(conditions), nil)
	if err != nil {
		t.Fatal(err)
	}
	known := Known{
		Agents: []KnownAgent{
			{
				Address: protocol.Address{Site: "stores", Agent: "till-1"}, Labels: map[string]string{"role": "store", "env": "p{1}"},
				Platform: "linux-armv7", MemoryMiB: 128,
			},
			{Address: protocol.Address{Site: "hq", Agent: "desk"}},
		},
		Deployed: [][]byte{[]byte(oldWork)},
		Plugins: []KnownPlugin{
			{"tick", "1.2.0", protocol.Trigger}, {"work", "1.0.3", protocol.Action}, {"more", "1.0.3", protocol.Action}, {"last", "1.0.0", protocol.Output},
		},
	}
	out, err := s.Rehearse(known, []byte(strings.Replace(oldWork, "old", "watch", 1)))
	if err != nil {
		t.Fatal(err)
	}
	agents := out.Agents()
	if len(agents) != 2 || agents[0].Name != "till-1" || agents[0].Class.MemoryMiB != 128 || agents[0].Class.Platform != "linux-armv7" || agents[1].Site != "hq" {
		t.Errorf("agents %+v", agents)
	}
	if till := out.Fleet[0]; till.Link.Profile != "lte" || !till.Clock.None || len(till.Labels) != 2 || till.Labels[0].Value.Of("", 0) != "p1" {
		t.Errorf("till %+v", till)
	}
	if desk := out.Fleet[1]; desk.Link.Profile != "" || desk.Clock.None {
		t.Errorf("desk %+v", desk)
	}
	if len(out.Deploys) != 2 || out.Deploys[0].At != time.Second || out.Deploys[1].At != 10*time.Minute || len(out.Faults) != 1 {
		t.Errorf("deploys %+v, faults %+v", out.Deploys, out.Faults)
	}
	if strings.Contains(string(out.Text()), "allow:") {
		t.Errorf("a model is allowed something:\n%s", out.Text())
	}
	if len(out.Plugins) != 5 || out.Plugins[0].Version != "1.0.0" || out.Plugins[3].Version != "1.0.3" || out.Plugins[4].Model != ModelSink {
		t.Errorf("plugins %+v", out.Plugins)
	}
	known.Agents = known.Agents[1:]
	if _, err := out.Rehearse(known, []byte(oldWork)); err == nil || !strings.Contains(err.Error(), "c.yaml:") {
		t.Errorf("a fault for nobody: %v", err)
	}
}

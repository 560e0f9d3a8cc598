package deploy

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stavily/stavily/hub/workflow"
	"github.com/stavily/stavily/protocol"
)

// relay is a workflow that hears one topic and says another, at agents of a role.
func relay(t *testing.T, name, hears, says, role, more string) Deployment {
	t.Helper()
	text := fmt.Sprintf(`workflow: %s
trigger:
  plugin: hear
  with: %s
  at: { group: { role: %s } }
actions: [{ plugin: work }]
outputs:
  - plugin: say
    with: { topic: %s }
%s`, name, hears, role, says, more)
	w, err := workflow.Parse(name+".yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	release := func(plugin string, of protocol.PluginType, asks string) Release {
		r := worldRelease{Plugin: plugin + "@1.0.0", Type: string(of), Asks: []string{asks}}
		return r.release()
	}
	return Deployment{Workflow: w, Releases: []Release{
		release("hear", protocol.Trigger, "mqtt.listen:plant/#"), release("work", protocol.Action, "kv.store"),
		release("say", protocol.Output, "mqtt.publish:plant/#"),
	}}
}

var relayAgents = []Agent{
	{Address: protocol.Address{Site: "north", Agent: "n1"}, Labels: map[string]string{"role": "pump"}},
	{Address: protocol.Address{Site: "north", Agent: "n2"}, Labels: map[string]string{"role": "tank"}},
	{Address: protocol.Address{Site: "south", Agent: "s1"}, Labels: map[string]string{"role": "mill"}},
}

var relayGrants = []protocol.Grant{{Capability: protocol.CapListen}, {Capability: protocol.CapMQTT}}

func TestCirclesAreRefused(t *testing.T) {
	topic := func(name string) string { return "{ topic: " + name + " }" }
	a := relay(t, "a", topic("plant/1"), "plant/2", "pump", "")
	b := relay(t, "b", topic("plant/2"), "plant/3", "tank", "")
	for _, c := range []struct {
		name  string
		d     Deployment
		among []Deployment
		want  string // parts of the error, apart by |; empty for none
	}{
		{
			"two", relay(t, "c", topic("plant/2"), "plant/1", "tank", ""),
			[]Deployment{a},
			`c.yaml:8:5: outputs[0]|"c" (c.yaml:8:5)|"plant/1"|"a" (a.yaml:8:5)|triggers "c" (c.yaml:3:3) again`,
		},
		{"three", relay(t, "c", topic("plant/3"), "plant/1", "pump", ""), []Deployment{a, b}, `"c" (c.yaml:8:5)|"a" (a.yaml:8:5)|"b" (b.yaml:8:5)`},
		{"itself", relay(t, "c", topic("plant/+"), "plant/9", "pump", ""), nil, `"c" (c.yaml:8:5)|triggers "c"`},
		{"by the scope where nothing is named", relay(t, "c", "{}", "plant/9", "pump", ""), nil, `triggers "c"`},
		{"a row that does not close", relay(t, "c", topic("plant/3"), "plant/4", "pump", ""), []Deployment{a, b}, ""},
		{"a circle of others", relay(t, "c", topic("plant/2"), "plant/4", "pump", ""), []Deployment{a, relay(t, "b", topic("plant/2"), "plant/1", "pump", "")}, ""},
		{"its own former self", relay(t, "a", topic("plant/7"), "plant/1", "pump", ""), []Deployment{a}, ""},
		{"another site", relay(t, "c", topic("plant/2"), "plant/1", "mill", ""), []Deployment{a}, ""},
		{"where nobody is yet", relay(t, "c", topic("plant/2"), "plant/1", "nobody", ""), []Deployment{a}, `triggers "c"`},
		{"allowed", relay(t, "c", topic("plant/2"), "plant/1", "tank", "limit: { runs: 1, per: 1m }\nallow-circle: true\n"), []Deployment{a}, ""},
		{"allowed by the other", relay(t, "c", topic("plant/8"), "plant/9", "tank", ""), []Deployment{relay(t, "d", topic("plant/9"), "plant/8", "pump",
			"limit: { runs: 1, per: 1m }\nallow-circle: true\n")}, ""},
		{"out of its scopes", relay(t, "c", topic("other/1"), "other/1", "pump", ""), nil, `triggers "c"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := CheckCircle(&c.d, c.among, relayAgents, relayGrants)
			if (err == nil) != (c.want == "") {
				t.Fatalf("got %v", err)
			}
			for part := range strings.SplitSeq(c.want, "|") {
				if err != nil && !strings.Contains(err.Error(), part) {
					t.Errorf("%v, want %s", err, part)
				}
			}
		})
	}
}

// What is not granted is not said.
func TestNoCircleWithoutAGrant(t *testing.T) {
	d := relay(t, "c", "{ topic: plant/1 }", "plant/1", "pump", "")
	if err := CheckCircle(&d, nil, relayAgents, nil); err != nil {
		t.Error(err)
	}
}

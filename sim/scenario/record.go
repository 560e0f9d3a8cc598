package scenario

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/stavily/stavily/protocol"
)

// Ran is what a hub remembers of a workflow.
type Ran struct {
	Text []byte
	// Every is how long lay between two runs of one agent on the mean, 0 when that is not
	// known. A model of its trigger fires so often.
	Every time.Duration
}

// recordText is what a recorded scenario has besides the fleet and what ran there.
const recordText = `# The fleet of a hub as it knew it, and what ran there. It is yours from here on: say
# what the lines, clocks, disks and signals of a group are, let things go wrong, and say
# what must hold.
stavily: sim/v1
name: recorded
seed: 1
duration: 24h
settle: 30m
fleet: []
faults:
  # as an example; see sim/README.md for all of them
  - {at: 6h, for: 30m, what: partition, where: "sample(10%)"}
expect:
  - eventually: {cond: "fleet.converged == 100%", within: 2h}
  - never: "alerts.lost > 0"
`

// Record returns what a hub knows as the text of a scenario that begins at start, for
// people to go on from. Agents that are alike and numbered are one group. Plugins answer as
// models. The error is that of Parse.
func Record(name string, start time.Time, k Known, ran []Ran) ([]byte, error) {
	var doc yaml.Node
	if err := yaml.Unmarshal([]byte(recordText), &doc); err != nil {
		return nil, err
	}
	root := doc.Content[0]
	put(root, "name", name)
	put(root, "start", start.UTC().Format(time.RFC3339))
	fleet := &yaml.Node{Kind: yaml.SequenceNode}
	groups := numbered(k.Agents)
	groupOf := func(name protocol.AgentName) string {
		for i := range groups {
			if slices.Contains(groups[i].names, name) {
				return groups[i].name()
			}
		}
		return string(name)
	}
	for i := range groups {
		node := groups[i].node()
		behind(node, k.gateways(&groups[i].first, groupOf))
		fleet.Content = append(fleet.Content, node)
	}
	replace(root, "fleet", fleet)
	if len(ran) > 0 {
		models := bindModels(root, k.Plugins)
		deploys := &yaml.Node{Kind: yaml.SequenceNode}
		for _, of := range ran {
			if err := deployAt(deploys, before, of.Text, models); err != nil {
				return nil, err
			}
			paced(deploys.Content[len(deploys.Content)-1], of.Every, models)
		}
		replace(root, "deploy", deploys)
	}
	text := encode(&doc)
	_, err := Parse(name+".yaml", text, nil)
	return text, err
}

// paced lets the model of a workflow's trigger fire as often as the trigger did.
func paced(deploy *yaml.Node, every time.Duration, models []string) {
	trigger := lookup(lookup(deploy, "workflow"), "trigger")
	plugin := lookup(trigger, "plugin")
	if plugin == nil {
		return
	}
	name, _, _ := strings.Cut(plugin.Value, "@")
	if every > 0 && slices.Contains(models, name) {
		replace(trigger, "with", mapping("every", every.Round(time.Second).String()))
	}
}

// alike are agents that differ in their number only.
type alike struct {
	first KnownAgent
	stem  string // of their names; empty: there is one
	from  int    // the first one's number
	names []protocol.AgentName
}

// numbered gathers agents of one site, class and labels whose names count without a hole.
func numbered(agents []KnownAgent) (out []alike) {
	stems := map[string][]int{} // indexes of agents, by everything that must be alike; by number
	var order []string
	for i := range agents {
		a := &agents[i]
		stem, _, ok := number(string(a.Address.Agent))
		if !ok {
			stem = string(a.Address.Agent)
		}
		key := fmt.Sprintf("%s\x00%s\x00%s\x00%v\x00%t\x00%t", stem, a.Address.Site, a.class(), a.Labels, a.Gateway,
			a.Via != "")
		if stems[key] == nil {
			order = append(order, key)
		}
		stems[key] = append(stems[key], i)
	}
	for _, key := range order {
		of := stems[key]
		if stem, from, ok := counts(agents, of); ok {
			one := alike{first: agents[of[0]], stem: stem, from: from}
			for _, i := range of {
				one.names = append(one.names, agents[i].Address.Agent)
			}
			out = append(out, one)
			continue
		}
		for _, i := range of {
			out = append(out, alike{first: agents[i], names: []protocol.AgentName{agents[i].Address.Agent}})
		}
	}
	return out
}

// number splits name-12 into name- and 12.
func number(name string) (stem string, n int, ok bool) {
	at := strings.LastIndexByte(name, '-')
	n, err := strconv.Atoi(name[at+1:])
	return name[:at+1], n, at > 0 && err == nil && strconv.Itoa(n) == name[at+1:]
}

// counts reports whether the agents of those indexes are numbered without a hole, and from where.
func counts(agents []KnownAgent, of []int) (stem string, from int, ok bool) {
	slices.SortFunc(of, func(a, b int) int {
		_, x, _ := number(string(agents[a].Address.Agent))
		_, y, _ := number(string(agents[b].Address.Agent))
		return x - y
	})
	for i, at := range of {
		s, n, numbered := number(string(agents[at].Address.Agent))
		if i == 0 {
			from = n
		}
		if !numbered || n != from+i {
			return "", 0, false
		}
		stem = s
	}
	return stem, from, len(of) > 1
}

// name is the group's.
func (a *alike) name() string {
	if a.stem == "" {
		return string(a.first.Address.Agent)
	}
	return strings.TrimSuffix(a.stem, "-")
}

func (a *alike) node() *yaml.Node {
	n := a.first.group(0, []*yaml.Node{{Kind: yaml.MappingNode}})
	if a.stem != "" {
		put(n, "group", a.name())
		put(n, "count", strconv.Itoa(len(a.names)))
		name := a.stem + "{i}"
		if a.from > 0 {
			name = fmt.Sprintf("%s{i+%d}", a.stem, a.from)
		}
		replace(n, "name", &yaml.Node{Kind: yaml.ScalarNode, Value: name, Style: yaml.DoubleQuotedStyle})
	}
	return n
}

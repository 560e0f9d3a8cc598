package scenario

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	platform "github.com/stavily/stavily/firmware-targets"
	"github.com/stavily/stavily/protocol"
)

// Known is what a hub knows of its fleet and of what runs there.
type Known struct {
	Agents   []KnownAgent
	Deployed [][]byte // the texts of workflows
	Plugins  []KnownPlugin
}

// KnownAgent is one agent of a hub.
type KnownAgent struct {
	Address   protocol.Address
	Labels    map[string]string
	Platform  string // empty: not known
	MemoryMiB int    // 0: not known
	Gateway   bool   // it carries for its site
	// Via is the gateway by which it reached the hub last; empty: its own line.
	Via protocol.AgentName
}

// KnownPlugin is a release that a workflow uses.
type KnownPlugin struct {
	Name    protocol.PluginName
	Version string
	Type    protocol.PluginType
}

const (
	// settled is how long a known fleet runs before the change comes, when the scenario
	// does not say when.
	settled = 10 * time.Minute
	// before is when a known fleet gets what it runs already.
	before = time.Second
)

// Rehearse returns the scenario with a real fleet in place of its own, with what runs
// there, and with change deployed where the scenario deployed its first workflow. Lines,
// clocks, disks and signals are those of the scenario's group whose labels the agent has,
// or else of its first. A plugin that the scenario does not bind answers as a model. The
// error is that of Parse: a fault may select by a group that is gone; select by sites and
// labels.
func (s *Scenario) Rehearse(k Known, change []byte) (*Scenario, error) {
	at := settled
	if len(s.Deploys) > 0 && s.Deploys[0].At > before {
		at = s.Deploys[0].At
	}
	root := s.tree()
	templates := lookup(root, "fleet").Content
	fleet := &yaml.Node{Kind: yaml.SequenceNode}
	for i := range k.Agents {
		node := k.Agents[i].group(s.like(&k.Agents[i]), templates)
		behind(node, k.gateways(&k.Agents[i], func(name protocol.AgentName) string { return string(name) }))
		fleet.Content = append(fleet.Content, node)
	}
	replace(root, "fleet", fleet)
	models := bindModels(root, k.Plugins)
	deploys := &yaml.Node{Kind: yaml.SequenceNode}
	for _, text := range k.Deployed {
		if err := deployAt(deploys, before, text, models); err != nil {
			return nil, err
		}
	}
	if err := deployAt(deploys, at, change, models); err != nil {
		return nil, err
	}
	replace(root, "deploy", deploys)
	return s.again(encode(root))
}

// gateways returns the groups of those by which a reaches the hub: the one by which it did last,
// and then the others of its site; none for an agent with a line of its own.
func (k *Known) gateways(a *KnownAgent, group func(protocol.AgentName) string) (out []string) {
	if a.Via == "" {
		return nil
	}
	for _, first := range []bool{true, false} {
		for i := range k.Agents {
			g := &k.Agents[i]
			name := group(g.Address.Agent)
			if g.Gateway && g.Via == "" && g.Address.Site == a.Address.Site && first == (g.Address.Agent == a.Via) &&
				!slices.Contains(out, name) {
				out = append(out, name)
			}
		}
	}
	return out
}

// behind says in a group's node who its gateways are.
func behind(node *yaml.Node, groups []string) {
	if len(groups) == 0 {
		return
	}
	list := &yaml.Node{Kind: yaml.SequenceNode, Style: yaml.FlowStyle}
	for _, g := range groups {
		list.Content = append(list.Content, &yaml.Node{
			Kind: yaml.ScalarNode, Value: g,
			Style: yaml.DoubleQuotedStyle,
		})
	}
	replace(node, "behind", list)
}

// like returns the index of the group that a is most like.
func (s *Scenario) like(a *KnownAgent) int {
	at := slices.IndexFunc(s.Fleet, func(g Group) bool {
		return len(g.Labels) > 0 && !slices.ContainsFunc(g.Labels, func(l Label) bool {
			return l.Value.Of(g.Name, 0) != a.Labels[l.Key]
		})
	})
	return max(at, 0)
}

// group is the agent as a group of one.
func (a *KnownAgent) group(like int, templates []*yaml.Node) *yaml.Node {
	n := &yaml.Node{Kind: yaml.MappingNode}
	put(n, "group", string(a.Address.Agent))
	put(n, "count", "1")
	put(n, "name", string(a.Address.Agent))
	put(n, "site", string(a.Address.Site))
	put(n, "class", a.class())
	labels := &yaml.Node{Kind: yaml.MappingNode}
	for _, key := range sortedKeys(a.Labels) {
		value := strings.NewReplacer("{", "", "}", "").Replace(a.Labels[key]) // a label is no pattern
		replace(labels, key, &yaml.Node{Kind: yaml.ScalarNode, Value: value, Style: yaml.DoubleQuotedStyle})
	}
	if len(labels.Content) > 0 {
		replace(n, "labels", labels)
	}
	for _, key := range []string{"link", "online", "clock", "disk", "budget", "lanes", "signals"} {
		if shape := lookup(templates[like], key); shape != nil {
			replace(n, key, shape)
		}
	}
	return n
}

// class is the agent's platform with its memory, or the commonest of each that is not
// known.
func (a *KnownAgent) class() string {
	p, ok := platform.Lookup(a.Platform)
	if !ok {
		p, _ = platform.Lookup("linux-amd64")
	}
	if a.MemoryMiB <= 0 {
		return p.Name
	}
	return fmt.Sprintf("%s-%d", p.Name, a.MemoryMiB)
}

func sortedKeys(m map[string]string) []string {
	keys := make([]string, 0, len(m))
	for key := range m {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}

// disallow takes from a workflow what is allowed to plugins for which a model answers: a
// model asks for nothing, and nobody may be allowed what he does not ask for.
func disallow(workflow *yaml.Node, models []string) {
	steps := []*yaml.Node{lookup(workflow, "trigger")}
	for _, key := range []string{"actions", "outputs"} {
		if list := lookup(workflow, key); list != nil {
			steps = append(steps, list.Content...)
		}
	}
	for _, step := range steps {
		plugin := lookup(step, "plugin")
		if plugin == nil {
			continue
		}
		name, _, _ := strings.Cut(plugin.Value, "@")
		for i := 0; slices.Contains(models, name) && i+1 < len(step.Content); i += 2 {
			if step.Content[i].Value == "allow" {
				step.Content = slices.Delete(step.Content, i, i+2)
				break
			}
		}
	}
}

// deployAt adds a workflow that is written right here.
func deployAt(list *yaml.Node, at time.Duration, text []byte, models []string) error {
	var doc yaml.Node
	if err := yaml.Unmarshal(text, &doc); err != nil || len(doc.Content) == 0 {
		return fmt.Errorf("workflow: no YAML: %w", err)
	}
	disallow(doc.Content[0], models)
	item := &yaml.Node{Kind: yaml.MappingNode}
	put(item, "at", formatDuration(at))
	replace(item, "workflow", doc.Content[0])
	list.Content = append(list.Content, item)
	return nil
}

// bindModels lets models answer for the plugins that the scenario does not bind, and
// returns the names of all for which models do.
func bindModels(root *yaml.Node, plugins []KnownPlugin) (modelled []string) {
	bound := lookup(root, "plugins")
	if bound == nil {
		bound = &yaml.Node{Kind: yaml.MappingNode}
		replace(root, "plugins", bound)
	}
	models := map[protocol.PluginType]Model{
		protocol.Trigger: ModelTimer, protocol.Action: ModelPass, protocol.Output: ModelSink,
	}
	for _, p := range plugins {
		if lookup(bound, string(p.Name)) == nil {
			replace(bound, string(p.Name), mapping("model", string(models[p.Type]), "version", p.Version))
		}
		if lookup(lookup(bound, string(p.Name)), "model") != nil {
			modelled = append(modelled, string(p.Name))
		}
	}
	return modelled
}

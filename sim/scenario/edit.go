package scenario

import (
	"bytes"
	"slices"
	"strconv"
	"time"

	"go.yaml.in/yaml/v3"
)

// Cut is what to leave out of a scenario. The zero Cut leaves out nothing.
type Cut struct {
	Faults   []int         // indexes of faults
	Groups   []int         // indexes of groups
	Deploys  []int         // indexes in the order of the file
	Counts   []int         // new counts of groups by index; 0 leaves one
	Duration time.Duration // 0 leaves it
	Seed     uint64        // 0 leaves it
}

// Cut returns the scenario without a part of it, its comments kept. The error is that of
// Parse: what is left may refer to what is gone.
func (s *Scenario) Cut(c Cut) (*Scenario, error) {
	root := s.tree()
	for i, n := range c.Counts {
		if fleet := lookup(root, "fleet"); n > 0 && fleet != nil && i < len(fleet.Content) {
			put(fleet.Content[i], "count", strconv.Itoa(n))
		}
	}
	drop(root, "faults", c.Faults)
	drop(root, "fleet", c.Groups)
	drop(root, "deploy", c.Deploys)
	if c.Duration > 0 {
		put(root, "duration", formatDuration(c.Duration))
	}
	if c.Seed > 0 {
		put(root, "seed", strconv.FormatUint(c.Seed, 10))
	}
	return s.again(encode(root))
}

// Until returns the scenario ended at d, which leaves out what happens later and cuts
// off what lasts longer.
func (s *Scenario) Until(d time.Duration) (*Scenario, error) {
	if d >= s.Duration {
		return s, nil
	}
	root := s.tree()
	var faults, deploys []int
	for _, f := range s.Faults {
		switch list := lookup(root, "faults"); {
		case f.At >= d:
			faults = append(faults, f.Index)
		case f.Rate == 0 && f.At+f.For > d:
			put(list.Content[f.Index], "for", formatDuration(d-f.At))
		case f.Rate > 0 && f.Until > d:
			put(list.Content[f.Index], "until", formatDuration(d))
		}
	}
	for _, dep := range s.Deploys {
		if dep.At >= d {
			deploys = append(deploys, dep.Index)
		}
	}
	for _, e := range s.Expects {
		item := lookup(root, "expect").Content[e.Index]
		if within := lookup(lookup(item, string(e.Kind)), "within"); within != nil && e.Within > d {
			within.Value = formatDuration(d)
		}
	}
	drop(root, "faults", faults)
	drop(root, "deploy", deploys)
	put(root, "duration", formatDuration(d))
	return s.again(encode(root))
}

// WithWorkflow returns the scenario with a workflow's file deployed instead of all that
// it deploys, at the time of the first.
func (s *Scenario) WithWorkflow(path string) (*Scenario, error) {
	at := time.Minute
	if len(s.Deploys) > 0 {
		at = s.Deploys[0].At
	}
	root := s.tree()
	item := mapping("at", formatDuration(at), "workflow", path)
	replace(root, "deploy", &yaml.Node{Kind: yaml.SequenceNode, Content: []*yaml.Node{item}})
	return s.again(encode(root))
}

// WithPlugin returns the scenario with a plugin's source bound to its name.
func (s *Scenario) WithPlugin(name, folder string) (*Scenario, error) {
	root := s.tree()
	plugins := lookup(root, "plugins")
	if plugins == nil {
		plugins = &yaml.Node{Kind: yaml.MappingNode}
		replace(root, "plugins", plugins)
	}
	replace(plugins, name, mapping("folder", folder))
	return s.again(encode(root))
}

// Text returns the scenario as YAML, its comments kept.
func (s *Scenario) Text() []byte { return encode(s.tree()) }

// tree reads the text again, so that it can be changed.
func (s *Scenario) tree() *yaml.Node {
	var top yaml.Node
	if err := yaml.Unmarshal(s.text, &top); err != nil || len(top.Content) == 0 {
		return &yaml.Node{Kind: yaml.MappingNode} // not after Parse
	}
	return top.Content[0]
}

func encode(root *yaml.Node) []byte {
	var b bytes.Buffer
	enc := yaml.NewEncoder(&b)
	enc.SetIndent(2)
	if err := enc.Encode(root); err != nil {
		return nil
	}
	return b.Bytes()
}

// lookup returns a key's value, nil when there is none.
func lookup(n *yaml.Node, name string) *yaml.Node {
	if n == nil || n.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == name {
			return n.Content[i+1]
		}
	}
	return nil
}

// put sets a key to a plain value.
func put(n *yaml.Node, name, text string) {
	replace(n, name, &yaml.Node{Kind: yaml.ScalarNode, Value: text})
}

// replace sets a key's value, keeping a comment after it.
func replace(n *yaml.Node, name string, with *yaml.Node) {
	if old := lookup(n, name); old != nil {
		comment := old.LineComment
		*old = *with
		old.LineComment = comment
		return
	}
	n.Content = append(n.Content, &yaml.Node{Kind: yaml.ScalarNode, Value: name}, with)
}

func mapping(pairs ...string) *yaml.Node {
	n := &yaml.Node{Kind: yaml.MappingNode, Style: yaml.FlowStyle}
	for i := 0; i+1 < len(pairs); i += 2 {
		put(n, pairs[i], pairs[i+1])
	}
	return n
}

// drop leaves out items of a list, and the list when nothing is left.
func drop(root *yaml.Node, name string, indexes []int) {
	list := lookup(root, name)
	if list == nil || list.Kind != yaml.SequenceNode || len(indexes) == 0 {
		return
	}
	var kept []*yaml.Node
	for i, item := range list.Content {
		if !slices.Contains(indexes, i) {
			kept = append(kept, item)
		}
	}
	list.Content = kept
}

package scenario

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/stavily/stavily/protocol"
	"github.com/stavily/stavily/text/nearest"
	"github.com/stavily/stavily/text/strict"
)

var models = []Model{ModelTimer, ModelThreshold, ModelCounter, ModelPass, ModelSink}

var pluginKeys = []key[Plugin]{
	{
		"model",
		"a behaviour of the simulator's own",
		enum("timer", "threshold", "counter", "pass", "sink"),
		false,
		set(parseModel, func(p *Plugin) *Model { return &p.Model }),
	},
	{
		"module",
		"a WebAssembly module",
		formText,
		false,
		readThere(func(p *Plugin) *string { return &p.Module }, false),
	},
	{
		"folder", "a plugin's source, built before the run", formText, false,
		readThere(func(p *Plugin) *string { return &p.Folder }, true),
	},
	{
		"version",
		"the release's version; 1.0.0 when left out",
		formText,
		false,
		set(parsePath, func(p *Plugin) *string { return &p.Version }),
	},
	{
		"takes",
		"model: how long an answer takes",
		formSpread,
		false,
		set(parseSpread, func(p *Plugin) *Spread { return &p.Takes }),
	},
	{
		"fails",
		"model: the part of calls that end in an error",
		formShare,
		false,
		set(parseShare, func(p *Plugin) *float64 { return &p.Fails }),
	},
	{
		"bytes",
		"model: the size of an answer",
		formSize,
		false,
		set(parseBytes, func(p *Plugin) *int { return &p.Bytes }),
	},
	{
		"memory",
		"model: what an instance of it holds, which is also its limit",
		formSize,
		false,
		set(parseSize, func(p *Plugin) *int64 { return &p.Memory }),
	},
}

func parseModel(text string) (Model, error) {
	if slices.Contains(models, Model(text)) {
		return Model(text), nil
	}
	var known []string
	for _, m := range models {
		known = append(known, string(m))
	}
	return "", fmt.Errorf("unknown model %q%s", strict.Clip(text), nearest.Suggest(text, known))
}

func parseBytes(text string) (int, error) {
	n, err := parseSize(text)
	if err == nil && n > protocol.DataMax {
		err = fmt.Errorf("%s, limit of an answer %d", text, protocol.DataMax)
	}
	return int(n), err
}

// readThere reads a path that must exist.
func readThere(field func(*Plugin) *string, folder bool) func(value, *Plugin) {
	return func(v value, p *Plugin) {
		path, ok := v.scalar("a path")
		if !ok {
			return
		}
		if v.r.files == nil {
			v.errorf("%s: no files can be read here", path)
			return
		}
		info, err := v.r.files.Stat(path)
		switch {
		case err != nil:
			v.errorf("%v", err)
		case info.IsDir() != folder && folder:
			v.errorf("%s is no folder", path)
		case info.IsDir() != folder:
			v.errorf("%s is a folder; say folder: for a plugin's source", path)
		default:
			*field(p) = path
		}
	}
}

func readPlugins(v value, s *Scenario) {
	v.pairs(func(name string, at *yaml.Node, item value) {
		if err := protocol.PluginName(name).Check(); err != nil {
			v.r.at(at, item.path, "%v", err)
		}
		p := Plugin{Name: name, Version: "1.0.0", Pos: Pos{at.Line, at.Column}}
		before := len(v.r.Errors())
		fields(item, pluginKeys, &p)
		given := 0
		for _, what := range []string{string(p.Model), p.Module, p.Folder} {
			if what != "" {
				given++
			}
		}
		if given != 1 && before == len(v.r.Errors()) {
			item.errorf("%d of model, module and folder, want one", given)
		}
		for _, only := range []string{"takes", "fails", "bytes", "memory"} {
			if key, has := item.lookup(only); has && p.Model == "" {
				key.errorf("only a model has it")
			}
		}
		s.Plugins = append(s.Plugins, p)
	})
}

var deployKeys = []key[Deploy]{
	{"at", "when", formMoment, true, readMoment(func(d *Deploy) *time.Duration { return &d.At })},
	{
		"workflow",
		"the workflow: a file, or written here",
		anyOf(formText, &form{map[string]any{"type": "object"}}),
		false,
		readWorkflow,
	},
	{
		"remove",
		"the name of a workflow to take away",
		formName,
		false,
		readName(func(d *Deploy) *string { return &d.Name }),
	},
	{
		"labels",
		"labels that the operator gives agents, instead of a workflow; an empty one is taken away",
		mapOf(formScalar),
		false,
		readSetLabels,
	},
	{
		"retire",
		"a selector of agents that the operator removes from the fleet, as stolen or scrapped ones",
		text("a selector"),
		false,
		func(v value, d *Deploy) { d.Where, d.Retire = v.r.selector(v), true },
	},
	{
		"where",
		"labels: which agents get them: a selector such as site in ['store-1'] && sample(3)",
		text("a selector"),
		false,
		func(v value, d *Deploy) { d.Where = v.r.selector(v) },
	},
}

func readDeploys(v value, s *Scenario) {
	v.each(func(i int, item value) {
		d := Deploy{Index: i, Pos: item.pos()}
		before := len(v.r.Errors())
		fields(item, deployKeys, &d)
		wishes := 0
		for _, name := range []string{"workflow", "remove", "labels", "retire"} {
			if _, has := item.lookup(name); has {
				wishes++
			}
		}
		_, d.Remove = item.lookup("remove")
		where, some := item.lookup("where")
		switch {
		case wishes != 1:
			item.errorf("%d of workflow, remove, labels and retire, want one", wishes)
		case some && d.Labels == nil:
			where.errorf("only labels have it; a workflow says by itself which agents it is for")
		case before != len(v.r.Errors()):
			return
		case d.Remove && !s.deployedBy(d.Name, d.At):
			item.errorf("remove: no workflow %q is deployed by then", d.Name)
		}
		s.Deploys = append(s.Deploys, d)
	})
	slices.SortStableFunc(s.Deploys, func(a, b Deploy) int { return int((a.At - b.At) / time.Microsecond) })
}

// readSetLabels reads labels as an operator gives them: texts, no patterns.
func readSetLabels(v value, d *Deploy) {
	v.pairs(func(name string, at *yaml.Node, item value) {
		text, ok := item.scalar("a label's value")
		switch {
		case !ok:
		case !isName(name):
			v.r.at(at, item.path, "%q is no label; want a-z, 0-9, - and .", strict.Clip(name))
		case len(d.Labels) >= protocol.LabelsMax:
			v.r.at(at, item.path, "more than %d labels", protocol.LabelsMax)
		default:
			d.Labels = append(d.Labels, SetLabel{name, text})
		}
	})
	if len(d.Labels) == 0 {
		v.errorf("empty: which labels?")
	}
	slices.SortFunc(d.Labels, func(a, b SetLabel) int { return strings.Compare(a.Key, b.Key) })
}

// deployedBy reports whether a workflow is deployed at a time.
func (s *Scenario) deployedBy(name string, at time.Duration) bool {
	return slices.ContainsFunc(s.Deploys, func(o Deploy) bool { return o.Name == name && o.At <= at })
}

func readWorkflow(v value, d *Deploy) {
	d.File, d.Workflow = v.r.Name(), v.r.written(v.node)
	if path := v.node.Value; v.node.Kind == yaml.ScalarNode && !strings.Contains(path, "\n") {
		d.File = path
		if v.r.files == nil {
			v.errorf("%s: no files can be read here", path)
			return
		}
		text, err := v.r.files.ReadFile(path)
		if err != nil {
			v.errorf("%v", err)
			return
		}
		d.Workflow = text
	}
	file := strict.NewFile(d.File, d.Workflow)
	root := strict.Parse(file, d.Workflow, strict.Bounds{Size: SizeMax, Depth: depthMax})
	for _, e := range file.Failed() { // in a file of its own it has places of its own
		e.From = [2]int{v.node.Line, v.node.Column}
		v.r.Add(e)
	}
	if root == nil {
		return
	}
	if name := strict.Lookup(root, "workflow"); name != nil {
		d.Name = name.Value
	}
	if err := protocol.WorkflowName(d.Name).Check(); err != nil {
		v.errorf("%s: %v", d.File, err)
	}
}

// written returns the text of a node such that its lines and columns are those of the
// file, where the node is a mapping of its own lines; otherwise written anew.
func (r *reader) written(n *yaml.Node) []byte {
	if n.Kind == yaml.ScalarNode {
		return []byte(n.Value)
	}
	if n.Kind != yaml.MappingNode || n.Style&yaml.FlowStyle != 0 || len(n.Content) == 0 {
		text, _ := yaml.Marshal(n)
		return text
	}
	indent := strings.Repeat(" ", n.Column-1)
	lines := []string{strings.Repeat("\n", n.Line-1) + r.Line(n.Line)}
	for at := n.Line + 1; at <= r.Lines(); at++ {
		line := r.Line(at)
		if strings.TrimSpace(line) != "" && !strings.HasPrefix(line, indent) {
			break
		}
		lines = append(lines, line)
	}
	return []byte(strings.Join(lines, "\n") + "\n")
}

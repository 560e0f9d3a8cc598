package scenario

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	platform "github.com/stavily/stavily/firmware-targets"
	"github.com/stavily/stavily/protocol"
	"github.com/stavily/stavily/text/nearest"
	"github.com/stavily/stavily/text/strict"
)

// AgentsMax bounds a scenario's fleet.
const AgentsMax = 200_000

var groupKeys = []key[Group]{
	{"group", "the group's name", formName, true, readName(func(g *Group) *string { return &g.Name })},
	{"count", "how many agents", formCount, true, set(parseCount, func(g *Group) *int { return &g.Count })},
	{
		"name",
		"the agents' names; {group}-{i} when left out",
		text("a pattern such as store-{i/5}-{i%5}"),
		false,
		set(ParsePattern, func(g *Group) *Pattern { return &g.Agent }),
	},
	{
		"class",
		"the kind of device: a platform of firmware-targets, with -MEMORY for another size; or parts of several",
		anyOf(formText, mapOf(formScalar)),
		false,
		readClass,
	},
	{"platform", "the same as class", formText, false, readClass},
	{
		"site", "where they are; the group's name when left out", text("a pattern such as store-{i/5}"), false,
		set(ParsePattern, func(g *Group) *Pattern { return &g.Site }),
	},
	{
		"behind",
		"the group, or groups in order of choice, whose agents at the same site are the only way to the hub",
		anyOf(formName, list(formName)),
		false,
		readBehind,
	},
	{"labels", "the agents' labels, each a pattern", mapOf(formScalar), false, readLabels},
	{"link", "the line to the hub", anyOf(formText, object(linkKeys)), false, readLink},
	{"online", "when the line exists", anyOf(formWindow, object(onlineKeys)), false, readOnline},
	{"clock", "what they know of the time", anyOf(enum("none"), object(clockKeys)), false, readDeviceClock},
	{"disk", "what they write to", object(diskKeys), false, func(v value, g *Group) {
		g.Disk.Pos = v.pos()
		fields(v, diskKeys, &g.Disk)
	}},
	{
		"budget", "what the hub allows each of them on its line, both ways, such as 2MB/d", formBudget, false,
		set(parseBudget, func(g *Group) *int64 { return &g.Budget }),
	},
	{
		"lanes",
		"what they keep of a lane of records that wait for the hub and, behind it, what they do without room",
		mapOf(formLane), false, readLanes,
	},
	{"signals", "figures of the device over time, by name", mapOf(object(signalKeys)), false, readSignals},
}

func readFleet(v value, s *Scenario) {
	total := 0
	v.each(func(i int, item value) {
		g := Group{Pos: item.pos()}
		fields(item, groupKeys, &g)
		g.defaults()
		if total += g.Count; total > AgentsMax {
			item.errorf("%d agents so far, limit %d", total, AgentsMax)
			g.Count = 1
		}
		if at := slices.IndexFunc(s.Fleet, func(o Group) bool { return o.Name == g.Name }); at >= 0 {
			item.errorf("group %q twice, first on line %d", g.Name, s.Fleet[at].Pos.Line)
		}
		s.Fleet = append(s.Fleet, g)
		v.r.draw(item, i)
	})
	switch {
	case v.node.Kind != yaml.SequenceNode:
	case len(v.node.Content) == 0:
		v.errorf("no group; want at least one")
	default:
		s.connect(v)
	}
}

func parseCount(text string) (int, error) {
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > AgentsMax {
		return 1, fmt.Errorf("%q, want a whole number from 1 to %d", strict.Clip(text), AgentsMax)
	}
	return n, nil
}

func (g *Group) defaults() {
	if g.Agent.text == "" {
		g.Agent, _ = ParsePattern("{group}-{i}")
	}
	if g.Site.text == "" {
		g.Site, _ = ParsePattern("{group}")
	}
	if len(g.Classes) == 0 {
		class, _ := parseClass("linux-amd64")
		g.Classes = []Share{{Class: class, Parts: 1, Pos: g.Pos}}
	}
}

// draw makes the agents of group i, and says which names cannot be.
func (r *reader) draw(item value, i int) {
	g := &r.s.Fleet[i]
	if r.taken == nil {
		r.taken = map[string]string{}
	}
	classes := newMix(g.Classes)
	for n := range g.Count {
		a := Agent{
			Name:   g.Agent.Of(g.Name, n),
			Group:  i,
			Number: n,
			Site:   g.Site.Of(g.Name, n),
			Class:  classes.next(),
		}
		for _, l := range g.Labels {
			a.Labels = append(a.Labels, Pair{l.Key, l.Value.Of(g.Name, n)})
		}
		if err := protocol.AgentName(a.Name).Check(); err != nil {
			item.errorf("agent %d: %v", n, err)
			return
		}
		if err := protocol.Site(a.Site).Check(); err != nil {
			item.errorf("agent %d: %v", n, err)
			return
		}
		if by, twice := r.taken[a.Name]; twice {
			item.errorf("agent name %q twice, also in group %q; let the name's pattern tell them apart", a.Name, by)
			return
		}
		r.taken[a.Name] = g.Name
		r.s.agents = append(r.s.agents, a)
	}
}

// Agents returns the fleet, group by group. The slice is the scenario's own.
func (s *Scenario) Agents() []Agent { return s.agents }

// A mix deals classes out so that every beginning of the fleet has nearly the wanted
// parts.
type mix struct {
	shares []Share
	credit []float64
	total  float64
}

func newMix(shares []Share) *mix {
	m := &mix{shares: shares, credit: make([]float64, len(shares))}
	for _, s := range shares {
		m.total += s.Parts
	}
	return m
}

func (m *mix) next() Class {
	best := 0
	for i, s := range m.shares {
		m.credit[i] += s.Parts
		if m.credit[i] > m.credit[best] {
			best = i
		}
	}
	m.credit[best] -= m.total
	return m.shares[best].Class
}

func readClass(v value, g *Group) {
	if v.node.Kind != yaml.MappingNode {
		share := Share{Parts: 1, Pos: v.pos()}
		set(parseClass, func(s *Share) *Class { return &s.Class })(v, &share)
		g.Classes = []Share{share}
		return
	}
	v.pairs(func(name string, at *yaml.Node, item value) {
		class, err := parseClass(name)
		if err != nil {
			v.r.at(at, item.path, "%v", err)
			return
		}
		text, _ := item.scalar("how many parts, such as 30%")
		parts, err := parseNumber(strings.TrimSuffix(text, "%"))
		if err != nil || parts <= 0 || parts > 1e9 {
			item.errorf("%q, want how many parts, such as 30%% or 3", strict.Clip(text))
			return
		}
		g.Classes = append(g.Classes, Share{Class: class, Parts: parts, Pos: Pos{at.Line, at.Column}})
	})
}

// parseClass reads linux-armv7, armv7, armv7-128 (MiB), amd64-1g.
func parseClass(name string) (Class, error) {
	bare := strings.TrimPrefix(name, "linux-")
	bare, memory, sized := strings.Cut(bare, "-")
	p, ok := platform.Lookup("linux-" + bare)
	if !ok {
		var known []string
		for _, p := range platform.All() {
			known = append(known, p.Name)
		}
		return Class{}, fmt.Errorf("unknown class %q%s", strict.Clip(name), nearest.Suggest(name, known))
	}
	c := Class{
		Name:      name,
		Platform:  p.Name,
		Arch:      p.Arch,
		Engine:    p.Engine,
		MemoryMiB: p.RAMMiB,
		FlashMiB:  p.FlashMiB,
	}
	if !sized {
		return c, nil
	}
	factor := 1
	if strings.HasSuffix(memory, "g") {
		factor = 1024
	}
	n, err := strconv.Atoi(strings.TrimRight(memory, "mg"))
	if err != nil || n < 1 || n*factor > 1<<20 {
		return Class{}, fmt.Errorf(
			"class %q: memory %q, want such as 128 (MiB), 256m or 1g",
			strict.Clip(name),
			strict.Clip(memory),
		)
	}
	c.MemoryMiB = n * factor
	return c, nil
}

func readLabels(v value, g *Group) {
	v.pairs(func(name string, at *yaml.Node, item value) {
		text, ok := item.scalar("a label's value")
		if !ok {
			return
		}
		p, err := ParsePattern(text)
		switch {
		case err != nil:
			item.errorf("%v", err)
		case !isName(name):
			v.r.at(at, item.path, "%q is no label; want a-z, 0-9, - and .", strict.Clip(name))
		case len(g.Labels) >= protocol.LabelsMax:
			v.r.at(at, item.path, "more than %d labels", protocol.LabelsMax)
		}
		g.Labels = append(g.Labels, Label{Key: name, Value: p, Pos: Pos{at.Line, at.Column}})
	})
	slices.SortFunc(g.Labels, func(a, b Label) int { return strings.Compare(a.Key, b.Key) })
}

var onlineKeys = []key[Online]{
	{
		"schedule",
		"a part of every day, or several, in UTC",
		anyOf(formWindow, list(formWindow)),
		true,
		readWindows,
	},
	{
		"jitter",
		"by how much each edge moves, either way",
		formDuration,
		false,
		set(parsePositive, func(o *Online) *time.Duration {
			return &o.Jitter
		}),
	},
}

func readOnline(v value, g *Group) {
	g.Online.Pos = v.pos()
	if v.node.Kind == yaml.MappingNode {
		fields(v, onlineKeys, &g.Online)
		return
	}
	readWindows(v, &g.Online)
}

func readWindows(v value, o *Online) {
	read := func(_ int, item value) {
		if text, ok := item.scalar("a part of a day"); ok && text != "always" {
			w, err := parseWindow(text)
			if err != nil {
				item.errorf("%v", err)
			}
			o.Windows = append(o.Windows, w)
		}
	}
	if v.node.Kind == yaml.SequenceNode {
		v.each(read)
	} else {
		read(0, v)
	}
	slices.SortFunc(o.Windows, func(a, b Window) int { return int(a.From - b.From) })
}

var clockKeys = []key[Clock]{
	{
		"none",
		"no battery: every start begins at 1970",
		formBool,
		false,
		set(strconv.ParseBool, func(c *Clock) *bool { return &c.None }),
	},
	{
		"drift",
		"how fast it goes wrong",
		formPPM,
		false,
		set(parsePPM, func(c *Clock) *float64 { return &c.Drift }),
	},
	{
		"offset",
		"how wrong it is at the start",
		formSigned,
		false,
		set(parseDuration, func(c *Clock) *time.Duration { return &c.Offset }),
	},
}

func readDeviceClock(v value, g *Group) {
	g.Clock.Pos = v.pos()
	if v.node.Kind == yaml.ScalarNode {
		if g.Clock.None = v.node.Value == "none"; !g.Clock.None {
			v.errorf("%q, want none or keys such as {drift: 50ppm}", strict.Clip(v.node.Value))
		}
		return
	}
	fields(v, clockKeys, &g.Clock)
}

var diskKeys = []key[Disk]{
	{
		"size",
		"how much it holds; the class's flash when left out",
		formSize,
		false,
		set(parseSize, func(d *Disk) *int64 { return &d.Size }),
	},
	{
		"latency",
		"how long a write takes",
		formSpread,
		false,
		set(parseSpread, func(d *Disk) *Spread { return &d.Latency }),
	},
}

package scenario

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/stavily/stavily/sim/expr"
	"github.com/stavily/stavily/text/nearest"
	"github.com/stavily/stavily/text/strict"
)

var faultKeys = []key[Fault]{
	{
		"what",
		"the kind of fault",
		enum(faultNames()...),
		true,
		set(parseFault, func(f *Fault) *FaultKind { return &f.What }),
	},
	{
		"at",
		"when; with a rate: from when on",
		formMoment,
		false,
		readMoment(func(f *Fault) *time.Duration { return &f.At }),
	},
	{"for", "how long", formDuration, false, readLasting(func(f *Fault) *time.Duration { return &f.For })},
	{
		"rate",
		"how often it befalls each matching agent, instead of once",
		formRate,
		false,
		set(parseRate, func(f *Fault) *float64 {
			return &f.Rate
		}),
	},
	{"until", "with a rate: until when; the end less settle when left out", formMoment, false, readMoment(
		func(f *Fault) *time.Duration { return &f.Until })},
	{
		"where",
		"which agents: a selector such as site in ['store-1'] && sample(3)",
		text("a selector"),
		false,
		readWhere,
	},
	{
		"torn_write",
		"power-cut: a write under way is left half done",
		formBool,
		false,
		set(strconv.ParseBool, func(f *Fault) *bool {
			return &f.Torn
		}),
	},
	{
		"by",
		"clock-jump: how far; hub-restore: how old the backup is",
		formSigned,
		false,
		set(parseDuration, func(f *Fault) *time.Duration {
			return &f.By
		}),
	},
	{
		"factor",
		"slow-cpu and disk-slow: how many times slower",
		formTimes,
		false,
		set(parseTimes, func(f *Fault) *float64 { return &f.Factor }),
	},
	{
		"way",
		"partition: up, down or both",
		enum("both", "up", "down"),
		false,
		set(parseWay, func(f *Fault) *string { return &f.Way }),
	},
	{
		"side",
		"partition: between the agent and the hub, or of a gateway the side of its site",
		enum("hub", "site"),
		false,
		set(parseSide, func(f *Fault) *string { return &f.Side }),
	},
	{
		"plugin",
		"bad-release: whose release",
		formName,
		false,
		readName(func(f *Fault) *string { return &f.Plugin }),
	},
}

// faultRules say which keys a kind of fault has besides what, at, rate and until: those
// with a ! must be there.
var faultRules = []struct {
	kind FaultKind
	keys string
}{
	{Partition, "where for! way side"},
	{PowerCut, "where for torn_write"},
	{Crash, "where for"},
	{SlowCPU, "where for! factor!"},
	{DiskFull, "where for!"},
	{DiskSlow, "where for! factor!"},
	{ClockJump, "where by!"},
	{CertificateEnd, "where for!"},
	{Hostile, "where for"},
	{Corrupt, "where for!"},
	{BadRelease, "plugin! for"},
	{Storm, "where for"},
	{HubRestart, "for"},
	{HubCrash, "for"},
	{HubRestore, "by! for"},
}

func faultNames() []string {
	var names []string
	for _, r := range faultRules {
		names = append(names, string(r.kind))
	}
	return names
}

func parseFault(text string) (FaultKind, error) {
	if slices.Contains(faultNames(), text) {
		return FaultKind(text), nil
	}
	if strings.HasPrefix(text, "gateway") {
		return "", fmt.Errorf("%q: a gateway is an agent; want crash, power-cut or partition with where: its group",
			strict.Clip(text))
	}
	return "", fmt.Errorf("unknown fault %q%s", strict.Clip(text), nearest.Suggest(text, faultNames()))
}

func parseWay(text string) (string, error) {
	if text != "both" && text != "up" && text != "down" {
		return "", fmt.Errorf("%q, want both, up or down", strict.Clip(text))
	}
	return text, nil
}

func parseSide(text string) (string, error) {
	if text != "hub" && text != "site" {
		return "", fmt.Errorf("%q, want hub or site", strict.Clip(text))
	}
	return text, nil
}

func readFaults(v value, s *Scenario) {
	v.each(func(i int, item value) {
		f := Fault{Index: i, Way: "both", Side: "hub", Pos: item.pos()}
		before := len(v.r.Errors())
		fields(item, faultKeys, &f)
		if before == len(v.r.Errors()) {
			f.check(item)
		}
		s.Faults = append(s.Faults, f)
	})
}

func (f *Fault) check(v value) {
	f.checkKeys(v)
	s := v.r.s
	_, at := v.lookup("at")
	_, until := v.lookup("until")
	switch {
	case f.Rate == 0 && !at:
		v.errorf("when? want at: for one time, or rate: for again and again")
	case f.Rate == 0 && until:
		v.errorf("until goes with rate; want for: to say how long")
	case f.Rate == 0 && f.At+f.For > s.Duration:
		v.errorf("lasts until %s, after the end: the scenario lasts %s",
			formatDuration(f.At+f.For), formatDuration(s.Duration))
	case f.What == HubRestore && (f.By <= 0 || f.Rate == 0 && f.By > f.At):
		v.errorf("by: %s: want the backup's age, no older than the start", formatDuration(f.By))
	case f.Side == "site" && f.Way != "both":
		v.errorf("side: site goes both ways; leave way out")
	case f.Side == "site" && !s.anyGateway(f.Where):
		v.errorf("side: site: matches no gateway; a group is one when another is behind it")
	case f.Rate > 0 && until && f.Until <= f.At:
		v.errorf("until is not after at")
	case f.Rate > 0 && !until:
		f.Until = max(f.At, s.Duration-s.settle()-f.For)
	}
	if f.Plugin != "" && !slices.ContainsFunc(s.Plugins, func(p Plugin) bool { return p.Name == f.Plugin }) {
		at, _ := v.lookup("plugin")
		at.errorf("no plugin %q in plugins", f.Plugin)
	}
}

// checkKeys holds the keys to those of the fault's kind.
func (f *Fault) checkKeys(v value) {
	i := slices.IndexFunc(faultRules, func(r struct {
		kind FaultKind
		keys string
	},
	) bool {
		return r.kind == f.What
	})
	if i < 0 {
		return
	}
	allowed := strings.Fields(faultRules[i].keys)
	v.pairs(func(name string, at *yaml.Node, item value) {
		if slices.Contains([]string{"what", "at", "rate", "until"}, name) {
			return
		}
		if !slices.Contains(allowed, name) && !slices.Contains(allowed, name+"!") {
			v.r.at(at, item.path, "a %s has no %q; it has at, rate, until, %s", f.What, name,
				strings.ReplaceAll(strings.Join(allowed, ", "), "!", ""))
		}
	})
	for _, name := range allowed {
		need, must := strings.CutSuffix(name, "!")
		if _, has := v.lookup(need); must && !has {
			v.errorf("a %s needs %q", f.What, need)
		}
	}
}

func readWhere(v value, f *Fault) { f.Where = v.r.selector(v) }

// selector reads a selector and looks that it matches somebody.
func (r *reader) selector(v value) *expr.Expr {
	where, s := readExpr(v, Where), r.s
	odd := slices.ContainsFunc(r.Errors(), func(e *Error) bool { return strings.HasPrefix(e.Path, "fleet") })
	if where == nil || len(s.agents) == 0 || odd { // of a fleet that is half read, who knows
		return where
	}
	if len(s.Select(where, func(int) int { return 0 })) == 0 {
		v.errorf("matches none of the %d agents; %s", len(s.agents), s.told())
	}
	return where
}

// anyGateway reports whether a selector matches a gateway.
func (s *Scenario) anyGateway(where *expr.Expr) bool {
	return slices.ContainsFunc(s.Select(where, func(int) int { return 0 }), func(i int) bool {
		return s.IsGateway(s.agents[i].Group)
	})
}

// told says in short whom there is.
func (s *Scenario) told() string {
	var groups, sites []string
	for _, g := range s.Fleet {
		groups = append(groups, g.Name)
	}
	for _, a := range s.agents {
		if len(sites) < 5 && !slices.Contains(sites, a.Site) {
			sites = append(sites, a.Site)
		}
	}
	return fmt.Sprintf(
		"groups are %s, sites such as %s",
		strings.Join(groups, ", "),
		strings.Join(sites, ", "),
	)
}

// Select returns the indexes of the agents that a selector matches, ascending; nil is
// every agent. draw returns a number from 0 up to and without its argument.
func (s *Scenario) Select(where *expr.Expr, draw func(int) int) []int {
	if where == nil {
		all := make([]int, len(s.agents))
		for i := range all {
			all[i] = i
		}
		return all
	}
	return where.Select(len(s.agents), func(i int) expr.Source { return drawn{s, &s.agents[i]} }, draw)
}

// drawn is an agent as selectors see it.
type drawn struct {
	s *Scenario
	a *Agent
}

// Field returns what a selector may ask of an agent.
func (d drawn) Field(name string) expr.Value {
	switch name {
	case "agent":
		return expr.Value{Text: d.a.Name}
	case "group":
		return expr.Value{Text: d.s.Fleet[d.a.Group].Name}
	case "site":
		return expr.Value{Text: d.a.Site}
	case "class":
		return expr.Value{Text: d.a.Class.Name}
	case "platform":
		return expr.Value{Text: d.a.Class.Platform}
	case "engine":
		return expr.Value{Text: d.a.Class.Engine}
	case "memory":
		return expr.Value{Num: float64(d.a.Class.MemoryMiB) * (1 << 20)}
	default: // number
		return expr.Value{Num: float64(d.a.Number)}
	}
}

// Call returns a label's value.
func (d drawn) Call(_, arg string) expr.Value {
	for _, l := range d.a.Labels {
		if l.Key == arg {
			return expr.Value{Text: l.Value}
		}
	}
	return expr.Value{}
}

var _ expr.Source = drawn{}

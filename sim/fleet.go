package sim

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"net/http"
	"slices"
	"time"

	platform "github.com/stavily/stavily/firmware-targets"
	"github.com/stavily/stavily/hub"
	"github.com/stavily/stavily/hub/api"
	"github.com/stavily/stavily/protocol"
	"github.com/stavily/stavily/sim/report"
	"github.com/stavily/stavily/sim/scenario"
)

// How fast a platform computes, where 1 is a desktop's, and how much slower it is where
// WebAssembly is interpreted.
const (
	smallSpeed       = 0.2
	interpreterSpeed = 1.0 / 30
	smallMemoryMiB   = 512
)

// people makes the fleet and enrols it.
func (w *World) people() error {
	shared := newBlobs()
	agents := w.scenario.Agents()
	wishes := make([]hub.NewAgent, len(agents))
	for i := range agents {
		d := w.newDevice(i, agents[i], shared)
		w.devices = append(w.devices, d)
		w.byAddress[d.addr], w.byName[string(d.addr.Agent)] = d, d
		wishes[i] = hub.NewAgent{Address: d.addr, Device: d.describe(), Time: w.start}
		wishes[i].Identity.KeyFingerprint = hex.EncodeToString(d.key())
		wishes[i].Identity.NotAfter = w.start.Add(keyLife)
	}
	w.stations()
	if w.real != nil {
		for _, d := range w.devices {
			d.body = newBody(w.real, d)
		}
		return nil // they join when there is a hub
	}
	epochs, err := w.hub.hub.Enrol(w.start, wishes)
	for i := range epochs {
		w.devices[i].epoch = epochs[i]
	}
	return err
}

func (w *World) newDevice(id int, of scenario.Agent, shared *blobs) *device {
	g := &w.scenario.Fleet[of.Group]
	d := &device{
		w: w, id: id, of: of, group: g, slow: 1, crawl: 1, speed: speedOf(of.Class),
		addr: protocol.Address{Site: protocol.Site(of.Site), Agent: protocol.AgentName(of.Name)},
		ids:  newStream(w.seed, "run ids", id), rng: newStream(w.seed, "disk", id),
		clock: clock{start: w.start, drift: g.Clock.Drift, offset: g.Clock.Offset, none: g.Clock.None},
		stats: report.Agent{Name: of.Name, Group: g.Name, Site: of.Site, Platform: of.Class.Platform},
	}
	d.disk = disk{blobs: shared, size: g.Disk.Size, now: &w.now, applied: d.applied}
	if d.disk.size == 0 {
		d.disk.size = int64(of.Class.FlashMiB) << 20
	}
	if g.Disk.Latency.Mean > 0 {
		d.disk.wrote = d.wrote
	}
	d.line = line{w: w, d: d, shape: g.Link, rng: newStream(w.seed, "link", id)}
	d.line.hearers = []hearer{{protocol.DownFilter(d.addr), d.hear}}
	d.plugins.d = d
	for i := range g.Signals {
		s := &g.Signals[i]
		d.signals = append(d.signals, newSignal(s, newStream(w.seed, "signal "+s.Name, id)))
	}
	return d
}

func speedOf(c scenario.Class) float64 {
	speed := 1.0
	if c.MemoryMiB <= smallMemoryMiB {
		speed = smallSpeed
	}
	if c.Engine == platform.EngineInterpreter {
		speed *= interpreterSpeed
	}
	return speed
}

// publish gives the hub the releases of all plugins of the scenario.
func (w *World) publish() error {
	types, err := w.types()
	if err != nil {
		return err
	}
	for i := range w.scenario.Plugins {
		p := &w.scenario.Plugins[i]
		built, made := w.opts.Modules[p.Name]
		var answers behaviour = &guest{w: w}
		if !made {
			if p.Model == "" {
				return protocol.Errorf(protocol.CodeNotFound, "plugin %q: its module was not built", p.Name)
			}
			kind := types[protocol.PluginName(p.Name)]
			if kind == "" {
				kind = modelType(p.Model)
			}
			built, answers = builtModel(p, kind), &model{w: w, of: p}
		}
		if err := w.admit(built, answers); err != nil {
			return fmt.Errorf("plugin %q: %w", p.Name, err)
		}
	}
	return nil
}

// admit has the hub seal a release, and notes what answers for its module.
func (w *World) admit(b hub.Built, answers behaviour) error {
	module := protocol.DigestOf(b.Module)
	w.code[module] = answers
	if w.real != nil {
		w.admitted = append(w.admitted, b) // the hub seals them when it starts
		return nil
	}
	ref, err := w.hub.hub.Admit(w.start, b)
	w.releases[ref.Digest] = module
	return err
}

func builtModel(p *scenario.Plugin, kind protocol.PluginType) hub.Built {
	version := p.Version
	if version == "" {
		version = "1.0.0"
	}
	return hub.Built{Module: moduleOf(p), Manifest: protocol.Manifest{
		Plugin: protocol.PluginInfo{
			Name: protocol.PluginName(p.Name), Version: version, Type: kind, Description: "a model of the simulator",
			Author: protocol.Author{Name: "stavily sim"},
		},
		Runtime: protocol.Runtime{Language: "go"},
		Limits:  protocol.Limits{MemoryMB: uint32((p.Memory + 1<<20 - 1) >> 20)},
	}}
}

// types returns the type of each plugin by its place in the workflows.
func (w *World) types() (map[protocol.PluginName]protocol.PluginType, error) {
	all := map[protocol.PluginName]protocol.PluginType{}
	for i := range w.scenario.Deploys {
		of := &w.scenario.Deploys[i]
		if of.Workflow == nil {
			continue
		}
		types, err := hub.StepTypes(of.File, of.Workflow)
		if err != nil {
			return nil, err
		}
		for name, kind := range types { // into another map: order does not matter
			all[name] = kind
		}
	}
	return all, nil
}

// deploy does what the operator wishes.
func (w *World) deploy(of *scenario.Deploy) {
	if of.Retire {
		w.retire(of)
		return
	}
	if of.Labels != nil {
		w.label(of)
		return
	}
	if w.real != nil {
		w.trace.note(w.now, nil, "deploy", []byte(of.Name))
		w.real.deploy(of)
		return
	}
	w.hub.operate(func() error {
		w.trace.note(w.now, nil, "deploy", []byte(of.Name))
		if of.Remove {
			_, err := w.hub.hub.Undeploy(w.time(), protocol.WorkflowName(of.Name))
			return err
		}
		changes, err := w.hub.hub.Deploy(w.time(), of.File, bytes.Clone(of.Workflow))
		if err != nil {
			return err
		}
		w.tell.answered(changes)
		for _, c := range changes.Agents {
			if d := w.byName[string(c.Agent)]; d != nil && c.Changed {
				w.tell.deployed(of.Name, d, c.Revision)
			}
		}
		return nil
	})
}

// budget has the operator set the data budgets of the groups: of a site where all agents
// have the same, and otherwise of each agent.
func (w *World) budget() {
	sites := map[protocol.Site]int64{} // mixed, or what all agents of the site have
	const mixed = -1
	for _, d := range w.devices {
		switch of, some := sites[d.addr.Site]; {
		case !some:
			sites[d.addr.Site] = d.group.Budget
		case of != d.group.Budget:
			sites[d.addr.Site] = mixed
		}
	}
	for _, d := range w.devices {
		of := api.Budget{Target: api.Target{Agent: d.addr.Agent}, BytesPerDay: uint64(d.group.Budget)}
		switch same := sites[d.addr.Site]; {
		case same > 0:
			of.Target = api.Target{Site: d.addr.Site}
			sites[d.addr.Site] = 0 // once will do
		case same == 0 || d.group.Budget == 0:
			continue
		}
		w.setBudget(of)
	}
}

// setBudget does what the scenario's operator wishes.
func (w *World) setBudget(of api.Budget) {
	what := "budget " + of.Target.String()
	if w.real != nil {
		w.real.asked(what, func(context.Context) error {
			return w.real.do(http.MethodPost, api.PathBudgets, of, nil)
		})
		return
	}
	w.hub.operate(func() error {
		w.trace.note(w.now, nil, what, nil)
		_, err := w.hub.hub.SetBudget(w.time(), of)
		return err
	})
}

// times plans when there is a line, by the group's windows of every day.
func (l *line) times() {
	windows := l.d.group.Online.Windows
	if len(windows) == 0 {
		return
	}
	const day = 24 * time.Hour
	start := l.w.scenario.Start
	midnight := start.Truncate(day)
	for i, win := range windows {
		rng := newStream(l.w.seed, fmt.Sprint("window ", i), l.d.id)
		to := win.To
		if to <= win.From {
			to += day
		}
		l.edge(midnight.Add(win.From-day).Sub(start), true, &rng)
		l.edge(midnight.Add(to-day).Sub(start), false, &rng)
	}
	at := start.Sub(midnight)
	shut := !slices.ContainsFunc(windows, func(win scenario.Window) bool {
		if win.To <= win.From {
			return at >= win.From || at < win.To
		}
		return at >= win.From && at < win.To
	})
	if shut {
		l.d.lined(false)
	}
}

// edge opens or closes the line at a time of every day.
func (l *line) edge(next time.Duration, opens bool, rng *stream) {
	const day = 24 * time.Hour
	for next <= time.Duration(l.w.now) {
		next += day
	}
	when := next + time.Duration((2*rng.unit()-1)*float64(l.d.group.Online.Jitter))
	l.w.do(int64(when), func() {
		l.d.lined(opens)
		l.edge(next+day, opens, rng)
	})
}

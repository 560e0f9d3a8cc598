package sim

import (
	"context"
	"io"
	"slices"
	"time"

	"github.com/stavily/stavily/edge"
	"github.com/stavily/stavily/protocol"
	"github.com/stavily/stavily/wasmhost"
)

const (
	// guestsMax bounds the instances of real modules that are kept in memory; the one that
	// was asked longest ago rests, and begins afresh when it is asked again, as on a device.
	guestsMax = 64
	// fuelSpeed is the fuel that a device of speed 1 burns in a second.
	fuelSpeed = 2e9
	// askTime is what a request costs besides the guest's own work.
	askTime = 20 * time.Microsecond
)

// guest runs real modules in wasmhost: one engine for the world, whose clock is the
// device's that asks and whose randomness is that of the instance.
type guest struct{ w *World }

// guests are the instances of real modules.
type guests struct {
	host  *wasmhost.Host
	asked *guestWorker   // whose request is under way
	live  []*guestWorker // asked last goes last
}

// guestWorker is a real module in one step on one device.
type guestWorker struct {
	w      *World
	d      *device
	name   protocol.PluginName
	plugin *wasmhost.Plugin
	random stream
	holds  uint64 // bytes of memory, after the last request
}

// engine returns the world's host, made when it is needed first.
func (w *World) engine() (*wasmhost.Host, error) {
	if w.guests.host != nil {
		return w.guests.host, nil
	}
	host, err := wasmhost.New(w.ctx, wasmhost.Config{
		Clock: w.guests.clock, Random: &w.guests,
		Calls: w.guests.calls(),
	})
	w.guests.host = host
	return host, err
}

// clock is what the guest that is asked may see of the time. It stands still while a
// guest answers.
func (g *guests) clock() time.Time {
	if g.asked == nil {
		return time.Unix(0, 0)
	}
	return g.asked.d.clock.wall(g.asked.d.now())
}

// Read gives the guest that is asked its own randomness.
func (g *guests) Read(p []byte) (int, error) {
	if g.asked == nil {
		return 0, io.ErrUnexpectedEOF
	}
	return g.asked.random.Read(p)
}

// metrics answers metrics.read with the signals of the device that asks.
func (g *guests) metrics(_ context.Context, _ wasmhost.Grants, args protocol.Raw) (any, error) {
	var names struct {
		Names []string `cbor:"names"`
	}
	if len(args) > 0 {
		if err := protocol.Unmarshal(args, &names); err != nil {
			return nil, err
		}
	}
	out := map[string]float64{}
	for i := range g.asked.d.signals {
		s := &g.asked.d.signals[i]
		if slices.Contains(names.Names, s.of.Name) {
			out[s.of.Name] = s.at(g.asked.w.now)
		}
	}
	return map[string]any{"values": out}, nil
}

func (g *guest) load(d *device, i edge.Instance, l *edge.Load) (worker, *protocol.Error) {
	host, err := g.w.engine()
	if err != nil {
		return nil, protocol.AsError(err)
	}
	module, err := d.disk.ReadFile(l.Artifact.Digest)
	if err != nil {
		return nil, protocol.AsError(err)
	}
	purpose := "guest " + string(i.Workflow) + "/" + string(i.Step)
	of := &guestWorker{w: g.w, d: d, name: l.Manifest.Plugin.Name, random: newStream(g.w.seed, purpose, d.id)}
	spec := wasmhost.Spec{
		Manifest: l.Manifest, Wasm: module, Digest: l.Artifact.Digest, Step: l.Step, Workflow: i.Workflow,
	}
	if i.Step != "" {
		spec.KV = d.disk.kv(i)
	}
	g.w.guests.asked = of
	if of.plugin, err = host.Load(g.w.ctx, spec); err != nil {
		return nil, protocol.AsError(err)
	}
	g.w.guests.touch(of)
	return of, nil
}

// touch makes of the one that was asked last, and has the longest idle rest when there
// are too many.
func (g *guests) touch(of *guestWorker) {
	g.forget(of)
	g.live = append(g.live, of)
	if len(g.live) > guestsMax {
		g.live[0].plugin.Rest()
		g.live = slices.Delete(g.live, 0, 1)
	}
}

func (g *guests) forget(of *guestWorker) {
	g.live = slices.DeleteFunc(g.live, func(w *guestWorker) bool { return w == of })
}

// answer asks the module now; how long that takes on the device follows from the fuel.
func (g *guestWorker) answer(_ int64, r *wasmhost.Request) (wasmhost.Answer, time.Duration) {
	g.w.guests.asked = g
	g.w.guests.touch(g)
	a := g.plugin.Call(g.w.ctx, *r)
	g.holds = a.Usage.MemoryB
	took := askTime + time.Duration(float64(a.Usage.Fuel)/fuelSpeed*float64(time.Second))
	if r.Kind == wasmhost.Deliver && a.Error == nil {
		g.d.delivered(r)
	}
	return a, took
}

func (g *guestWorker) memory() uint64 { return g.holds }

func (g *guestWorker) end() {
	g.w.guests.forget(g)
	g.plugin.Close(context.WithoutCancel(g.w.ctx))
}

var (
	_ behaviour = (*guest)(nil)
	_ worker    = (*guestWorker)(nil)
	_ io.Reader = (*guests)(nil)
)

package sim

import (
	"fmt"
	"math"
	"time"

	"github.com/stavily/stavily/sim/report"
	"github.com/stavily/stavily/sim/scenario"
)

const (
	// tornWait is how long a power cut waits for a write to cut in two.
	tornWait = 30 * time.Second
	// namesMax bounds the agents that a report names for one fault.
	namesMax = 10
	// faultsMax bounds the faults that one run tells of; all happen.
	faultsMax = 2000
)

// faults are what goes wrong in a run, and how it is undone.
type faults struct {
	w     *World
	over  bool     // nothing goes wrong any more
	undo  []func() // of those that last, nil when it was done
	told  []report.Fault
	lasts int   // how many last now
	ended int64 // when the last one ended
	final int64 // when the last one that is planned begins; never, for those without an end
}

// none reports whether no fault lasts or is still to come.
func (f *faults) none(now int64) bool {
	return f.lasts == 0 && (f.over || now > f.final)
}

// plan puts the scenario's faults into the queue. Each random one draws from a stream of
// its own, so that one more changes nothing for the others.
func (f *faults) plan(w *World) {
	f.w = w
	for i := range w.scenario.Faults {
		of := &w.scenario.Faults[i]
		rng := newStream(w.seed, "fault", i)
		f.final = max(f.final, finalOf(of))
		if of.What == scenario.HubRestore && of.Rate == 0 {
			w.do(int64(of.At-of.By), f.backUp)
		}
		if of.Rate > 0 {
			f.repeat(of, &rng)
			continue
		}
		w.do(int64(of.At), func() {
			if !f.over {
				f.begin(of, w.selected(of, &rng), &rng)
			}
		})
	}
}

// finalOf is when a fault begins for the last time.
func finalOf(of *scenario.Fault) int64 {
	switch {
	case of.Rate == 0:
		return int64(of.At)
	case of.Until > 0:
		return int64(of.Until)
	default:
		return math.MaxInt64
	}
}

func (f *faults) backUp() {
	var err error
	if f.w.real != nil {
		err = f.w.real.backUp()
	} else {
		err = f.w.hub.backUp(f.w.ctx)
	}
	if err != nil {
		f.w.broken(err)
	}
}

// restore has the hub crash and come back with the books of a backup. Somebody looks after it
// from then on.
func (f *faults) restore(of *scenario.Fault) {
	w, away := f.w, max(of.For, restartTime)
	if w.real != nil {
		if err := w.real.restore(of.By); err != nil {
			w.broken(err)
		}
		f.last(away, w.real.backHub)
		w.after(away+personEvery, w.real.adopt)
		return
	}
	w.hub.stop(true)
	if err := w.hub.restore(w.ctx, of.By); err != nil {
		w.broken(err)
	}
	f.last(away, w.hub.back)
	w.after(away+personEvery, w.hub.adopt)
}

// selected returns the devices that a fault befalls.
func (w *World) selected(of *scenario.Fault, rng *stream) []*device {
	if of.OfHub() {
		return nil
	}
	var out []*device
	for _, i := range w.scenario.Select(of.Where, rng.below) {
		out = append(out, w.devices[i])
	}
	return out
}

// repeat has a fault happen again and again, to each device, or the hub, by itself.
func (f *faults) repeat(of *scenario.Fault, rng *stream) {
	if of.OfHub() {
		f.next(of, nil, newStream(f.w.seed, "fault at random", of.Index), int64(of.At))
		return
	}
	for _, d := range f.w.selected(of, rng) {
		own := newStream(f.w.seed, fmt.Sprintf("fault %d at random", of.Index), d.id)
		f.next(of, []*device{d}, own, int64(of.At))
	}
}

func (f *faults) next(of *scenario.Fault, who []*device, rng stream, from int64) {
	at := from + int64(rng.gap(of.Rate))
	if of.Until > 0 && at > int64(of.Until) {
		return
	}
	f.w.do(at, func() {
		if f.over {
			return
		}
		if of.What == scenario.HubRestore {
			f.backUp()
		}
		f.begin(of, who, &rng)
		f.next(of, who, rng, f.w.now)
	})
}

// begin lets a fault happen.
func (f *faults) begin(of *scenario.Fault, who []*device, rng *stream) {
	w := f.w
	w.lastFault = fmt.Sprintf("fault #%d, %s at +%s", of.Index, of.What, time.Duration(w.now))
	w.trace.note(w.now, nil, "fault", []byte(w.lastFault))
	f.tell(of, who)
	f.ended = w.now
	if of.OfHub() {
		f.ofHub(of)
		return
	}
	for _, d := range who {
		d.fault = w.lastFault
		if undo := f.befall(of, d, rng); undo != nil {
			f.last(spanOf(of), undo)
		}
	}
}

// cause says what came before something that went wrong: the last fault that befell d, or
// anybody, and the last step that failed on d.
func (w *World) cause(d *device) string {
	text := w.lastFault
	if d == nil {
		return text
	}
	if d.fault != "" {
		text = d.fault + ", of this agent"
	}
	if of := w.tell.of(d); of.failed != "" {
		if text != "" {
			text += "; "
		}
		text += fmt.Sprintf("step %s failed at +%s", of.failed, time.Duration(of.failedAt).Round(time.Second))
	}
	return text
}

// spanOf returns how long a fault lasts. A power cut may have to wait for a write.
func spanOf(of *scenario.Fault) time.Duration {
	switch {
	case of.What != scenario.PowerCut:
		return of.For
	case of.Torn:
		return max(of.For, restartTime) + tornWait
	default:
		return max(of.For, restartTime)
	}
}

// last has undo happen when the fault is over, at the latest when all are.
func (f *faults) last(d time.Duration, undo func()) {
	n := len(f.undo)
	f.lasts++
	once := func() {
		if f.undo[n] != nil {
			f.undo[n] = nil
			f.lasts--
			f.ended = f.w.now
			undo()
		}
	}
	f.undo = append(f.undo, once)
	f.w.after(d, once)
}

// end undoes what lasts; nothing goes wrong after it.
func (f *faults) end() {
	f.over = true
	for i := range f.undo {
		if f.undo[i] != nil {
			f.undo[i]()
		}
	}
}

func (f *faults) ofHub(of *scenario.Fault) {
	w := f.w
	switch of.What {
	case scenario.HubRestart, scenario.HubCrash:
		if w.real != nil {
			w.real.stopHub(of.What == scenario.HubCrash)
			f.last(max(of.For, restartTime), w.real.backHub)
			return
		}
		w.hub.stop(of.What == scenario.HubCrash)
		f.last(max(of.For, restartTime), w.hub.back)
	case scenario.HubRestore:
		f.restore(of)
	case scenario.BadRelease:
		w.bad[of.Plugin]++
		f.last(of.For, func() { w.bad[of.Plugin]-- })
	default:
	}
}

// befall lets a fault happen to one device and returns how it is undone, nil when there
// is nothing to undo.
func (f *faults) befall(of *scenario.Fault, d *device, rng *stream) (undo func()) {
	if d.body != nil {
		if undo, was := d.body.befall(of, f, rng); was {
			return undo
		}
	}
	switch of.What {
	case scenario.Partition:
		return f.partition(of, d)
	case scenario.PowerCut:
		return f.powerCut(of, d, rng)
	case scenario.Crash:
		d.kill()
		f.w.push(item{at: f.w.now + int64(restartTime), kind: kindPower, d: d})
	case scenario.SlowCPU:
		d.slow *= of.Factor
		return func() { d.slow /= of.Factor }
	case scenario.DiskSlow:
		d.crawl *= of.Factor
		return func() { d.crawl /= of.Factor }
	case scenario.DiskFull:
		d.disk.filled++
		return func() { d.disk.filled-- }
	case scenario.ClockJump:
		d.clock.offset += of.By
	case scenario.CertificateEnd:
		d.line.bar(1)
		return func() { d.line.bar(-1) }
	case scenario.Hostile:
		f.hostile(d, rng)
	case scenario.Corrupt:
		n := rng.below(1 << 16)
		d.disk.rot(n)
		if d.post != nil {
			d.post.rot(n)
		}
		d.spoil++
		return func() { d.spoil-- }
	case scenario.Storm:
		d.line.cut("storm")
		d.line.retryAt(f.w.now + int64(of.For) + int64(rng.upTo(time.Second)))
	default:
	}
	return nil
}

func (f *faults) partition(of *scenario.Fault, d *device) func() {
	if of.Side == "site" {
		if d.post == nil {
			return nil
		}
		d.post.block(1)
		return func() { d.post.block(-1) }
	}
	ways := []way{wayUp, wayDown}
	switch of.Way {
	case "up":
		ways = ways[:1]
	case "down":
		ways = ways[1:]
	}
	for _, w := range ways {
		d.block(w, 1)
	}
	return func() {
		for _, w := range ways {
			d.block(w, -1)
		}
	}
}

// powerCut takes the power away: at once, or in the middle of the next write.
func (f *faults) powerCut(of *scenario.Fault, d *device, rng *stream) func() {
	d.off++
	if !of.Torn || d.agent == nil {
		d.kill()
	} else {
		boots := d.boots
		d.disk.cut = cutBefore
		if rng.chance(0.5) {
			d.disk.cut = cutAfter
		}
		f.w.after(tornWait, func() {
			if d.boots == boots {
				d.kill()
			}
		})
	}
	return func() {
		f.w.after(0, func() {
			d.kill()
			d.off--
			d.power()
		})
	}
}

// tell notes a fault for the report.
func (f *faults) tell(of *scenario.Fault, who []*device) {
	if len(f.told) >= faultsMax {
		return
	}
	out := report.Fault{
		Index: of.Index, What: string(of.What), AtMS: f.w.now / 1e6, ForMS: of.For.Milliseconds(), Agents: len(who),
	}
	for _, d := range who[:min(len(who), namesMax)] {
		out.Names = append(out.Names, string(d.addr.Agent))
	}
	switch of.What {
	case scenario.ClockJump, scenario.HubRestore:
		out.Detail = "by " + of.By.String()
	case scenario.Partition:
		if out.Detail = "way " + of.Way; of.Side == "site" {
			out.Detail = "side of the site"
		}
	case scenario.BadRelease:
		out.Detail = of.Plugin
	default:
	}
	f.told = append(f.told, out)
}

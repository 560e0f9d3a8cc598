package sim

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/stavily/stavily/protocol"
	"github.com/stavily/stavily/sim/report"
)

const (
	// slowestMax bounds the runs that a report tells of step by step.
	slowestMax = 10
	// fleetMax bounds the fleets whose agents a report tells of one by one.
	fleetMax = 2000
)

// teller gathers what the report says.
type teller struct {
	w          *World
	totals     report.Totals
	samples    []report.Sample
	before     report.Totals // at the last sample
	delays     histogram     // firing to delivery
	lately     histogram     // the same since the last sample
	runTimes   histogram     // firing to the last result at the hub
	converging histogram     // deployment to its report
	groups     []groupTell
	devices    []deviceTell
	deploys    []*deployTell
	slowest    []report.Run
	cells      []cell
	byWorkflow map[string]uint64 // runs that ended; never walked through
	lastDeploy int64
	expects    expects
	notes      []string
	failures   failedCalls

	alarmsDropped uint64 // records of urgent workflows
}

type groupTell struct {
	delays, runTimes, converging histogram
}

// deviceTell is what is known of one device besides its report.Agent.
type deviceTell struct {
	waiting  []waiting // runs that ended there and not yet at the hub, in that order
	unsealed bool
	wanted   newest // what the hub told it of last
	want     protocol.Digest
	reported reportedPart
	deploys  []pendingDeploy
	planned  uint64 // the newest revision that a deployment asked for
	limited  uint64 // events that became no run
	repeated uint64
	failed   protocol.StepName // the last of its steps that failed, and when
	failedAt int64
	latest   int64 // when the latest run fired that the hub has
	travel   int64 // of its runs to the hub, in all
}

// reportedPart is how a report begins.
type reportedPart struct {
	Epoch    uint64
	Revision uint64
	Digest   protocol.Digest
	Boot     uint64
	Sequence uint64
}

// readReported reads the beginning of a report; false for bytes that are none.
func readReported(payload []byte) (r reportedPart, ok bool) {
	p := newPeek(payload)
	for p.key < 5 && p.next() {
		switch p.key {
		case 1:
			r.Epoch = p.uint()
		case 2:
			r.Revision = p.uint()
		case 3:
			p.id(r.Digest[:])
		case 4:
			r.Boot = p.uint()
		case 5:
			r.Sequence = p.uint()
		default:
		}
	}
	return r, !p.bad
}

type waiting struct {
	id     protocol.RunID
	fired  int64
	failed bool
	steps  []report.Step
}

func newTeller(w *World) *teller {
	t := &teller{
		w: w, byWorkflow: map[string]uint64{}, failures: failedCalls{},
		groups: make([]groupTell, len(w.scenario.Fleet)),
	}
	t.devices = make([]deviceTell, len(w.scenario.Agents()))
	t.expects = newExpects(t)
	return t
}

func (t *teller) of(d *device) *deviceTell { return &t.devices[d.id] }

// applied takes in what is on a disk. It is called before the device's open runs change.
func (t *teller) applied(d *device, facts []fact) {
	for i := range facts {
		switch f := &facts[i]; f.kind {
		case factEvent:
			t.totals.Fired++
			d.stats.Fired++
		case factResult:
			t.resulted(d, f)
		case factGone:
			if f.holds == protocol.LaneResult && f.last {
				t.left(d, f)
			}
		case factLane:
			n := f.account.Dropped - f.before.Dropped
			t.totals.Dropped += n
			if f.lane == protocol.LaneAlarm {
				t.alarmsDropped += n
			}
			d.stats.Dropped += n
			if b := uint64(max(0, f.account.Bytes)); b > d.stats.PeakOutbox {
				t.peak(d)
			}
		case factStorm:
			of := t.of(d)
			of.limited += f.storm.Limited - f.calm.Limited
			of.repeated += f.storm.Repeated - f.calm.Repeated
		default:
		}
	}
}

func (t *teller) peak(d *device) {
	d.stats.PeakOutbox = max(d.stats.PeakOutbox, d.outbox())
	if d.stats.PeakOutbox > t.totals.PeakOutbox {
		t.totals.PeakOutbox, t.totals.PeakAgent = d.stats.PeakOutbox, d.stats.Name
	}
}

// resulted takes in a result; the last one of a run waits for the hub.
func (t *teller) resulted(d *device, f *fact) {
	run := d.run(f.id)
	if run == nil { // its only result comes with its event
		run = &openRun{id: f.id, fired: t.w.now}
	}
	if f.status == protocol.StatusError {
		run.failed = true
		t.of(d).failed, t.of(d).failedAt = f.step, t.w.now
	}
	run.steps = append(run.steps, report.Step{
		Step: string(f.step), Agent: d.stats.Name, AtMS: t.w.now / 1e6, Code: f.status.String(),
	})
	if f.last {
		of := t.of(d)
		of.waiting = append(of.waiting, waiting{f.id, run.fired, run.failed, run.steps})
	}
}

// left takes in that the last result of a run is the hub's, or was dropped.
func (t *teller) left(d *device, f *fact) {
	of := t.of(d)
	at := slices.IndexFunc(of.waiting, func(w waiting) bool { return w.id == f.id })
	if at < 0 {
		return
	}
	w := of.waiting[at]
	of.waiting = slices.Delete(of.waiting, at, at+1)
	if f.mark.After(d.acked[f.lane]) {
		return // dropped
	}
	t.totals.Ended++
	d.stats.Ended++
	t.byWorkflow[string(f.workflow)]++
	took := t.w.now - w.fired
	if w.fired < of.latest {
		d.stats.Reordered++
	}
	of.latest, of.travel = max(of.latest, w.fired), of.travel+took
	d.stats.MaxMS = max(d.stats.MaxMS, took/1e6)
	t.runTimes.add(took)
	t.groups[d.of.Group].runTimes.add(took)
	if w.failed {
		t.totals.Failed++
		d.stats.Failed++
	}
	t.slow(d, &w, f, took)
}

// slow keeps the slowest runs.
func (t *teller) slow(d *device, w *waiting, f *fact, took int64) {
	if n := len(t.slowest); n == slowestMax && took/1e6 <= t.slowest[n-1].TookMS {
		return
	}
	t.slowest = append(t.slowest, report.Run{
		Run: w.id.String(), Workflow: string(f.workflow), Agent: d.stats.Name, FiredMS: w.fired / 1e6,
		TookMS: took / 1e6,
		Steps:  append(w.steps, report.Step{Step: "hub", Agent: d.stats.Name, AtMS: t.w.now / 1e6, Code: "ok"}),
	})
	slices.SortStableFunc(t.slowest, func(a, b report.Run) int { return cmp.Compare(b.TookMS, a.TookMS) })
	t.slowest = t.slowest[:min(len(t.slowest), slowestMax)]
}

// delivered takes in an effect in the world.
func (t *teller) delivered(d *device, id protocol.RunID) {
	t.totals.Delivered++
	d.stats.Delivered++
	run := d.run(id)
	if run == nil {
		return
	}
	delay := t.w.now - run.fired
	t.delays.add(delay)
	t.lately.add(delay)
	t.groups[d.of.Group].delays.add(delay)
	if ms := delay / 1e6; ms > t.totals.MaxDelayMS {
		t.totals.MaxDelayMS, t.totals.DelayAgent = ms, d.stats.Name
	}
}

func (t *teller) duplicated(d *device) {
	t.totals.Duplicated++
	d.stats.Duplicated++
}

// said takes in what the hub tells d.
func (t *teller) said(d *device, k protocol.Kind, payload []byte) {
	switch k {
	case protocol.DownHint:
		var h protocol.Hint
		if protocol.Unmarshal(payload, &h) == nil {
			t.of(d).wanted, t.of(d).want = newest{h.Epoch, h.Revision}, h.Digest
		}
	case protocol.DownAck:
		readAcks(payload, func(a *protocol.LaneAck) {
			if a.Epoch == d.epoch && a.Lane < protocol.LaneEnd && a.Mark.After(d.acked[a.Lane]) {
				d.acked[a.Lane] = a.Mark
			}
		})
	case protocol.DownChunk:
	default:
	}
}

// readAcks reads acknowledgements; those that cannot be read acknowledge nothing.
func readAcks(payload []byte, use func(*protocol.LaneAck)) {
	n, p := uint64(1), peek{rest: payload}
	if len(payload) > 0 && payload[0]&protocol.MajorMask == protocol.MajorArray {
		n = min(p.argument(protocol.MajorArray), uint64(protocol.LaneEnd))
	}
	for ; n > 0 && !p.bad; n-- {
		if a := readAck(&p); !p.bad {
			use(&a)
		}
	}
}

// readAck reads an acknowledgement, and goes on behind it.
func readAck(all *peek) (a protocol.LaneAck) {
	p := all.enter()
	for p.next() {
		switch p.key {
		case 1:
			a.Epoch = p.uint()
		case 2:
			a.Lane = protocol.Lane(p.uint())
		case 3:
			a.Mark = p.mark()
		default:
		}
	}
	if p.owed {
		p.pass(1)
	}
	all.rest, all.bad = p.rest, p.bad
	return a
}

// heard takes in what d told the hub.
func (t *teller) heard(m *parsed) {
	if t.w.watched.d == nil && m.kind != protocol.UpReported {
		return // nobody looks at it
	}
	d := t.w.byAddress[m.of]
	t.w.saw(d, &m.Message)
	if d == nil || m.kind != protocol.UpReported {
		return
	}
	r, ok := readReported(m.Payload)
	if !ok || r.Epoch != d.epoch {
		return
	}
	of := t.of(d)
	if r.Boot < of.reported.Boot || r.Boot == of.reported.Boot && r.Sequence < of.reported.Sequence {
		return
	}
	of.reported = r
	t.arrived(d, r.Revision)
}

// converged reports whether d holds and has reported what the hub told it of last.
func (t *teller) converged(d *device) bool {
	of := t.of(d)
	return of.want == of.reported.Digest
}

// plan puts the samples into the queue.
func (t *teller) plan() {
	t.cells = cellsOf(t.w)
	every := int64(max(time.Second, t.w.scenario.Sample))
	var next func()
	next = func() {
		t.sample()
		t.w.do(t.w.now+every, next)
	}
	t.w.do(every, next)
}

// sample takes the fleet's figures of this moment.
func (t *teller) sample() {
	s := report.Sample{AtMS: t.w.now / 1e6}
	for _, d := range t.w.devices {
		if d.line.up {
			s.Online++
		}
		if t.converged(d) {
			s.Converged++
		}
		s.Backlog += d.outbox()
	}
	all := t.sums()
	s.Fired, s.Ended, s.Failed = all.Fired-t.before.Fired, all.Ended-t.before.Ended, all.Failed-t.before.Failed
	s.BytesUp, s.BytesDown = all.BytesUp-t.before.BytesUp, all.BytesDown-t.before.BytesDown
	s.Delivered = t.lately.total
	s.P50MS, s.P95MS, s.P99MS = t.lately.ms(0.5), t.lately.ms(0.95), t.lately.ms(0.99)
	t.lately.clear()
	if len(t.w.devices) <= fleetMax {
		s.Sites = t.sites()
	}
	t.before = all
	t.samples = append(t.samples, s)
	t.expects.look()
}

// sums returns the totals of this moment.
func (t *teller) sums() report.Totals {
	all := t.totals
	for _, d := range t.w.devices {
		all.BytesUp += d.stats.BytesUp
		all.BytesDown += d.stats.BytesDown
	}
	for _, c := range t.w.checks {
		if r := c.self(); r.loses() {
			all.Lost += r.broken
		}
	}
	return all
}

// result returns the report.
func (t *teller) result() *report.Result {
	w := t.w
	out := &report.Result{
		Stavily: report.Version, Scenario: w.scenario.Name, File: w.scenario.File, Seed: w.seed,
		Build: w.opts.Build, Level: string(w.scenario.Level), Start: w.start, LastMS: w.now / 1e6,
		Agents: len(w.devices),
		Events: w.trace.count, Totals: t.sums(), Samples: t.samples, Faults: w.faults.told,
		Violations: w.violations,
		Groups:     t.groupsOf(), Deployments: t.deployments(), Slowest: t.slowest, Pending: w.pending(true),
		Expects: t.expects.result(), Options: w.options(),
	}
	for _, c := range w.checks {
		r := c.self()
		out.Invariants = append(out.Invariants, report.Invariant{
			Name: r.name, Text: r.text, Checked: r.checked, Broken: r.broken,
		})
	}
	for _, d := range w.devices {
		t.close(d)
		if len(w.devices) <= fleetMax {
			out.Fleet = append(out.Fleet, d.stats)
		}
	}
	slices.SortFunc(out.Fleet, func(a, b report.Agent) int { return cmp.Compare(a.Name, b.Name) })
	out.Notes = t.noted(&out.Totals)
	out.Trace = w.trace.digest()
	return out
}

// options returns all that was drawn or chosen for the whole run.
func (w *World) options() []report.Option {
	s := w.scenario
	return []report.Option{
		{Name: "duration", Value: time.Duration(w.until).String()},
		{Name: "settle", Value: s.Settle.String()},
		{Name: "sample", Value: s.Sample.String()},
		{Name: "agents", Value: fmt.Sprint(len(w.devices))},
		{Name: "faults", Value: fmt.Sprint(len(s.Faults))},
		{Name: "commit", Value: commitTime.String()},
		{Name: "runs-kept", Value: runsKept.String()},
	}
}

package sim

import (
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/stavily/stavily/edge"
	"github.com/stavily/stavily/protocol"
	"github.com/stavily/stavily/sim/report"
	"github.com/stavily/stavily/sim/scenario"
	"github.com/stavily/stavily/sim/wire"
	"github.com/stavily/stavily/wasmhost"
)

// device is one machine of the fleet with the agent on it.
type device struct {
	w     *World
	id    int
	of    scenario.Agent
	group *scenario.Group
	addr  protocol.Address
	epoch uint64

	agent     *edge.Agent // nil: off
	boots     uint64      // starts so far
	ticks     uint64      // counts plans to tick: only the last one counts
	tickAt    int64       // 0: no tick is planned
	due       int64       // when the agent wants to be called; a tick may be planned before
	spun      int64       // the moment of the last tick
	spins     int         // ticks at that moment
	busy      int64       // until then the disk is at work and the agent with it
	off       int         // faults that keep it off
	retired   bool        // removed from the fleet, at retiredAt
	retiredAt int64
	slow      float64 // how many times slower it computes than it should
	crawl     float64 // the same for its disk
	spoil     int     // faults that change what it fetches
	fault     string  // the last that befell it
	speed     float64 // of its platform; 1 is a desktop's
	disk      disk
	clock     clock
	line      line
	post      *post // nil: no gateway
	plugins   plugins
	signals   []signal
	body      *body  // nil at level model
	ids       stream // run IDs
	rng       stream // of the disk's latency

	open  []openRun                       // runs that have not ended, by what the disk says
	acked [protocol.LaneEnd]protocol.Mark // by the hub, of the enrolment
	today today
	stats report.Agent

	written map[string]string // files of real modules, by plugin and path; nil for none
}

// today is what the line has carried on a day, both ways.
type today struct {
	day   int64 // since 1970, in UTC
	bytes uint64
}

// openRun is what the world knows of a run that has not ended.
type openRun struct {
	id      protocol.RunID
	fired   int64
	failed  bool
	done    []protocol.StepName // steps whose results are on the disk
	steps   []report.Step       // the same, for the report
	effects []effect
}

// effect is how often an output delivered a run.
type effect struct {
	step  protocol.StepName
	on    int // the device's id: all of a group may run a step
	times int
}

// config returns what the agent on d is.
func (d *device) config() edge.Config {
	c := edge.DefaultConfig()
	c.Address, c.Epoch, c.Keyring = d.addr, d.epoch, d.w.ring
	if d.body != nil {
		c.Keyring = d.body.who.Ring // perhaps newer than that of the first who joined
	}
	c.Device, c.Policy.Allow = d.describe(), d.w.policy
	c.Build = d.w.start.Add(-24 * time.Hour)
	c.Risk = 0 // the disk is memory, and what a cut leaves of it is a fault's to say
	for _, l := range d.lanes() {
		c.LaneBytes[l.Of] = l.Bytes
		if drop, err := edge.ParseDrop(l.Drop); err == nil {
			c.LaneDrop[l.Of] = drop
		}
	}
	return c
}

// lanes are those of which d keeps another amount than any agent does.
func (d *device) lanes() []scenario.Lane { return d.w.scenario.Fleet[d.of.Group].Lanes }

// laneBytes is how much d keeps of a lane, where any agent keeps usual.
func (d *device) laneBytes(of protocol.Lane, usual int64) int64 {
	for _, l := range d.lanes() {
		if l.Of == of {
			return l.Bytes
		}
	}
	return usual
}

// describe returns what the agent says of its device.
func (d *device) describe() protocol.Device {
	labels := map[string]string{}
	for _, l := range d.of.Labels {
		labels[l.Key] = l.Value
	}
	c := d.of.Class
	return protocol.Device{
		Platform: c.Platform, Engine: c.Engine, Version: "sim",
		MemoryMB: uint32(c.MemoryMiB), StorageMB: d.storageMB(), Labels: labels,
	}
}

// storageMB is what the disk has besides room for the records, as an agent on a device reckons.
func (d *device) storageMB() uint32 {
	room := d.disk.size
	for of, usual := range edge.DefaultConfig().LaneBytes {
		room -= d.laneBytes(protocol.Lane(of), usual)
	}
	return uint32(max(max(room, d.disk.size/2)>>20, 1))
}

// figures are the device's signals that are figures of a machine; none is nil.
func (d *device) figures() map[string]float64 {
	var out map[string]float64
	for i := range d.signals {
		s := &d.signals[i]
		if !slices.Contains(protocol.MetricNames(), s.of.Name) {
			continue
		}
		if out == nil {
			out = map[string]float64{}
		}
		out[s.of.Name] = s.at(d.w.now)
	}
	return out
}

// measures returns what an agent on d asks for its machine's figures, nil for a device that has
// none.
func (d *device) measures() func() {
	if d.figures() == nil {
		return nil
	}
	return func() {
		boots := d.boots
		d.w.do(max(d.w.now, d.busy), func() {
			if d.agent != nil && d.boots == boots {
				d.agent.Measured(d.now(), d.figures())
				d.settle()
			}
		})
	}
}

// power switches the device on.
func (d *device) power() {
	if d.off > 0 || d.agent != nil {
		return
	}
	d.boots++
	d.disk.dead, d.disk.cut = false, cutNone
	d.clock.boot(d.w.now)
	if d.body != nil {
		d.live()
		return
	}
	link := protocol.Link(&d.line)
	var gone func([]protocol.Gone)
	if d.post != nil {
		if err := d.post.start(); err != nil {
			d.w.broken(err)
			return
		}
		link, gone = postLink{d.post}, d.post.turnAway
	}
	agent, err := edge.New(d.config(), edge.Deps{
		Link: link, Store: &d.disk, Plugins: &d.plugins, Random: &d.ids, Wall: d.clock.wall,
		Traffic: d.traffic, Gone: gone, Measure: d.measures(), Log: slog.New(d.w.logs(d)),
	})
	if err != nil {
		d.w.broken(err)
		return
	}
	d.booted(agent)
	if err := agent.Boot(d.now()); err != nil { // the disk does not answer: try again, as a supervisor does
		d.kill()
		d.w.push(item{at: d.w.now + int64(restartTime), kind: kindPower, d: d})
		return
	}
	d.settle()
	if d.post != nil && d.agent != nil {
		d.post.tell(false)
		d.post.welcome()
	}
	d.line.retry()
}

// live is power at the levels at which an agent runs by itself.
func (d *device) live() {
	agent, err := d.body.start()
	if err != nil {
		d.w.broken(err)
		return
	}
	d.booted(agent)
}

// booted notes that the device's agent begins anew.
func (d *device) booted(agent *edge.Agent) {
	d.w.trace.note(d.w.now, d, "boot", nil)
	for _, c := range d.w.checks {
		c.booted(d)
	}
	d.agent = agent
}

// status returns what the agent says of itself. There must be one.
func (d *device) status() edge.Status {
	if d.body != nil {
		return d.body.status
	}
	return d.agent.Status()
}

// carried notes that the line carries n bytes.
func (d *device) carried(dir way, n uint64) {
	if dir == wayUp {
		d.stats.BytesUp += n
	} else {
		d.stats.BytesDown += n
	}
	if day := d.w.day(); day != d.today.day {
		d.today = today{day: day}
	}
	d.today.bytes += n
}

// traffic returns how many bytes the line has carried.
func (d *device) traffic() uint64 { return d.stats.BytesUp + d.stats.BytesDown }

// bytesToday returns how many of them since midnight.
func (d *device) bytesToday() uint64 {
	if d.today.day != d.w.day() {
		return 0
	}
	return d.today.bytes
}

// block holds a direction of the line, or lets it go.
func (d *device) block(dir way, by int) {
	if d.body != nil {
		d.body.wires.Block(wire.Way(dir), by)
		return
	}
	d.line.block(dir, by)
}

// lined says whether this is a time in which there is a line.
func (d *device) lined(is bool) {
	if d.body == nil {
		d.line.open(is)
		return
	}
	if d.line.shut == is {
		d.line.shut = !is
		by := 1
		if is {
			by = -1
		}
		d.body.wires.Shut(by)
	}
}

// spinsMax bounds the ticks of one agent at one moment.
const spinsMax = 1000

// restartTime is how long a process takes to be started again.
const restartTime = 2 * time.Second

// kill ends the agent at once. What its disk has stays.
func (d *device) kill() {
	if d.agent == nil {
		return
	}
	d.agent = nil
	d.plugins.clear()
	if d.body != nil {
		d.body.die()
	} else {
		d.line.cut("agent gone")
		d.line.dropped(wayUp)
	}
	if d.post != nil {
		d.post.stop()
	}
	d.ticks++
	d.tickAt = 0
	d.w.trace.note(d.w.now, d, "gone", nil)
}

// now returns the device's steady time.
func (d *device) now() time.Time { return d.clock.steady(d.w.now) }

// wall returns what the device's wall clock shows at a steady time. A steady clock that
// drifts is for level model; at the others only what it shows does.
func (d *device) wall(steady time.Time) time.Time {
	shown := d.clock.wall(steady)
	if d.body != nil {
		shown = shown.Add(time.Duration(float64(steady.Sub(d.clock.start)) * d.clock.drift))
	}
	return shown
}

// online tells the agent of its line.
func (d *device) online(up bool) {
	switch {
	case d.agent == nil:
	case d.post != nil:
		d.post.uplink(up)
	default:
		d.agent.Online(d.now(), up)
		d.settle()
	}
}

// hear gives the agent a message.
func (d *device) hear(m protocol.Message) {
	d.w.saw(d, &m)
	switch {
	case d.agent == nil:
	case d.body != nil:
		d.body.life.inbox.Message(m)
	default:
		d.agent.Handle(d.now(), m)
		d.settle()
	}
}

// answered gives the agent the end of a call.
func (d *device) answered(a edge.Answered) {
	if d.busy > d.w.now && d.body == nil {
		d.w.push(item{at: d.busy, kind: kindAnswer, d: d, n: 1, arg: &answered{a, d.boots}})
		return
	}
	what := "answer"
	if a.Answer.Error != nil {
		what = "answer " + a.Answer.Error.Code.String()
		d.w.tell.failedCall(d, a.Instance, a.Answer.Error)
	}
	d.w.trace.note(d.w.now, d, what, []byte(a.Instance.Step))
	if d.body != nil {
		d.body.life.inbox.Answered(a)
		return
	}
	d.agent.Answered(d.now(), a)
	d.settle()
}

// tick is the agent's own time.
func (d *device) tick(n uint64) {
	if n != d.ticks || d.agent == nil {
		return
	}
	d.tickAt = 0
	if d.busy > d.w.now {
		d.plan(d.busy)
		return
	}
	if d.due > d.w.now {
		d.plan(d.due)
		return
	}
	if d.spins++; d.w.now != d.spun {
		d.spun, d.spins = d.w.now, 0
	}
	if d.spins > spinsMax {
		d.w.broken(fmt.Errorf("agent %s: wants to be called again and again at one moment", d.addr))
		return
	}
	d.w.trace.note(d.w.now, d, "tick", nil)
	d.agent.Tick(d.now())
	d.settle()
}

// settle ends an input: the power may have gone in its middle; else the agent says when
// it wants to be called next.
func (d *device) settle() {
	if d.disk.dead {
		d.kill()
		return
	}
	next := d.agent.Next()
	if next.IsZero() {
		d.ticks++
		d.tickAt = 0
		return
	}
	d.due = max(d.w.now, d.clock.world(next))
	d.plan(d.due)
}

// plan plans the next tick. One that is planned for the same time or sooner stays: before
// the agent is due it only plans the next.
func (d *device) plan(at int64) {
	if d.tickAt != 0 && d.tickAt <= at && d.tickAt >= d.w.now {
		return
	}
	d.ticks++
	d.tickAt = at
	d.w.push(item{at: at, kind: kindTick, d: d, n: d.ticks})
}

// pace returns how long something takes on d that takes t on a device of speed 1.
func (d *device) pace(t time.Duration) time.Duration {
	return time.Duration(float64(t) / d.speed * max(1, d.slow))
}

// wrote has the disk be at work for what was written.
func (d *device) wrote(int) {
	if l := d.group.Disk.Latency; l.Mean > 0 {
		took := time.Duration(float64(d.rng.spread(l)) * max(1, d.crawl))
		d.busy = max(d.busy, d.w.now) + int64(took)
	}
}

// signal returns the signal of that name, nil for none.
func (d *device) signal(name string) *signal {
	for i := range d.signals {
		if d.signals[i].of.Name == name {
			return &d.signals[i]
		}
	}
	return nil
}

// delivered notes that an output's effect happened in the world.
func (d *device) delivered(r *wasmhost.Request) {
	for _, c := range d.w.checks {
		c.effect(d, r)
	}
	d.w.tell.delivered(d, r.Event.Run)
}

// spoilt returns m, or something else when a fault changes what comes to d.
func (d *device) spoilt(k protocol.Kind, m protocol.Message) protocol.Message {
	if d.spoil == 0 || k != protocol.DownChunk || len(m.Payload) == 0 {
		return m
	}
	m.Payload = slices.Clone(m.Payload)
	m.Payload[len(m.Payload)-1-d.rng.below(min(len(m.Payload), 64))] ^= 0x20
	return m
}

// run returns the run of that ID that has not ended, nil for none.
func (d *device) run(id protocol.RunID) *openRun {
	for i := range d.open {
		if d.open[i].id == id {
			return &d.open[i]
		}
	}
	return nil
}

// applied takes in what is on the disk now.
func (d *device) applied(changes []written) {
	facts := d.w.factsOf(changes)
	if len(facts) == 0 {
		return
	}
	for _, c := range d.w.checks {
		c.applied(d, facts)
	}
	d.w.tell.applied(d, facts)
	for i := range facts {
		switch f := &facts[i]; f.kind {
		case factRun:
			if f.fresh {
				d.open = append(d.open, openRun{id: f.id, fired: d.w.now})
			}
		case factRunGone:
			d.open = slices.DeleteFunc(d.open, func(o openRun) bool { return o.id == f.id })
		case factResult:
			if r := d.run(f.id); r != nil {
				r.done = append(r.done, f.step)
			}
		default:
		}
	}
}

// oldest returns how long the oldest event or result has waited for the hub.
func (d *device) oldest() time.Duration {
	var age time.Duration
	for _, of := range protocol.Lanes() {
		if of == protocol.LaneAudit || of == protocol.LaneMetric || of == protocol.LaneLog {
			continue
		}
		age = max(age, d.oldestOf(of))
	}
	return age
}

// oldestOf is oldest of one lane.
func (d *device) oldestOf(of protocol.Lane) time.Duration {
	if at, found := d.disk.oldest(of); found {
		return time.Duration(d.w.now - at)
	}
	return 0
}

// outbox returns the bytes of all lanes.
func (d *device) outbox() uint64 { return d.disk.waiting() }

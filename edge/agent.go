package edge

import (
	"errors"
	"io"
	"log/slog"
	"slices"
	"time"

	"github.com/stavily/stavily/protocol"
)

// Deps is what an agent reaches the world through.
type Deps struct {
	Link    protocol.Link
	Store   Store
	Plugins Plugins
	Random  io.Reader // run IDs
	// Measure asks for the machine's figures, which come back as the input Measured. It
	// must not wait. Nil: the agent records only its own.
	Measure func()
	// Vault opens this agent's secrets and gives them to its plugins. Nil: it has none, and
	// never speaks of them.
	Vault Vault
	// Gone is told, when the agent boots and when it takes a document, whom a gateway lets in no
	// more. It must not wait. Nil: this is no gateway.
	Gone func([]protocol.Gone)
	// Traffic counts the bytes on the line to the hub since the process began, both ways. Nil:
	// the agent counts its messages.
	Traffic func() uint64
	// Wall tells what the wall clock shows at the time of an input. Nil: that time itself.
	// A simulation has no monotonic clock in its times: it hands in steady ones, by which
	// the agent waits, and lets the wall clock over them jump.
	Wall func(now time.Time) time.Time
	Log  *slog.Logger
}

// Agent is one agent. Its inputs are for one caller at a time.
type Agent struct {
	cfg     Config
	link    protocol.Link
	store   Store
	lanes   LaneStore // store, if it is one
	syncAt  time.Time // when what waits for the disk goes there; zero: nothing does
	plugins Plugins
	random  io.Reader
	machine func() // Deps.Measure
	traffic func() uint64
	wall    func(time.Time) time.Time
	log     *slog.Logger

	now     time.Time // of the input under way
	boot    uint64    // counts starts of the agent on this disk; from 1
	up      bool      // the hub hears
	near    bool      // it does not, but a gateway does
	beside  bool      // a gateway is there, by which neighbours are reached
	session uint64    // the link's number of the connection
	ups     uint64    // counts connections of this boot
	contact time.Time // last word from the hub
	clock   clock
	pen     pen
	out     outbox
	report  report
	figures figures
	vault   Vault                 // may be nil
	gone    func([]protocol.Gone) // may be nil
	tape    recorded
	secrets secrets
	replays []uint64 // the newest orders to run something again

	held     *generation // nil: nothing deployed
	previous *generation
	revoked  map[protocol.Digest]bool // releases that no generation runs
	newest   uint64                   // highest revision ever held in this epoch
	next     *candidate
	unsealed *protocol.Hint // of the revision that was refused for its seal
	fetch    *fetch
	shelf    *shelved // nil: nothing was brought by hand
	budget   budget

	draining bool // nothing new begins

	works    []*work   // by workflow name, ascending
	endings  []*ending // old works whose runs have not ended, the oldest of a workflow first
	aways    []*away   // steps of runs that are at other agents, in the order in which they went
	hosts    []*hosting
	guests   map[string]*guest
	guestsAt time.Time      // when results for others are told again; zero: there are none
	nonce    uint64         // of the last Take of this boot
	murmur   []protocol.Hop // what this agent said to itself
	calls    map[CallID]*call
	last     CallID

	results []protocol.Result // of the run that moves; used again
	asking  *asks             // of the work that is asked now
}

// pen is what the input under way has written and what waits for the disk.
type pen struct {
	changes []LaneChange
	waiting int      // of changes, from the first: those of earlier inputs
	runs    []*run   // how far they are is among the changes, and not encoded yet
	effects []effect // released when changes are on the disk, or wait for it
	atOnce  bool     // they may not wait for others
	bound   bool     // they are to be on the disk before anything leaves
	timed   bool     // they hold times: the clock goes to the disk with them
	stuck   bool     // the disk refused changes
	full    bool     // because it has no room
	tries   int
	at      time.Time // when to try again
	answers []Answered
	hint    *protocol.Message
}

// New returns an agent that does nothing before Boot. The error is that of
// Config.Validate.
func New(c Config, d Deps) (*Agent, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	if d.Log == nil {
		d.Log = slog.New(slog.DiscardHandler)
	}
	if d.Wall == nil {
		d.Wall = func(now time.Time) time.Time { return now }
	}
	a := &Agent{
		cfg: c, link: d.Link, store: d.Store, plugins: d.Plugins, random: d.Random, machine: d.Measure,
		wall: d.Wall, log: d.Log, calls: map[CallID]*call{}, asking: &asks{most: 1}, vault: d.Vault,
		gone: d.Gone, traffic: d.Traffic,
	}
	a.clock.floor, a.clock.sealed = c.Build, c.Build.UnixMilli()
	a.guests = map[string]*guest{}
	a.lanes, _ = d.Store.(LaneStore)
	return a, nil
}

// Handle takes a message of the link. What is not for this agent, not decodable or
// out of place changes nothing. m is acknowledged when all that follows from it is on
// the disk.
func (a *Agent) Handle(now time.Time, m protocol.Message) {
	if !a.begin(now) {
		if a.relieves(m) || a.movesUplink(m) {
			return
		}
		a.keepHint(m)
		return
	}
	a.carry(&m)
	a.take(m)
	if m.Ack != nil {
		a.pen.effects = append(a.pen.effects, effect{do: m.Ack, inward: true}) // it stands on this input alone
	}
	a.settle()
}

// Answered takes the answer of a plugin to a Call. Answers to calls that the agent
// no longer waits for change nothing.
func (a *Agent) Answered(now time.Time, in Answered) {
	if !a.begin(now) {
		a.keepAnswer(in)
		return
	}
	a.answer(in)
	a.settle()
}

// answered takes answers of plugins that came together as one input: what follows from
// all of them goes to the disk at once.
func (a *Agent) answered(now time.Time, all []Answered) {
	for len(all) > 0 {
		n := a.steps(all)
		if !a.begin(now) {
			n = 1
			a.keepAnswer(all[0])
		} else {
			for _, in := range all[:n] {
				a.answer(in)
			}
			a.settle()
		}
		all = all[n:]
	}
}

// steps counts the answers, from the first, that are a trigger's or a step's; 1 at least.
func (a *Agent) steps(all []Answered) int {
	n := slices.IndexFunc(all, func(in Answered) bool {
		c := a.calls[in.ID]
		return c != nil && c.kind != forWake && c.kind != forRun
	})
	if n < 0 {
		n = len(all)
	}
	return max(n, 1)
}

// Online takes the state of the line. Going up makes the agent say what it is and
// send what waits; nothing that runs is touched either way.
func (a *Agent) Online(now time.Time, up bool) { a.online(now, up, a.session+1) }

// online is Online with the link's own number of the connection, which its Will has.
func (a *Agent) online(now time.Time, up bool, session uint64) {
	stuck := !a.begin(now)
	a.reach(up, session)
	if !stuck {
		a.settle()
	}
}

// reach takes whether the hub hears this agent from now on.
func (a *Agent) reach(up bool, session uint64) {
	a.up, a.near, a.beside = up, false, false
	if !up {
		return
	}
	a.ups++
	a.session = max(a.session+1, session)
	a.contact = a.now
	a.report.connected()
	a.out.resend()
	a.out.first(a.boot)
	a.out.ahead.connected(a)
	a.refetch()
	a.secrets.ask()
	a.tape.again()
}

// Tick does what is due and returns when it wants to be called next; the zero time
// means not before another input.
func (a *Agent) Tick(now time.Time) time.Time {
	if a.begin(now) || a.unstick() {
		a.expire()
		a.ages()
		a.fromShelf()
		a.settle()
	}
	a.drainStuck()
	return a.Next()
}

// Next returns when Tick is due; the zero time means not before another input.
func (a *Agent) Next() time.Time {
	if a.pen.stuck {
		return a.stuckDue()
	}
	t := sooner(sooner(sooner(a.figuresDue(), a.syncAt), a.shelfDue()), a.clockAt())
	for _, w := range a.works {
		t = sooner(t, w.due(a.runsMax(w)))
	}
	t = sooner(sooner(t, a.endingsDue()), a.out.agesDue())
	for _, h := range a.aways {
		t = sooner(t, h.due())
	}
	for _, h := range a.hosts {
		t = sooner(t, h.loadAt)
	}
	if len(a.murmur) > 0 {
		t = a.now
	}
	for _, c := range a.calls { // the earliest of all: order does not matter
		t = sooner(t, c.deadline)
	}
	if a.next != nil {
		t = sooner(t, a.next.at)
	}
	if a.up {
		t = sooner(t, a.out.due())
		t = sooner(t, a.report.due())
		t = sooner(t, a.secrets.due())
		t = sooner(t, a.tape.due())
	}
	if a.heard() {
		t = sooner(t, a.guestsAt)
		if a.fetch != nil {
			t = sooner(t, a.fetch.due())
		}
	}
	return t
}

// begin reports whether an input may change anything: not while the disk has not
// taken the last one's changes.
func (a *Agent) begin(now time.Time) bool {
	a.now = now
	if a.pen.stuck {
		return false
	}
	if a.clock.anchor != 0 {
		a.regain()
	}
	a.countData()
	return true
}

// take looks at a message's topic and gives it to the one who waits for it.
func (a *Agent) take(m protocol.Message) {
	to, kind, err := protocol.ParseTopic(m.Topic)
	if err == nil && to != a.cfg.Address {
		err = protocol.Errorf(protocol.CodeNotMine, "message for %s", to)
	}
	if err == nil {
		a.contact = a.now
		switch kind {
		case protocol.DownHint:
			err = a.hint(m.Payload)
		case protocol.DownAck:
			err = a.ack(m.Payload)
		case protocol.DownChunk:
			err = a.chunk(m.Payload)
		case protocol.DownHop:
			err = a.hopCame(m.Payload)
		case protocol.DownSecrets:
			err = a.secretsCame(m.Payload)
		case protocol.DownRecord:
			err = a.recordOrder(m.Payload)
		case protocol.DownUplink:
			err = a.uplink(m.Payload)
		case protocol.DownLocal:
			err = a.local(m.Payload)
		case protocol.DownReplay:
			err = a.replayOrder(m.Payload)
		default: // the probe is the link's own, and nothing else comes down
		}
	}
	if err != nil {
		a.log.Warn("message passed over", slog.String("topic", clip(m.Topic)), slog.String("error", err.Error()))
	}
}

// keepHint remembers the newest hint while the disk refuses: the broker may not send
// it again on this connection. All else comes again by itself, and is done with: what a
// connection has under way without an acknowledgement is bounded, and at that bound nothing
// more would come, even when the disk is well again.
func (a *Agent) keepHint(m protocol.Message) {
	if to, kind, err := protocol.ParseTopic(m.Topic); err != nil ||
		to != a.cfg.Address || kind != protocol.DownHint || len(m.Payload) > protocol.MessageMax {
		m.Done()
		return
	}
	if old := a.pen.hint; old != nil {
		old.Done()
	}
	a.pen.hint = &m
}

// keepAnswer remembers an answer while the disk refuses: it comes only once. There
// are no more of them than calls under way.
func (a *Agent) keepAnswer(in Answered) {
	known := func(old Answered) bool { return old.ID == in.ID }
	if a.calls[in.ID] != nil && !slices.ContainsFunc(a.pen.answers, known) {
		a.pen.answers = append(a.pen.answers, in)
	}
}

// put writes v under key with the input's other changes.
func (a *Agent) put(key string, v any) {
	a.change(Change{Key: key, Value: protocol.MustMarshal(v)})
}

func (a *Agent) remove(key string) { a.change(Change{Key: key}) }

func (a *Agent) change(c Change) { a.pen.add(LaneChange{Change: c}) }

// changesUsual is how many changes an input seldom makes more than.
const changesUsual = 8

// add adds a change to those of the input.
func (p *pen) add(c LaneChange) {
	if p.changes == nil {
		p.changes = make([]LaneChange, 0, changesUsual)
	}
	p.changes = append(p.changes, c)
}

// effect is something to do, or else calls to start.
type effect struct {
	do    func()
	start []Call
	// inward: nothing outside the agent's memory becomes another by it.
	inward bool
}

// after has f run when the input's changes are on the disk.
func (a *Agent) after(f func()) {
	if f != nil {
		a.pen.effects = append(a.pen.effects, effect{do: f})
	}
}

// afterStart has a call start then. Calls that come together are started together.
func (a *Agent) afterStart(c Call, inward bool) {
	if n := len(a.pen.effects); n > 0 && a.pen.effects[n-1].do == nil {
		e := &a.pen.effects[n-1]
		e.start, e.inward = append(e.start, c), e.inward && inward
		return
	}
	start := append(make([]Call, 0, a.asking.most), c)
	a.pen.effects = append(a.pen.effects, effect{start: start, inward: inward})
}

// settle ends an input: what is due is begun, everything that changed goes to the
// disk at once or waits a moment for others, where it may, and only then does anything
// leave.
func (a *Agent) settle() {
	a.advance()
	if a.clockDue() {
		a.saveClock()
	}
	if !a.waits() {
		if err := a.write(); err != nil {
			a.stick(err)
			return
		}
		a.pen.blank()
	}
	a.perform()
	a.speak()
	a.rest()
}

// rest gives back what an agent that asks nothing and has nothing to tell kept to use again:
// it may rest for hours, and a simulation has thousands of them.
func (a *Agent) rest() {
	if !a.idle() {
		return
	}
	if a.pen.runs, a.results = nil, nil; cap(a.pen.changes) > changesUsual {
		a.pen.changes = nil
	}
	for _, w := range a.works {
		w.asks = asks{}
	}
	a.out.rest()
}

// idle reports whether the agent asks nothing and has nothing to tell.
func (a *Agent) idle() bool { return len(a.calls) == 0 && len(a.pen.changes) == 0 && !a.out.waits() }

// blank forgets the changes, which are on the disk.
func (p *pen) blank() {
	if p.waiting = 0; cap(p.changes) > changesKept {
		p.changes = nil
		return
	}
	clear(p.changes)
	p.changes = p.changes[:0]
}

// changesKept is how many changes there is room for while the agent has work: as many as wait at
// most, and those of an input.
const changesKept = 2 * waitMax

// perform does what may be done now.
func (a *Agent) perform() {
	effects := a.pen.effects
	a.pen.effects = nil // what is done may add others
	for i := range effects {
		e := &effects[i]
		switch {
		case e.do != nil:
			e.do()
		default:
			a.startAll(e.start)
		}
	}
	if a.pen.effects == nil && cap(effects) <= effectsKept {
		clear(effects)
		a.pen.effects = effects[:0]
	}
}

// effectsKept is how many effects there is room for at all times.
const effectsKept = 8

// together is a Plugins that takes calls which are started at once as one; they are its own
// from then on.
type together interface{ StartAll(calls []Call) }

func (a *Agent) startAll(calls []Call) {
	if p, ok := a.plugins.(together); ok {
		p.StartAll(calls)
		return
	}
	for _, c := range calls {
		a.plugins.Start(c)
	}
}

// stick keeps what the disk refused, to be tried again later. The state in memory is
// the one that the disk will have then; until then no input changes it further.
func (a *Agent) stick(err error) {
	a.pen.stuck, a.pen.full = true, errors.Is(err, ErrFull)
	a.pen.at = a.now.Add(a.pause(a.pen.tries))
	a.pen.tries++
	a.log.Error("disk refuses; nothing moves until it takes the changes",
		slog.Int("changes", len(a.pen.changes)), slog.Int("tries", a.pen.tries), slog.String("error", err.Error()))
}

// unstick tries the refused changes again and then takes in what came meanwhile.
func (a *Agent) unstick() bool {
	if a.now.Before(a.pen.at) {
		return false
	}
	if err := a.apply(); err != nil {
		a.stick(err)
		return false
	}
	a.out.wait()
	answers, hint := a.pen.answers, a.pen.hint
	a.pen = pen{effects: a.pen.effects}
	a.perform()
	for _, in := range answers {
		a.answer(in)
	}
	if hint != nil {
		a.take(*hint)
		a.after(hint.Done)
	}
	return true
}

// speak sends what is due to be sent; all of it is on the disk.
func (a *Agent) speak() {
	if a.heard() {
		a.sayFetch()
	}
	if !a.up {
		return
	}
	a.sayReport()
	a.sayRecords()
	a.sayWish()
	a.sayRecorded()
}

// send hands a message to the link and reports whether the link took it.
func (a *Agent) send(kind protocol.Kind, payload []byte) bool { return a.hand(kind, payload, nil) }

// hand is send that notes in h, unless that is nil, how long the link has the message.
func (a *Agent) hand(kind protocol.Kind, payload []byte, h *handed) bool {
	m := protocol.Message{
		Topic: protocol.Topic(a.cfg.Address, kind), Payload: payload, Retained: kind == protocol.UpPresence,
	}
	if h != nil {
		m.Ack = h.over()
	}
	if err := a.link.Send(m); err != nil {
		a.log.Debug("not sent", slog.String("kind", string(kind)), slog.String("error", err.Error()))
		return false
	}
	a.pledge(&m)
	return true
}

// pause returns how long to wait after the tries-th failure in a row, from 0.
func (a *Agent) pause(tries int) time.Duration {
	return doubled(a.cfg.PauseMin, tries, a.cfg.PauseMax)
}

// doubled returns d doubled times times, at most longest.
func doubled(d time.Duration, times int, longest time.Duration) time.Duration {
	for range times {
		if d >= longest/2 {
			return longest
		}
		d *= 2
	}
	return min(d, longest)
}

// sooner returns the earlier of two times, of which zero means never.
func sooner(t, u time.Time) time.Time {
	if t.IsZero() || !u.IsZero() && u.Before(t) {
		return u
	}
	return t
}

func later(t, u time.Time) time.Time {
	if t.Before(u) {
		return u
	}
	return t
}

// clip keeps a name that came from outside short enough for a log.
func clip(s string) string {
	if len(s) > protocol.PluginNameMax {
		return s[:protocol.PluginNameMax] + "..."
	}
	return s
}

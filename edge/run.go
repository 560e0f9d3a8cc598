package edge

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/stavily/stavily/protocol"
)

// The bounds of an Inbox. Answers need none: there are no more than calls under way.
const (
	messagesMax = 256
	linesMax    = 256
	asksMax     = 16
)

// drainMax is how long Run waits at its end for plugins that are being asked, unless told.
const drainMax = 5 * time.Second

// linesEvery is how often log lines go to the disk: one write for many. auditEvery is
// how long uses of grants are counted together; denials do not wait for it.
const (
	linesEvery = time.Second
	auditEvery = 10 * time.Minute
)

// Inbox is where links and plugins leave what Run gives to the agent. Its methods do
// not wait and may be called from any goroutine.
type Inbox struct {
	wake chan struct{} // holds one: something is there

	mu       sync.Mutex // guards the fields below
	messages []protocol.Message
	hint     *protocol.Message // the newest that found no room
	answers  []Answered
	spare    []Answered // room for answers, which the agent is done with
	line     *lineState // newest, not given to the agent yet
	ring     *protocol.Keyring
	figures  map[string]float64 // of the machine
	// published waits to be heard by triggers.
	published []Publication
	recorded  *Recorded
	asks      []func(now time.Time, a *Agent)
	told      Told
	audited   time.Time // when audits were given to the agent last
}

type lineState struct {
	up      bool
	beside  bool // neighbours are reached, up or not
	session uint64
}

// Told is what plugins and host say beside their answers.
type Told struct {
	Lines  []protocol.LogLine
	Audits []protocol.Audit
	Lost   uint64 // lines that found no room
}

// NewInbox returns an empty Inbox.
func NewInbox() *Inbox { return &Inbox{wake: make(chan struct{}, 1)} }

// Message is what a Link's Listen wants. When there is no room the message is not
// acknowledged and passed over: it comes again, or is asked for again. Of hints the
// newest is always kept.
func (i *Inbox) Message(m protocol.Message) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if len(i.messages) < messagesMax {
		i.messages = append(i.messages, m)
	} else if _, kind, err := protocol.ParseTopic(m.Topic); err == nil && kind == protocol.DownHint {
		i.hint = &m
	}
	i.bell()
}

// Online says that the line came or went. session is the link's number of this
// connection, the one in its Will.
func (i *Inbox) Online(up bool, session uint64) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.line = &lineState{up: up, session: session}
	i.bell()
}

// Uplink is Online for a gateway's own agent, which reaches its neighbours at all times.
func (i *Inbox) Uplink(up bool, session uint64) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.line = &lineState{up, true, session}
	i.bell()
}

// Keyring takes a keyring that was opened with the root key.
func (i *Inbox) Keyring(ring protocol.Keyring) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.ring = &ring
	i.bell()
}

// Measured takes the machine's figures; they are the Inbox's from then on.
func (i *Inbox) Measured(values map[string]float64) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.figures = values
	i.bell()
}

// Answered takes the end of a Call.
func (i *Inbox) Answered(in Answered) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.answers = append(i.answers, in)
	i.bell()
}

// Together takes the ends of calls that ended together.
func (i *Inbox) Together(all []Answered) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.answers = append(i.answers, all...)
	i.bell()
}

// Line takes a line that a plugin logged. Only warnings and worse go to the hub: the
// rest stays in the device's own log, since the uplink costs money.
func (i *Inbox) Line(line protocol.LogLine) {
	if line.Level < int8(slog.LevelWarn) {
		return
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if len(i.told.Lines) < linesMax {
		i.told.Lines = append(i.told.Lines, line)
	} else {
		i.told.Lost++
	}
}

// Audit takes what a plugin used of its grants and adds it to what it used before.
func (i *Inbox) Audit(audits []protocol.Audit) {
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, audit := range audits {
		at := slices.IndexFunc(i.told.Audits, func(old protocol.Audit) bool {
			return old.Plugin == audit.Plugin && old.Workflow == audit.Workflow && old.Capability == audit.Capability
		})
		switch {
		case at >= 0:
			old := &i.told.Audits[at]
			old.Allowed += audit.Allowed
			old.Denied += audit.Denied
			if audit.Denied > 0 {
				old.Subject = audit.Subject
			}
		case len(i.told.Audits) < linesMax:
			i.told.Audits = append(i.told.Audits, audit)
		}
	}
}

// Ask has f called on the agent's goroutine, where it may ask the agent anything; it must
// return at once. It is false when there is no room.
func (i *Inbox) Ask(f func(now time.Time, a *Agent)) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	if len(i.asks) >= asksMax {
		return false
	}
	i.asks = append(i.asks, f)
	i.bell()
	return true
}

func (i *Inbox) bell() {
	select {
	case i.wake <- struct{}{}:
	default:
	}
}

// mail is all that an Inbox held at one moment.
type mail struct {
	messages []protocol.Message
	answers  []Answered
	line     *lineState
	ring     *protocol.Keyring
	figures  map[string]float64

	published []Publication
	recorded  *Recorded
	asks      []func(now time.Time, a *Agent)
}

func (i *Inbox) take() mail {
	i.mu.Lock()
	defer i.mu.Unlock()
	m := mail{i.messages, i.answers, i.line, i.ring, i.figures, i.published, i.recorded, i.asks}
	i.published, i.recorded, i.asks = nil, nil, nil
	if i.hint != nil {
		m.messages = append(m.messages, *i.hint)
	}
	i.messages, i.answers, i.line, i.hint, i.ring, i.figures = nil, i.spare, nil, nil, nil, nil
	i.spare = nil
	return m
}

// reuse gives answers back that were taken, for others to stand in their place; nil for none.
func (i *Inbox) reuse(answers []Answered) {
	clear(answers)
	i.mu.Lock()
	defer i.mu.Unlock()
	i.spare = answers[:0]
}

// listen returns what was told; audits when they are due, or when last is set.
func (i *Inbox) listen(now time.Time, last bool) Told {
	i.mu.Lock()
	defer i.mu.Unlock()
	t := i.told
	denied := slices.ContainsFunc(t.Audits, func(a protocol.Audit) bool { return a.Denied > 0 })
	if !last && !denied && now.Sub(i.audited) < auditEvery {
		i.told = Told{Audits: t.Audits}
		t.Audits = nil
		return t
	}
	i.told, i.audited = Told{}, now
	return t
}

// Runner is the one goroutine and the one clock of an agent.
type Runner struct {
	Agent *Agent
	Inbox *Inbox
	// Every bounds the time between two calls of After; 0 means 10 s.
	Every time.Duration
	// After is called after each round of inputs, on the agent's goroutine, where it
	// may ask the agent anything. It must return at once. It may be nil.
	After func(now time.Time, a *Agent)
	// Drain bounds the wait at the end for what plugins are asked; 0 means 5 s.
	Drain time.Duration
}

// Run gives the agent its inputs until ctx ends, and then waits a moment for the
// plugins that are being asked. The agent must have booted.
func (r *Runner) Run(ctx context.Context) {
	every := r.Every
	if every <= 0 {
		every = 10 * time.Second
	}
	var told time.Time
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			r.drain(timer)
			return
		case <-r.Inbox.wake:
		case <-timer.C:
		}
		r.round()
		if now := time.Now(); now.Sub(told) >= linesEvery {
			told = now
			r.Agent.Told(now, r.Inbox.listen(now, false))
		}
		r.sleep(timer, every)
	}
}

// round gives the agent everything that is there.
func (r *Runner) round() {
	m := r.Inbox.take()
	if m.ring != nil {
		r.Agent.Believe(time.Now(), *m.ring)
	}
	if m.line != nil {
		r.Agent.online(time.Now(), m.line.up, m.line.session)
		r.Agent.beside, r.Agent.near = m.line.beside, m.line.beside && !m.line.up
	}
	r.Agent.answered(time.Now(), m.answers)
	if r.Agent.idle() { // for hours maybe
		m.answers = nil
	}
	r.Inbox.reuse(m.answers)
	if len(m.published) > 0 {
		r.Agent.Published(time.Now(), m.published)
	}
	if m.recorded != nil {
		r.Agent.Recorded(time.Now(), *m.recorded)
	}
	for _, in := range m.messages {
		r.Agent.Handle(time.Now(), in)
	}
	if m.figures != nil {
		r.Agent.Measured(time.Now(), m.figures)
	}
	for _, f := range m.asks {
		f(time.Now(), r.Agent)
	}
}

// sleep does what is due and sets the timer to what is due next.
func (r *Runner) sleep(timer *time.Timer, every time.Duration) {
	now := time.Now()
	next := r.Agent.Tick(now)
	if r.After != nil {
		r.After(now, r.Agent)
	}
	wait := every
	if !next.IsZero() {
		wait = min(wait, max(0, next.Sub(now)))
	}
	timer.Reset(wait)
}

func (r *Runner) drain(timer *time.Timer) {
	r.Agent.Drain()
	if r.Drain <= 0 {
		r.Drain = drainMax
	}
	timer.Reset(r.Drain)
	for r.Agent.Busy() {
		select {
		case <-r.Inbox.wake:
			r.round()
			r.Agent.Tick(time.Now())
		case <-timer.C:
			r.Agent.finish(time.Now())
			return // what they were asked is asked again after the next boot
		}
	}
	now := time.Now()
	r.Agent.Told(now, r.Inbox.listen(now, true))
	r.Agent.finish(now)
	if r.After != nil {
		r.After(now, r.Agent)
	}
}

package gateway

import (
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/stavily/stavily/protocol"
)

// Site is the broker of a gateway's neighbours.
type Site interface {
	// Send sends to the one neighbour whose topic m has; CodeUnavailable when it is not
	// connected here or does not take it now. It must not wait.
	Send(m protocol.Message) error
	// Connected returns the neighbours that are connected, in order.
	Connected() []protocol.Address
}

// Config is what a Relay stands between.
type Config struct {
	Address protocol.Address // the gateway's own
	Site    Site
	// Send takes a message to the hub by the gateway's own link, as protocol.Link's Send.
	Send func(m protocol.Message) error
	// Own takes what is for the gateway's own agent. It must not wait.
	Own   func(m protocol.Message)
	Shelf Shelf
	Log   *slog.Logger
}

// Relay passes messages on. Its methods may be called from any goroutine and do not wait, but
// those that ask for files or bring them for the shelf's disk.
type Relay struct {
	cfg Config
	log *slog.Logger

	// files guards the shelf, and that a piece which is not on it is on its way or asked for. It is
	// taken before mu, which is never held for the disk: words pass beside files.
	files  sync.Mutex
	mu     sync.Mutex // guards the fields below
	up     bool       // the hub is reached
	unsent map[said]([]byte)
	untold map[protocol.Address]bool // who did not take the last Uplink
	// waiting are those who took last that the hub is not reached. That may lie in a queue for
	// them while they are away, and be the first that they hear when they are back.
	waiting map[protocol.Address]bool
	flights map[piece]*flight
	// requests counts those to the hub.
	requests uint64
	own      map[protocol.Digest]time.Time        // what the hub gives to the asker alone
	hints    map[protocol.Address]protocol.Digest // desired documents, as hinted
	// locals holds each agent to a rate of what it says to the whole site.
	locals map[protocol.Address]*rate.Limiter
	count  Counts
}

// said is the newest of what is said whole each time. A presence or report that found no way is
// kept, since nobody would ask for it again.
type said struct {
	from protocol.AgentName
	kind protocol.Kind
}

// Counts are what a relay has done since it was made.
type Counts struct {
	Up, Down uint64 // messages carried to the hub, and from it
	Inside   uint64 // words from neighbour to neighbour
	Local    uint64 // messages to the whole site
	Dropped  uint64 // messages that found no way
	Fetched  uint64 // bytes of files that came over the uplink
	Served   uint64 // bytes of files that were handed out
}

// New returns a relay that does not reach the hub yet.
func New(cfg Config) *Relay {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &Relay{
		cfg: cfg, log: cfg.Log, unsent: map[said][]byte{}, untold: map[protocol.Address]bool{},
		waiting: map[protocol.Address]bool{},
		flights: map[piece]*flight{}, own: map[protocol.Digest]time.Time{},
		hints: map[protocol.Address]protocol.Digest{}, locals: map[protocol.Address]*rate.Limiter{},
	}
}

// Neighbour takes a message of a neighbour, whose topic says who it is: the broker has held it
// against the neighbour's certificate. It is acknowledged at once: a line's acknowledgement
// means nothing here but that the message has come.
func (r *Relay) Neighbour(now time.Time, m protocol.Message) {
	defer m.Done()
	from, kind, err := protocol.ParseTopic(m.Topic)
	if err == nil && (from.Site != r.cfg.Address.Site || from == r.cfg.Address) {
		err = protocol.Errorf(protocol.CodeRefused, "message of %s: not a neighbour", from)
	}
	switch {
	case err != nil:
	case kind == protocol.UpFetch:
		err = r.fetch(now, from, m.Payload)
	default:
		err = r.pass(now, from, kind, m.Payload)
	}
	if err != nil {
		r.dropped()
		r.log.Debug("not carried", slog.String("topic", m.Topic), slog.String("error", err.Error()))
	}
}

func (r *Relay) dropped() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.count.Dropped++
}

// Say takes what the gateway's own agent says, with the results of protocol.Link's Send.
func (r *Relay) Say(now time.Time, m protocol.Message) error {
	from, kind, err := protocol.ParseTopic(m.Topic)
	if err != nil || from != r.cfg.Address {
		return protocol.Errorf(protocol.CodeRefused, "send %q: not for %s to send", m.Topic, r.cfg.Address)
	}
	switch kind {
	case protocol.UpFetch:
		err = r.fetch(now, from, m.Payload)
	case protocol.UpHop, protocol.UpLocal:
		err = r.pass(now, from, kind, m.Payload)
	default:
		return r.cfg.Send(m)
	}
	if err == nil {
		m.Done() // the relay sees to it from here
	}
	return err
}

// pass takes what a neighbour says, but for requests of files.
func (r *Relay) pass(now time.Time, from protocol.Address, kind protocol.Kind, payload []byte) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch kind {
	case protocol.UpHop:
		return r.hop(from, payload)
	case protocol.UpLocal:
		return r.local(now, from, payload)
	case protocol.UpPresence, protocol.UpReported:
		switch {
		case !r.up || r.waiting[from]:
			r.tell(from)
		case kind == protocol.UpPresence: // who is gone does not take it
			_ = r.give(from, protocol.DownUplink, protocol.MustMarshal(protocol.Uplink{Up: true, Same: true}))
		}
		if err := r.carry(from, kind, payload); err != nil {
			r.unsent[said{from.Agent, kind}] = payload
		}
		return nil
	default:
		return r.carry(from, kind, payload)
	}
}

// carry sends what an agent says to the hub: the gateway's own as it is, a neighbour's within a
// message of the gateway.
func (r *Relay) carry(from protocol.Address, kind protocol.Kind, payload []byte) error {
	if from == r.cfg.Address {
		return r.cfg.Send(protocol.Message{Topic: protocol.Topic(from, kind), Payload: payload})
	}
	c := protocol.Carried{Agent: from.Agent, Kind: kind, Payload: payload}
	if err := c.Check(true); err != nil {
		r.log.Warn("not carried", slog.String("agent", from.String()), slog.String("error", err.Error()))
		return err
	}
	if !r.up {
		return protocol.Errorf(protocol.CodeUnavailable, "carry for %s: the hub is not reached", from)
	}
	err := r.cfg.Send(protocol.Message{
		Topic: protocol.Topic(r.cfg.Address, protocol.UpCarried), Payload: protocol.MustMarshal(c),
	})
	if err == nil {
		r.count.Up++
	}
	return err
}

// hop passes a word on, to a neighbour who is here without the hub. From is who the broker
// knows the sender as, whatever the word says.
func (r *Relay) hop(from protocol.Address, payload []byte) error {
	var word protocol.Hop
	if err := protocol.Unmarshal(payload, &word); err != nil {
		return err
	}
	word.From = from
	if err := word.Check(); err != nil {
		return err
	}
	inside := word.To.Site == r.cfg.Address.Site
	if inside && r.give(word.To, protocol.DownHop, protocol.MustMarshal(word)) == nil {
		r.count.Inside++
		return nil
	}
	return r.carry(from, protocol.UpHop, payload)
}

// give hands a message to a neighbour, or to the gateway's own agent.
func (r *Relay) give(to protocol.Address, kind protocol.Kind, payload []byte) error {
	m := protocol.Message{Topic: protocol.Topic(to, kind), Payload: payload}
	if to == r.cfg.Address {
		r.cfg.Own(m)
		return nil
	}
	return r.cfg.Site.Send(m)
}

// Hub takes a message that came by the gateway's link: what is for a neighbour, a piece of a
// file, or else what is for the gateway's own agent.
func (r *Relay) Hub(now time.Time, m protocol.Message) {
	_, kind, err := protocol.ParseTopic(m.Topic)
	switch {
	case err == nil && kind == protocol.DownCarried:
		err = r.down(m.Payload)
	case err == nil && (kind != protocol.DownChunk || !r.came(now, m.Payload)):
		if kind == protocol.DownHint {
			r.hinted(r.cfg.Address, m.Payload)
		}
		r.cfg.Own(m)
		return
	}
	m.Done()
	if err != nil {
		r.dropped()
		r.log.Debug("not passed on", slog.String("topic", m.Topic), slog.String("error", err.Error()))
	}
}

func (r *Relay) down(payload []byte) error {
	var c protocol.Carried
	if err := protocol.Unmarshal(payload, &c); err != nil {
		return err
	}
	if err := c.Check(false); err != nil {
		return err
	}
	to := protocol.Address{Site: r.cfg.Address.Site, Agent: c.Agent}
	if c.Kind == protocol.DownHint {
		r.hinted(to, c.Payload)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	err := r.cfg.Site.Send(protocol.Message{Topic: protocol.Topic(to, c.Kind), Payload: c.Payload})
	if err == nil {
		r.count.Down++
	}
	return err
}

// Uplink takes whether the gateway's link to the hub is up. Every neighbour is told.
func (r *Relay) Uplink(up bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.up = up
	clear(r.flights)
	clear(r.own)
	r.resend()
	for _, a := range r.cfg.Site.Connected() {
		r.tell(a)
	}
}

// tell says to a neighbour whether the hub is reached, now or when it takes it.
func (r *Relay) tell(a protocol.Address) {
	delete(r.untold, a)
	switch err := r.give(a, protocol.DownUplink, protocol.MustMarshal(protocol.Uplink{Up: r.up})); {
	case err != nil:
		r.untold[a] = true
	case r.up:
		delete(r.waiting, a)
	default:
		r.waiting[a] = true
	}
}

// Tick tries again what found no way. It wants to be called about once a second.
func (r *Relay) Tick(now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.resend()
	if len(r.untold) > 0 {
		here := r.cfg.Site.Connected()
		for _, a := range here {
			if r.untold[a] {
				r.tell(a)
			}
		}
		for a := range r.untold { // each alone: order does not matter
			if !slices.Contains(here, a) {
				delete(r.untold, a) // it will ask when it is back
			}
		}
	}
	r.forget(now)
}

// Idle reports whether Tick has nothing to do until something else happens.
func (r *Relay) Idle() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return (len(r.unsent) == 0 || !r.up) && len(r.untold) == 0 && len(r.flights) == 0 && len(r.own) == 0
}

// resend carries what found no way before, presences first.
func (r *Relay) resend() {
	if !r.up || len(r.unsent) == 0 {
		return
	}
	waiting := make([]said, 0, len(r.unsent))
	for s := range r.unsent {
		waiting = append(waiting, s)
	}
	slices.SortFunc(waiting, func(s, t said) int {
		return strings.Compare(string(s.kind)+string(s.from), string(t.kind)+string(t.from))
	})
	for _, s := range waiting {
		from := protocol.Address{Site: r.cfg.Address.Site, Agent: s.from}
		if protocol.CodeOf(r.carry(from, s.kind, r.unsent[s])) == protocol.CodeUnavailable {
			return
		}
		delete(r.unsent, s)
	}
}

// Counts returns what the relay has done.
func (r *Relay) Counts() Counts {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.count
}

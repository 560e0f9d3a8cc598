// Package hub is the one process that verifies and builds plugins, publishes releases,
// plans desired documents for agents, and keeps the books of it all.
//
// Hub is a plain object: every call hands it one input at one moment, and it has no
// goroutine, no clock and no lock. serve.go owns those: it runs the broker, the API and
// the one loop that calls Hub. publish.go tells the story of a plugin, deploy.go that of
// a workflow, enrol.go that of an agent.
package hub

import (
	"context"
	"errors"
	"log/slog"
	"math"
	"slices"
	"time"

	"github.com/stavily/stavily/hub/fleet"
	"github.com/stavily/stavily/hub/registry"
	"github.com/stavily/stavily/hub/runs"
	"github.com/stavily/stavily/hub/store"
	"github.com/stavily/stavily/protocol"
)

// Hub is the hub's core. One caller at a time.
type Hub struct {
	cfg   Config
	log   *slog.Logger
	books *store.Store
	files *registry.Files // artifacts and sealed releases: for every agent
	keys  *Keys
	ca    *CA
	link  protocol.Link

	moment moment

	drained time.Time // until when the places of backlogs are taken; see pace

	// tx holds what Handle changed since the last Flush, after what may leave the hub
	// once that is on disk: nothing is acknowledged before.
	tx    *store.Tx
	after []func()
	acks  map[protocol.Address]*acks // that leave then, of agents that take them together
	// intake holds the records since then, and how far the lanes came; waiting is how
	// much of them Flush may let wait, for books in memory.
	intake  *runs.Intake
	waiting int
	aside   func(work func())           // Deps.Aside
	epochs  map[protocol.Address]uint64 // of the enrolments that were asked for; see Remove
	carries carries
	prune   time.Time
	look    time.Time // at the rollouts
	still   bool      // there are none that could go on
	// soaks are the agents whose word a wave waits for, and when they are asked for it.
	soaks map[soaks]asking
	diffs differences
	// read holds what deployments reads from the books, by workflow; see there.
	read map[string]read
	// standing is what agents said last, where nothing follows from the same again; untold
	// are those of them that said it anew since the books were written.
	standing map[protocol.Address]*standing
	untold   []*standing
	// replays are the agents that are to run something again; nil: not read yet.
	replays map[protocol.AgentName]bool
}

// Deps are what a hub stands on.
type Deps struct {
	Log   *slog.Logger
	Books *store.Store
	Files *registry.Files
	Keys  *Keys
	CA    *CA
	Link  protocol.Link
	// Intake is what outlives the hub together with books in memory; nil for books that
	// last.
	Intake *runs.Intake
	// Aside does work beside what calls the hub: writing books in memory, which are waited for
	// where they are asked. Nil: nothing is done aside.
	Aside func(work func())
	// Differences keeps differences of artifacts; nil: in memory.
	Differences *registry.Files
	// Later runs work beside the loop that calls the hub, and then done in it; false when
	// too much waits. Nil: both at once.
	Later func(work, done func()) bool
}

// New returns a hub over its books.
func New(cfg Config, d Deps) *Hub {
	h := &Hub{
		cfg: cfg, log: d.Log, books: d.Books, files: d.Files, keys: d.Keys, ca: d.CA,
		link: d.Link, intake: d.Intake, waiting: waitingMax, epochs: map[protocol.Address]uint64{},
		carries: newCarries(), read: map[string]read{}, standing: map[protocol.Address]*standing{},
		soaks: map[soaks]asking{}, aside: d.Aside,
		acks: map[protocol.Address]*acks{},
	}
	h.diffs = differences{files: d.Differences, later: d.Later, known: map[pair]*difference{}}
	if d.Differences == nil {
		h.diffs.files = registry.MemoryFiles()
	}
	if d.Later == nil {
		h.diffs.later = func(work, done func()) bool { work(); done(); return true }
	}
	if h.intake == nil {
		h.intake, h.waiting = runs.NewIntake(), 0
	}
	return h
}

// Handle takes one message of an agent. Its effects leave with the next Flush; a
// message that cannot be understood is counted, logged and acknowledged, so that it
// never comes again.
func (h *Hub) Handle(now time.Time, m protocol.Message) {
	from, kind, err := protocol.ParseTopic(m.Topic)
	if err == nil {
		err = h.handle(now, from, kind, m.Payload)
	}
	if err != nil && !poison(err) {
		h.log.Error("message not kept", slog.String("topic", m.Topic), slog.String("error", err.Error()))
		h.drop()
		return // not acknowledged: the agent sends it again
	}
	if err != nil {
		h.log.Warn("message refused", slog.String("topic", m.Topic), slog.String("error", err.Error()))
	}
	if m.Ack != nil {
		h.after = append(h.after, m.Ack)
	}
}

// poison reports whether err is the message's own fault, so that sending it again
// would only fail again.
func poison(err error) bool {
	switch protocol.CodeOf(err) {
	case protocol.CodeBadMessage, protocol.CodeLimit, protocol.CodeBadName, protocol.CodeNotFound,
		protocol.CodeNotMine, protocol.CodeStale, protocol.CodeRefused:
		return true
	default:
		return false
	}
}

func (h *Hub) handle(now time.Time, from protocol.Address, kind protocol.Kind, payload []byte) error {
	switch kind {
	case protocol.UpPresence:
		return decoded(payload, func(p protocol.Presence) error {
			return h.presence(from, fleet.Said{Presence: p, At: now})
		})
	case protocol.UpReported:
		return decoded(payload, func(r protocol.Reported) error { return h.reported(now, from, payload, &r) })
	case protocol.UpRecords:
		b, err := protocol.DecodeBatch(payload)
		if err != nil {
			return err
		}
		return h.records(now, from, b)
	case protocol.UpFetch:
		return decoded(payload, func(r protocol.FetchRequest) error { return h.fetch(from, r) })
	case protocol.UpHop:
		return decoded(payload, func(w protocol.Hop) error { return h.hop(from, w) })
	case protocol.UpSecrets:
		return decoded(payload, func(w protocol.SecretsWish) error { return h.wish(from, w) })
	case protocol.UpCarried:
		return decoded(payload, func(c protocol.Carried) error { return h.carried(now, from, c) })
	case protocol.UpReplay:
		return decoded(payload, func(a protocol.ReplayAnswer) error { return h.replayAnswer(from, a) })
	case protocol.UpRecord:
		return decoded(payload, func(p protocol.RecordPart) error { return h.recordPart(from, p) })
	default:
		return protocol.Errorf(protocol.CodeBadMessage, "kind %q is not for the hub", kind)
	}
}

func decoded[T any](payload []byte, use func(T) error) error {
	var v T
	if err := protocol.Unmarshal(payload, &v); err != nil {
		return err
	}
	return use(v)
}

func (h *Hub) presence(from protocol.Address, p fleet.Said) error {
	tx, err := h.told()
	if err != nil {
		return err
	}
	news, err := fleet.SetPresenceBy(tx, from, p)
	if err == nil && news {
		err = h.goesBy(tx, from, p)
	}
	if err != nil || !p.Online {
		return err
	}
	agent, err := fleet.Get(tx, from.Agent)
	if err == nil {
		h.hint(p.At, &agent)
		err = h.sayReplays(tx, p.At, &agent)
	}
	return err
}

// known returns the agent that is enrolled at from.
func known(tx *store.Tx, from protocol.Address) (fleet.Agent, error) {
	agent, err := fleet.Get(tx, from.Agent)
	if err == nil && agent.Address != from {
		err = protocol.Errorf(protocol.CodeNotFound, "agent %s: not found; the one of that name is at site %s",
			from, agent.Address.Site)
	}
	return agent, err
}

func (h *Hub) records(now time.Time, from protocol.Address, b protocol.Batch) error {
	epoch, err := h.epochAt(from)
	if err != nil {
		return err
	}
	if b.Epoch != epoch {
		return protocol.Errorf(protocol.CodeStale, "records of %s: enrolment %d, the agent of that name is "+
			"enrolment %d",
			from, b.Epoch, epoch)
	}
	ack, fresh, err := h.intake.Accept(h.begin, from, b, now)
	if err != nil {
		return err
	}
	if h.log.Enabled(context.Background(), slog.LevelDebug) { // their texts cost more than the records
		h.log.Debug("records", slog.String("agent", from.String()), slog.String("lane", b.Lane.String()),
			slog.Int("sent", len(b.Records)), slog.Int("new", fresh))
	}
	if _, ahead := b.Lane.Ahead(); ahead {
		return nil
	}
	ack.WaitMS = h.pace(now, len(b.Records))
	h.acknowledge(from, ack, b.Together)
	return nil
}

// acknowledge lets an acknowledgement leave with the next Flush: with those of other lanes, if the
// agent takes them together.
func (h *Hub) acknowledge(to protocol.Address, ack protocol.LaneAck, together bool) {
	if all := h.acks[to]; together && all != nil {
		at := slices.IndexFunc(all.lanes, func(o protocol.LaneAck) bool { return o.Lane == ack.Lane })
		if at < 0 {
			all.lanes = append(all.lanes, ack)
		} else {
			all.lanes[at] = ack
		}
		return
	}
	all := &acks{}
	if all.lanes = append(all.room[:0], ack); together {
		h.acks[to] = all
	}
	h.sendWhen(to, protocol.DownAck, func() []byte { return protocol.EncodeLaneAcks(all.lanes) })
}

// acks are the acknowledgements that an agent gets as one.
type acks struct {
	lanes protocol.LaneAcks
	room  [2]protocol.LaneAck // for them, which is seldom not enough
}

// drainPerSecond is how many full batches of backlogs a hub takes in a second, of all agents
// together: room stays for what others tell now.
const drainPerSecond = 200

// pace returns how many milliseconds an agent waits before the next batch of a lane. Only a
// batch that is full, as those of a backlog are, takes a place.
func (h *Hub) pace(now time.Time, records int) uint32 {
	if records < protocol.BatchMax {
		return 0
	}
	if h.drained.Before(now) {
		h.drained = now
	}
	h.drained = h.drained.Add(time.Second / drainPerSecond)
	wait := h.drained.Sub(now) - time.Second // a second's worth at once
	return uint32(min(max(wait.Milliseconds(), 0), math.MaxInt32))
}

// epochAt returns the enrolment of the agent at an address, which changes only when it is
// removed.
func (h *Hub) epochAt(from protocol.Address) (uint64, error) {
	if epoch, ok := h.epochs[from]; ok {
		return epoch, nil
	}
	tx, err := h.begin()
	if err != nil {
		return 0, err
	}
	epoch, err := fleet.EpochAt(tx, from)
	if err == nil {
		h.epochs[from] = epoch
	}
	return epoch, err
}

// send lets a message leave with the next Flush. A line that is down is no error: the
// agent asks again when it is back.
func (h *Hub) send(to protocol.Address, kind protocol.Kind, v any) {
	h.sendBytes(to, kind, protocol.MustMarshal(v))
}

// sendBytes is send of what is encoded already.
func (h *Hub) sendBytes(to protocol.Address, kind protocol.Kind, payload []byte) {
	h.sendWhen(to, kind, func() []byte { return payload })
}

// sendWhen is send of what is encoded only then.
func (h *Hub) sendWhen(to protocol.Address, kind protocol.Kind, payload func() []byte) {
	h.after = append(h.after, func() {
		m := protocol.Message{
			Topic: protocol.Topic(to, kind), Payload: payload(), Retained: protocol.MayRetain(kind),
		}
		if err := h.link.Send(h.carries.way(to, m)); err != nil {
			h.log.Debug("not sent", slog.String("topic", m.Topic), slog.String("error", err.Error()))
		}
	})
}

// write runs f in the transaction that the next Flush commits. f may change what follows
// from reports.
func (h *Hub) write(f func(*store.Tx) error) error {
	return h.note(func(tx *store.Tx) error {
		clear(h.standing)
		return f(tx)
	})
}

// note is write of an f that changes nothing that follows from reports, or says so itself.
func (h *Hub) note(f func(*store.Tx) error) error {
	tx, err := h.told()
	if err != nil {
		return err
	}
	return f(tx)
}

// begin returns the transaction that the next Flush commits.
func (h *Hub) begin() (*store.Tx, error) {
	if h.tx == nil {
		if err := h.intake.Join(); err != nil {
			return nil, protocol.Errorf(protocol.CodeStorage, "books: %w", err)
		}
		tx, err := h.books.Begin(context.Background())
		if err != nil {
			return nil, protocol.Errorf(protocol.CodeStorage, "books: %w", err)
		}
		h.tx = tx
	}
	return h.tx, nil
}

// waitingMax is how much of what agents tell waits for the next write to books that are
// in memory: it is safe there already.
const waitingMax = 1024

// Flush makes everything handled so far durable and then lets out what follows from
// it. When the books refuse, nothing leaves: the agents send again.
func (h *Hub) Flush() error { return h.flush(h.waiting) }

// flush is Flush that lets no more than waiting wait in memory.
func (h *Hub) flush(waiting int) error {
	if err := h.commit(waiting); err != nil {
		h.drop()
		h.intake.Reset()
		return protocol.Errorf(protocol.CodeStorage, "books: %w", err)
	}
	effects := h.after
	h.after = nil
	clear(h.acks)
	for _, effect := range effects {
		effect()
	}
	return nil
}

func (h *Hub) commit(waiting int) error {
	if h.intake.Waiting()+len(h.untold) <= waiting {
		h.intake.Hold()
	} else if waiting > 0 && h.aside != nil {
		return h.commitAside()
	} else if tx, err := h.told(); err != nil {
		return err
	} else if err := h.keep(tx, waiting); err != nil {
		return err
	}
	if h.tx == nil {
		return nil
	}
	tx := h.tx
	h.tx = nil
	if err := tx.Commit(); err != nil {
		return err
	}
	h.intake.Kept()
	return nil
}

// commitAside has all that was handled be written beside what comes next.
func (h *Hub) commitAside() error {
	tx, err := h.begin()
	if err != nil {
		return err
	}
	said := h.said()
	h.tx = nil
	h.intake.WriteAside(tx, h.aside, func(tx *store.Tx) error { return keepSaid(tx, said) })
	h.intake.Kept()
	return nil
}

// keep writes what agents told into the books; where some of it may wait, how far their lanes
// came does.
func (h *Hub) keep(tx *store.Tx, waiting int) error {
	if waiting > 0 {
		return h.intake.WriteRows(tx)
	}
	return h.intake.Write(tx)
}

// drop forgets everything since the last Flush.
func (h *Hub) drop() {
	if h.tx != nil {
		h.tx.Rollback()
	}
	h.tx, h.after = nil, nil
	clear(h.acks)
	h.intake.Drop()
	clear(h.standing)
	h.untold = nil
}

// Operate runs f, an operator's wish, all of it or nothing, and lets out what it sent.
func (h *Hub) Operate(f func(tx *store.Tx) error) error {
	return h.operate(func() error { return h.write(f) })
}

// operate is Operate of a wish that writes by itself.
func (h *Hub) operate(wish func() error) error {
	if err := h.flush(0); err != nil {
		return err
	}
	if err := wish(); err != nil {
		h.drop()
		return err
	}
	return h.Flush()
}

const (
	pruneEvery = time.Hour
	// tokensKept is how long a token that expired is remembered, so that whoever still
	// tries it is told why it is refused.
	tokensKept = 30 * 24 * time.Hour
)

// Tick does what time asks for and returns when it wants to be called next.
func (h *Hub) Tick(now time.Time) (next time.Time) {
	if !now.Before(h.look) {
		h.look = now.Add(rolloutEvery)
		h.watch(now)
	}
	h.tidy(now)
	if h.look.Before(h.prune) {
		return h.look
	}
	return h.prune
}

// tidy forgets what is old.
func (h *Hub) tidy(now time.Time) {
	if now.Before(h.prune) {
		return
	}
	h.prune = now.Add(pruneEvery)
	err := h.note(func(tx *store.Tx) error {
		n, err := runs.Prune(tx, now.Add(-h.cfg.RunsKept))
		if n > 0 { // one call takes a bounded number, so that agents are not kept waiting
			h.prune = now.Add(time.Second)
		}
		if err == nil {
			_, err = fleet.DropOldTokens(tx, now.Add(-tokensKept))
		}
		return err
	})
	if err = errors.Join(err, h.Flush()); err != nil {
		h.log.Error("prune", slog.String("error", err.Error()))
	}
}

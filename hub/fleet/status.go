package fleet

import (
	"bytes"
	"fmt"
	"time"

	"github.com/stavily/stavily/hub/store"
	"github.com/stavily/stavily/protocol"
)

// SetPresence keeps what an agent, or its Will, says of its connection. What is older
// than the presence held, by boot, then session, then online before offline, changes
// nothing: the late Will of a lost connection never ends the next one. The error has
// CodeNotFound for an agent that is not enrolled at that address.
func SetPresence(tx *store.Tx, from protocol.Address, p protocol.Presence, now time.Time) error {
	_, err := SetPresenceBy(tx, from, Said{Presence: p, At: now})
	return err
}

// Said is a Presence with how it came.
type Said struct {
	protocol.Presence
	Via protocol.AgentName // the gateway that carried it; empty for the agent's own line
	At  time.Time
}

// SetPresenceBy is SetPresence of what a gateway may have carried. It returns whether it was
// news.
func SetPresenceBy(tx *store.Tx, from protocol.Address, p Said) (news bool, err error) {
	held, err := stateOf(tx, from)
	if err != nil || !held.presence.before(p.Presence) {
		return false, err
	}
	at := store.Millis(p.At)
	_, err = tx.Exec(`UPDATE agent SET online = ?, boot = ?, session = ?, since = ?, last_seen = ?, via = ?
		WHERE name = ?`, p.Online, store.Signed(p.Boot), store.Signed(p.Session), at, at, p.Via, from.Agent)
	return err == nil, err
}

// SetReported keeps what an agent says of itself, and its device and the device's own
// labels with it. A report at or below the one held, by boot and sequence, changes
// nothing. The error has CodeNotFound for an agent that is not enrolled at that address,
// CodeStale for a report of another enrolment, CodeLimit or CodeBadName for bad labels.
func SetReported(tx *store.Tx, from protocol.Address, r protocol.Reported, now time.Time) error {
	_, err := setReported(tx, from, r, now)
	return err
}

// Report is SetReported, and returns the agent as it was before and as it is now: a report
// comes every few minutes of every agent, and reading it back costs as much as keeping it.
func Report(
	tx *store.Tx, from protocol.Address, r protocol.Reported, now time.Time,
) (before, after Agent, err error) {
	if before, err = Get(tx, from.Agent); err != nil {
		return before, after, err
	}
	news, err := setReported(tx, from, r, now)
	after = before
	if news {
		after.Reported, after.Device, after.LastSeen = &r, r.Device, store.Time(store.Millis(now))
	}
	return before, after, err
}

// Repeated is a report that says, later, what the agent's last one said of its device, and of
// what it holds.
type Repeated struct {
	Agent   protocol.AgentName
	Mark    protocol.Mark // above that of the last one
	Seen    time.Time
	Payload []byte // as it came
}

// KeepRepeated keeps r in place of the agent's last report, to which it was compared by the
// caller. It does nothing when there is no agent of that name any more.
func KeepRepeated(tx *store.Tx, r *Repeated) error {
	_, err := tx.Exec(`UPDATE agent SET reported = ?, reported_boot = ?, reported_sequence = ?, last_seen = ?
		WHERE name = ?`, r.Payload, store.Signed(r.Mark.Boot), store.Signed(r.Mark.Sequence), store.Millis(r.Seen),
		string(r.Agent))
	return err
}

// setReported returns whether the report was news.
func setReported(
	tx *store.Tx, from protocol.Address, r protocol.Reported, now time.Time,
) (news bool, err error) {
	held, err := stateOf(tx, from)
	if err != nil {
		return false, err
	}
	if r.Epoch != held.epoch {
		return false, protocol.Errorf(protocol.CodeStale, "agent %s: report of epoch %d, enrolled with epoch %d",
			from, r.Epoch, held.epoch)
	}
	mark := protocol.Mark{Boot: r.Boot, Sequence: r.Sequence}
	if held.hasReport && !mark.After(held.reported) {
		return false, nil
	}
	if err := checkLabels(r.Device.Labels); err != nil {
		return false, fmt.Errorf("agent %s: report: %w", from, err)
	}
	device := protocol.MustMarshal(r.Device)
	_, err = tx.Exec(`UPDATE agent SET reported = ?, reported_boot = ?, reported_sequence = ?, device = ?,
		last_seen = ? WHERE name = ?`, protocol.MustMarshal(r), store.Signed(r.Boot), store.Signed(r.Sequence),
		device, store.Millis(now), from.Agent)
	if err != nil || bytes.Equal(device, held.device) {
		return err == nil, err
	}
	if _, err := tx.Exec("DELETE FROM agent_label WHERE agent = ? AND origin = 'device'",
		from.Agent); err != nil {
		return false, err
	}
	return true, putLabels(tx, from.Agent, originDevice, r.Device.Labels)
}

// Seen keeps that the hub heard of an agent.
func Seen(tx *store.Tx, from protocol.Address, now time.Time) error {
	n, err := store.Changed(tx.Exec("UPDATE agent SET last_seen = ? WHERE name = ? AND site = ?",
		store.Millis(now),
		from.Agent, from.Site))
	return changed(n, err, from.Agent)
}

// EpochAt returns the epoch of the agent that is enrolled at an address, and reads no more
// than that: it is asked for every batch of records. The error has CodeNotFound.
func EpochAt(tx *store.Tx, from protocol.Address) (uint64, error) {
	var site protocol.Site
	var epoch int64
	err := tx.QueryRow("SELECT site, epoch FROM agent WHERE name = ?", string(from.Agent)).Scan(&site, &epoch)
	switch {
	case store.None(err):
		return 0, notFound(from.Agent)
	case err == nil && site != from.Site:
		return 0, protocol.Errorf(protocol.CodeNotFound, "agent %q: not found at site %q, it is at %q", from.Agent,
			from.Site, site)
	}
	return store.Unsigned(epoch), err
}

// AllOffline says that no agent is connected, as when the hub has started with its own
// broker: every agent connects anew, in its next session. Boots and sessions stay, so
// that what is still said of older sessions is known to be older.
func AllOffline(tx *store.Tx, now time.Time) error {
	_, err := tx.Exec("UPDATE agent SET online = 0, since = ? WHERE online = 1", store.Millis(now))
	return err
}

// state is what new facts are compared with.
type state struct {
	epoch     uint64
	presence  order
	hasReport bool
	reported  protocol.Mark
	device    []byte
}

// order is a place in the life of a connection.
type order struct {
	boot, session uint64
	online        bool
}

// before reports whether p is newer than o.
func (o order) before(p protocol.Presence) bool {
	switch {
	case o.boot != p.Boot:
		return o.boot < p.Boot
	case o.session != p.Session:
		return o.session < p.Session
	default:
		return o.online && !p.Online
	}
}

func stateOf(tx *store.Tx, from protocol.Address) (state, error) {
	var s state
	var site protocol.Site
	var epoch, boot, session, reportedBoot, reportedSequence int64
	err := tx.QueryRow(`SELECT site, epoch, online, boot, session, reported IS NOT NULL, reported_boot,
		reported_sequence, device FROM agent WHERE name = ?`, from.Agent).Scan(&site, &epoch,
		&s.presence.online, &boot,
		&session, &s.hasReport, &reportedBoot, &reportedSequence, &s.device)
	if store.None(err) {
		return s, notFound(from.Agent)
	}
	if err == nil && site != from.Site {
		return s, protocol.Errorf(protocol.CodeNotFound, "agent %q: not found at site %q, it is at %q", from.Agent,
			from.Site, site)
	}
	s.epoch = store.Unsigned(epoch)
	s.presence.boot, s.presence.session = store.Unsigned(boot), store.Unsigned(session)
	s.reported = protocol.Mark{Boot: store.Unsigned(reportedBoot), Sequence: store.Unsigned(reportedSequence)}
	return s, err
}

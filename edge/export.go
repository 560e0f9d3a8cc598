package edge

import (
	"bytes"
	"time"

	"github.com/stavily/stavily/protocol"
)

// Unacknowledged reads records of a lane that no hub has acknowledged yet, the oldest first,
// at most one batch of them with the gaps between them, beginning behind the key from, "" for the
// first. next is empty behind the last. The records stay: only an acknowledgement lets go of them.
// It needs no agent, only its disk.
func Unacknowledged(s Store, of protocol.Lane, from string) (
	records []protocol.Record, gaps []protocol.Gap, next string, err error,
) {
	var l lane
	if l.account, err = accountOf(s, of); err != nil {
		return nil, nil, "", err
	}
	size, before := 0, protocol.Mark{}
	err = s.Scan(lanePrefix(of), from, func(key string, value []byte) bool {
		m, err := markOf(of, key)
		if err == nil && l.hole(before, m) {
			gaps = append(gaps, between(before, m))
		}
		before = m
		if size+len(value) > batchBytes || len(records) == protocol.BatchMax || len(gaps) > holesMax {
			next = key
			return false
		}
		var rec protocol.Record
		if protocol.Unmarshal(bytes.Clone(value), &rec) == nil {
			records = append(records, rec)
			size += len(value)
		}
		return true
	})
	for _, g := range l.Gaps {
		if at := RecordKey(of, g.To); at >= from && (next == "" || at < next) {
			gaps = insertGap(gaps, g)
		}
	}
	return records, gaps, next, err
}

// accountOf reads the account of a lane; one that is not readable is counted when the agent starts.
func accountOf(s Store, of protocol.Lane) (acc account, err error) {
	value, err := s.Get(laneKey(of))
	if err != nil || value == nil || protocol.UnmarshalExact(value, &acc) != nil {
		return account{}, err
	}
	return acc, nil
}

// batchBytes bounds the records of a batch that is carried by hand.
const batchBytes = 64 << 10

// State returns what an agent says of itself: its report, and its wish for secrets when a
// step may use one, nil otherwise.
func (a *Agent) State(now time.Time) (protocol.Reported, *protocol.SecretsWish) {
	if a.begin(now) {
		a.report.sequence++
	}
	if !a.secrets.Wanted {
		return a.reported(), nil
	}
	wish, err := a.claim()
	if err != nil {
		return a.reported(), nil
	}
	return a.reported(), &wish
}

// State returns what an agent that does not run would say of itself, as it was when it wrote s:
// the report behind its last one, and its wish for secrets when a step may use one. vault is the
// device's. The error has CodeInternal.
func (s *Status) State(vault Vault) (protocol.Reported, *protocol.SecretsWish, error) {
	r := protocol.Reported{
		Epoch: s.Epoch, Revision: s.Revision, Digest: s.Digest, Boot: s.Boot, Sequence: s.Sequence + 1,
		Time: s.Time, Device: s.Device, Assignments: s.Assignments, Refused: s.Refused,
		Pending: s.Pending, Dropped: s.Dropped, Secrets: s.Secrets.Digest, Data: s.Data,
	}
	if !s.Secrets.Wanted {
		return r, nil, nil
	}
	wish, err := s.Secrets.claim(vault, s.Address, s.Epoch)
	return r, &wish, err
}

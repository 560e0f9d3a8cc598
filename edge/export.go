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
	size := 0
	err = s.Scan(lanePrefix(of), from, func(key string, value []byte) bool {
		if size+len(value) > batchBytes || len(records) == protocol.BatchMax {
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
	if err == nil {
		gaps, err = gapsOf(s, of, from, next)
	}
	return records, gaps, next, err
}

// gapsOf reads the gaps of a lane that lie behind the key from and before next, "" for the end.
func gapsOf(s Store, of protocol.Lane, from, next string) (gaps []protocol.Gap, err error) {
	var acc account
	value, err := s.Get(laneKey(of))
	if err != nil || value == nil || protocol.Unmarshal(value, &acc) != nil {
		return nil, err // a lane without a readable account is counted when the agent starts
	}
	for _, g := range acc.Gaps {
		if at := RecordKey(of, g.To); at >= from && (next == "" || at < next) {
			gaps = append(gaps, g)
		}
	}
	return gaps, nil
}

// batchBytes bounds the records of a batch that is carried by hand.
const batchBytes = 64 << 10

// State returns what an agent says of itself: its report, and its wish for secrets when a
// step may use one, nil otherwise.
func (a *Agent) State(now time.Time) (protocol.Reported, *protocol.SecretsWish) {
	if a.begin(now) {
		a.report.sequence++
	}
	r := a.reported()
	if !a.secrets.wanted {
		return r, nil
	}
	wish, err := a.vault.Claim(a.cfg.Address, a.cfg.Epoch)
	if err != nil {
		return r, nil
	}
	wish.Epoch, wish.Held, wish.Revision = a.cfg.Epoch, a.secrets.digest, a.secrets.revision
	return r, &wish
}

package edge

import (
	"slices"
	"strconv"
	"strings"

	"github.com/stavily/stavily/protocol"
)

// account is what is known of a lane without reading its records: opening an outbox
// costs the same with one record and with a million.
type account struct {
	Count   uint64 `cbor:"1,keyasint"`
	Bytes   int64  `cbor:"2,keyasint"` // keys and values
	Dropped uint64 `cbor:"3,keyasint"` // let go unacknowledged, ever
	// Gaps are what was let go and the hub has not been told of, in order, at most gapsMax.
	Gaps []protocol.Gap `cbor:"4,keyasint,omitempty"`
	// Thin is the last record that was let go from the midst of the lane. Up to there each hole in
	// the sequence between two records is such ones, or of Gaps.
	Thin protocol.Mark `cbor:"5,keyasint,omitzero"`
}

// encode returns what Marshal returns for c: it is written with each record.
func (c *account) encode() []byte {
	pairs := 3
	if len(c.Gaps) > 0 {
		pairs++
	}
	if c.Thin != (protocol.Mark{}) {
		pairs++
	}
	b := protocol.AppendMap(make([]byte, 0, 20), pairs)
	b = protocol.AppendUint(append(b, 1), c.Count)
	b = protocol.AppendUint(append(b, 2), uint64(max(0, c.Bytes)))
	b = protocol.AppendUint(append(b, 3), c.Dropped)
	if len(c.Gaps) > 0 {
		b = protocol.AppendGaps(append(b, 4), c.Gaps)
	}
	if c.Thin != (protocol.Mark{}) {
		b = c.Thin.AppendCBOR(append(b, 5))
	}
	return b
}

// save writes the accounts that changed along with the records.
func (o *outbox) save(a *Agent) {
	for of := protocol.LaneEvent; of < protocol.LaneEnd; of++ {
		if l := &o.lanes[of]; l.touched {
			a.change(Change{Key: laneKey(of), Value: l.encode()})
			l.touched = false
		}
	}
}

// open reads the accounts; a lane without a readable one is counted.
func (o *outbox) open(a *Agent) error {
	for of := protocol.LaneEvent; of < protocol.LaneEnd; of++ {
		l := &o.lanes[of]
		value, err := a.store.Get(laneKey(of))
		if err != nil {
			return err
		}
		if value == nil || protocol.UnmarshalExact(value, &l.account) != nil {
			if err := a.count(of); err != nil {
				return err
			}
		}
		l.older, l.waiting, l.safe = true, l.owes(), slices.Clone(l.Gaps)
		if l.Count > 0 && a.cfg.LaneAge[of] > 0 {
			l.agesAt = a.now.Add(firstAge)
		}
	}
	return nil
}

func (a *Agent) count(of protocol.Lane) error {
	l := &a.out.lanes[of]
	l.account = account{}
	return a.eachRecord(of, func(_ string, _ protocol.Mark, value []byte) bool {
		l.Count++
		l.Bytes += sizeOf(value)
		l.touched = true
		return true
	})
}

// pending and dropped are the sums over all lanes.
func (o *outbox) pending() (n uint64) {
	for i := range o.lanes {
		n += o.lanes[i].Count
	}
	return n
}

func (o *outbox) dropped() (n uint64) {
	for i := range o.lanes {
		n += o.lanes[i].Dropped
	}
	return n
}

func laneKey(of protocol.Lane) string { return laneKeys[of%protocol.LaneEnd] }

// laneKeys are the accounts' keys: one is written with each record.
var laneKeys = [protocol.LaneEnd]string{
	keyLane + "0", keyLane + "1", keyLane + "2", keyLane + "3", keyLane + "4", keyLane + "5", keyLane + "6",
	keyLane + "7",
}

func lanePrefix(of protocol.Lane) string { return keyOut + strconv.Itoa(int(of)) + "/" }

func markOf(of protocol.Lane, key string) (protocol.Mark, error) {
	boot, sequence, _ := strings.Cut(strings.TrimPrefix(key, lanePrefix(of)), "/")
	b, err := strconv.ParseUint(boot, 16, 64)
	if err != nil {
		return protocol.Mark{}, err
	}
	s, err := strconv.ParseUint(sequence, 16, 64)
	return protocol.Mark{Boot: b, Sequence: s}, err
}

package protocol

import "slices"

// What is in this file writes what an agent writes for every event without reflection: the
// same bytes as Marshal, at a fifth of its cost.

// bodyDepth is how deep a body's data stands in a batch: in the body's map.
const bodyDepth = batchDepth + 2

var _, inBodyMode = modes(DepthMax - bodyDepth)

// EncodeRecord returns a record with this head, whose own Body does not matter, and body as it
// stands in a Batch. Its errors are those of Record.Encode.
func EncodeRecord(head Record, body any) ([]byte, error) { return AppendRecord(nil, head, body) }

// AppendRecord is EncodeRecord behind b, which it returns unchanged with an error.
func AppendRecord(b []byte, head Record, body any) ([]byte, error) {
	var data Raw
	var most int
	switch v := body.(type) {
	case *Event:
		data, most = v.Data, len(v.Data)+len(v.Workflow)
	case *Result:
		data, most = v.Data, len(v.Data)+len(v.Workflow)+len(v.Step)
	default:
		value, err := encodeAny(head, body)
		return append(b, value...), err
	}
	if len(data) > 0 {
		if err := inBodyMode.Wellformed(data); err != nil {
			return b, Errorf(CodeContract, "record: %w", err)
		}
	}
	n := byte(3)
	if head.Steady > 0 {
		n++
	}
	whole := b
	b = slices.Grow(b, most+160)
	b = head.Time.AppendCBOR(append(head.Mark.AppendCBOR(append(b, MajorMap|n, 1)), 2))
	b = append(b, 3)
	from := len(b)
	switch v := body.(type) {
	case *Event:
		b = v.AppendCBOR(b)
	case *Result:
		b = v.AppendCBOR(b)
	}
	if n := len(b) - from; n > RecordMax {
		return whole, Errorf(CodeLimit, "record: body of %d bytes, limit RecordMax %d", n, RecordMax)
	}
	if head.Steady > 0 {
		b = AppendUint(append(b, 4), head.Steady)
	}
	return b, nil
}

func encodeAny(head Record, body any) ([]byte, error) {
	raw, err := Marshal(body)
	if err != nil {
		return nil, Errorf(CodeContract, "record: %w", err)
	}
	head.Body = raw
	return head.Encode()
}

// EncodeBatch returns a Batch with this head, whose own Records do not matter, and n records
// that are encoded already: records is what Record.Encode returned for each, one behind the
// other.
func EncodeBatch(head Batch, n int, records []byte) []byte {
	pairs := byte(3)
	if head.Steady > 0 {
		pairs++
	}
	if len(head.Gaps) > 0 {
		pairs++
	}
	if head.Together {
		pairs++
	}
	b := append(make([]byte, 0, 48+len(records)), MajorMap|pairs, 1)
	b = append(AppendUint(b, head.Epoch), 2)
	b = append(AppendUint(b, uint64(head.Lane)), 3)
	b = append(AppendArray(b, n), records...)
	if head.Steady > 0 {
		b = AppendUint(append(b, 4), head.Steady)
	}
	if len(head.Gaps) > 0 {
		b = AppendGaps(append(b, 5), head.Gaps)
	}
	if head.Together {
		b = append(b, 6, SimpleTrue)
	}
	return b
}

// EncodeLaneAcks returns acknowledgements as one message: of one of them, that alone.
func EncodeLaneAcks(all LaneAcks) []byte {
	const each = 24 // seldom more
	b := make([]byte, 0, each*len(all))
	if len(all) != 1 {
		b = AppendArray(b, len(all))
	}
	for i := range all {
		b = all[i].AppendCBOR(b)
	}
	return b
}

// AppendCBOR appends what Marshal returns for m.
func (m Mark) AppendCBOR(b []byte) []byte {
	b = AppendUint(append(b, MajorMap|2, 1), m.Boot)
	return AppendUint(append(b, 2), m.Sequence)
}

// AppendCBOR appends what Marshal returns for s.
func (s Stamp) AppendCBOR(b []byte) []byte {
	b = AppendInt(append(b, MajorMap|2, 1), s.UnixMS)
	return AppendUint(append(b, 2), uint64(s.Quality))
}

// AppendCBOR appends what Marshal returns for v.
func (v *LaneAck) AppendCBOR(b []byte) []byte {
	n := byte(3)
	if v.WaitMS > 0 {
		n++
	}
	b = AppendUint(append(b, MajorMap|n, 1), v.Epoch)
	b = AppendUint(append(b, 2), uint64(v.Lane))
	b = v.Mark.AppendCBOR(append(b, 3))
	if v.WaitMS > 0 {
		b = AppendUint(append(b, 4), uint64(v.WaitMS))
	}
	return b
}

// AppendCBOR appends what Marshal returns for e, whose data must be one item or none.
func (e *Event) AppendCBOR(b []byte) []byte {
	n := byte(4)
	if len(e.Data) > 0 {
		n++
	}
	b = AppendBytes(append(b, MajorMap|n, 1), e.Run[:])
	b = AppendText(append(b, 2), string(e.Workflow))
	b = AppendUint(append(b, 3), e.Revision)
	b = e.Time.AppendCBOR(append(b, 4))
	if len(e.Data) > 0 {
		b = append(append(b, 5), e.Data...)
	}
	return b
}

// AppendCBOR appends what Marshal returns for r, whose data must be one item or none.
func (r *Result) AppendCBOR(b []byte) []byte {
	n := byte(8)
	for _, set := range [...]bool{r.Error != nil, len(r.Data) > 0, r.Last, r.By != Address{}} {
		if set {
			n++
		}
	}
	b = AppendBytes(append(b, MajorMap|n, 1), r.Run[:])
	b = AppendText(append(b, 2), string(r.Workflow))
	b = AppendText(append(b, 3), string(r.Step))
	b = AppendText(append(b, 4), string(r.Type))
	b = AppendUint(append(b, 5), uint64(r.Status))
	if r.Error != nil {
		b = AppendUint(append(b, 6, MajorMap|2, 1), uint64(r.Error.Code))
		b = AppendText(append(b, 2), r.Error.Text)
	}
	b = r.Time.AppendCBOR(append(b, 7))
	b = AppendInt(append(b, 8), r.TookUS)
	b = AppendUint(append(b, 9), uint64(r.Tries))
	if len(r.Data) > 0 {
		b = append(append(b, 10), r.Data...)
	}
	if r.Last {
		b = append(b, 11, SimpleTrue)
	}
	if r.By != (Address{}) {
		b = AppendText(append(b, 12, MajorMap|2, 1), string(r.By.Site))
		b = AppendText(append(b, 2), string(r.By.Agent))
	}
	return b
}

// AppendCBOR appends what Marshal returns for d.
func (d Digest) AppendCBOR(b []byte) []byte { return AppendBytes(b, d[:]) }

// AppendUint appends a number that is not negative.
func AppendUint(b []byte, n uint64) []byte { return AppendHead(b, MajorUint, n) }

// AppendArray appends the head of an array of n items.
func AppendArray(b []byte, n int) []byte { return AppendHead(b, MajorArray, uint64(n)) }

// AppendMap appends the head of a map of n pairs.
func AppendMap(b []byte, n int) []byte { return AppendHead(b, MajorMap, uint64(n)) }

// AppendInt appends a number.
func AppendInt(b []byte, n int64) []byte {
	if n < 0 {
		return AppendHead(b, MajorNint, uint64(^n))
	}
	return AppendHead(b, MajorUint, uint64(n))
}

// AppendText appends a text, which must be UTF-8.
func AppendText(b []byte, s string) []byte {
	return append(AppendHead(b, MajorText, uint64(len(s))), s...)
}

// AppendBytes appends a byte string.
func AppendBytes(b, s []byte) []byte {
	return append(AppendHead(b, MajorBytes, uint64(len(s))), s...)
}

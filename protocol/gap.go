package protocol

import "slices"

// GapsMax bounds the gaps of one Batch.
const GapsMax = 64

// Gap names records of a lane that never come: the agent let go of Count of them, from From to To,
// before a hub had them. Where From and To are of one boot these are all between them.
type Gap struct {
	From  Mark   `cbor:"1,keyasint" json:"from"`
	To    Mark   `cbor:"2,keyasint" json:"to"`
	Count uint64 `cbor:"3,keyasint" json:"count"`
	Why   GapWhy `cbor:"4,keyasint" json:"why"`
}

// GapWhy is why records were let go.
type GapWhy uint8

// The reasons.
const (
	GapSeveral    GapWhy = 0 // more than one of these
	GapBytes      GapWhy = 1 // the lane was over its bytes
	GapAge        GapWhy = 2 // they were older than the lane keeps any
	GapDisk       GapWhy = 3 // the disk was full
	GapNewest     GapWhy = 4 // the lane was full, and keeps what it has
	GapLost       GapWhy = 5 // the flash lost them
	GapUnreadable GapWhy = 6 // they could not be read any more
	GapThinned    GapWhy = 7 // the lane was over its bytes, and let go of every second one
)

var gapWords = [...]string{"several", "bytes", "age", "disk", "newest", "lost", "unreadable", "thinned"}

// String returns the reason in a word.
func (w GapWhy) String() string {
	if int(w) < len(gapWords) {
		return gapWords[w]
	}
	return "unknown"
}

// MarshalText writes the reason's word, for JSON.
func (w GapWhy) MarshalText() ([]byte, error) { return []byte(w.String()), nil }

// UnmarshalText reads what MarshalText writes; an unknown word is GapSeveral.
func (w *GapWhy) UnmarshalText(b []byte) error {
	*w = GapWhy(max(0, slices.Index(gapWords[:], string(b))))
	return nil
}

// Check returns CodeBadMessage for a gap that ends before it begins, or has nothing in it.
func (g *Gap) Check() error {
	if g.From.After(g.To) || g.Count == 0 {
		return Errorf(CodeBadMessage, "gap of %d records from %d/%d to %d/%d", g.Count, g.From.Boot,
			g.From.Sequence, g.To.Boot, g.To.Sequence)
	}
	return nil
}

// After returns what of g lies after a mark, up to which the lane's records are known; Count is 0
// when nothing does.
func (g Gap) After(known Mark) Gap {
	if !known.After(g.From) && known != g.From {
		return g
	}
	if !g.To.After(known) {
		return Gap{}
	}
	g.From = Mark{Boot: known.Boot, Sequence: known.Sequence + 1}
	if g.From.Boot == g.To.Boot {
		g.Count = min(g.Count, g.To.Sequence-known.Sequence)
	}
	return g
}

// AppendCBOR appends what Marshal returns for g.
func (g *Gap) AppendCBOR(b []byte) []byte {
	b = g.From.AppendCBOR(append(b, MajorMap|4, 1))
	b = g.To.AppendCBOR(append(b, 2))
	b = AppendUint(append(b, 3), g.Count)
	return AppendUint(append(b, 4), uint64(g.Why))
}

// AppendGaps appends what Marshal returns for gaps.
func AppendGaps(b []byte, gaps []Gap) []byte {
	b = AppendArray(b, len(gaps))
	for i := range gaps {
		b = gaps[i].AppendCBOR(b)
	}
	return b
}

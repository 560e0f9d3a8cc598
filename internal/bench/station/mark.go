package station

import "github.com/stavily/stavily/protocol"

// lastMark returns what acknowledges a batch, which must be one that an agent encoded.
func lastMark(batch []byte) (ack protocol.LaneAck, err error) {
	w := walk{b: batch}
	defer func() {
		if w.broken {
			err = protocol.Errorf(protocol.CodeBadMessage, "batch of %d bytes is none", len(batch))
		}
	}()
	w.head() // {1: epoch, 2: lane, 3: records}
	w.head()
	ack.Epoch = w.head()
	w.head()
	ack.Lane = protocol.Lane(w.head())
	w.head()
	last := 0
	for n := w.head(); n > 0 && !w.broken; n-- {
		last = w.at
		w.skip()
	}
	w.at = last
	w.head() // {1: {1: boot, 2: sequence}, ...}
	w.head()
	w.head()
	w.head()
	ack.Mark.Boot = w.head()
	w.head()
	ack.Mark.Sequence = w.head()
	return ack, nil
}

// walk goes over CBOR items.
type walk struct {
	b      []byte
	at     int
	major  byte // of the last head
	broken bool
}

// head takes the head of an item and returns its argument.
func (w *walk) head() (n uint64) {
	if w.at >= len(w.b) {
		w.broken = true
		return 0
	}
	w.major = w.b[w.at] >> 5
	n = uint64(w.b[w.at] & 31)
	w.at++
	if n < 24 {
		return n
	}
	size := 1 << (n - 24)
	if n > 27 || w.at+size > len(w.b) {
		w.broken = true
		return 0
	}
	n = 0
	for range size {
		n = n<<8 | uint64(w.b[w.at])
		w.at++
	}
	return n
}

// skip goes over one item with all that is in it.
func (w *walk) skip() {
	for left := uint64(1); left > 0 && !w.broken; left-- {
		switch n := w.head(); w.major {
		case 2, 3:
			w.at += int(min(n, uint64(len(w.b)-w.at)))
		case 4:
			left += n
		case 5:
			left += 2 * n
		}
	}
}

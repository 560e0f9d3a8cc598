package wasmhost

import (
	"encoding/binary"
	"io"
	"sync"
	"time"

	"github.com/tetratelabs/wazero/sys"

	"github.com/stavily/stavily/protocol"
)

// tape records what one guest gets of the world that is not the same twice: clocks,
// randomness, how many bytes a read brought, what a wait ended by. Or it shows it again.
//
// An entry is a byte that says its kind, and a number in up to 10 bytes of 7 bits, the
// lowest first. Randomness is followed by its bytes; a clock's number is the difference to
// its last, with the sign in the lowest bit.
type tape struct {
	replaying bool

	mu    sync.Mutex // guards the fields below
	world []byte
	at    int      // replaying: what comes next
	last  [2]int64 // of the clocks
	most  int      // recording: bytes
	cut   Cut      // recording: why there is no more
	wrong string   // replaying: where the guest went another way
	spent bool     // replaying: the guest wanted more than there is
}

// The kinds of entries.
const (
	entryReal      = 0
	entryMonotonic = 1
	entryRandom    = 2
	entryRead      = 3
	entryWait      = 4
	entryLast      = entryWait
)

var entryNames = [...]string{
	"real time", "monotonic time", "randomness", "a read of stdin", "a wait for stdin",
}

// put records an entry.
func (t *tape) put(kind byte, n uint64, b []byte) {
	if t.cut != CutNot {
		return
	}
	if len(t.world)+len(b)+1+binary.MaxVarintLen64 > t.most {
		t.cut = CutFull
		return
	}
	t.world = binary.AppendUvarint(append(t.world, kind), n)
	t.world = append(t.world, b...)
}

// next reads an entry. b is of randomness.
func (t *tape) next() (kind byte, n uint64, err error) {
	rest := t.world[t.at:]
	if len(rest) == 0 {
		return 0, 0, io.EOF
	}
	kind = rest[0]
	n, size := binary.Uvarint(rest[1:])
	rest = rest[1+max(size, 0):]
	switch {
	case kind > entryLast:
		return 0, 0, protocol.Errorf(protocol.CodeBadMessage, "entry of kind %d", kind)
	case size <= 0, kind == entryRandom && n > uint64(len(rest)):
		return 0, 0, protocol.Errorf(protocol.CodeBadMessage, "ends within an entry")
	}
	t.at = len(t.world) - len(rest)
	if kind == entryRandom {
		t.at += int(n)
	}
	return kind, n, nil
}

// want returns the number of the next entry, which must be of that kind. Otherwise the
// guest goes another way than it did, and is ended.
func (t *tape) want(kind byte, in *instance) uint64 {
	got, n, err := t.next()
	switch {
	case err == io.EOF: //nolint:errorlint // next's own
		t.spent = true
	case err != nil:
		t.wrong = err.Error()
	case got != kind:
		t.wrong = "asks for " + entryNames[kind] + ", recorded is " + entryNames[got]
	default:
		return n
	}
	in.End(errStray)
	panic(sys.NewExitError(exitEnded))
}

// errStray ends a guest that is replayed and wants what was not recorded.
var errStray = protocol.Errorf(protocol.CodeContract, "replay: the guest goes another way than recorded")

// clock gives a clock's time.
func (t *tape) clock(id uint32, in *instance, live func(uint32) int64) int64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.replaying {
		n := t.want(byte(id), in)
		t.last[id] += int64(n>>1) ^ -int64(n&1)
		return t.last[id]
	}
	now := live(id)
	step := now - t.last[id]
	t.last[id] = now
	t.put(byte(id), uint64(step)<<1^uint64(step>>63), nil)
	return now
}

// draw fills p with randomness.
func (t *tape) draw(p []byte, in *instance, live io.Reader) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.replaying {
		_, err := io.ReadFull(live, p)
		t.put(entryRandom, uint64(len(p)), p)
		return err
	}
	n := int(t.want(entryRandom, in))
	if n != len(p) {
		t.wrong = "asks for another number of random bytes than recorded"
		in.End(errStray)
		panic(sys.NewExitError(exitEnded))
	}
	copy(p, t.world[t.at-n:t.at])
	return nil
}

// read reads stdin: as many bytes as when it was recorded, which are waited for.
func (t *tape) read(p []byte, in *instance) int {
	from := guestIn{in.duplex, in.woke}
	if t.replaying {
		n := int(min(t.entry(entryRead, in), uint64(len(p))))
		if n == 0 { // the end, which comes when the host makes it
			n, _ = from.Read(p)
			return n
		}
		n, _ = io.ReadFull(from, p[:n])
		return n
	}
	n, _ := from.Read(p) // its only error is the end
	t.note(entryRead, uint64(n))
	return n
}

func (t *tape) entry(kind byte, in *instance) uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.want(kind, in)
}

func (t *tape) note(kind byte, n uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.put(kind, n, nil)
}

// await waits for stdin. The number that is recorded is 0 when time was over first, else
// the bytes that there were and 1.
func (t *tape) await(in *instance, most time.Duration) (n int, eof, came bool) {
	from := guestIn{in.duplex, in.woke}
	if !t.replaying {
		n, eof, came = from.await(most)
		noted := uint64(0)
		if came {
			noted = uint64(n) + 1
		}
		t.note(entryWait, noted)
		return n, eof, came
	}
	noted := t.entry(entryWait, in)
	if noted == 0 {
		return 0, false, false
	}
	_, eof, came = from.await(-1)
	return int(min(noted-1, pipeMax)), eof, came
}

// ended returns what is known of a tape when its guest has ended.
func (t *tape) ended() (world []byte, cut Cut) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.world, t.cut
}

// stop ends the recording because of cut.
func (t *tape) stop(cut Cut) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.cut == CutNot {
		t.cut = cut
	}
}

// draw fills p with randomness.
func (w *world) draw(p []byte) error {
	if w.tape != nil {
		return w.tape.draw(p, w.in, w.random)
	}
	_, err := io.ReadFull(w.random, p)
	return err
}

// await waits for stdin, most long; below zero is without an end.
func (w *world) await(most time.Duration) (n int, eof, came bool) {
	if w.tape != nil {
		return w.tape.await(w.in, most)
	}
	return guestIn{w.in.duplex, w.in.woke}.await(most)
}

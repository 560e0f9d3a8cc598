package delta

import (
	"bytes"
	"compress/flate"
	"io"

	"github.com/stavily/stavily/protocol"
)

const (
	// better is by how many equal bytes another place must be better than going on.
	better = 12
	// longMatch is from how many equal bytes on no better place is looked for within them.
	longMatch = 64
	// dictionaryStep is how far apart the dictionaries lie that are tried.
	dictionaryStep = 128 << 10
	// backMax is how far back from where it was found another place may fit. Without it a
	// long run of one byte, which fits everywhere, is gone back over for every few bytes.
	backMax = 4 << 10
)

// Make returns a difference that makes target of base; without a base it is the target
// packed. The same input gives the same bytes. It needs up to nine bytes of memory for each
// of the base. The error has CodeLimit for a target that is empty or over ArtifactMax, and
// when the two have too little in common for what a Reader takes.
func Make(base, target []byte) ([]byte, error) {
	if len(target) == 0 || len(target) > protocol.ArtifactMax || len(base) > protocol.ArtifactMax {
		return nil, protocol.Errorf(protocol.CodeLimit, "difference: of %d bytes against %d, limit ArtifactMax %d",
			len(target), len(base), protocol.ArtifactMax)
	}
	m := maker{base: base, target: target, index: newIndex(base)}
	for m.done < len(target) {
		m.stretch()
	}
	return m.pack()
}

// maker walks through the target. It goes on at one place of the base, over bytes that
// differ, until another place fits better.
type maker struct {
	base, target []byte
	index        index
	done         int // bytes of the target that have their instructions
	sought       int // bytes of the target for which no other place is looked for any more
	at           int // the place of the base that goes with done
	read         int // where the instructions left the base

	columns        [columns][]byte
	changed, fresh []byte
}

// stretch makes the instructions up to where another place of the base fits better.
func (m *maker) stretch() {
	next, place := m.next()
	ahead, back := m.ahead(next), m.back(next, place)
	if over := ahead + back - (next - m.done); over > 0 {
		keep := m.divide(next-back, place-back, over)
		ahead -= over - keep
		back -= keep
	}
	if next-back > m.done {
		m.emit(ahead, next-back)
	}
	m.done, m.at = next-back, place-back
}

// next returns the next byte of the target, and its place in the base, from which another
// place fits better than going on; the end of the target when there is none.
func (m *maker) next() (next, place int) {
	shift := m.at - m.done
	for i := max(m.done, m.sought); i < len(m.target); {
		if n := m.on(i, shift); n >= longMatch {
			i += n // nothing is better, and looking at each byte of a long run takes too long
			continue
		}
		place, size := m.index.longest(m.target[i:])
		switch {
		case size > 0 && place-i == shift:
			i += size
		case size > 0 && size > m.same(i, size, shift)+better:
			m.sought = i + size
			return i, place
		case size >= longMatch:
			i += size // going on is nearly as good
		default:
			i++
		}
	}
	return len(m.target), m.at
}

// on counts the equal bytes from i on, up to the first that differs, when the base goes on
// as it does.
func (m *maker) on(i, shift int) int {
	if i+shift < 0 || i+shift >= len(m.base) {
		return 0
	}
	base := m.base[i+shift:]
	return common(m.target[i:min(len(m.target), i+len(base))], base)
}

// same counts the equal bytes of size from i on when the base goes on as it does.
func (m *maker) same(i, size, shift int) (n int) {
	from, to := max(i, -shift), min(i+size, len(m.base)-shift)
	for k := from; k < to; k++ {
		if m.base[k+shift] == m.target[k] {
			n++
		}
	}
	return n
}

// ahead returns how many bytes it is worth to go on, before the byte end.
func (m *maker) ahead(end int) (best int) {
	equal, top := 0, 0
	for i := 0; m.done+i < end && m.at+i < len(m.base); i++ {
		if m.target[m.done+i] == m.base[m.at+i] {
			equal++
		}
		if score := 2*equal - (i + 1); score > top {
			top, best = score, i+1
		}
	}
	return best
}

// back returns for how many bytes before the byte next the new place is worth it.
func (m *maker) back(next, place int) (best int) {
	if next == len(m.target) {
		return 0
	}
	equal, top := 0, 0
	for i := 1; i <= backMax && next-i >= m.done && place-i >= 0; i++ {
		if m.target[next-i] == m.base[place-i] {
			equal++
		}
		if score := 2*equal - i; score > top {
			top, best = score, i
		}
	}
	return best
}

// divide parts the n bytes from the byte from on, which fit both where the base goes on and
// at the place: it returns how many of them go on.
func (m *maker) divide(from, place, n int) (best int) {
	score, top := 0, 0
	old := m.at + from - m.done
	for i := range n {
		if m.target[from+i] == m.base[old+i] {
			score++
		}
		if m.target[from+i] == m.base[place+i] {
			score--
		}
		if score > top {
			top, best = score, i+1
		}
	}
	return best
}

// emit makes the instructions for ahead bytes that go on, and for what is fresh from there
// to the byte end.
func (m *maker) emit(ahead, end int) {
	t, b := m.target[m.done:m.done+ahead], m.base[m.at:m.at+ahead]
	fresh := m.target[m.done+ahead : end]
	move := m.at - m.read
	m.number(moves, max(2*move, -2*move-1))
	m.number(lengths, ahead)
	m.number(freshes, len(fresh))
	m.fresh = append(m.fresh, fresh...)
	m.read = m.at + ahead
	for i := 0; i < ahead; {
		equal := common(t[i:], b[i:])
		changed := differing(t[i+equal:], b[i+equal:])
		m.number(equals, equal)
		m.number(changes, changed)
		for i += equal; changed > 0; changed-- {
			m.changed = append(m.changed, t[i]-b[i])
			i++
		}
	}
}

// differing counts the bytes before the next equal one.
func differing(t, b []byte) (n int) {
	for n < len(t) && t[n] != b[n] {
		n++
	}
	return n
}

func (m *maker) number(column, n int) {
	m.columns[column] = appendNumber(m.columns[column], uint64(n))
}

func (m *maker) pack() ([]byte, error) {
	h := header{base: int64(len(m.base)), target: int64(len(m.target))}
	for i, c := range m.columns {
		h.columns[i] = int64(len(c))
	}
	if n := h.stepBytes(); n > stepsMax {
		return nil, protocol.Errorf(protocol.CodeLimit, "difference: %d bytes of instructions, limit %d", n,
			stepsMax)
	}
	steps, err := deflate(nil, m.columns[:]...)
	if err != nil {
		return nil, err
	}
	changed, err := deflate(nil, m.changed)
	if err != nil {
		return nil, err
	}
	fresh, dictionary, err := m.packFresh()
	if err != nil {
		return nil, err
	}
	h.dictionary = int64(dictionary)
	h.steps, h.changed = int64(len(steps)), int64(len(changed))
	return bytes.Join([][]byte{h.encode(), steps, changed, fresh}, nil), nil
}

// packFresh packs what is fresh with that part of the base as its dictionary which makes it
// smallest: new code is like old code. The end of the base is no dictionary.
func (m *maker) packFresh() (best []byte, at int, err error) {
	at = len(m.base)
	if best, err = deflate(nil, m.fresh); err != nil {
		return nil, 0, err
	}
	for from := 0; from < len(m.base); from += dictionaryStep {
		with := dictionary(m.base, from)
		got, err := deflate(with, m.fresh)
		if err != nil {
			return nil, 0, err
		}
		if len(got) < len(best) && inflates(got, with, m.fresh) {
			best, at = got, from
		}
	}
	return best, at, nil
}

// inflates reports whether packed is what was packed. compress/flate of Go 1.26 puts the
// dictionary itself into a block that it stores as it is, because it does not compress.
func inflates(packed, dictionary, want []byte) bool {
	got, err := io.ReadAll(flate.NewReaderDict(bytes.NewReader(packed), dictionary))
	return err == nil && bytes.Equal(got, want)
}

func dictionary(base []byte, from int) []byte {
	return base[from:min(len(base), from+dictionarySize)]
}

// deflate packs parts one after the other, each with codes of its own.
func deflate(dictionary []byte, parts ...[]byte) ([]byte, error) {
	var out bytes.Buffer
	w, err := flate.NewWriterDict(&out, flate.BestCompression, dictionary)
	if err != nil {
		return nil, err
	}
	for i, part := range parts {
		if _, err := w.Write(part); err != nil {
			return nil, err
		}
		if i < len(parts)-1 && len(part) > 256 { // a new code costs about 60 bytes
			if err := w.Flush(); err != nil {
				return nil, err
			}
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

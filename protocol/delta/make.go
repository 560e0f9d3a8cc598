package delta

import (
	"bytes"
	"compress/flate"
	"encoding/binary"

	"github.com/stavily/stavily/protocol"
)

const (
	// better is by how many equal bytes another place must be better than going on.
	better = 8
	// longMatch is from how many equal bytes on no better place is looked for within them.
	longMatch = 64
	// runMin is how many equal bytes make an instruction of their own.
	runMin = 4
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
	m.emit(ahead, next-back)
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
	move := m.at - m.read
	for i := 0; i < ahead; move = 0 {
		equal := common(t[i:], b[i:])
		changed := differing(t[i+equal:], b[i+equal:])
		for k := i + equal; k < i+equal+changed; k++ {
			m.changed = append(m.changed, t[k]-b[k])
		}
		m.step(step{move: int64(move), equal: int64(equal), changed: int64(changed)})
		i += equal + changed
		m.read = m.at + i
	}
	if n := end - m.done - ahead; n > 0 {
		m.fresh = append(m.fresh, m.target[m.done+ahead:end]...)
		m.step(step{fresh: int64(n)})
	}
}

// differing counts the bytes before the next runMin equal ones.
func differing(t, b []byte) (n int) {
	for n < len(t) {
		equal := common(t[n:], b[n:])
		if equal >= runMin || n+equal == len(t) {
			return n
		}
		n += equal + 1
	}
	return n
}

func (m *maker) step(s step) {
	m.columns[0] = binary.AppendVarint(m.columns[0], s.move)
	for i, v := range []int64{s.equal, s.changed, s.fresh} {
		m.columns[i+1] = binary.AppendUvarint(m.columns[i+1], uint64(v))
	}
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
	steps, err := deflate(m.columns[:]...)
	if err != nil {
		return nil, err
	}
	changed, err := deflate(m.changed)
	if err != nil {
		return nil, err
	}
	fresh, err := deflate(m.fresh)
	if err != nil {
		return nil, err
	}
	h.steps, h.changed = int64(len(steps)), int64(len(changed))
	return bytes.Join([][]byte{h.encode(), steps, changed, fresh}, nil), nil
}

// deflate packs parts one after the other, each with codes of its own.
func deflate(parts ...[]byte) ([]byte, error) {
	var out bytes.Buffer
	w, err := flate.NewWriter(&out, flate.BestCompression)
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

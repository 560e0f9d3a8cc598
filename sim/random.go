package sim

import (
	"encoding/binary"
	"hash/fnv"
	"io"
	"math"
	"math/rand/v2"
	"time"

	"github.com/stavily/stavily/sim/scenario"
)

// stream is the randomness of one purpose. Each purpose of each device has its own, so
// that one draw more or less in one place changes nothing in another.
type stream struct{ pcg rand.PCG }

// newStream returns the stream of a purpose of the n-th of its kind.
func newStream(seed uint64, purpose string, n int) stream {
	h := fnv.New64a()
	_, _ = io.WriteString(h, purpose)
	_, _ = h.Write(binary.BigEndian.AppendUint64(nil, uint64(n)))
	return stream{*rand.NewPCG(seed, h.Sum64())}
}

// unit returns a number from 0 to below 1.
func (s *stream) unit() float64 { return float64(s.pcg.Uint64()>>11) / (1 << 53) }

// chance reports true with probability p. It draws nothing when p is 0.
func (s *stream) chance(p float64) bool { return p > 0 && s.unit() < p }

// below returns a whole number from 0 to below n, which is above 0.
func (s *stream) below(n int) int { return int(s.unit() * float64(n)) }

// spread draws a duration evenly around its mean, never below 0.
func (s *stream) spread(d scenario.Spread) time.Duration {
	if d.By <= 0 {
		return d.Mean
	}
	return max(0, d.Mean+time.Duration((2*s.unit()-1)*float64(d.By)))
}

// upTo draws a duration from 0 to below d.
func (s *stream) upTo(d time.Duration) time.Duration { return time.Duration(s.unit() * float64(d)) }

// gap draws the time to the next happening of a rate per second, which is above 0.
func (s *stream) gap(rate float64) time.Duration {
	seconds := -math.Log(1-s.unit()) / rate
	return time.Duration(min(seconds, math.MaxInt32) * float64(time.Second))
}

// Read fills p; it never fails.
func (s *stream) Read(p []byte) (int, error) {
	var word [8]byte
	for i := 0; i < len(p); i += 8 {
		binary.LittleEndian.PutUint64(word[:], s.pcg.Uint64())
		copy(p[i:], word[:])
	}
	return len(p), nil
}

var _ io.Reader = (*stream)(nil)

package edge

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stavily/stavily/protocol"
)

// The newest records stand in order whatever came and went before, and what is not on the
// disk never gives way.
func TestRecent(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	var r recent
	var want []uint64
	mark := func(n uint64) protocol.Mark { return protocol.Mark{Boot: 1 + n/1000, Sequence: n} }
	onDisk, n := uint64(0), uint64(0)
	for range 3000 {
		switch random.IntN(5) {
		case 0:
			last := n - min(n, random.Uint64N(40))
			r.drop(mark(last))
			want = slices.DeleteFunc(want, func(k uint64) bool { return k <= last })
		case 1:
			onDisk = n - min(n-onDisk, random.Uint64N(3))
			most := random.IntN(4000)
			was := len(want)
			for len(want)*8 > most && want[0] <= onDisk {
				want = want[1:]
			}
			if gave := r.shrink(most, mark(onDisk)); gave != (len(want) < was) {
				t.Fatalf("%d records, gave way %v, want %v", was, gave, len(want) < was)
			}
		default:
			for range 1 + random.IntN(30) {
				n++
				r.add(mark(n), fmt.Appendf(nil, "%08d", n))
				want = append(want, n)
			}
		}
		if len(r.all) != len(want) || r.bytes != 8*len(want) {
			t.Fatalf("%d records of %d bytes, want %d", len(r.all), r.bytes, len(want))
		}
		for i, k := range want {
			if r.all[i].mark != mark(k) || string(r.all[i].value) != fmt.Sprintf("%08d", k) {
				t.Fatalf("record %d is %v %q, want %v", i, r.all[i].mark, r.all[i].value, mark(k))
			}
		}
	}
}

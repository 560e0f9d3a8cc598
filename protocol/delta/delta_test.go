package delta_test

import (
	"bytes"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/stavily/stavily/protocol"
	"github.com/stavily/stavily/protocol/delta"
)

func text(seed uint64, n int) []byte {
	r := rand.New(rand.NewPCG(seed, 1))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// apply makes the target again.
func apply(t testing.TB, difference, base []byte) []byte {
	t.Helper()
	r, err := delta.NewReader(bytes.NewReader(difference), int64(len(difference)), bytes.NewReader(base))
	if err != nil {
		t.Fatal(err)
	}
	if r.Base() != int64(len(base)) {
		t.Fatalf("base of %d bytes, want %d", r.Base(), len(base))
	}
	got, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	if r.Size() != int64(len(got)) {
		t.Fatalf("%d bytes, the difference says %d", len(got), r.Size())
	}
	return got
}

func TestMake(t *testing.T) {
	base := text(1, 50_000)
	changed := bytes.Clone(base)
	for i := 100; i < len(changed); i += 400 {
		changed[i]++
	}
	moved := append(append(bytes.Clone(base[30_000:]), text(2, 300)...), base[:30_000]...)
	for _, c := range []struct {
		name         string
		base, target []byte
		most         int // bytes of the difference
	}{
		{"nothing changed", base, base, 60},
		{"one byte changed", base, append(append(bytes.Clone(base[:7000]), 1), base[7001:]...), 70},
		{"a byte in 400", base, changed, 400},
		{"bytes put in", base, append(append(bytes.Clone(base[:7000]), text(3, 100)...), base[7000:]...), 200},
		{"bytes taken out", base, append(bytes.Clone(base[:7000]), base[7100:]...), 80},
		{"parts moved", base, moved, 400},
		{"another file", base, text(4, 10_000), 10_100},
		{"no base", nil, bytes.Repeat([]byte("stavily "), 5000), 200},
		{"short base", []byte("x"), []byte("xy"), 60},
		{"short base and noise", []byte("x"), text(7, 33), 80}, // too short a dictionary, see inflates
		{"one byte", []byte("x"), []byte("y"), 60},
		{"zeros", make([]byte, 9000), make([]byte, 12_000), 100},
		{"many zeros", make([]byte, 100_000), make([]byte, 150_000), 120}, // they fit at every place
	} {
		t.Run(c.name, func(t *testing.T) {
			d, err := delta.Make(c.base, c.target)
			if err != nil {
				t.Fatal(err)
			}
			if len(d) > c.most {
				t.Errorf("difference of %d bytes, want at most %d", len(d), c.most)
			}
			if got := apply(t, d, c.base); !bytes.Equal(got, c.target) {
				t.Fatalf("%d bytes, not the target of %d", len(got), len(c.target))
			}
			if again, _ := delta.Make(c.base, c.target); !bytes.Equal(again, d) {
				t.Fatal("the same input gives other bytes")
			}
		})
	}
	if _, err := delta.Make(base, nil); protocol.CodeOf(err) != protocol.CodeLimit {
		t.Fatalf("difference of nothing: %v", err)
	}
	if _, err := delta.Make(nil, make([]byte, protocol.ArtifactMax+1)); protocol.CodeOf(err) != protocol.CodeLimit {
		t.Fatalf("difference of too much: %v", err)
	}
}

// With another base than it was made for, and cut anywhere, a Reader says so or yields
// something else: whoever reads checks it.
func TestReaderMistakes(t *testing.T) {
	base := text(1, 5000)
	target := append(bytes.Clone(base[2000:]), base[:1000]...)
	d, err := delta.Make(base, target)
	if err != nil {
		t.Fatal(err)
	}
	other := bytes.Clone(base)
	other[2500]++
	if got := apply(t, d, other); bytes.Equal(got, target) {
		t.Fatal("another base gave the target")
	}
	for n := range len(d) - 1 {
		r, err := delta.NewReader(bytes.NewReader(d[:n]), int64(n), bytes.NewReader(base))
		if err == nil {
			var got []byte
			if got, err = io.ReadAll(r); bytes.Equal(got, target) {
				continue // what is missing is the end of the last packing
			}
		}
		if code := protocol.CodeOf(err); code != protocol.CodeBadMessage && code != protocol.CodeLimit {
			t.Fatalf("cut at %d: %v", n, err)
		}
	}
}

func FuzzReader(f *testing.F) {
	base := text(1, 3000)
	for _, target := range [][]byte{base[1000:], text(2, 100), append(bytes.Clone(base), base[:50]...)} {
		d, err := delta.Make(base, target)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(d, base)
	}
	f.Fuzz(func(t *testing.T, difference, base []byte) {
		r, err := delta.NewReader(bytes.NewReader(difference), int64(len(difference)), bytes.NewReader(base))
		if err != nil || r.Size() > 1<<20 {
			return
		}
		if n, err := io.Copy(io.Discard, r); err == nil && n != r.Size() {
			t.Fatalf("%d bytes without an error, the difference says %d", n, r.Size())
		}
	})
}

func FuzzMake(f *testing.F) {
	f.Add([]byte("one and the other"), []byte("the other and one"))
	f.Fuzz(func(t *testing.T, base, target []byte) {
		d, err := delta.Make(base, target)
		if err != nil {
			return
		}
		if got := apply(t, d, base); !bytes.Equal(got, target) {
			t.Fatalf("%x against %x gives %x", target, base, got)
		}
	})
}

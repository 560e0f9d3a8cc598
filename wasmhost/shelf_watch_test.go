//go:build amd64 || arm64

package wasmhost

import (
	"bufio"
	"bytes"
	"io"
	"testing"
	"testing/iotest"

	"github.com/tetratelabs/wazero"
)

// strange is a cache of an engine that is made otherwise.
type strange struct {
	wazero.CompilationCache
	fileCache io.Reader
}

// TestWatchKnowsTheEngine: what is no cache of the engine that was known is refused, and named.
func TestWatchKnowsTheEngine(t *testing.T) {
	kept, err := wazero.NewCompilationCacheWithDir(t.TempDir())
	must(t, err)
	if _, err := watch(kept); err != nil {
		t.Errorf("the engine of now: %v", err)
	}
	for name, cache := range map[string]wazero.CompilationCache{
		"in memory":     wazero.NewCompilationCache(),
		"other field":   &struct{ wazero.CompilationCache }{},
		"other files":   &strange{fileCache: bytes.NewReader(nil)},
		"not a pointer": strange{},
	} {
		if _, err := watch(cache); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

// TestInPieces: the engine takes a short read for the end of the file, so there is none before.
func TestInPieces(t *testing.T) {
	want := make([]byte, 3*pieceOfCode+2*untouched)
	for i := range want {
		want[i] = byte(i * i >> 3)
	}
	slow := iotest.HalfReader(bytes.NewReader(want))
	r := &inPieces{io.NopCloser(nil), bufio.NewReaderSize(slow, pieceOfCode)}
	var got []byte
	for _, n := range []int{7, 8, pieceOfCode, 8, untouched + 1, 8, untouched} {
		p := make([]byte, n)
		if have, err := r.Read(p); have != n || err != nil {
			t.Fatalf("read %d: got %d, %v", n, have, err)
		}
		got = append(got, p...)
	}
	p := make([]byte, len(want))
	n, err := r.Read(p)
	if got = append(got, p[:n]...); err != nil || !bytes.Equal(got, want) {
		t.Errorf("read %d bytes in all, %v; want the %d as they were", len(got), err, len(want))
	}
	if n, err := r.Read(p); n != 0 || err != io.EOF {
		t.Errorf("at the end: %d, %v", n, err)
	}
}

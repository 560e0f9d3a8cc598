//go:build amd64 || arm64

package wasmhost

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"reflect"
	"sync"

	"github.com/tetratelabs/wazero"
)

// engineFiles is where the engine keeps code. It has an interface for it, and exports neither
// that nor a way to give another.
type engineFiles interface {
	Get(key [sha256.Size]byte) (code io.ReadCloser, found bool, err error)
	Add(key [sha256.Size]byte, code io.Reader) error
	Delete(key [sha256.Size]byte) error
}

// watched is the engine's own files with somebody at the door: it is told what the engine
// found, and gives it in large pieces. See RATIONALE.md, "Why is there a hand in the engine's
// cache?".
type watched struct {
	engineFiles

	mu    sync.Mutex // guards the field below
	found map[string]bool
}

// watch puts itself between the engine and its files. The error says that this version of the
// engine is not made as the one that was known here.
func watch(cache wazero.CompilationCache) (*watched, error) {
	field := reflect.ValueOf(cache)
	if field.Kind() == reflect.Pointer && field.Elem().Kind() == reflect.Struct {
		field = field.Elem().FieldByName("fileCache")
	}
	if field.Kind() != reflect.Interface || !field.CanAddr() {
		return nil, errors.New("engine's cache has no files where they were")
	}
	field = reflect.NewAt(field.Type(), field.Addr().UnsafePointer()).Elem()
	own, ok := field.Interface().(engineFiles)
	w := reflect.ValueOf(&watched{engineFiles: own, found: map[string]bool{}})
	if !ok || !w.CanConvert(field.Type()) {
		return nil, fmt.Errorf("engine's cache has files of another kind: %s", field.Type())
	}
	field.Set(w)
	return w.Interface().(*watched), nil //nolint:errcheck,forcetypeassert // it was made above
}

// expect begins to look whether the engine finds a file by that name; the function that it
// returns says so and ends that.
func (w *watched) expect(name string) (found func() bool) {
	key := filepath.Base(name)
	w.mu.Lock()
	w.found[key] = false
	w.mu.Unlock()
	return func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		got := w.found[key]
		delete(w.found, key)
		return got
	}
}

// Get is the engine's.
func (w *watched) Get(key [sha256.Size]byte) (io.ReadCloser, bool, error) {
	code, found, err := w.engineFiles.Get(key)
	if !found || err != nil {
		return code, found, err
	}
	name := hex.EncodeToString(key[:])
	w.mu.Lock()
	if _, expected := w.found[name]; expected {
		w.found[name] = true
	}
	w.mu.Unlock()
	return &inPieces{code, bufio.NewReaderSize(code, pieceOfCode)}, true, nil
}

const (
	pieceOfCode = 16 << 10
	// untouched bytes are asked for at once where there was nothing before: the code itself.
	untouched = 64 << 10
)

// inPieces reads a file for the engine, which asks for eight bytes at a time, often some
// thousand times, and then for all of the code into memory that was never touched.
type inPieces struct {
	io.Closer
	buf *bufio.Reader
}

// Read fills p but at the end: the engine takes less for the end.
func (r *inPieces) Read(p []byte) (n int, err error) {
	if len(p) >= untouched {
		touch(p)
	}
	if n, err = io.ReadFull(r.buf, p); errors.Is(err, io.ErrUnexpectedEOF) {
		err = nil
	}
	return n, err
}

var _ engineFiles = (*watched)(nil)

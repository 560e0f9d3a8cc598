//go:build linux && (amd64 || arm64)

package wasmhost

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stavily/stavily/protocol"
)

// nobody is a command that compiles nothing: what loads with it was not compiled.
var nobody = Compile{Command: []string{"/bin/false"}}

// small is a module with code of its own for each number: it stores that.
func small(n byte) []byte {
	return tiny{pages: 1, body: []byte{0x41, 0, 0x41, n & 63, 0x36, 2, 0}}.wasm()
}

// counting returns a command that leaves a line in a file for each child.
func counting(t *testing.T) (Compile, func() int) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "children")
	script := fmt.Sprintf(`echo x >>'%s'; exec "$0" "$@"`, file)
	return Compile{Command: append([]string{"/bin/sh", "-c", script}, compileCommand(t)...)}, func() int {
		b, _ := os.ReadFile(file)
		return bytes.Count(b, []byte("x"))
	}
}

// fetch has a host get the code of a module and gives it back.
func fetch(t *testing.T, h *Host, wasm []byte) error {
	t.Helper()
	c, err := h.acquire(context.Background(), protocol.DigestOf(wasm), wasm, false)
	if err == nil {
		h.release(context.Background(), c)
	}
	return err
}

// codeFiles returns the files that hold code.
func codeFiles(t *testing.T, dir string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "wazero-*", "*"))
	must(t, err)
	return files
}

// TestCompiledOnce: a module is compiled once for one version of the engine, whoever
// asks, one after the other, at once, or in another process.
func TestCompiledOnce(t *testing.T) {
	dir := t.TempDir()
	bounds, children := counting(t)
	var all sync.WaitGroup
	for range 2 { // two hosts are to each other as two processes are
		h := newHost(t, Config{CacheDir: dir, Compile: bounds})
		for i := range 6 {
			all.Go(func() {
				if err := fetch(t, h, small(byte(i%2))); err != nil {
					t.Error(err)
				}
			})
		}
	}
	all.Wait()
	must(t, fetch(t, newHost(t, Config{CacheDir: dir, Compile: nobody}), small(0)))
	if n := children(); n != 2 {
		t.Errorf("%d children for 2 modules", n)
	}
}

// TestCompiledDoesNotWait: what is compiled already loads while something else compiles.
func TestCompiledDoesNotWait(t *testing.T) {
	h := newHost(t, Config{CacheDir: t.TempDir(), Compile: Compile{Command: compileCommand(t)}})
	must(t, fetch(t, h, small(0)))
	put, err := h.engine.shelf.clear(protocol.DigestOf(small(1))) // another process compiles
	must(t, err)
	defer put.close()
	h.engine.turn <- struct{}{} // this one too
	defer func() { <-h.engine.turn }()
	must(t, fetch(t, h, small(0)))
}

// TestCancelledIsAskedAgain: that one caller gave up is no answer for another.
func TestCancelledIsAskedAgain(t *testing.T) {
	h := newHost(t, Config{CacheDir: t.TempDir(), Compile: Compile{Command: compileCommand(t)}})
	h.engine.turn <- struct{}{}
	ctx, cancel := context.WithCancel(context.Background())
	first, second := make(chan error), make(chan error)
	wasm := small(0)
	go func() {
		_, err := h.acquire(ctx, protocol.DigestOf(wasm), wasm, false)
		first <- err
	}()
	for users(h.engine) == 0 {
		runtime.Gosched()
	}
	go func() { second <- fetch(t, h, wasm) }()
	for users(h.engine) == 1 {
		runtime.Gosched()
	}
	cancel()
	if err := <-first; protocol.CodeOf(err) != protocol.CodeUnavailable {
		t.Errorf("the first: %v", err)
	}
	<-h.engine.turn
	if err := <-second; err != nil {
		t.Errorf("the second: %v", err)
	}
	if n := users(h.engine); n != 0 {
		t.Errorf("%d users left", n)
	}
}

// TestTamperedCodeIsNotRun: whatever was done to the cache, its code is compiled again.
func TestTamperedCodeIsNotRun(t *testing.T) {
	wasm, other := small(0), small(1)
	for name, change := range map[string]func(t *testing.T, dir, file string){
		"a byte": func(t *testing.T, _, file string) {
			b, err := os.ReadFile(file)
			must(t, err)
			b[len(b)/2]++
			must(t, os.WriteFile(file, b, 0o600))
		},
		"truncated": func(t *testing.T, _, file string) { must(t, os.Truncate(file, 40)) },
		"longer": func(t *testing.T, _, file string) {
			f, err := os.OpenFile(file, os.O_APPEND|os.O_WRONLY, 0)
			must(t, err)
			_, err = f.WriteString("more")
			must(t, err, f.Close())
		},
		"empty":     func(t *testing.T, _, file string) { must(t, os.Truncate(file, 0)) },
		"removed":   func(t *testing.T, _, file string) { must(t, os.Remove(file)) },
		"directory": func(t *testing.T, _, file string) { must(t, os.Remove(file), os.Mkdir(file, 0o700)) },
		"another module's": func(t *testing.T, dir, file string) {
			must(t, fetch(t, newHost(t, Config{CacheDir: dir, CacheKey: []byte("key")}), other))
			for _, f := range codeFiles(t, dir) {
				if f != file {
					b, err := os.ReadFile(f)
					must(t, err, os.WriteFile(file, b, 0o600))
				}
			}
		},
		"a list without a seal": func(t *testing.T, dir, file string) {
			s := &shelf{dir: dir} // who writes one does not have the key
			list := []shelved{{Module: protocol.DigestOf(wasm), Name: filepath.Join(filepath.Base(filepath.Dir(file)), filepath.Base(file))}}
			must(t, os.WriteFile(file, []byte("machine code of someone else"), 0o600))
			list[0].Sum, list[0].SizeB, _ = s.sum(list[0].Name, 0)
			b := protocol.MustMarshal(list)
			must(t, os.WriteFile(filepath.Join(dir, listName), append(s.seal(b), b...), 0o600))
		},
		"half a list": func(t *testing.T, dir, _ string) { must(t, os.Truncate(filepath.Join(dir, listName), 50)) },
		"no list":     func(t *testing.T, dir, _ string) { must(t, os.Remove(filepath.Join(dir, listName))) },
	} {
		t.Run(name, func(t *testing.T) {
			cfg := Config{CacheDir: t.TempDir(), CacheKey: []byte("key")}
			must(t, fetch(t, newHost(t, cfg), wasm))
			file := codeFiles(t, cfg.CacheDir)[0]
			change(t, cfg.CacheDir, file)
			broken := cfg
			broken.Compile = nobody
			if err := fetch(t, newHost(t, broken), wasm); protocol.CodeOf(err) != protocol.CodeLimit {
				t.Errorf("without a compiler: %v, want it not to load", err)
			}
			must(t, fetch(t, newHost(t, cfg), wasm))
			must(t, fetch(t, newHost(t, broken), wasm)) // it is as it should be again
		})
	}
}

// TestHollowFormRuns: a module whose code is there runs, though the engine sees only its
// hollow form.
func TestHollowFormRuns(t *testing.T) {
	cfg := Config{CacheDir: t.TempDir(), CacheKey: []byte("key")}
	spec := hostileSpec(t, "good", false)
	load(t, newHost(t, cfg), spec)
	cfg.Compile = nobody
	h := newHost(t, cfg)
	list, err := h.engine.shelf.read()
	if err != nil || len(list) != 1 || !list[0].Hollow {
		t.Fatalf("got %+v, %v, want one hollow module", list, err)
	}
	if a := load(t, h, spec).Call(context.Background(), work(t, "1")); a.Error != nil {
		t.Error(a.Error)
	}
}

// TestHollowCodeDoesNotRun: where the engine does not look where the code was put, as on
// another processor, the module is compiled again. What the engine then made of its hollow
// form is not taken for its code, now or later.
func TestHollowCodeDoesNotRun(t *testing.T) {
	cfg := Config{CacheDir: t.TempDir(), CacheKey: []byte("key")}
	spec := hostileSpec(t, "good", false)
	load(t, newHost(t, cfg), spec)
	s := newHost(t, cfg).engine.shelf
	must(t, s.change(func(list []shelved) []shelved {
		other := filepath.Join(s.home, strings.Repeat("0", 64))
		must(t, os.Rename(s.path(list[0].Name), s.path(other)))
		list[0].Name = other
		return list
	}))
	broken := cfg
	broken.Compile = nobody
	for range 2 {
		if _, err := newHost(t, broken).Load(context.Background(), spec); protocol.CodeOf(err) != protocol.CodeLimit {
			t.Errorf("without a compiler: %v, want it not to load", err)
		}
	}
	for _, c := range []Config{cfg, broken} {
		if a := load(t, newHost(t, c), spec).Call(context.Background(), work(t, "1")); a.Error != nil {
			t.Error(a.Error)
		}
	}
}

// TestForeignFilesGo: what the list does not name is removed before anything is compiled.
func TestForeignFilesGo(t *testing.T) {
	cfg := Config{CacheDir: t.TempDir()}
	must(t, fetch(t, newHost(t, cfg), small(0)))
	home := filepath.Dir(codeFiles(t, cfg.CacheDir)[0])
	foreign := filepath.Join(home, strings.Repeat("ab", 32))
	must(t, os.WriteFile(foreign, []byte("x"), 0o600), os.WriteFile(foreign+".1.tmp", []byte("x"), 0o600),
		os.MkdirAll(filepath.Join(cfg.CacheDir, "wazero-v0.0.0-amd64-linux", "x"), 0o700))
	must(t, fetch(t, newHost(t, cfg), small(1)))
	if left := codeFiles(t, cfg.CacheDir); len(left) != 2 {
		t.Errorf("left %q", left)
	}
}

// TestShelfIsBounded: what was used longest ago goes first, and never more is kept.
func TestShelfIsBounded(t *testing.T) {
	dir := t.TempDir()
	past := time.Unix(1_790_000_000, 0)
	cfg := Config{CacheDir: dir, Clock: func() time.Time { past = past.Add(time.Minute); return past }}
	must(t, fetch(t, newHost(t, cfg), small(0)))
	info, err := os.Stat(codeFiles(t, dir)[0])
	must(t, err)
	cfg.CacheMax = 2*info.Size() + info.Size()/2
	h := newHost(t, cfg)
	now := time.Now().Add(-time.Hour)
	must(t, os.Chtimes(codeFiles(t, dir)[0], now, now))
	must(t, fetch(t, h, small(1)))
	past = time.Now().Add(time.Hour)
	must(t, fetch(t, h, small(0))) // used after 1 was
	must(t, fetch(t, h, small(2)))
	if files := codeFiles(t, dir); len(files) != 2 {
		t.Errorf("%d files, want 2", len(files))
	}
	cfg.Compile = nobody
	h = newHost(t, cfg)
	must(t, fetch(t, h, small(0)), fetch(t, h, small(2)))
	if err := fetch(t, h, small(1)); err == nil {
		t.Error("what was used longest ago is still there")
	}
	cfg.CacheMax, cfg.Compile = 1, Compile{}
	must(t, fetch(t, newHost(t, cfg), small(3)))
	if files := codeFiles(t, dir); len(files) != 0 {
		t.Errorf("%d files within a byte", len(files))
	}
}

// TestShelfWantsADirectoryOfItsOwn: nobody else may write there.
func TestShelfWantsADirectoryOfItsOwn(t *testing.T) {
	dir := t.TempDir()
	must(t, os.Chmod(dir, 0o777))
	if _, err := New(context.Background(), Config{CacheDir: dir}); protocol.CodeOf(err) != protocol.CodeStorage ||
		!strings.Contains(err.Error(), "lets others write") {
		t.Errorf("got %v", err)
	}
	must(t, os.WriteFile(filepath.Join(dir, "file"), nil, 0o600))
	if _, err := New(context.Background(), Config{CacheDir: filepath.Join(dir, "file")}); protocol.CodeOf(err) != protocol.CodeStorage {
		t.Errorf("a file: %v", err)
	}
}

// FuzzList: no list of anyone is believed but what was sealed.
func FuzzList(f *testing.F) {
	s := &shelf{key: []byte("key")}
	b := protocol.MustMarshal([]shelved{{Name: "wazero/x", SizeB: 1}})
	f.Add(append(s.seal(b), b...))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		s := &shelf{dir: t.TempDir(), key: []byte("key")}
		must(t, os.WriteFile(filepath.Join(s.dir, listName), b, 0o600))
		list, err := s.read()
		if err == nil && !bytes.Equal(b, append(s.seal(protocol.MustMarshal(list)), protocol.MustMarshal(list)...)) {
			t.Errorf("read %d lines from %x", len(list), b)
		}
	})
}

// BenchmarkShelf is what checking the code of a Go plugin costs when it is loaded.
func BenchmarkShelf(b *testing.B) {
	wasm := guest(b, "probe")
	h := newHost(b, Config{CacheDir: b.TempDir(), Compile: Compile{Command: compileCommand(b)}})
	c, err := h.acquire(context.Background(), protocol.DigestOf(wasm), wasm, true)
	if err != nil {
		b.Fatal(err)
	}
	defer h.release(context.Background(), c)
	list, err := h.engine.shelf.read()
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(list[0].SizeB)
	for b.Loop() {
		if err := h.engine.shelf.inspect(list[0]); err != nil {
			b.Fatal(err)
		}
	}
}

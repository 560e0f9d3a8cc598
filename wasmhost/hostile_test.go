//go:build linux && (amd64 || arm64)

package wasmhost

import (
	"bytes"
	"context"
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stavily/stavily/protocol"
	"github.com/stavily/stavily/wasmhost/meter"
)

// corpus is every way in which a module was seen, or thought, to do wrong: a file of
// testdata/hostile each, and what comes of it. What makes the guest loop ends by the
// request's time. What misdeeds need a language for is in the table hostile.
var corpus = []struct {
	file string
	code protocol.Code
	text string
	raw  bool // not metered by us: the file goes to the host as it is
}{
	{"good", protocol.CodeOK, "", false},

	// Refused before anything is compiled.
	{"import-forbidden", protocol.CodeUnverified, "import env.system", false},
	{"import-memory", protocol.CodeUnverified, "only functions can be imported", false},
	{"import-socket", protocol.CodeUnverified, "no socket is open to a plugin", false},
	{"no-memory", protocol.CodeUnverified, `no export "memory"`, false},
	{"no-start", protocol.CodeUnverified, `no export "_start"`, false},
	{"start-is-no-function", protocol.CodeUnverified, `no export "_start"`, false},
	{"start-section", protocol.CodeUnverified, "start section: not allowed", false},
	{"start-wrong-signature", protocol.CodeUnverified, "parameters or results", false},
	{"giant-table", protocol.CodeUnverified, "TableElements: 1000000", false},
	{"table-grow", protocol.CodeUnverified, "table.grow not allowed", false}, // F10
	{"giant-memory", protocol.CodeUnverified, "MemoryPages: 65535", false},
	{"bomb-blocks", protocol.CodeUnverified, "Nesting: 5000", false}, // F9
	{"bomb-locals", protocol.CodeUnverified, "Locals: 2500", false},
	{"bomb-loops", protocol.CodeUnverified, "LoopNest: 48", false},
	{"unmetered", protocol.CodeUnverified, "module is not metered", true},
	{"names-the-fuel", protocol.CodeUnverified, "module is not metered", true},
	{"fakes-the-meter", protocol.CodeUnverified, "not metered", true},

	// Refused when it is started.
	{"import-wrong-signature", protocol.CodeUnverified, "fd_write", false},
	{"data-outside", protocol.CodeUnverified, "out of bounds", false},
	{"lies-in-cbor", protocol.CodeContract, "", false},

	// Ended when they do it.
	{"loop", protocol.CodeDeadline, "took longer than", false}, // M-19, F8
	{"recursion", protocol.CodeMemory, "recursion without end", false},
	{"recursion-indirect", protocol.CodeMemory, "recursion without end", false},
	{"memory-bomb", protocol.CodeMemory, "max_memory_mb", false}, // M-17
	{"memory-fill", protocol.CodeDeadline, "took longer than", false},
	{"output-flood", protocol.CodeContract, "message of more than 131072 bytes", false},
	{"lines-flood", protocol.CodeContract, "says nothing", false},
	{"log-flood", protocol.CodeDeadline, "took longer than", false},
	{"call-flood", protocol.CodeLimit, "1024 host calls", false},
	{"never-answers", protocol.CodeContract, "without having answered", false},
	{"never-reads", protocol.CodeDeadline, "took longer than", false},
	{"draws", protocol.CodeDeadline, "took longer than", false},
	{"sleeps", protocol.CodeDeadline, "took longer than", false}, // F10
	{"answers-twice", protocol.CodeContract, "more than was asked", false},
	{"answers-another", protocol.CodeContract, "id 9", false},
	{"garbage", protocol.CodeContract, "byte 0 is 'n'", false},
	{"traps", protocol.CodeContract, "unreachable", false},
	{"exits", protocol.CodeContract, "exit 7", false},

	// Harmless, because there is nothing to be had.
	{"lies-about-lengths", protocol.CodeOK, "", false},
	{"busy", protocol.CodeOK, "", false},
	{"late-words", protocol.CodeOK, "", false}, // what it does later: TestActsUnasked
	{"late-spin", protocol.CodeOK, "", false},
	{"hoards", protocol.CodeOK, "", false},
	{"descriptors", protocol.CodeOK, "", false}, // F10
	{"fifo", protocol.CodeOK, "", false},        // F10
}

// TestCorpus puts each module to both engines: it ends as it should, and the plugin
// beside it is answered afterwards. Nothing of it stays.
func TestCorpus(t *testing.T) {
	dir := t.TempDir()
	must(t, os.MkdirAll(filepath.Join(dir, "hostile"), 0o700), syscall.Mkfifo(filepath.Join(dir, "hostile", "fifo"), 0o600))
	for _, engine := range []string{"compiler", "interpreter"} {
		t.Run(engine, func(t *testing.T) {
			if raceDetector && testing.Short() && engine == "interpreter" {
				t.Skip("shows no other race")
			}
			h := newHost(t, Config{Interpreter: engine == "interpreter", DataDir: dir})
			beside := load(t, h, hostileSpec(t, "good", false))
			ask(t, beside)
			goroutines, heap, left := runtime.NumGoroutine(), heapInUse(), users(h.engine)
			for _, c := range corpus {
				t.Run(c.file, func(t *testing.T) {
					err := commit(h, hostileSpec(t, c.file, c.raw), c.code == protocol.CodeDeadline)
					if protocol.CodeOf(err) != c.code || err != nil && !strings.Contains(err.Error(), c.text) {
						t.Errorf("got %v %v, want %v with %q", protocol.CodeOf(err), err, c.code, c.text)
					}
					ask(t, beside)
				})
			}
			for began := time.Now(); runtime.NumGoroutine() > goroutines && time.Since(began) < 5*time.Second; {
				runtime.Gosched()
			}
			if now := runtime.NumGoroutine(); now > goroutines {
				t.Errorf("%d goroutines, %d before", now, goroutines)
			}
			if now := heapInUse(); now > heap+8<<20 {
				t.Errorf("heap of %d MB, %d before", now>>20, heap>>20)
			}
			if now := users(h.engine); now != left || len(h.plugins) != 1 {
				t.Errorf("%d users of code and %d plugins left, want %d and 1", now, len(h.plugins), left)
			}
		})
	}
}

// commit loads a plugin, lets it do what it came for and says how that ended.
func commit(h *Host, s Spec, endless bool) error {
	p, err := h.Load(context.Background(), s)
	if err != nil {
		return err
	}
	defer p.Close(context.Background())
	r := Request{Kind: Run, Event: &protocol.Event{Workflow: "flow", Data: protocol.Raw{0xf6}}}
	if endless {
		r.TimeoutMS = 300 // the others end by themselves
	}
	return asError(p.Call(context.Background(), r))
}

// ask puts a request to a good plugin, which has a fresh instance for each.
func ask(t *testing.T, p *Plugin) {
	t.Helper()
	defer p.Rest()
	if a := p.Call(context.Background(), work(t, `1`)); a.Error != nil {
		t.Errorf("the plugin beside: %v", a.Error)
	}
}

// hostileSpec returns the spec for a file of the corpus.
func hostileSpec(t *testing.T, file string, raw bool) Spec {
	t.Helper()
	wasm, err := os.ReadFile(filepath.Join("testdata", "hostile", file+".wasm"))
	must(t, err)
	if !raw {
		wasm, err = meter.Instrument(wasm)
		must(t, err)
	}
	s := specOf("hostile", wasm)
	s.Manifest.Limits.MemoryMB, s.Manifest.Limits.Seconds = 16, 60
	s.Manifest.Permissions.System = []string{"filesystem.read"}
	s.Step.Grants, err = s.Manifest.Wishes()
	must(t, err)
	return s
}

func heapInUse() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// TestCorpusIsBuilt: each .wasm is what its .wat says, and each is in the table. make
// hostile builds them anew.
func TestCorpusIsBuilt(t *testing.T) {
	texts, err := filepath.Glob("testdata/hostile/*.wat")
	must(t, err)
	named := map[string]bool{}
	for _, c := range corpus {
		named[c.file] = true
	}
	if len(texts) != len(named) {
		t.Errorf("%d files for %d rows", len(texts), len(named))
	}
	for _, text := range texts {
		name := strings.TrimSuffix(filepath.Base(text), ".wat")
		if !named[name] {
			t.Errorf("%s: in no row", text)
		}
		want, err := os.ReadFile(strings.TrimSuffix(text, ".wat") + ".wasm")
		must(t, err)
		if _, err := exec.LookPath("wat2wasm"); err != nil {
			continue
		}
		got, err := exec.Command("wat2wasm", "--output=-", text).Output()
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: %d bytes, committed are %d: make hostile; %v", text, len(got), len(want), err)
		}
	}
}

// TestCorpusMade is of what is too large for a file: F9.
func TestCorpusMade(t *testing.T) {
	good, err := os.ReadFile("testdata/hostile/good.wasm")
	must(t, err)
	data := binary.AppendUvarint([]byte{1, 1}, 7<<20) // one passive segment
	data = append(data, make([]byte, 7<<20)...)
	section := binary.AppendUvarint([]byte{11}, uint64(len(data)))
	giant := append(tiny{pages: 1}.wasm(), append(section, data...)...)
	for name, c := range map[string]struct {
		wasm []byte
		text string
	}{
		"giant data segment": {giant, "DataBytes: 7340032"},
		"many functions":     {functions(20_001), "Functions: 20001"},
		"loops over locals":  {bombs()["loops over locals"], "LoopNest: 300"},
		"random bytes":       {bytes.Repeat([]byte{0x9e, 0x37, 0x79, 0xb9}, 4096), "WebAssembly"},
		"nothing":            {nil, ""},
	} {
		_, err := Verify(c.wasm, &protocol.Manifest{})
		if protocol.CodeOf(err) != protocol.CodeUnverified || !strings.Contains(err.Error(), c.text) {
			t.Errorf("%s: %v, want it refused with %q", name, err, c.text)
		}
	}
	whole := 0
	for n := range good {
		_, err := Verify(good[:n], &protocol.Manifest{})
		if err == nil {
			whole++
		} else if protocol.CodeOf(err) != protocol.CodeUnverified {
			t.Errorf("the first %d bytes: %v", n, err)
		}
	}
	if whole != 1 { // what comes before the data section is a module too
		t.Errorf("%d beginnings are modules, want 1", whole)
	}
}

// functions is a module of n empty functions.
func functions(n int) []byte {
	sectionOf := func(id byte, item ...byte) []byte {
		b := append(binary.AppendUvarint(nil, uint64(n)), bytes.Repeat(item, n)...)
		return append(binary.AppendUvarint([]byte{id}, uint64(len(b))), b...)
	}
	head := []byte("\x00asm\x01\x00\x00\x00\x01\x04\x01\x60\x00\x00")
	return append(append(head, sectionOf(3, 0)...), sectionOf(10, 2, 0, 0x0b)...)
}

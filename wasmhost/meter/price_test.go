package meter

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"
)

// Who pays for a function and counts its frame: itself or its callers; and what a way back costs.
func TestWhoPays(t *testing.T) {
	drop := op(opI32Const, 1, 0x1a)
	long := bytes.Repeat(drop, 30)
	loop := op(opLoop, blockEmpty, opI32Const, 1, 0x1a, opI32Const, 0, opBrIf, 0, opEnd)
	for _, c := range []struct {
		name                 string
		code                 []byte
		entry, back, callers int64 // what entry and first way back cost, and what callers pay; 0: nothing
		frame                int64 // 0: counted by callers
	}{
		{"a leaf", drop, 4, 0, 4, 0},
		{"a leaf too dear", long, 62, 0, 0, 0},
		{"calls a leaf", op(opCall, 0), 1 + costCall + 2 + 1, 0, 8, 0},
		{"calls a leaf that stands behind it", op(opCall, 2), 1 + costCall + 4 + 1, 0, 10, 0},
		{"calls itself", op(opCall, 1), 1 + costCall + 1, 0, 0, frameBase},
		{"calls one that calls it", op(opCall, 3), 1 + costCall + 6 + 1, 0, 0, frameBase + frameBase},
		{"calls one that ends in a tail call", op(opCall, 4), 16, 0, 16, frameBase + frameLeaf},
		{"calls through a table", op(opI32Const, 0, opCallIndirect, 0, 0), 2 + costCall + costLeaf + 1, 0, 0, frameBase + 1 + frameLeaf},
		{"the dearer of two ways", cat(op(opI32Const, 0, opIf, blockEmpty), drop, op(opElse), drop, drop, op(opEnd)), 9, 0, 9, 0},
		{"a way that may be left out", cat(op(opI32Const, 0, opIf, blockEmpty), drop, op(opEnd)), 7, 0, 7, 0},
		{"what stands behind a return", cat(op(opReturn), long), 2, 0, 2, 0},
		{"a branch over the dear part", cat(op(opBlock, blockEmpty, opI32Const, 1, opBrIf, 0), drop, op(opEnd), drop), 10, 0, 10, 0},
		{"a loop", loop, 8, costBack + 4, 0, 0},
		{"a loop with much behind it", cat(loop, long), 68, costBack + 4, 0, 0},
		{"a loop in a loop", cat(op(opLoop, blockEmpty), loop, op(opI32Const, 0, opBrIf, 0, opEnd)), 12, costBack + 4, 0, 0},
		{"a loop that is never gone round", op(opLoop, blockEmpty, opI32Const, 1, 0x1a, opEnd), 6, 0, 6, 0},
		{"a way back that nothing comes to", op(opLoop, blockEmpty, opReturn, opBr, 0, opEnd), 3, costBack, 0, 0},
		{"a way back in a table", op(opLoop, blockEmpty, opI32Const, 1, opBrTable, 0, 0, opEnd), 4, 0, 0, 0},
		{"grows its memory", op(opI32Const, 0, 0x40, 0, 0x1a), 4 + costGrow, 0, 0, 0},
	} {
		m, err := parseSections(asm{pages: 1, tableMax: 9, fns: []fn{
			{}, {export: "run", code: c.code}, {code: drop}, {code: op(opCall, 1)}, {code: op(opTailCall, 2)},
		}}.build())
		if err != nil {
			t.Fatal(err)
		}
		if err := m.price(); err != nil {
			t.Fatal(err)
		}
		var s scan
		if err := s.body(m, 1); err != nil {
			t.Fatal(err)
		}
		var way int64
		if len(s.backs) > 0 {
			way = s.backs[0].cost
		}
		p := m.prices[1]
		if s.dearest != c.entry || way != c.back || p.free != c.callers || p.frame != c.frame {
			t.Errorf("%s: entry %d, way back %d, callers %d, frame %d; want %d, %d, %d, %d",
				c.name, s.dearest, way, p.free, p.frame, c.entry, c.back, c.callers, c.frame)
		}
	}
}

// A frame that is large is counted, though its function calls nothing.
func TestLargeLeavesAreCounted(t *testing.T) {
	m, err := parseSections(asm{fns: []fn{{export: "run", locals: bytes.Repeat(op(i64), frameLeaf)}}}.build())
	if err != nil {
		t.Fatal(err)
	}
	if err := m.price(); err != nil || m.prices[0].frame != frameLeaf+frameBase {
		t.Errorf("%+v, %v", m.prices[0], err)
	}
}

// work gives the module with a count of all that it does: at each instruction, what that costs.
func work(t testing.TB, wasm []byte) []byte {
	t.Helper()
	m, err := parseSections(wasm)
	if err != nil {
		t.Fatal(err)
	}
	w := newWriter(m)
	out := append([]byte(nil), wasm[:8]...)
	for _, s := range m.withMissing() {
		b := putU32(nil, uint32(len(m.bodies)))
		for i := range m.bodies {
			if s.id == secCode {
				body := counted(t, w, i)
				b = append(putU32(b, uint32(len(body))), body...)
			}
		}
		if s.id != secCode {
			if b, err = w.section(s); err != nil {
				t.Fatal(err)
			}
		}
		out = putSection(out, s.id, b)
	}
	return out
}

func counted(t testing.TB, w *writer, i int) []byte {
	t.Helper()
	var s scan
	if err := s.body(w.m, i); err != nil {
		t.Fatal(err)
	}
	b := w.m.bodies[i].b
	o := w.take(bytes.Clone(b[:s.code]), w.fuel, 1+int64(s.locals)/8)
	r := reader{b: b, p: s.code}
	for in := (instr{}); r.p < len(b); {
		in.next(&r)
		n := cost(in.op)
		if in.op == opCallIndirect {
			n = costCall // the callee's own work counts itself
		}
		if in.op != opElse && in.op != opEnd { // what stands before these is not always come by
			o = w.take(o, w.fuel, n)
		}
		if in.op == opCall || in.op == opTailCall || in.op == opRefFunc {
			o = putU32(append(o, byte(in.op)), shift(in.x, w.m.importedFuncs, +1))
			continue
		}
		o = append(o, b[in.at:in.end]...)
	}
	return o
}

// Whatever a guest does it has paid for: what it has paid is never less than what it has done, and not
// many times as much.
func TestPaidCoversWork(t *testing.T) {
	guests := corpus(t)
	for _, language := range []string{"c", "rust"} {
		b, err := os.ReadFile(filepath.Join("..", "testdata", language, "action.wasm"))
		if err != nil {
			t.Fatal(err)
		}
		guests[language] = b
	}
	compared := 0
	for path, plain := range guests {
		done, ok := spentBy(t, work(t, plain))
		if !ok {
			continue // wants other arguments, or imports that are not those of a command
		}
		paid, ok := spentBy(t, mustInstrument(t, plain))
		if !ok || paid < done || paid > 30*done {
			t.Errorf("%s: did %d, paid %d, %t", path, done, paid, ok)
		}
		t.Logf("%s: did %d, paid %.2f times as much", path, done, float64(paid)/float64(done))
		compared++
	}
	for _, name := range []string{"count", "fib", "landings"} {
		plain := samples()[name]
		var spent []int64
		for _, wasm := range [][]byte{work(t, plain), mustInstrument(t, plain)} {
			w := newWorld(t, engines()["compiler"], 1<<50, 1000)
			m := w.load(wasm)
			if _, err := m.ExportedFunction("run").Call(t.Context(), 12); err != nil {
				t.Fatal(err)
			}
			spent = append(spent, w.used(m))
		}
		if spent[1] < spent[0] || spent[1] > 3*spent[0] {
			t.Errorf("%s: did %d, paid %d", name, spent[0], spent[1])
		}
		compared++
	}
	if compared < 6 {
		t.Errorf("%d programs compared", compared)
	}
}

// spentBy runs a command to its end, and returns what it took of its fuel.
func spentBy(t *testing.T, wasm []byte) (int64, bool) {
	t.Helper()
	w := newWorld(t, engines()["compiler"], 1<<50, 1<<20)
	wasi_snapshot_preview1.MustInstantiate(t.Context(), w.rt)
	m, err := w.rt.InstantiateWithConfig(t.Context(), wasm, wazero.NewModuleConfig().WithName("").
		WithStdin(strings.NewReader("")).WithStdout(io.Discard).WithStderr(io.Discard).WithArgs("guest", "ls"))
	if err != nil {
		return 0, false
	}
	return w.used(m), true
}

// Loops with landings do what they did.
func TestLandings(t *testing.T) {
	plain := landings()
	for name, config := range engines() {
		var got []uint64
		for _, wasm := range [][]byte{plain, mustInstrument(t, plain)} {
			m := newWorld(t, config, 1<<50, 10).load(wasm)
			res, err := m.ExportedFunction("run").Call(t.Context(), 77)
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, res...)
		}
		if got[0] != 77 || got[1] != 77 {
			t.Errorf("%s: %v, want 77 twice", name, got)
		}
	}
}

// A loop or a recursion made of functions that do not pay themselves pays nevertheless.
func TestUnpaidStops(t *testing.T) {
	leaf := fn{code: op(opI32Const, 1, 0x1a)}
	for name, f := range map[string]fn{
		"leaves in a loop":      {export: "run", code: op(opLoop, blockEmpty, opCall, 0, opBr, 0, opEnd)},
		"leaves in a recursion": {export: "run", code: op(opCall, 0, opCall, 1)},
		"loops in a recursion": {export: "run", code: op(opBlock, blockEmpty, opLoop, blockEmpty, opCall, 0, opCall, 0,
			opCall, 1, opEnd, opEnd)},
		"tail calls": {export: "run", code: op(opCall, 0, opTailCall, 1)},
	} {
		metered := mustInstrument(t, asm{fns: []fn{leaf, f}}.build())
		validate(t, metered)
		if err := Check(metered); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		seen := int64(-1)
		for engine, config := range engines() {
			w := newWorld(t, config, 5000, 1000)
			m := w.load(metered)
			_, err := m.ExportedFunction("run").Call(context.Background())
			used := w.used(m)
			if exitCode(err) != exitFuel || seen >= 0 && used != seen {
				t.Errorf("%s: %s: got %v after %d, before %d; want exit %x", name, engine, err, used, seen, exitFuel)
			}
			seen = used
		}
	}
}

package meter

import (
	"bytes"
	"context"
	"errors"
	"runtime"
	"strings"
	"testing"

	"github.com/tetratelabs/wazero/api"
)

// A guest without end stops at the same count in both engines, each time. // F8
func TestStopsAtTheSameFuel(t *testing.T) {
	cases := []struct {
		name  string
		wasm  []byte
		args  []uint64
		exit  uint32
		fuel  int64
		stack uint64
	}{
		{"loop", spin(), nil, exitFuel, 1_000_000, StackUnits},
		{"recursion ends by fuel", recurse(), nil, exitFuel, 10_000, StackUnits},
		{"recursion ends by stack", recurse(), nil, exitStack, 1_000_000, 10_000},
		{"recursion through the table", mutual(), nil, exitStack, 1_000_000, 10_000},
		{"tail calls", tails(2), []uint64{1, 2}, exitFuel, 1_000_000, StackUnits},
		{"fills of 16 MiB", fill(256), nil, exitFuel, 50_000_000, StackUnits},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			metered := mustInstrument(t, c.wasm)
			validate(t, metered)
			seen := map[string]int64{}
			for name, config := range engines() {
				for range 2 {
					w := newWorld(t, config, c.fuel, 1000)
					m := w.load(metered)
					setStack(m, c.stack)
					_, err := m.ExportedFunction("run").Call(context.Background(), c.args...)
					if exitCode(err) != c.exit {
						t.Fatalf("%s: got %v, want exit %x", name, err, c.exit)
					}
					used := w.used(m)
					if before, have := seen["any"]; have && before != used {
						t.Errorf("%s: used %d, before %d", name, used, before)
					}
					seen["any"] = used
				}
			}
		})
	}
}

// A host that forgets the stack is no danger: the guest traps. // F10
func TestStackTrapsByItself(t *testing.T) {
	for name, config := range engines() {
		w := newWorld(t, config, 1<<40, 1<<40)
		m := w.load(mustInstrument(t, recurse()))
		setStack(m, 5000)
		m.ExportedGlobal(FuelGlobal).(interface{ Set(uint64) }).Set(1 << 40)
		_, err := m.ExportedFunction("run").Call(context.Background())
		if err == nil {
			t.Errorf("%s: recursion without end returned", name)
		}
	}
}

// What is taken of the stack is given back on every way out of a function.
func TestStackIsGivenBack(t *testing.T) {
	wide := asm{fns: []fn{
		{export: "run", params: op(i64), results: op(i64), code: op(
			opLocalGet, 0, 0x50, opIf, blockEmpty, opI64Const, 1, opReturn, opEnd, // return
			opLocalGet, 0, opI64Const, 1, 0x51, opIf, blockEmpty, opI64Const, 2, opBr, 1, opEnd, // branch to the end
			opLocalGet, 0, opI64Const, 2, 0x51, opIf, blockEmpty, opLocalGet, 0, opTailCall, 1, opEnd, // tail call
			opLocalGet, 0, opCall, 1)},
		{params: op(i64), results: op(i64), code: op(opCall, 2, opLocalGet, 0)},
		{code: op(0x01)},
	}}.build()
	for name, config := range engines() {
		w := newWorld(t, config, 1<<40, 1<<20)
		m := w.load(mustInstrument(t, wide))
		for arg, want := range []uint64{1, 2, 2, 3} {
			res, err := m.ExportedFunction("run").Call(context.Background(), uint64(arg))
			if err != nil || res[0] != want {
				t.Errorf("%s: run(%d) = %v, %v, want %d", name, arg, res, err, want)
			}
			if left := m.ExportedGlobal(StackGlobal).Get(); left != StackUnits {
				t.Errorf("%s: run(%d) leaves %d of the stack, want %d", name, arg, left, StackUnits)
			}
		}
	}
}

// Wide tail calls, which wazero turns into calls, are counted as such.
func TestWideTailCallsAreBounded(t *testing.T) {
	w := newWorld(t, engines()["compiler"], 1<<40, 1<<30)
	m := w.load(mustInstrument(t, tails(12)))
	_, err := m.ExportedFunction("run").Call(context.Background(), make([]uint64, 12)...)
	if exitCode(err) != exitStack {
		t.Errorf("got %v, want the stack's end", err)
	}
}

func TestInstrumentRefuses(t *testing.T) {
	body := func(code ...byte) []byte { return asm{fns: []fn{{export: "run", code: code}}}.build() }
	empty := func(more ...byte) []byte { return append([]byte("\x00asm\x01\x00\x00\x00"), more...) }
	cases := []struct {
		name string
		wasm []byte
		want string
	}{
		{"empty", nil, "not a core WebAssembly module"},
		{"component", []byte("\x00asm\x0d\x00\x01\x00"), "not a core WebAssembly module"},
		{"names the fuel", asm{fns: []fn{{export: FuelGlobal}}}.build(), "metered already"},
		{"names the stack", asm{fns: []fn{{export: StackGlobal}}}.build(), "metered already"},
		{"metered twice", mustInstrument(t, spin()), "metered already"},
		{"global out of range", body(opI64Const, 0, opGlobalSet, 0), "global 0 out of range"},
		{"function out of range", body(opCall, 7), "function 7 out of range, have 1"},
		{"type out of range", body(opBlock, 1, opEnd), "block type 1 unknown"},
		{"empty operand stack", body(0x1a), "operand stack is empty"},
		{"operands left over", body(opI64Const, 0), "block ends with 1 operands, want 0"},
		{"else without if", body(opElse), "else without if"},
		{"threads", body(0xfe, 0, 0, 0), "opcode 0xfe unknown or not supported"},
		{"exceptions", body(0x06, blockEmpty, opEnd), "opcode 0x06 unknown or not supported"},
		{"relaxed vectors", body(0xfd, 0x80, 0x02), "unknown or not supported"},
		{"second memory", body(0x41, 0, 0x28, 0x42, 1, 0, 0x1a), "multi-memory"},
		{"memory64", empty(secMemory, 3, 1, 4, 1), "memory64"},
		{"tags", empty(13, 1, 0), "section 13 unknown"},
		{"twice", empty(1, 1, 0, 1, 1, 0), "section 1 unknown, twice or out of order"},
		{"cut", spin()[:len(spin())-1], "bytes announced"},
		{"many locals", many(1, fn{locals: bytes.Repeat(op(i32), 50_001)}), "locals and more, at most"},
		{"too many types", many(itemsMax+1, fn{}), "131073 elements, at most 131072"},
	}
	for _, c := range cases {
		_, err := Instrument(c.wasm)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", c.name, err, c.want)
		}
	}
}

func TestMeteredTwiceIsNamed(t *testing.T) {
	if _, err := Instrument(mustInstrument(t, fib())); !errors.Is(err, errMetered) {
		t.Errorf("got %v, want errMetered", err)
	}
}

// Names and offsets go, what is about the module as a whole stays.
func TestCustomSections(t *testing.T) {
	in := asm{fns: []fn{{export: "run"}}, custom: []string{"name", ".debug_info", "producers", "sbom"}}.build()
	out := mustInstrument(t, in)
	kept := map[string]bool{"name": false, ".debug_info": false, "producers": true, "sbom": true}
	for name, want := range kept {
		if got := bytes.Contains(out, putName(nil, name)); got != want {
			t.Errorf("section %q kept: %t, want %t", name, got, want)
		}
	}
	validate(t, out)
}

func setStack(m api.Module, units uint64) {
	m.ExportedGlobal(StackGlobal).(interface{ Set(uint64) }).Set(units)
}

// The stack that a recursion can make the host allocate is bounded, however wide its frames are: without
// the counter it grows to the engine's 400 MB. // F10
func TestStackBoundsHostMemory(t *testing.T) {
	wide := fn{export: "run", params: op(i64), results: op(i64)}
	for k := range 500 { // so many operands wait for the inner call to return
		wide.code = append(putS64(append(wide.code, opLocalGet, 0, opI64Const), int64(k+3)), 0x7e)
	}
	wide.code = append(append(wide.code, opLocalGet, 0, opCall, 0), bytes.Repeat(op(opI64Add), 500)...)
	for name, c := range map[string]struct {
		wasm []byte
		args []uint64
	}{
		"narrow": {recurse(), nil},
		"wide":   {asm{fns: []fn{wide}}.build(), []uint64{7}},
	} {
		w := newWorld(t, engines()["compiler"], 1<<50, 1<<40)
		m := w.load(mustInstrument(t, c.wasm))
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := m.ExportedFunction("run").Call(context.Background(), c.args...)
		runtime.ReadMemStats(&after)
		if code := exitCode(err); code != exitStack {
			t.Errorf("%s: got %v, want the stack's end", name, err)
		}
		// Stacks double as they grow, so all of them together are twice the last one.
		if got := after.TotalAlloc - before.TotalAlloc; got > 8*StackUnits*6 {
			t.Errorf("%s: %d bytes allocated for a stack of %d", name, got, 8*StackUnits)
		} else {
			t.Logf("%s: %d bytes allocated", name, got)
		}
	}
}

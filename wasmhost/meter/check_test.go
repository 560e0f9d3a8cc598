package meter

import (
	"bytes"
	"strings"
	"testing"
)

// samples are plain modules that use what the meter treats in a way of its own.
func samples() map[string][]byte {
	return map[string][]byte{
		"spin": spin(), "recurse": recurse(), "mutual": mutual(), "count": count(), "fib": fib(),
		"fill": fill(1), "tails": tails(2), "wide tails": tails(9),
		"calls wide tails": asm{fns: []fn{
			{export: "run", results: bytes.Repeat(op(i32), 7), code: op(opCall, 1)},
			{results: bytes.Repeat(op(i32), 7), code: op(opTailCall, 1)},
		}}.build(),
		"landing": landing(), "landings": landings(),
		"results": asm{fns: []fn{
			{export: "run", results: op(i32, i64), code: op(opCall, 1)},
			{results: op(i32, i64), code: op(0x41, 1, opI64Const, 2)},
		}}.build(),
	}
}

func TestCheckAcceptsMetered(t *testing.T) {
	for name, wasm := range samples() {
		metered := mustInstrument(t, wasm)
		if err := Check(metered); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if err := Check(wasm); err == nil || !strings.Contains(err.Error(), "not metered") {
			t.Errorf("%s, plain: got %v", name, err)
		}
		validate(t, metered)
	}
}

// replaceInCode gives the module with one body changed, its sizes put right.
func replaceInCode(t *testing.T, wasm, old, new []byte) []byte {
	t.Helper()
	m, err := parseSections(wasm)
	if err != nil {
		t.Fatal(err)
	}
	out := append([]byte(nil), wasm[:8]...)
	found := false
	for _, s := range m.sections {
		b := s.b
		if s.id == secCode {
			b = putU32(nil, uint32(len(m.bodies)))
			for _, f := range m.bodies {
				changed := f.b
				if !found && bytes.Contains(f.b, old) {
					changed, found = bytes.Replace(f.b, old, new, 1), true
				}
				b = append(putU32(b, uint32(len(changed))), changed...)
			}
		}
		out = putSection(out, s.id, b)
	}
	if !found {
		t.Fatalf("% x is not in the code", old)
	}
	return out
}

// Each way to cheat that a hub or an author could try is refused, and the engine would have accepted
// nearly all of them.
func TestCheckRefuses(t *testing.T) {
	at := meter{out: 0, fuel: 0, stack: 1}
	way := append(at.pay(nil, costBack+1), opBr, 0)
	entry := append(at.pay(op(0), 3), opLoop) // function: 1, loop, branch
	cases := []struct {
		name     string
		wasm     []byte
		old, new []byte
		want     string
	}{
		{"way back unpaid", spin(), way, op(opBr, 0), "differs"},
		{"way back too cheap", spin(), way, append(at.pay(nil, 0), opBr, 0), "differs"},
		{"conditional way back too cheap", count(), at.payMoved(nil, costBack+13), at.payMoved(nil, 1), "differs"},
		{"landing unpaid", landing(), at.landing(nil, costBack+5), op(opBr, 2, opEnd, opBr, 0, opEnd, opEnd), "differs"},
		{"landing too cheap", landing(), at.landing(nil, costBack+5), at.landing(nil, 1), "differs"},
		{"landing passed by", landing(), op(opBrIf, 0), op(opBrIf, 1), "differs"},
		{
			"landing that is another's code", landing(), at.landing(nil, costBack+5),
			append(at.pay(op(opBr, 2, opEnd), costBack+5), opBr, 0, opEnd, opEnd), "differs",
		},
		{"entry unpaid", spin(), entry, op(0, opLoop), "differs"},
		{"entry too cheap", spin(), entry, append(at.pay(op(0), 1), opLoop), "differs"},
		{"refills itself", spin(), op(opBr, 0), op(opI64Const, 9, opGlobalSet, 0, opBr, 0), "touches the meter"},
		{"reads the meter", spin(), op(opBr, 0), op(opGlobalGet, 0, 0x1a, opBr, 0), "touches the meter"},
		{"calls the host", recurse(), op(0x6a, opEnd), op(0x6a, opCall, 0, opEnd), "names the function"},
		{"gives stack back twice", recurse(), op(opEnd, opGlobalGet, 1), append(append(op(opEnd),
			at.creditOf(8)...), opGlobalGet, 1), "global 1 out of range"},
		{"frame too small", recurse(), at.take(nil, 1, 8), at.take(nil, 1, 1), "differs"},
		{"fill unpaid", fill(1), at.payOperand(nil, 0, 4), nil, "differs"},
		{"fill too cheap", fill(1), at.payOperand(nil, 0, 4), at.payOperand(nil, 0, 9), "differs"},
		{"returns past the end", recurse(), op(0x6a, opEnd), op(0x6a, opReturn, opEnd), "differs"},
	}
	for _, c := range cases {
		metered := mustInstrument(t, c.wasm)
		bad := replaceInCode(t, metered, c.old, c.new)
		err := Check(bad)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", c.name, err, c.want)
		}
	}
}

// creditOf is what a function of this frame gives back.
func (w *meter) creditOf(frame int64) []byte {
	o := putS64(append(putU32([]byte{opGlobalGet}, w.stack), opI64Const), frame)
	return putU32(append(o, opI64Add, opGlobalSet), w.stack)
}

// No single byte of a metered module can be changed in its code or its meter without notice, unless the
// module is then the metered form of another module.
func TestCheckNoticesEveryByte(t *testing.T) {
	for name, wasm := range samples() {
		metered := mustInstrument(t, wasm)
		for i := range metered {
			bad := bytes.Clone(metered)
			bad[i] ^= 1
			if Check(bad) != nil {
				continue
			}
			m, err := parseSections(bad)
			if err != nil {
				t.Fatal(err)
			}
			plain, err := strip(m, bad[:8])
			if err != nil || !bytes.Equal(mustInstrument(t, plain), bad) {
				t.Errorf("%s: byte %d changed and passed", name, i)
			}
		}
	}
}

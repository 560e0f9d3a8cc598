package meter

import (
	"context"
	"testing"
)

// Who pays for a function: itself, its first loop, or its callers.
func TestWhoPays(t *testing.T) {
	call := op(opCall, 0)
	long := make([]byte, 0, 40)
	for range 20 {
		long = append(long, opI32Const, 1, 0x1a) // drop
	}
	loop := op(opLoop, blockEmpty, opI32Const, 1, 0x1a, opI32Const, 1, 0x1a, opI32Const, 1, 0x1a, opI32Const, 0, opBrIf, 0, opEnd)
	for _, c := range []struct {
		name         string
		code         []byte
		entry, first int64 // what entry and first loop cost; -1: none
		callers      int64
	}{
		{"a leaf", op(opI32Const, 1, 0x1a), 4, -1, 4},
		{"a leaf too dear", long, 42, -1, 0},
		{"calls a leaf that stands before it", call, 1 + costCall + 2 + 1, -1, 8},
		{"calls itself", op(opCall, 1), 1 + costCall + 1, -1, 0},
		{"calls through a table", op(opI32Const, 0, opCallIndirect, 0, 0), 1 + 1 + costCall + costLeaf + 1, -1, 0},
		{"straight into its loop", loop, 0, 13, 0},
		{"straight into its loop, in a block", cat(op(opBlock, blockEmpty), loop, op(opEnd)), 0, 15, 0},
		{"a loop behind a branch", cat(op(opI32Const, 0, opIf, blockEmpty, opEnd), loop), 6, 10, 0},
		{"a loop behind a call", cat(call, loop), 3 + costCall + 2, 10, 0},
		{"a loop with much behind it", cat(loop, long), 43, 10, 0},
		{"a loop that may be passed by", cat(op(opBlock, blockEmpty, opI32Const, 1, opBrIf, 0), loop, op(opEnd)), 7, 10, 0},
		{"grows its memory", op(opI32Const, 0, 0x40, 0, 0x1a), 4 + costGrow, -1, 0},
	} {
		m, err := parseSections(asm{pages: 1, tableMax: 9, fns: []fn{{}, {export: "run", code: c.code}}}.build())
		if err != nil {
			t.Fatal(err)
		}
		m.findLeaves()
		var s scan
		if err := s.body(m, 1); err != nil {
			t.Fatal(err)
		}
		first := int64(-1)
		if len(s.costs) > 1 {
			first = s.costs[1]
		}
		if s.costs[0] != c.entry || first != c.first || m.free[1] != c.callers || s.free != (c.callers > 0) {
			t.Errorf("%s: entry %d, loop %d, callers %d; want %d, %d, %d",
				c.name, s.costs[0], first, m.free[1], c.entry, c.first, c.callers)
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

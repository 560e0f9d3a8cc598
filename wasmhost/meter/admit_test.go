package meter

import (
	"bytes"
	"strings"
	"testing"
)

// nest is the bomb that holds a compiler longest: loops in loops over many locals. // F9
func nest(loops, locals int) []byte {
	var code []byte
	code = append(code, bytes.Repeat(op(opLoop, blockEmpty), loops)...)
	for l := range locals {
		code = putU32(append(code, opLocalGet), uint32((l+1)%locals))
		code = putU32(append(code, opI64Const, 1, opI64Add, 0x21), uint32(l))
	}
	code = append(code, bytes.Repeat(op(opLocalGet, 0, 0xa7, opBrIf, 0, opEnd), loops)...)
	return asm{fns: []fn{{export: "run", locals: bytes.Repeat(op(i64), locals), code: code}}}.build()
}

// deep is blocks in blocks.
func deep(n int) fn {
	return fn{code: append(bytes.Repeat(op(opBlock, blockEmpty), n), bytes.Repeat(op(opEnd), n)...)}
}

func many(n int, f fn) []byte {
	a := asm{}
	for range n {
		a.fns = append(a.fns, f)
	}
	return a.build()
}

func brTable(n int) fn { return brTables(1, n) }

func brTables(tables, n int) fn {
	one := putU32(op(opBlock, blockEmpty, 0x41, 0, opBrTable), uint32(n))
	return fn{code: bytes.Repeat(append(append(one, make([]byte, n+1)...), opEnd), tables)}
}

// wide is blocks, one behind the other, over many locals.
func wide(blocks, locals int) fn {
	return fn{locals: bytes.Repeat(op(i64), locals), code: bytes.Repeat(op(opBlock, blockEmpty, opEnd), blocks)}
}

func TestAdmitNamesTheLimit(t *testing.T) {
	grow := asm{tableMax: 9, fns: []fn{{code: op(0xd0, typeFuncref, 0x41, 1, 0xfc, 0x0f, 0, 0x1a)}}}
	cases := []struct {
		want string
		wasm []byte
	}{
		{"", spin()},
		{"", fill(1024)},
		{"", nest(8, 700)},
		{"", many(1, deep(2048))},
		{"", many(1, brTable(4096))},
		{"LoopNest: 33, at most 32", nest(33, 2)},
		{"NestLocals: ", nest(32, 100)},
		{"", many(1, brTables(8, 4096))},
		{"BrLabels: 36864, at most 32768", many(1, brTables(9, 4096))},
		{"BrLabelsSum: 401408, at most 400000", many(98, brTable(4096))},
		{"CarriedSum: ", many(2, wide(2001, 1999))},
		{"IndirectSum: 30001, at most 30000", asm{tableMax: 1, fns: []fn{{code: bytes.Repeat(op(0x41, 0, opCallIndirect, 0, 0), 30_001)}}}.build()},
		{"NestLocalsSum: ", func() []byte { // small bombs, many of them
			m, err := parseSections(nest(8, 700))
			if err != nil {
				t.Fatal(err)
			}
			f := fn{locals: bytes.Repeat(op(i64), 700)}
			r := reader{b: m.bodies[0].b}
			for n := r.count(); n > 0; n-- {
				r.u32()
				r.byte()
			}
			f.code = m.bodies[0].b[r.p : len(m.bodies[0].b)-1]
			return many(60, f)
		}()},
		{"Locals: 2001, at most 2000", nest(1, 2001)},
		{"Nesting: 2049, at most 2048", many(1, deep(2049))},
		{"NestingSum: ", many(4, deep(2048))},
		{"BrTable: 4097, at most 4096", many(1, brTable(4097))},
		{"Bytes: ", many(33, fn{code: bytes.Repeat(op(0x01), 255<<10)})},
		{"BodyBytes: ", many(1, fn{code: bytes.Repeat(op(0x01), 256<<10)})},
		{"Functions: 20001", many(20_001, fn{})},
		{"MemoryPages: 1025, at most 1024", fill(1025)},
		{"TableElements: 65537, at most 65536", asm{tableMax: 65_537, fns: []fn{{}}}.build()},
		{"table.grow not allowed", grow.build()},
		{"start section: not allowed", asm{start: true, fns: []fn{{}}}.build()},
		{"CustomBytes: ", asm{custom: []string{strings.Repeat("x", 64<<10)}, fns: []fn{{}}}.build()},
	}
	l := DefaultLimits()
	l.Types = 1 << 20 // the assembler gives each function a type of its own
	for _, c := range cases {
		for form, wasm := range map[string][]byte{"plain": c.wasm, "metered": mustInstrument(t, c.wasm)} {
			info, err := Inspect(wasm)
			if err != nil {
				t.Fatalf("%s: %v", c.want, err)
			}
			err = Admit(info, l)
			if c.want == "" && err != nil {
				t.Errorf("%s: %v, want it admitted", form, err)
			}
			if c.want != "" && (err == nil || !strings.Contains(err.Error(), " "+c.want)) {
				t.Errorf("%s: got %v, want %q", form, err, c.want)
			}
		}
	}
}

// A real Go guest is admitted once metered, and only with the imports it was given. // 3.3
func TestAdmitGoGuest(t *testing.T) {
	info, err := Inspect(mustInstrument(t, buildGo(t)))
	if err != nil {
		t.Fatal(err)
	}
	if err := Admit(info, DefaultLimits()); err != nil {
		t.Error(err)
	}
	l := DefaultLimits()
	l.Imports = l.Imports[1:]
	if err := Admit(info, l); err == nil || !strings.Contains(err.Error(), `"args_get" not allowed`) {
		t.Errorf("got %v, want args_get refused", err)
	}
	l = DefaultLimits()
	l.MaximaRequired = true
	if err := Admit(info, l); err == nil || !strings.Contains(err.Error(), "MaximaRequired") {
		t.Errorf("got %v, want a memory without maximum refused", err)
	}
}

func TestInspect(t *testing.T) {
	info, err := Inspect(mustInstrument(t, fill(3)))
	if err != nil {
		t.Fatal(err)
	}
	if info.Functions != 1 || info.MemoryMin != 3 || info.MemoryMax != 3 || info.LoopNestMax != 1 {
		t.Errorf("got %+v", info)
	}
	if len(info.Imports) != 1 || info.Imports[0].Module != "fuel" || info.Imports[0].Kind != KindFunc {
		t.Errorf("imports %+v, want fuel.out", info.Imports)
	}
	if len(info.Exports) != 3 || info.Exports[1].Name != "__fuel" || info.Exports[2].Kind != KindGlobal {
		t.Errorf("exports %+v, want run and the meter's two globals", info.Exports)
	}
}

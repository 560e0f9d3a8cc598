package meter

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// starts returns where every instruction of a module begins, counted as Cover counts.
func starts(t *testing.T, wasm []byte) []uint32 {
	t.Helper()
	m, err := Parse(wasm)
	if err != nil {
		t.Fatal(err)
	}
	code := m.sections[slices.IndexFunc(m.sections, func(s section) bool { return s.id == secCode })]
	var out []uint32
	for _, b := range m.bodies {
		r := reader{b: b.b}
		for range r.count() {
			r.u32()
			r.byte()
		}
		for in := (instr{}); !r.done(); {
			in.next(&r)
			out = append(out, uint32(b.at-code.at+in.at))
		}
	}
	return out
}

// A module that is marked everywhere does what it did, in both engines, metered too; what
// it comes past is marked and what it does not is not.
func TestCover(t *testing.T) {
	// f(0) is 7 and f of anything else 8.
	branch := asm{fns: []fn{{
		export: "f", params: op(i32), results: op(i32), locals: op(i64),
		code: op(opLocalGet, 0, opIf, i32, opI32Const, 8, opElse, opI32Const, 7, opEnd),
	}}}.build()
	places := starts(t, branch)
	marked, err := Cover(branch, places)
	if err != nil {
		t.Fatal(err)
	}
	validate(t, marked)
	for _, wasm := range [][]byte{marked, mustInstrument(t, marked)} {
		for name, config := range engines() {
			w := newWorld(t, config, 1<<40, 1<<20)
			in, err := w.rt.Instantiate(context.Background(), wasm)
			if err != nil {
				t.Fatal(err)
			}
			got, err := in.ExportedFunction("f").Call(context.Background(), 0)
			if err != nil || got[0] != 7 {
				t.Errorf("%s: got %d, %v", name, got, err)
			}
			var seen []string
			for i := range places {
				seen = append(seen, strconv.FormatUint(in.ExportedGlobal(CoverGlobal+strconv.Itoa(i)).Get(), 10))
			}
			// local.get, if, i32.const 8, else (the end of its first arm), i32.const 7, end, end
			if s := strings.Join(seen, " "); s != "1 1 0 0 1 1 1" {
				t.Errorf("%s: marked %s", name, s)
			}
		}
	}
}

// A real program says the same with marks all over it.
func TestCoverOfAGuest(t *testing.T) {
	plain := buildGo(t)
	places := starts(t, plain)
	every := max(1, len(places)/500)
	var some []uint32
	for i := 0; i < len(places); i += every {
		some = append(some, places[i])
	}
	marked, err := Cover(plain, some)
	if err != nil {
		t.Fatal(err)
	}
	validate(t, marked)
	config := engines()["compiler"]
	if want, got := talk(t, config, plain), talk(t, config, marked); got != want {
		t.Errorf("plain %+v, marked %+v", want, got)
	}
}

func TestCoverRefuses(t *testing.T) {
	wasm := spin()
	for _, c := range []struct {
		wasm   []byte
		places []uint32
		want   string
	}{
		{wasm[:len(wasm)-1], nil, "cover: parse"},
		{wasm, []uint32{4, 3}, "ascending order"},
		{wasm, make([]uint32, coverMax+1), "65537 places"},
		{wasm, []uint32{1 << 20}, "place 1048576 is behind the last function"},
	} {
		if _, err := Cover(c.wasm, c.places); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("got %v, want %q", err, c.want)
		}
	}
}

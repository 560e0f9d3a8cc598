package meter

import (
	"errors"
	"fmt"
	"strings"
)

// The names that a metered module adds, and that no other module may use.
const (
	// ImportModule is the module of the host function that is called when the fuel is spent.
	ImportModule = "fuel"
	// ImportName is that function's name; its type is ()->().
	ImportName = "out"
	// FuelGlobal is the exported mutable i64 that holds the fuel left; the host adds to it.
	FuelGlobal = "__fuel"
	// StackGlobal is the exported mutable i64 that holds the call stack left, in units of eight bytes.
	StackGlobal = "__stack_left"
)

// errMetered is the refusal of a module that is metered already, or pretends to be.
var errMetered = errors.New("metered already, or names the meter")

// Instrument gives the metered form of a module: the same bytes for the same module. It refuses what
// Parse refuses, and a module that imports from "fuel" or exports one of the meter's globals. Custom
// sections that hold offsets or function numbers (names, DWARF, source maps, relocations) are dropped.
func Instrument(wasm []byte) (metered []byte, err error) {
	m, err := parseSections(wasm)
	if err != nil {
		return nil, fmt.Errorf("instrument: %w", err)
	}
	if err := m.unmetered(); err != nil {
		return nil, fmt.Errorf("instrument: %w", err)
	}
	if err := m.price(); err != nil {
		return nil, fmt.Errorf("instrument: %w", err)
	}
	w := newWriter(m)
	if metered, err = w.module(wasm); err != nil {
		return nil, fmt.Errorf("instrument: %w", err)
	}
	return metered, nil
}

// unmetered refuses the meter's names.
func (m *Module) unmetered() error {
	for _, i := range m.imports {
		if i.Module == ImportModule {
			return fmt.Errorf("import %q %q: %w", i.Module, i.Name, errMetered)
		}
	}
	for _, e := range m.exports {
		if e.Name == FuelGlobal || e.Name == StackGlobal {
			return fmt.Errorf("export %q: %w", e.Name, errMetered)
		}
	}
	return nil
}

// meter holds the indices of what was added to a module.
type meter struct {
	out, fuel, stack uint32
	outType          uint32
}

// writer makes the metered module.
type writer struct {
	meter
	m       *Module
	s       scan
	body    []byte
	open    []opened
	wrapper map[string]uint32 // results -> type without parameters
	types   []byte            // types added, encoded
	added   int               // types added
}

func newWriter(m *Module) *writer {
	w := &writer{m: m, wrapper: map[string]uint32{}}
	w.out = uint32(m.importedFuncs)
	w.fuel = uint32(len(m.globals))
	w.stack = w.fuel + 1
	for i, t := range m.types {
		if _, have := w.wrapper[string(t.results)]; !have && len(t.params) == 0 {
			w.wrapper[string(t.results)] = uint32(i)
		}
	}
	w.outType = w.addType(nil)
	for _, t := range m.funcs[m.importedFuncs:] {
		results := m.types[t].results
		if _, have := w.wrapper[string(results)]; !have && len(results) > 1 {
			w.wrapper[string(results)] = w.addType(results)
		}
	}
	return w
}

// addType adds the type without parameters and with these results.
func (w *writer) addType(results []byte) uint32 {
	w.types = append(putU32(append(w.types, 0x60, 0), uint32(len(results))), results...)
	w.added++
	return uint32(len(w.m.types) + w.added - 1)
}

// module writes all sections in order, with those that must exist and do not.
func (w *writer) module(wasm []byte) ([]byte, error) {
	out := make([]byte, 0, len(wasm)+len(wasm)/8+256)
	out = append(out, wasm[:8]...)
	for _, s := range w.m.withMissing() {
		if s.id == secCustom && dropped(s.name) {
			continue
		}
		b, err := w.section(s)
		if err != nil {
			return nil, err
		}
		out = putSection(out, s.id, b)
	}
	return out, nil
}

// dropped tells whether a custom section holds offsets into code or function numbers.
func dropped(name string) bool {
	switch name {
	case "name", "sourceMappingURL", "external_debug_info", "linking", "dylink", "dylink.0":
		return true
	}
	return strings.HasPrefix(name, ".debug") || strings.HasPrefix(name, "reloc.") ||
		strings.HasPrefix(name, "metadata.code.")
}

// withMissing gives the sections with empty ones put in where the meter needs one.
func (m *Module) withMissing() []section {
	var out []section
	want := []byte{secType, secImport, secGlobal, secExport}
	for _, s := range m.sections {
		for len(want) > 0 && s.id != secCustom && rank(want[0]) <= rank(s.id) {
			if want[0] != s.id {
				out = append(out, section{id: want[0], b: []byte{0}})
			}
			want = want[1:]
		}
		out = append(out, s)
	}
	for _, id := range want {
		out = append(out, section{id: id, b: []byte{0}})
	}
	return out
}

// section gives the new content of one section.
func (w *writer) section(s section) ([]byte, error) {
	m := w.m
	switch s.id {
	case secType:
		return m.regrow(s, len(m.types)+w.added, len(s.b), w.types), nil
	case secImport:
		extra := append(putName(putName(nil, ImportModule), ImportName), byte(KindFunc))
		return m.regrow(s, len(m.imports)+1, len(s.b), putU32(extra, w.outType)), nil
	case secGlobal:
		return m.regrow(s, len(m.globals)-m.importedGlobals+2, len(s.b), globalsAdded()), nil
	case secExport:
		extra := putU32(append(putName(nil, FuelGlobal), byte(KindGlobal)), w.fuel)
		extra = putU32(append(putName(extra, StackGlobal), byte(KindGlobal)), w.stack)
		return m.regrow(s, len(m.exports)+2, len(s.b), extra), nil
	case secStart, secElement:
		return m.shifted(s, 0, len(s.b), +1), nil
	case secCode:
		return w.code(s)
	case secData:
		return m.mergedData(s), nil
	}
	return s.b, nil
}

func globalsAdded() []byte {
	o := []byte{0x7e, 1, opI64Const, 0, opEnd, 0x7e, 1, opI64Const}
	return append(putS64(o, StackUnits), opEnd)
}

// regrow gives a vector section with a new count, its content moved and cut at the given place, and more.
func (m *Module) regrow(s section, count, cut int, more []byte) []byte {
	r := reader{b: s.b}
	r.u32()
	o := putU32(nil, uint32(count))
	o = append(o, m.shifted(s, r.p, cut, +1)...)
	return append(o, more...)
}

// shifted copies a part of a section and moves the function indices in it.
func (m *Module) shifted(s section, from, to, by int) []byte {
	o := make([]byte, 0, to-from+16)
	for _, f := range m.refs {
		if f.at < s.at+from || f.at >= s.at+to || s.at == 0 {
			continue
		}
		o = append(o, s.b[from:f.at-s.at]...)
		o = putU32(o, shift(f.idx, m.importedFuncs, by))
		from = f.end - s.at
	}
	return append(o, s.b[from:to]...)
}

// shift moves an index past the import that comes or goes behind the first n functions.
func shift(idx uint32, n, by int) uint32 {
	if int(idx) < n {
		return idx
	}
	return uint32(int(idx) + by)
}

// code meters every body.
func (w *writer) code(s section) ([]byte, error) {
	o := make([]byte, 0, len(s.b)+len(s.b)/4+16)
	o = putU32(o, uint32(len(w.m.bodies)))
	for i := range w.m.bodies {
		if err := w.s.body(w.m, i); err != nil {
			return nil, err
		}
		w.function(i)
		o = putU32(o, uint32(len(w.body)))
		o = append(o, w.body...)
	}
	return o, nil
}

package meter

import (
	"bytes"
	"errors"
	"fmt"
)

// Check reports nil when the module is what Instrument makes of some module, and so pays at every
// function entry, at every loop header and before every bulk instruction, while nothing else touches
// the meter. Otherwise the error says what is missing and in which function, at which offset.
//
// It takes the meter off and puts it on again: the verdict rests on Instrument and on equal bytes, so a
// mistake in taking off can only refuse, never admit.
func Check(wasm []byte) error {
	m, err := parseSections(wasm)
	if err != nil {
		return fmt.Errorf("check: %w", err)
	}
	plain, err := strip(m, wasm[:8])
	if err != nil {
		return fmt.Errorf("check: %w", err)
	}
	again, err := Instrument(plain)
	if err != nil {
		return fmt.Errorf("check: under the meter: %w", err)
	}
	if !bytes.Equal(again, wasm) {
		return fmt.Errorf("check: offset %d: differs from its metered form", differ(again, wasm))
	}
	return nil
}

// differ gives the first offset at which two byte strings differ.
func differ(a, b []byte) int {
	n := min(len(a), len(b))
	for i := range n {
		if a[i] != b[i] {
			return i
		}
	}
	return n
}

// strip gives the module without its meter.
func strip(m *Module, header []byte) ([]byte, error) {
	if err := m.metered(); err != nil {
		return nil, err
	}
	st := stripper{m: m}
	st.out = uint32(m.importedFuncs - 1)
	st.fuel = uint32(len(m.globals) - 2)
	st.stack = st.fuel + 1
	st.outType = m.funcs[st.out]
	out := append([]byte(nil), header...)
	for _, s := range m.sections {
		b, err := st.section(s)
		if err != nil {
			return nil, err
		}
		out = putSection(out, s.id, b)
	}
	return out, nil
}

// metered demands that the meter's import, globals and exports stand where Instrument puts them.
func (m *Module) metered() error {
	n := len(m.imports)
	if n == 0 || m.imports[n-1].Module != ImportModule || m.imports[n-1].Name != ImportName ||
		m.imports[n-1].Kind != KindFunc {
		return fmt.Errorf("not metered: last import is not %q %q", ImportModule, ImportName)
	}
	g, e := len(m.globals), len(m.exports)
	if g-m.importedGlobals < 2 || e < 2 {
		return errors.New("not metered: no globals or exports of a meter")
	}
	fuel, stack := m.exports[e-2], m.exports[e-1]
	if fuel.Name != FuelGlobal || fuel.Kind != KindGlobal || int(fuel.Index) != g-2 ||
		stack.Name != StackGlobal || stack.Kind != KindGlobal || int(stack.Index) != g-1 {
		return fmt.Errorf("not metered: last exports are not %q and %q", FuelGlobal, StackGlobal)
	}
	for _, r := range m.refs {
		if int(r.idx) == m.importedFuncs-1 {
			return fmt.Errorf("offset %d: names the function %q %q", r.at, ImportModule, ImportName)
		}
	}
	return nil
}

// stripper takes the meter off.
type stripper struct {
	meter
	m *Module
}

func (st *stripper) section(s section) ([]byte, error) {
	m := st.m
	last := func(n int) int { return n - 1 }
	switch s.id {
	case secType:
		return m.shrunk(s, int(st.outType), m.types[st.outType].at), nil
	case secImport:
		n := last(len(m.imports))
		return m.shrunk(s, n, m.imports[n].at), nil
	case secGlobal:
		return m.shrunk(s, len(m.globals)-m.importedGlobals-2, m.globals[st.fuel]), nil
	case secExport:
		n := last(len(m.exports)) - 1
		return m.shrunk(s, n, m.exports[n].at), nil
	case secStart, secElement:
		return m.shifted(s, 0, len(s.b), -1), nil
	case secCode:
		return st.code(s)
	}
	return s.b, nil
}

// shrunk gives a vector section with fewer elements, its content cut at the given place.
func (m *Module) shrunk(s section, count, cut int) []byte {
	r := reader{b: s.b}
	r.u32()
	return append(putU32(nil, uint32(count)), m.shifted(s, r.p, cut, -1)...)
}

func (st *stripper) code(s section) ([]byte, error) {
	o := putU32(make([]byte, 0, len(s.b)), uint32(len(st.m.bodies)))
	for i, b := range st.m.bodies {
		f := bodyStripper{st: st, r: reader{b: b.b, base: b.at}}
		body := f.body(len(st.m.types[st.m.funcs[st.m.importedFuncs+i]].params))
		if f.r.err != nil {
			return nil, fmt.Errorf("function %d: %w", st.m.importedFuncs+i, f.r.err)
		}
		o = putU32(o, uint32(len(body)))
		o = append(o, body...)
	}
	return o, nil
}

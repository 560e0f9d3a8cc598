package meter

import (
	"fmt"
	"slices"
	"strconv"
)

// CoverGlobal is how the names of the globals begin that Cover adds; the place's number follows.
const CoverGlobal = "__cover."

// coverMax bounds the places of one module.
const coverMax = 1 << 16

// Cover gives a module that marks which of these places it comes past: the exported global CoverGlobal+N is
// 1 once the instruction at the Nth was reached, and 0 before. A place is counted from where the content of
// the code section begins, as DWARF does (WebAssembly tool conventions, "DWARF for WebAssembly"), and must
// ascend; one in front of a function's first instruction, or within one, is that of the instruction that
// comes next in the function. At most 65,536 places. Everything else is as it was, custom sections that hold
// offsets left out. It is made before Instrument, which meters the marks too.
func Cover(wasm []byte, places []uint32) ([]byte, error) {
	m, err := Parse(wasm)
	if err != nil {
		return nil, fmt.Errorf("cover: %w", err)
	}
	if len(places) > coverMax || !slices.IsSorted(places) {
		return nil, fmt.Errorf("cover: %d places, want at most %d in ascending order", len(places), coverMax)
	}
	c := coverer{m: m, places: places}
	out := slices.Clone(wasm[:8])
	for _, s := range m.withMissing() {
		if s.id == secCustom && dropped(s.name) {
			continue
		}
		b, err := c.section(s)
		if err != nil {
			return nil, fmt.Errorf("cover: %w", err)
		}
		out = putSection(out, s.id, b)
	}
	if c.next < len(places) {
		return nil, fmt.Errorf("cover: place %d is behind the last function", places[c.next])
	}
	return out, nil
}

// coverer puts the marks in.
type coverer struct {
	m      *Module
	places []uint32
	next   int // of places
}

// section gives the new content of one section.
func (c *coverer) section(s section) ([]byte, error) {
	m := c.m
	switch s.id {
	case secGlobal:
		var more []byte
		for range c.places {
			more = append(more, 0x7f, 1, opI32Const, 0, opEnd)
		}
		return grown(s, len(m.globals)-m.importedGlobals+len(c.places), more), nil
	case secExport:
		var more []byte
		for i := range c.places {
			more = append(putName(more, CoverGlobal+strconv.Itoa(i)), byte(KindGlobal))
			more = putU32(more, uint32(len(m.globals)+i))
		}
		return grown(s, len(m.exports)+len(c.places), more), nil
	case secCode:
		return c.code(s)
	}
	return s.b, nil
}

// grown gives a vector section with a new count and more behind its elements.
func grown(s section, count int, more []byte) []byte {
	r := reader{b: s.b}
	r.u32()
	return append(append(putU32(nil, uint32(count)), s.b[r.p:]...), more...)
}

func (c *coverer) code(s section) ([]byte, error) {
	o := putU32(nil, uint32(len(c.m.bodies)))
	for _, b := range c.m.bodies {
		body, err := c.body(b, uint32(b.at-s.at))
		if err != nil {
			return nil, err
		}
		o = append(putU32(o, uint32(len(body))), body...)
	}
	return o, nil
}

// body writes a function, whose body begins at the given place, with its marks.
func (c *coverer) body(b span, begin uint32) ([]byte, error) {
	r := reader{b: b.b, base: b.at}
	for range r.count() {
		r.u32()
		r.byte()
	}
	o := slices.Clone(b.b[:r.p])
	var in instr
	for !r.done() {
		in.next(&r)
		for c.next < len(c.places) && c.places[c.next] <= begin+uint32(in.at) {
			o = append(o, opI32Const, 1, opGlobalSet)
			o = putU32(o, uint32(len(c.m.globals)+c.next))
			c.next++
		}
		o = append(o, b.b[in.at:in.end]...)
	}
	return o, r.err
}

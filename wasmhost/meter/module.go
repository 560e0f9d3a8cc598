package meter

import (
	"bytes"
	"errors"
	"fmt"
)

// InputMax is the largest module that is read, in bytes. Everything kept about a module is bounded by a
// small multiple of its size.
const InputMax = 32 << 20

// itemsMax bounds each kind of thing in a module (types, functions, exports, elements of one segment), and
// with it what is kept of a hostile module: some tens of megabytes whatever it says.
const itemsMax = 1 << 17

const (
	secCustom    = 0
	secType      = 1
	secImport    = 2
	secFunction  = 3
	secTable     = 4
	secMemory    = 5
	secGlobal    = 6
	secExport    = 7
	secStart     = 8
	secElement   = 9
	secCode      = 10
	secData      = 11
	secDataCount = 12
)

// Kind is what an import or export is.
type Kind byte

// The kinds, as numbered in the binary format.
const (
	KindFunc   Kind = 0
	KindTable  Kind = 1
	KindMemory Kind = 2
	KindGlobal Kind = 3
)

// String gives the word for a kind.
func (k Kind) String() string {
	switch k {
	case KindFunc:
		return "func"
	case KindTable:
		return "table"
	case KindMemory:
		return "memory"
	case KindGlobal:
		return "global"
	}
	return fmt.Sprintf("kind %d", byte(k))
}

// Module is a module that was read and checked. It keeps the bytes it was read from, which must not change.
type Module struct {
	sections []section
	types    []funcType
	funcs    []uint32 // the type of each function, imported ones first
	imports  []Import
	exports  []Export
	globals  []int // where the global begins; 0 for imported ones
	bodies   []span
	prices   []price   // of each body, once the module is priced
	refs     []funcRef // functions named outside code, in order of place
	info     Info

	importedFuncs, importedGlobals int
	tables, memories, elems        int
	datas, dataCount               int // dataCount is -1 without a data count section
}

// section is one section: its content is b, which begins at the given offset in the module.
type section struct {
	id   byte
	name string // of a custom section
	at   int
	b    []byte
}

type span struct {
	at int
	b  []byte
}

type funcType struct {
	at              int
	params, results []byte
}

// funcRef is a function index that stands outside of code and moves when an import is added.
type funcRef struct {
	at, end int
	idx     uint32
}

// Parse reads a module and checks its structure far enough that rewriting is safe: every instruction
// decoded, every index in range, the height of the operand stack right. It never panics, and an error
// names the section or function and the offset. Operand types are left to the engine. Modules beyond
// InputMax, and proposals beyond WebAssembly 2.0 with tail calls and extended constants, are refused.
func Parse(wasm []byte) (*Module, error) {
	m, err := parseSections(wasm)
	if err != nil {
		return nil, fmt.Errorf("parse: %w", err)
	}
	var s scan
	for i := range m.bodies {
		if err := s.body(m, i); err != nil {
			return nil, fmt.Errorf("parse: %w", err)
		}
		m.info.add(&s, len(m.bodies[i].b))
	}
	return m, nil
}

// parseSections reads everything but the instructions of functions.
func parseSections(wasm []byte) (*Module, error) {
	if len(wasm) > InputMax {
		return nil, fmt.Errorf("module of %d bytes, InputMax is %d", len(wasm), InputMax)
	}
	if !bytes.HasPrefix(wasm, []byte("\x00asm\x01\x00\x00\x00")) {
		return nil, errors.New("not a core WebAssembly module of version 1")
	}
	m := &Module{dataCount: -1}
	r := &reader{b: wasm, p: 8}
	last := 0
	for !r.done() {
		id := r.byte()
		b := r.bytes(r.u32())
		if r.err != nil {
			return nil, r.err
		}
		s := section{id: id, at: r.p - len(b), b: b}
		if id != secCustom && rank(id) <= last {
			return nil, fmt.Errorf("offset %d: section %d unknown, twice or out of order", s.at, id)
		}
		if id != secCustom {
			last = rank(id)
		}
		if err := m.section(&s); err != nil {
			return nil, fmt.Errorf("section %d: %w", id, err)
		}
		m.sections = append(m.sections, s)
	}
	m.info.Bytes = len(wasm)
	return m, m.wholes()
}

// rank is the place of a section in a module; 0 for one that is not supported.
func rank(id byte) int {
	switch {
	case id == secDataCount:
		return 10*secElement + 5
	case id <= secData:
		return 10 * int(id)
	}
	return 0
}

// section reads one section to its end.
func (m *Module) section(s *section) error {
	r := &reader{b: s.b, base: s.at}
	readers := [...]func(*Module, *reader){
		secType: (*Module).typeSection, secImport: (*Module).importSection,
		secFunction: (*Module).functionSection, secTable: (*Module).tableSection,
		secMemory: (*Module).memorySection, secGlobal: (*Module).globalSection,
		secExport: (*Module).exportSection, secStart: (*Module).startSection,
		secElement: (*Module).elementSection, secCode: (*Module).codeSection,
		secData: (*Module).dataSection, secDataCount: (*Module).dataCountSection,
	}
	if s.id == secCustom {
		s.name = r.name()
		m.info.CustomBytes += len(s.b)
		return r.err
	}
	readers[s.id](m, r)
	if !r.done() {
		r.fail("%d bytes left over", len(r.b)-r.p)
	}
	return r.err
}

// wholes checks what only the whole module shows.
func (m *Module) wholes() error {
	if defined := len(m.funcs) - m.importedFuncs; defined != len(m.bodies) {
		return fmt.Errorf("%d functions declared, %d bodies", defined, len(m.bodies))
	}
	if m.dataCount >= 0 && m.dataCount != m.datas {
		return fmt.Errorf("data count %d, %d data segments", m.dataCount, m.datas)
	}
	if m.memories > 1 {
		return fmt.Errorf("%d memories: multi-memory is not supported", m.memories)
	}
	m.info.Types = len(m.types)
	m.info.Functions = len(m.bodies)
	m.info.Globals = len(m.globals)
	m.info.Tables = m.tables
	m.info.Memories = m.memories
	m.info.Imports = m.imports
	for i := range m.exports {
		m.exports[i].Plain = m.plain(&m.exports[i])
	}
	m.info.Exports = m.exports
	return nil
}

func (m *Module) typeSection(r *reader) {
	n := r.count()
	for ; n > 0 && r.err == nil; n-- {
		t := funcType{at: r.p}
		if form := r.byte(); r.err == nil && form != 0x60 {
			r.fail("type form 0x%02x: only functions are supported", form)
		}
		t.params = valTypes(r)
		t.results = valTypes(r)
		m.types = append(m.types, t)
	}
}

func valTypes(r *reader) []byte {
	n := r.count()
	at := r.p
	for range n {
		r.valType()
	}
	if r.err != nil {
		return nil
	}
	return r.b[at:r.p]
}

func (m *Module) importSection(r *reader) {
	n := r.count()
	for ; n > 0 && r.err == nil; n-- {
		at := r.p
		i := Import{at: at, Module: r.name(), Name: r.name(), Kind: Kind(r.byte())}
		switch i.Kind {
		case KindFunc:
			m.funcs = append(m.funcs, r.index("type", len(m.types)))
			m.importedFuncs++
		case KindTable:
			m.table(r)
		case KindMemory:
			m.memory(r)
		case KindGlobal:
			m.globalType(r)
			m.globals = append(m.globals, 0)
			m.importedGlobals++
		default:
			r.fail("import %q %q: %s is not supported", i.Module, i.Name, i.Kind)
		}
		m.imports = append(m.imports, i)
	}
}

func (m *Module) globalType(r *reader) {
	r.valType()
	if mut := r.byte(); mut > 1 {
		r.fail("mutability 0x%02x unknown", mut)
	}
}

func (m *Module) table(r *reader) {
	r.refType()
	low, high := r.limits()
	m.tables++
	m.info.noteTable(low, high)
}

func (m *Module) memory(r *reader) {
	low, high := r.limits()
	m.memories++
	m.info.MemoryMin, m.info.MemoryMax = low, high
	if low > pagesMax || high > pagesMax {
		r.fail("memory of %d to %d pages, at most %d", low, high, pagesMax)
	}
}

func (m *Module) functionSection(r *reader) {
	n := r.count()
	for ; n > 0 && r.err == nil; n-- {
		m.funcs = append(m.funcs, r.index("type", len(m.types)))
	}
}

func (m *Module) tableSection(r *reader) {
	for n := r.count(); n > 0 && r.err == nil; n-- {
		m.table(r)
	}
}

func (m *Module) memorySection(r *reader) {
	for n := r.count(); n > 0 && r.err == nil; n-- {
		m.memory(r)
	}
}

func (m *Module) globalSection(r *reader) {
	for n := r.count(); n > 0 && r.err == nil; n-- {
		m.globals = append(m.globals, r.p)
		m.globalType(r)
		m.constExpr(r)
	}
}

// plain reports whether an export is a function without parameters and results.
func (m *Module) plain(e *Export) bool {
	if e.Kind != KindFunc || int(e.Index) >= len(m.funcs) {
		return false
	}
	t := &m.types[m.funcs[e.Index]]
	return len(t.params) == 0 && len(t.results) == 0
}

func (m *Module) exportSection(r *reader) {
	for n := r.count(); n > 0 && r.err == nil; n-- {
		at := r.p
		e := Export{at: at, Name: r.name(), Kind: Kind(r.byte())}
		switch e.Kind {
		case KindFunc:
			e.Index = m.funcRef(r)
		case KindTable:
			e.Index = r.index("table", m.tables)
		case KindMemory:
			e.Index = r.index("memory", m.memories)
		case KindGlobal:
			e.Index = r.index("global", len(m.globals))
		default:
			r.fail("export %q: %s is not supported", e.Name, e.Kind)
		}
		m.exports = append(m.exports, e)
	}
}

func (m *Module) startSection(r *reader) {
	m.funcRef(r)
	m.info.HasStart = true
}

// funcRef reads a function index and remembers where it stood.
func (m *Module) funcRef(r *reader) uint32 {
	at := r.p
	i := r.index("function", len(m.funcs))
	if len(m.refs) >= 4*itemsMax {
		r.fail("more than %d functions named in exports and elements", len(m.refs))
	}
	m.refs = append(m.refs, funcRef{at: r.base + at, end: r.base + r.p, idx: i})
	return i
}

// elementSection reads the eight forms of a segment: bit 0 not active, bit 1 a table index or (not
// active) declared only, bit 2 expressions instead of function indices.
func (m *Module) elementSection(r *reader) {
	for n := r.count(); n > 0 && r.err == nil; n-- {
		form := r.u32()
		if form > 7 {
			r.fail("element segment form %d unknown", form)
			return
		}
		m.elementSegment(r, form)
		m.elems++
	}
}

func (m *Module) elementSegment(r *reader, form uint32) {
	if form&1 == 0 {
		table := uint32(0)
		if form&2 != 0 {
			table = r.u32()
		}
		if r.err == nil && int(table) >= m.tables {
			r.fail("table %d out of range, have %d", table, m.tables)
		}
		m.constExpr(r)
	}
	if form&3 != 0 && form&4 != 0 {
		r.refType()
	} else if form&3 != 0 && r.byte() != 0 {
		r.fail("element kind unknown, want 0")
	}
	c := r.count()
	m.info.Elements += c
	for ; c > 0 && r.err == nil; c-- {
		if form&4 != 0 {
			m.constExpr(r)
		} else {
			m.funcRef(r)
		}
	}
}

func (m *Module) codeSection(r *reader) {
	for n := r.count(); n > 0 && r.err == nil; n-- {
		b := r.bytes(r.u32())
		m.bodies = append(m.bodies, span{at: r.base + r.p - len(b), b: b})
	}
}

func (m *Module) dataCountSection(r *reader) { m.dataCount = int(r.u32()) }

func (m *Module) dataSection(r *reader) {
	for n := r.count(); n > 0 && r.err == nil; n-- {
		form := r.u32()
		if form > 2 {
			r.fail("data segment form %d unknown", form)
		}
		if form == 2 {
			r.index("memory", m.memories)
		}
		if form == 0 && m.memories == 0 {
			r.fail("active data segment without a memory")
		}
		if form != 1 {
			m.constExpr(r)
		}
		m.info.DataBytes += len(r.bytes(r.u32()))
		m.datas++
	}
}

// constExpr reads an initialiser: constants, globals, references, and the extended integer arithmetic.
func (m *Module) constExpr(r *reader) {
	for r.err == nil {
		switch op := r.byte(); op {
		case opEnd:
			return
		case 0x41:
			r.signed(32)
		case opI64Const:
			r.signed(64)
		case 0x43:
			r.bytes(4)
		case 0x44:
			r.bytes(8)
		case opGlobalGet:
			r.index("global", len(m.globals))
		case 0xd0:
			r.refType()
		case opRefFunc:
			m.funcRef(r)
		case 0x6a, 0x6b, 0x6c, 0x7c, 0x7d, 0x7e: // add, sub, mul
		case 0xfd:
			if sub := r.u32(); r.err == nil && sub != 0x0c {
				r.fail("vector opcode %d in a constant expression", sub)
			}
			r.bytes(16)
		default:
			r.fail("opcode 0x%02x in a constant expression", op)
		}
	}
}

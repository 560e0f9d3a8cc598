package meter

import "fmt"

// nestingMax bounds the control stack that is kept while a body is read.
const nestingMax = 1 << 16

// localsHardMax bounds the locals of one function, as engines do.
const localsHardMax = 50_000

// scan walks over one body, checks it and adds up what its meter needs. It is reused from body to body.
type scan struct {
	m      *Module
	r      reader
	in     instr
	ctrl   []ctrl
	height int
	max    int // the largest height
	costs  []int64

	locals, groups int  // locals with parameters; groups of declarations
	code           int  // where the instructions begin
	calls          bool // something that may call in its turn
	lead           leading
	free           bool // pays nothing itself: its callers do
	dynamic        bool // has instructions that pay by operand
	vector         bool
	nesting        int
	loops, nest    int // loops in all, the deepest nest of them
	nestNow        int
	brTable        int
	tableGrow      bool
}

// ctrl is one open block.
type ctrl struct {
	op              uint16
	region          int // which of the costs its instructions belong to
	base            int // height below its parameters
	params, results int
	dead            bool // behind an unconditional branch
}

// instr is one decoded instruction: its bytes are [at, end) of the body.
type instr struct {
	op      uint16
	at, end int
	x, y    uint32 // the first two indices; of a br_table the number of labels and the largest of them
	block   int64  // block type
	info    opInfo
}

// next decodes one instruction; immediates are checked by the caller.
func (in *instr) next(r *reader) {
	in.at, in.x, in.y = r.p, 0, 0
	in.op = uint16(r.byte())
	if in.op == 0xfc || in.op == 0xfd {
		sub := r.u32()
		if sub > 0xff {
			r.fail("opcode 0x%02x %d unknown or not supported", in.op, sub)
		}
		in.op = in.op<<8 | uint16(sub)
	}
	in.info = lookup(in.op)
	in.immediates(r)
	in.end = r.p
}

func (in *instr) immediates(r *reader) {
	switch in.info.imm {
	case immNone:
	case immBlock:
		in.block = r.signed(33)
	case immLabel, immFunc, immLocal, immGlobal, immTable, immData, immElem:
		in.x = r.u32()
	case immIndirect, immTables, immElemTable, immDataMem, immMemMem:
		in.x, in.y = r.u32(), r.u32()
	case immBrTable:
		in.brTable(r)
	case immMemArg, immMemLane:
		if align := r.u32(); align > 31 {
			r.fail("alignment 2^%d: multi-memory is not supported", align)
		}
		r.u32()
		if in.info.imm == immMemLane {
			r.byte()
		}
	case immMem:
		in.x = r.u32()
	case immI32:
		r.signed(32)
	case immI64:
		r.signed(64)
	case immF32:
		r.bytes(4)
	case immF64:
		r.bytes(8)
	case immV128:
		r.bytes(16)
	case immLane:
		r.byte()
	case immSelect:
		if n := r.count(); r.err == nil && n != 1 {
			r.fail("select of %d types, want 1", n)
		}
		r.valType()
	case immRefType:
		r.refType()
	default:
		r.fail("opcode 0x%02x unknown or not supported", in.op)
	}
}

func (in *instr) brTable(r *reader) {
	in.x = uint32(r.count())
	for i := uint32(0); i <= in.x && r.err == nil; i++ {
		in.y = max(in.y, r.u32())
	}
}

// body scans function i of those defined in the module.
func (s *scan) body(m *Module, i int) error {
	s.reset(m, m.bodies[i])
	t := m.types[m.funcs[m.importedFuncs+i]]
	s.declarations(t)
	s.costs = append(s.costs, 1+int64(s.locals)/8)
	s.ctrl = append(s.ctrl, ctrl{op: opBlock, results: len(t.results)})
	for len(s.ctrl) > 0 && s.r.err == nil {
		s.step()
	}
	if !s.r.done() {
		s.r.fail("%d bytes behind the end", len(s.r.b)-s.r.p)
	}
	if s.r.err != nil {
		return fmt.Errorf("function %d: %w", m.importedFuncs+i, s.r.err)
	}
	s.fold()
	s.free = i < len(m.free) && m.free[i] > 0
	return nil
}

func (s *scan) reset(m *Module, b span) {
	*s = scan{m: m, r: reader{b: b.b, base: b.at}, ctrl: s.ctrl[:0], costs: s.costs[:0]}
}

func (s *scan) declarations(t funcType) {
	r := &s.r
	s.locals = len(t.params)
	for _, p := range t.params {
		s.vector = s.vector || p == typeV128
	}
	s.groups = r.count()
	for n := s.groups; n > 0 && r.err == nil; n-- {
		c := r.u32()
		if uint64(s.locals)+uint64(c) >= localsHardMax {
			r.fail("%d locals and more, at most %d", c, localsHardMax)
			return
		}
		s.locals += int(c)
		s.vector = r.valType() == typeV128 || s.vector
	}
	s.code = r.p
}

// frame is what one activation takes of the stack, in units of eight bytes.
func (s *scan) frame() int64 {
	n := int64(s.locals + s.max)
	if s.vector {
		n *= 2
	}
	return n + frameBase
}

// step reads one instruction and follows its effect.
func (s *scan) step() {
	s.in.next(&s.r)
	if s.r.err != nil {
		return
	}
	s.costs[s.top().region] += cost(s.in.op)
	s.lead = s.lead.after(s.in.op)
	s.vector = s.vector || s.in.op >= 0xfd00
	s.indices()
	if s.r.err != nil {
		return
	}
	switch op := s.in.op; {
	case op >= opBlock && op <= opIf:
		s.open()
	case op == opElse || op == opEnd:
		s.close()
	case op == opUnreachable || op >= opBr && op <= opTailIndirect:
		s.jump()
	default:
		s.pop(int(s.in.info.pop))
		s.push(int(s.in.info.push))
	}
}

func (s *scan) top() *ctrl { return &s.ctrl[len(s.ctrl)-1] }

func (s *scan) pop(n int) {
	t := s.top()
	s.height -= n
	if s.height >= t.base {
		return
	}
	if !t.dead {
		s.r.fail("opcode 0x%02x: operand stack is empty", s.in.op)
	}
	s.height = t.base
}

func (s *scan) push(n int) {
	s.height += n
	s.max = max(s.max, s.height)
}

// open begins a block, a loop or an if.
func (s *scan) open() {
	if s.in.op == opIf {
		s.pop(1)
	}
	params, results := s.blockType()
	s.pop(params)
	c := ctrl{op: s.in.op, region: s.top().region, base: s.height, params: params, results: results}
	if s.in.op == opLoop {
		c.region = len(s.costs)
		s.costs = append(s.costs, 1)
		s.loops++
		s.nestNow++
		s.nest = max(s.nest, s.nestNow)
	}
	if len(s.ctrl) >= nestingMax {
		s.r.fail("blocks nested deeper than %d", nestingMax)
		return
	}
	s.ctrl = append(s.ctrl, c)
	s.nesting = max(s.nesting, len(s.ctrl)-1)
	s.push(params)
}

func (s *scan) blockType() (params, results int) {
	bt := s.in.block
	switch {
	case bt >= 0 && bt < int64(len(s.m.types)):
		t := &s.m.types[bt]
		return len(t.params), len(t.results)
	case bt == blockEmpty-0x80:
		return 0, 0
	case bt < 0 && bt >= -64 && isValType(byte(bt)&0x7f):
		return 0, 1
	}
	s.r.fail("block type %d unknown, have %d types", bt, len(s.m.types))
	return 0, 0
}

// close ends a block, or the first half of an if.
func (s *scan) close() {
	t := s.top()
	if !t.dead && s.height != t.base+t.results {
		s.r.fail("block ends with %d operands, want %d", s.height-t.base, t.results)
	}
	s.height = t.base
	if s.in.op == opElse {
		if t.op != opIf {
			s.r.fail("else without if")
		}
		t.op, t.dead = opElse, false
		s.push(t.params)
		return
	}
	if t.op == opLoop {
		s.nestNow--
	}
	s.push(t.results)
	s.ctrl = s.ctrl[:len(s.ctrl)-1]
}

// jump covers branches, calls and unreachable.
func (s *scan) jump() {
	switch s.in.op {
	case opBrIf:
		s.pop(1)
		return
	case opBrTable:
		s.brTable = max(s.brTable, int(s.in.x))
		s.pop(1)
	case opCall, opTailCall:
		paid := s.m.paidByCaller(s.in.x)
		s.costs[s.top().region] += paid
		s.calls = s.calls || paid == 0 && int(s.in.x) >= s.m.importedFuncs || s.in.op == opTailCall
		s.call(s.m.types[s.m.funcs[s.in.x]])
	case opCallIndirect, opTailIndirect:
		s.calls = true
		s.pop(1)
		s.call(s.m.types[s.in.x])
	}
	if s.in.op == opCall || s.in.op == opCallIndirect {
		return
	}
	t := s.top()
	t.dead, s.height = true, t.base
}

func (s *scan) call(t funcType) {
	s.pop(len(t.params))
	s.push(len(t.results))
}

// indices bounds what the instruction names.
func (s *scan) indices() {
	in, m := &s.in, s.m
	switch in.info.imm {
	case immLabel:
		s.below("label", in.x, len(s.ctrl))
	case immBrTable:
		s.below("label", in.y, len(s.ctrl))
	case immFunc:
		s.below("function", in.x, len(m.funcs))
	case immIndirect:
		s.below("type", in.x, len(m.types))
		s.below("table", in.y, m.tables)
	case immLocal:
		s.below("local", in.x, s.locals)
	case immGlobal:
		s.below("global", in.x, len(m.globals))
	case immTable:
		s.below("table", in.x, m.tables)
	case immTables:
		s.below("table", max(in.x, in.y), m.tables)
	case immElem:
		s.below("element segment", in.x, m.elems)
	case immElemTable:
		s.below("element segment", in.x, m.elems)
		s.below("table", in.y, m.tables)
	case immData, immDataMem:
		s.below("data segment", in.x, max(m.dataCount, 0))
		s.below("memory", in.y, 1)
	case immMem, immMemMem:
		s.below("memory", max(in.x, in.y), 1)
	default: // names nothing that has a bound
	}
	s.dynamic = s.dynamic || dynamicShift(in.op) > 0
	s.tableGrow = s.tableGrow || in.op == opTableGrow
}

func (s *scan) below(what string, i uint32, n int) {
	if uint64(i) >= uint64(n) {
		s.r.fail("opcode 0x%02x: %s %d out of range, have %d", s.in.op, what, i, n)
	}
}

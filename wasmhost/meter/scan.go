package meter

import "fmt"

// nestingMax bounds the control stack that is kept while a body is read.
const nestingMax = 1 << 16

// localsHardMax bounds the locals of one function, as engines do.
const localsHardMax = 50_000

// landingFrom is the number of branches back to one loop from which on they pay in one place.
const landingFrom = 3

// scan walks over one body, checks it and adds up what its meter needs. It is reused from body to body.
type scan struct {
	m      *Module
	r      reader
	in     instr
	ctrl   []ctrl
	height int
	max    int // the largest height

	now     int64 // what the dearest way from the entry to here costs; below zero where none leads
	dearest int64 // the largest that it was
	rounds  []round
	backs   []back
	targets []uint32 // of a br_table

	locals, groups int      // locals with parameters; groups of declarations
	code           int      // where the instructions begin
	callees        []uint32 // the module's own functions that are called by name, one as often as it is
	indirects      int      // calls through a table
	tails          bool     // has tail calls that are written as such
	dynamic        bool     // has instructions that pay by operand
	vector         bool
	nesting        int
	loops, nest    int // loops in all, the deepest nest of them
	carried        int // values that blocks may carry
	nestNow        int
	brTable        int // labels of the largest br_table
	brLabels       int // of all of them
	tableGrow      bool
}

// ctrl is one open block.
type ctrl struct {
	op              uint16
	base            int // height below its parameters
	params, results int
	dead            bool // behind an unconditional branch

	round int   // which of the loops
	began int64 // now at its beginning
	best  int64 // the dearest way that branches to its end; below zero when none does
}

// round is a loop.
type round struct {
	cost  int64 // the dearest way from its header back to it
	backs int   // branches that go back
	// landing says that its ways back lead together behind the loop's body, to be paid for there.
	landing bool
}

func (r round) lands() bool { return r.landing }

// back is a branch that goes back to the header of a loop.
type back struct {
	at    int   // where in the body
	cost  int64 // the dearest way from the header to it
	bare  bool  // carries nothing along, so that it can be moved into a block
	round int   // of the loop that it goes to; below zero for the table of a br_table
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
	s.now = 1 + int64(s.locals)/8
	s.dearest = s.now
	s.ctrl = append(s.ctrl, ctrl{op: opBlock, results: len(t.results), best: -1})
	for len(s.ctrl) > 0 && s.r.err == nil {
		s.step()
	}
	if !s.r.done() {
		s.r.fail("%d bytes behind the end", len(s.r.b)-s.r.p)
	}
	if s.r.err != nil {
		return fmt.Errorf("function %d: %w", m.importedFuncs+i, s.r.err)
	}
	return nil
}

func (s *scan) reset(m *Module, b span) {
	*s = scan{
		m: m, r: reader{b: b.b, base: b.at}, ctrl: s.ctrl[:0], rounds: s.rounds[:0], backs: s.backs[:0],
		targets: s.targets[:0], callees: s.callees[:0],
	}
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
	s.spend(cost(s.in.op))
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

// spend makes the way to here dearer.
func (s *scan) spend(n int64) {
	if s.now >= 0 {
		s.now += n
		s.dearest = max(s.dearest, s.now)
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
	s.carried += 1 + s.locals + params + results
	c := ctrl{op: s.in.op, base: s.height, params: params, results: results, began: s.now, best: -1}
	if s.in.op == opLoop {
		c.round = s.loops
		s.rounds = append(s.rounds, round{})
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
		t.best, s.now = max(t.best, s.now), t.began
		s.push(t.params)
		return
	}
	switch t.op {
	case opLoop:
		s.nestNow--
	case opIf:
		s.now = max(s.now, t.began, t.best)
	default:
		s.now = max(s.now, t.best)
	}
	s.push(t.results)
	s.ctrl = s.ctrl[:len(s.ctrl)-1]
}

// jump covers branches, calls and unreachable.
func (s *scan) jump() {
	switch s.in.op {
	case opBr:
		s.branch(s.in.x)
	case opBrIf:
		s.pop(1)
		s.branch(s.in.x)
		return
	case opBrTable:
		s.brTable = max(s.brTable, int(s.in.x))
		s.brLabels += int(s.in.x)
		s.pop(1)
		s.table()
	case opCall, opTailCall:
		if int(s.in.x) >= s.m.importedFuncs {
			s.callees = append(s.callees, s.in.x-uint32(s.m.importedFuncs))
		}
		s.spend(s.m.paidByCaller(s.in.x))
		s.call(s.m.types[s.m.funcs[s.in.x]])
	case opCallIndirect, opTailIndirect:
		s.indirects++
		s.pop(1)
		s.call(s.m.types[s.in.x])
	}
	if s.in.op == opCall || s.in.op == opCallIndirect {
		return
	}
	t := s.top()
	t.dead, s.height, s.now = true, t.base, -1
}

// branch notes what a way that leads from here to one of the open blocks has cost: a way forward at the
// block, a way back at the branch and at the loop.
func (s *scan) branch(label uint32) {
	c, cost, goesBack := s.target(label)
	if goesBack {
		r := &s.rounds[c.round]
		r.cost = max(r.cost, cost)
		r.backs++
		r.landing = r.landing || c.params == 0 && r.backs >= landingFrom
		s.backs = append(s.backs, back{
			at: s.in.at, cost: cost, bare: s.in.op == opBrIf && c.params == 0, round: c.round,
		})
	}
}

// table is branch for a br_table, which cannot be moved: loops pay for the ways back that it has, but
// those that it carries something to.
func (s *scan) table() {
	b := back{at: s.in.at, round: -1}
	for _, l := range s.labels() {
		c, cost, goesBack := s.target(l)
		switch {
		case !goesBack:
		case c.params > 0:
			b.cost = max(b.cost, cost)
		default:
			r := &s.rounds[c.round]
			r.cost, r.landing = max(r.cost, cost), true
		}
	}
	if b.cost > 0 {
		s.backs = append(s.backs, b)
	}
}

// target returns the block that a label names, and for a loop what the way from its header to here costs.
// A way that nothing comes along is paid all the same, so that nothing rests on that.
func (s *scan) target(label uint32) (c *ctrl, cost int64, goesBack bool) {
	c = &s.ctrl[len(s.ctrl)-1-int(label)]
	if c.op != opLoop {
		c.best = max(c.best, s.now)
		return c, 0, false
	}
	return c, costBack + max(s.now-c.began, 0), true
}

// labels reads those of a br_table again.
func (s *scan) labels() []uint32 {
	r := reader{b: s.r.b, p: s.in.at + 1}
	s.targets = s.targets[:0]
	for n := r.count() + 1; n > 0; n-- {
		s.targets = append(s.targets, r.u32())
	}
	return s.targets
}

func (s *scan) call(t funcType) {
	tail := s.in.op == opTailCall || s.in.op == opTailIndirect
	s.tails = s.tails || tail && !t.wide()
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

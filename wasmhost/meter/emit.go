package meter

// wideTail is the number of parameters or results from which on a tail call is written as a call and a
// branch. Beyond the registers wazero makes a plain call of it anyway, one that grows the stack uncounted.
const wideTail = 6

func (t *funcType) wide() bool { return len(t.params) > wideTail || len(t.results) > wideTail }

// function writes the metered form of the scanned body i into w.body.
func (w *writer) function(i int) {
	s := &w.s
	b := w.m.bodies[i].b
	p := w.m.prices[i]
	e := emitter{
		w: w, b: b, o: w.body[:0], extra: uint32(s.locals), wrapped: p.frame > 0,
		rounds: s.rounds, backs: s.backs, open: w.open[:0],
	}
	e.locals()
	e.credit = putU32(append(putS64(append(putU32([]byte{opGlobalGet}, w.stack), opI64Const), p.frame),
		opI64Add, opGlobalSet), w.stack)
	e.entry(p, w.m.types[w.m.funcs[w.m.importedFuncs+i]].results)
	r := reader{b: b, p: s.code}
	e.copied = s.code
	e.open = append(e.open, opened{})
	for len(e.open) > 0 {
		e.in.next(&r)
		e.instr()
	}
	e.o = append(e.o, b[e.copied:]...)
	w.body, w.open = e.o, e.open
}

// emitter copies one body and puts the payments in.
type emitter struct {
	w       *writer
	b       []byte
	o       []byte
	in      instr
	copied  int      // what of b is in o, or replaced
	open    []opened // blocks, the function first
	rounds  []round  // loops to come
	backs   []back   // branches to come that go back
	extra   uint32   // the local that holds an operand while it is paid for
	wrapped bool     // keeps the stack counter, so the body stands in a block
	credit  []byte   // gives the frame back
}

// opened is one open block.
type opened struct {
	landing bool
	cost    int64 // of a landing
	added   int   // blocks that were put around this one and those that it stands in
}

// locals copies the declarations, with one more where operands are paid for.
func (e *emitter) locals() {
	s := &e.w.s
	if !s.dynamic {
		e.o = append(e.o, e.b[:s.code]...)
		return
	}
	r := reader{b: e.b}
	r.u32()
	e.o = putU32(e.o, uint32(s.groups+1))
	e.o = append(e.o, e.b[r.p:s.code]...)
	e.o = append(e.o, 1, 0x7f)
}

// entry pays for the function, unless its callers do, and counts its frame, unless they do; one branch
// serves both.
func (e *emitter) entry(p price, results []byte) {
	w := e.w
	cost := w.s.dearest
	if p.free > 0 {
		cost = 0
	}
	switch {
	case cost == 0 && !e.wrapped:
		return
	case !e.wrapped:
		e.o = w.pay(e.o, cost)
		return
	case cost > 0:
		e.o = w.take(e.o, w.fuel, cost)
	}
	e.o = w.take(e.o, w.stack, p.frame)
	e.o = append(w.stackTest(e.o, cost > 0), opBlock)
	switch len(results) {
	case 0:
		e.o = append(e.o, blockEmpty)
	case 1:
		e.o = append(e.o, results[0])
	default:
		e.o = putS64(e.o, int64(w.wrapper[string(results)]))
	}
}

// instr copies one instruction with what comes before, behind or instead of it.
func (e *emitter) instr() {
	in := &e.in
	switch in.op {
	case opBlock, opIf, opLoop:
		e.begin()
	case opBr, opBrIf, opBrTable:
		e.branch()
	case opEnd:
		e.end()
	case opReturn:
		if e.wrapped {
			e.flush(in.at, in.end)
			e.leave()
		}
	case opCall, opRefFunc:
		e.flush(in.at, in.end)
		e.o = putU32(append(e.o, byte(in.op)), shift(in.x, e.w.m.importedFuncs, +1))
	case opTailCall, opTailIndirect:
		e.tail()
	default:
		if n := dynamicShift(in.op); n > 0 {
			e.flush(in.at, in.at)
			e.o = e.w.payOperand(e.o, e.extra, n)
		}
	}
}

// begin opens a block. A loop with a landing stands in a block, and its body in another: who goes back
// leaves the inner one and pays behind it, who has come to the end leaves the outer one.
func (e *emitter) begin() {
	o := opened{added: e.added()}
	if e.in.op == opLoop {
		o.landing, o.cost = e.rounds[0].landing, e.rounds[0].cost
		e.rounds = e.rounds[1:]
	}
	if o.landing {
		e.flush(e.in.at, e.in.end)
		typ := e.b[e.in.at+1 : e.in.end]
		e.o = append(append(e.o, opBlock), typ...)
		e.o = append(append(e.o, opLoop), typ...)
		e.o = append(e.o, opBlock, blockEmpty)
		o.added += 2
	}
	e.open = append(e.open, o)
}

func (e *emitter) added() int { return e.open[len(e.open)-1].added }

// label is what names the block that a label named.
func (e *emitter) label(l uint32) uint32 {
	return l + uint32(e.added()-e.open[len(e.open)-1-int(l)].added)
}

// branch names its targets anew, and pays before the way back to a loop that has no landing: only when it
// is taken, where a branch can be moved into a block of its own.
func (e *emitter) branch() {
	at := e.in.at
	if len(e.backs) > 0 && e.backs[0].at == at {
		b := e.backs[0]
		e.backs = e.backs[1:]
		if b.round < 0 || !e.open[len(e.open)-1-int(e.in.x)].landing {
			e.flush(at, at)
			if b.bare {
				e.o = e.w.payMoved(append(e.o, opIf, blockEmpty), b.cost)
				e.o = append(putU32(append(e.o, opBr), e.label(e.in.x)+1), opEnd)
				e.copied = e.in.end
				return
			}
			e.o = e.w.pay(e.o, b.cost)
		}
	}
	e.relabel()
}

// relabel writes a branch with the labels of now.
func (e *emitter) relabel() {
	if e.added() == 0 {
		return
	}
	e.flush(e.in.at, e.in.end)
	r := reader{b: e.b, p: e.in.at + 1}
	e.o = append(e.o, byte(e.in.op))
	n := 1
	if e.in.op == opBrTable {
		n = r.count() + 1
		e.o = putU32(e.o, uint32(n-1))
	}
	for range n {
		e.o = putU32(e.o, e.label(r.u32()))
	}
}

// flush copies up to one place and goes on from another.
func (e *emitter) flush(to, from int) {
	e.o = append(e.o, e.b[e.copied:to]...)
	e.copied = from
}

// end closes a block; the last one gives the frame back first.
func (e *emitter) end() {
	o := e.open[len(e.open)-1]
	e.open = e.open[:len(e.open)-1]
	switch {
	case o.landing:
		e.flush(e.in.at, e.in.end)
		e.o = e.w.landing(e.o, o.cost)
	case len(e.open) == 0 && e.wrapped:
		e.flush(e.in.at, e.in.at)
		e.o = append(append(e.o, opEnd), e.credit...)
	}
}

// landing ends a loop that has one.
func (w *meter) landing(o []byte, cost int64) []byte {
	return append(w.payMoved(append(o, opBr, 2, opEnd), cost), opBr, 0, opEnd, opEnd)
}

// leave branches to the end of the block around the body.
func (e *emitter) leave() { e.o = putU32(append(e.o, opBr), uint32(len(e.open)-1+e.added())) }

// tail writes a tail call: the frame is given back before it, or it becomes a call.
func (e *emitter) tail() {
	in, m := &e.in, e.w.m
	typ := in.x
	if in.op == opTailCall {
		typ = m.funcs[in.x]
	}
	t := m.types[typ]
	wide := t.wide()
	op := byte(in.op)
	if wide {
		op -= opTailCall - opCall
	}
	e.flush(in.at, in.end)
	if !wide && e.wrapped {
		e.o = append(e.o, e.credit...)
	}
	e.o = append(e.o, op)
	if in.op == opTailCall {
		e.o = putU32(e.o, shift(in.x, m.importedFuncs, +1))
	} else {
		e.o = putU32(putU32(e.o, in.x), in.y)
	}
	if wide {
		e.leave()
	}
}

// take subtracts from one of the meter's globals.
func (w *meter) take(o []byte, global uint32, n int64) []byte {
	o = putU32(append(o, opGlobalGet), global)
	o = putS64(append(o, opI64Const), n)
	return putU32(append(o, opI64Sub, opGlobalSet), global)
}

// pay subtracts from the fuel and calls the host when it is spent.
func (w *meter) pay(o []byte, n int64) []byte { return w.fuelTest(w.take(o, w.fuel, n)) }

// payMoved is pay where a branch or the end of a loop was written in another form. It adds where pay
// subtracts, so that the same form in the guest's own code, with a payment in it, is not taken for one.
func (w *meter) payMoved(o []byte, n int64) []byte {
	o = putS64(append(putU32(append(o, opGlobalGet), w.fuel), opI64Const), -n)
	return w.fuelTest(putU32(append(o, opI64Add, opGlobalSet), w.fuel))
}

func (w *meter) fuelTest(o []byte) []byte {
	o = putU32(append(o, opGlobalGet), w.fuel)
	o = append(o, opI64Const, 0, opI64LtS, opIf, blockEmpty, opCall)
	return append(putU32(o, w.out), opEnd)
}

// stackTest calls the host when the stack, or with it the fuel, is below zero, and traps when the stack
// still is.
func (w *meter) stackTest(o []byte, fuel bool) []byte {
	o = putU32(append(o, opGlobalGet), w.stack)
	if fuel {
		o = append(putU32(append(o, opGlobalGet), w.fuel), opI64Or)
	}
	o = append(o, opI64Const, 0, opI64LtS, opIf, blockEmpty, opCall)
	o = putU32(o, w.out)
	o = putU32(append(o, opGlobalGet), w.stack)
	return append(o, opI64Const, 0, opI64LtS, opIf, blockEmpty, opUnreachable, opEnd, opEnd)
}

// payOperand pays for the operand on top of the stack, shifted, and leaves it there.
func (w *meter) payOperand(o []byte, local uint32, by int64) []byte {
	o = putS64(append(o, w.payOperandHead(local)...), by)
	return append(o, w.payOperandTail()...)
}

func (w *meter) payOperandHead(local uint32) []byte {
	o := putU32([]byte{opLocalTee}, local)
	o = putU32(append(o, opGlobalGet), w.fuel)
	o = putU32(append(o, opLocalGet), local)
	return append(o, opI64ExtendU, opI64Const)
}

func (w *meter) payOperandTail() []byte {
	return w.fuelTest(putU32([]byte{opI64ShrU, opI64Sub, opGlobalSet}, w.fuel))
}

package meter

// wideTail is the number of parameters or results from which on a tail call is written as a call and a
// branch. Beyond the registers wazero makes a plain call of it anyway, one that grows the stack uncounted.
const wideTail = 6

// function writes the metered form of the scanned body i into w.body.
func (w *writer) function(i int) {
	s := &w.s
	b := w.m.bodies[i].b
	e := emitter{w: w, b: b, o: w.body[:0], extra: uint32(s.locals), wrapped: s.calls}
	e.locals()
	e.credit = putU32(append(putS64(append(putU32([]byte{opGlobalGet}, w.stack), opI64Const), s.frame()),
		opI64Add, opGlobalSet), w.stack)
	e.entry(w.m.types[w.m.funcs[w.m.importedFuncs+i]].results)
	r := reader{b: b, p: s.code}
	e.copied, e.depth = s.code, 1
	for e.depth > 0 {
		e.in.next(&r)
		e.instr()
	}
	e.o = append(e.o, b[e.copied:]...)
	w.body = e.o
}

// emitter copies one body and puts the payments in.
type emitter struct {
	w       *writer
	b       []byte
	o       []byte
	in      instr
	copied  int    // what of b is in o, or replaced
	depth   int    // open blocks, the function among them
	loop    int    // loops seen
	extra   uint32 // the local that holds an operand while it is paid for
	wrapped bool   // keeps the stack counter, so the body stands in a block
	credit  []byte // gives the frame back
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

// entry pays for the function, unless its callers or its first loop do. One that calls pays for its
// frame too; one branch serves both.
func (e *emitter) entry(results []byte) {
	w := e.w
	cost := w.s.costs[0]
	if w.s.free {
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
	e.o = w.take(e.o, w.stack, w.s.frame())
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
	case opBlock, opIf:
		e.depth++
	case opLoop:
		e.depth++
		e.loop++
		e.flush(in.end, in.end)
		e.o = e.w.pay(e.o, e.w.s.costs[e.loop])
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

// flush copies up to one place and goes on from another.
func (e *emitter) flush(to, from int) {
	e.o = append(e.o, e.b[e.copied:to]...)
	e.copied = from
}

// end closes a block; the last one gives the frame back first.
func (e *emitter) end() {
	e.depth--
	if e.depth > 0 || !e.wrapped {
		return
	}
	e.flush(e.in.at, e.in.at)
	e.o = append(append(e.o, opEnd), e.credit...)
}

// leave branches to the end of the block around the body.
func (e *emitter) leave() { e.o = putU32(append(e.o, opBr), uint32(e.depth-1)) }

// tail writes a tail call: the frame is given back before it, or it becomes a call.
func (e *emitter) tail() {
	in, m := &e.in, e.w.m
	typ := in.x
	if in.op == opTailCall {
		typ = m.funcs[in.x]
	}
	t := m.types[typ]
	wide := len(t.params) > wideTail || len(t.results) > wideTail
	op := byte(in.op)
	if wide {
		op -= opTailCall - opCall
	}
	e.flush(in.at, in.end)
	if !wide {
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

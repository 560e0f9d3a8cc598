package meter

import "bytes"

// bodyStripper takes the meter off one body. It may be wrong in any way without harm to Check, as long
// as it ends; what it cannot make sense of it refuses.
type bodyStripper struct {
	st      *stripper
	r       reader
	in      instr
	o       []byte
	open    []opened
	landing map[int]bool // where the blocks around loops with landings begin
	wrapped bool
	extra   uint32 // the last local, which may be the meter's
	head    []byte // how the payment for an operand begins
	test    []byte // of the fuel
	dynamic bool
}

func (f *bodyStripper) body(params int) []byte {
	r := &f.r
	groups := r.count()
	declared := r.p
	last := declared // where the last group begins
	locals := uint64(params)
	for range groups {
		last = r.p
		locals += uint64(r.u32())
		r.byte()
	}
	end := r.p
	if locals > localsHardMax {
		r.fail("%d locals, at most %d", locals, localsHardMax)
	}
	f.extra = uint32(max(locals, 1) - 1)
	f.head, f.test = f.st.payOperandHead(f.extra), f.st.fuelTest(nil)
	f.entry()
	f.landings()
	for f.open = append(f.open, opened{}); len(f.open) > 0 && r.err == nil; {
		f.step()
	}
	if r.err != nil {
		return nil
	}
	if f.dynamic {
		groups, end = groups-1, last
	}
	o := putU32(make([]byte, 0, len(r.b)), uint32(max(groups, 0)))
	o = append(o, r.b[declared:end]...)
	return append(append(o, f.o...), r.b[r.p:]...)
}

// skip passes over bytes that must stand here.
func (f *bodyStripper) skip(want []byte) bool {
	if !bytes.HasPrefix(f.r.b[f.r.p:], want) {
		return false
	}
	f.r.p += len(want)
	return true
}

// taken passes over what take wrote, for whatever amount.
func (f *bodyStripper) taken(global uint32) bool {
	return f.amount(global, opI64Sub)
}

func (f *bodyStripper) amount(global uint32, op byte) bool {
	if !f.skip(append(putU32([]byte{opGlobalGet}, global), opI64Const)) {
		return false
	}
	f.r.signed(64)
	return f.skip(putU32([]byte{op, opGlobalSet}, global))
}

// entry passes over the payment of the function, if it makes one: whether it must, Check finds out.
func (f *bodyStripper) entry() {
	paid := f.taken(f.st.fuel)
	if paid && f.skip(f.test) || !f.taken(f.st.stack) {
		return
	}
	if !f.skip(append(f.st.stackTest(nil, paid), opBlock)) {
		f.r.fail("function entry without the test of fuel and stack")
		return
	}
	f.wrapped = true
	f.r.signed(33)
}

// step copies one instruction, or passes over a payment.
func (f *bodyStripper) step() {
	r := &f.r
	at := r.p
	if f.skip(f.head) {
		f.operand(at)
		return
	}
	f.in.next(r)
	if r.err != nil {
		return
	}
	switch in := &f.in; in.op {
	case opBlock, opLoop, opIf:
		if in.op == opIf && f.branchIf() || f.begin(at) {
			return
		}
	case opEnd:
		if f.end() {
			return
		}
	case opBr, opBrIf, opBrTable:
		f.relabel()
		return
	case opGlobalGet, opGlobalSet:
		f.global(at)
		return
	case opCall, opTailCall, opRefFunc:
		f.function()
		return
	}
	f.o = append(f.o, r.b[at:f.in.end]...)
}

// landings finds the loops that have one, by how they end.
func (f *bodyStripper) landings() {
	f.landing = nil
	at, err := f.r.p, f.r.err
	var begins []int
	for f.in.next(&f.r); f.r.err == nil; f.in.next(&f.r) {
		switch f.in.op {
		case opBlock, opLoop, opIf:
			begins = append(begins, f.in.at)
		case opBr:
			if n := len(begins) - 3; n >= 0 && f.in.x == 2 && f.landed() {
				f.mark(begins[n])
				begins = begins[:n]
			}
		case opEnd:
			begins = begins[:max(0, len(begins)-1)]
		}
	}
	f.r.p, f.r.err = at, err
}

func (f *bodyStripper) mark(at int) {
	if f.landing == nil {
		f.landing = map[int]bool{}
	}
	f.landing[at] = true
}

// landed passes over the end of a loop with a landing, but for its first branch.
func (f *bodyStripper) landed() bool {
	at := f.r.p
	if f.skip([]byte{opEnd}) && f.paidMoved() && f.skip([]byte{opBr, 0, opEnd, opEnd}) {
		return true
	}
	f.r.p = at
	return false
}

// begin opens a block, and reports whether it wrote one: a loop that has a landing.
func (f *bodyStripper) begin(at int) bool {
	if len(f.open) == 0 {
		return false
	}
	o := opened{added: f.open[len(f.open)-1].added}
	if o.landing = f.landing[at]; o.landing {
		typ := f.r.b[at+1 : f.in.end]
		if !f.skip(append([]byte{opLoop}, typ...)) || !f.skip([]byte{opBlock, blockEmpty}) {
			f.r.fail("landing without its loop")
			return true
		}
		f.o = append(append(f.o, opLoop), typ...)
		o.added += 2
	}
	f.open = append(f.open, o)
	return o.landing
}

// end closes a block, and reports whether it wrote or passed over what stands here.
func (f *bodyStripper) end() bool {
	f.open = f.open[:len(f.open)-1]
	if len(f.open) == 0 && f.wrapped {
		f.credit("end of the function")
		return true // the block around the body ended; the function's own end is left over and copied
	}
	return false
}

// relabel copies a branch with the labels that it had, or ends a loop at its landing.
func (f *bodyStripper) relabel() {
	r, in := &f.r, &f.in
	last := len(f.open) - 1
	if in.op == opBr && in.x == 2 && f.open[last].landing && f.landed() {
		f.open = f.open[:last]
		f.o = append(f.o, opEnd)
		return
	}
	at := reader{b: r.b, p: in.at + 1}
	f.o = append(f.o, byte(in.op))
	n := 1
	if in.op == opBrTable {
		n = at.count() + 1
		f.o = putU32(f.o, uint32(n-1))
	}
	for range n {
		f.o = putU32(f.o, f.label(at.u32()))
	}
}

// label is what named the block that a label names now: blocks were put around loops, and a loop is
// named by the inner one of its own.
func (f *bodyStripper) label(now uint32) uint32 {
	left := int64(now)
	was := uint32(0)
	for i := len(f.open) - 1; i > 0; i-- {
		size := int64(1 + f.open[i].added - f.open[i-1].added)
		if left < size {
			break
		}
		left -= size
		was++
	}
	return was + uint32(left)
}

// branchIf passes over a payment for a conditional way back, and writes the branch that it was made of.
func (f *bodyStripper) branchIf() bool {
	r := &f.r
	at := r.p
	if f.in.block == blockEmpty-0x80 && f.paidMoved() && f.skip([]byte{opBr}) {
		if label := r.u32(); label > 0 && f.skip([]byte{opEnd}) {
			f.o = putU32(append(f.o, opBrIf), f.label(label-1))
			return true
		}
	}
	r.p = at
	return false
}

// paid passes over what pay wrote, paidMoved over what payMoved wrote.
func (f *bodyStripper) paid() bool      { return f.payment(opI64Sub) }
func (f *bodyStripper) paidMoved() bool { return f.payment(opI64Add) }

func (f *bodyStripper) payment(op byte) bool {
	at := f.r.p
	if f.amount(f.st.fuel, op) && f.skip(f.test) {
		return true
	}
	f.r.p = at
	return false
}

// operand passes over the rest of the payment for an operand.
func (f *bodyStripper) operand(at int) {
	f.r.signed(64)
	f.dynamic = true
	if !f.skip(f.st.payOperandTail()) {
		f.r.p = at
		f.r.fail("payment for an operand is cut short")
	}
}

func (f *bodyStripper) credit(where string) {
	if !f.amount(f.st.stack, opI64Add) {
		f.r.fail("%s does not give the frame back", where)
	}
}

// global lets the guest's own globals pass, and the frame that is given back before a tail call.
func (f *bodyStripper) global(at int) {
	in := &f.in
	if in.x != f.st.fuel && in.x != f.st.stack {
		f.o = append(f.o, f.r.b[at:in.end]...)
		return
	}
	f.r.p = at
	if f.paid() && f.r.p < len(f.r.b) {
		if op := f.r.b[f.r.p]; op == opBr || op == opBrTable || op == opBrIf {
			return
		}
	}
	f.r.p = at
	if f.amount(f.st.stack, opI64Add) && f.r.p < len(f.r.b) {
		if op := f.r.b[f.r.p]; op == opTailCall || op == opTailIndirect {
			return
		}
	}
	f.r.p = at
	f.r.fail("touches the meter's globals")
}

func (f *bodyStripper) function() {
	in := &f.in
	if in.x == f.st.out {
		f.r.p = in.at
		f.r.fail("names the function %q %q", ImportModule, ImportName)
		return
	}
	f.o = putU32(append(f.o, byte(in.op)), shift(in.x, int(f.st.out), -1))
}

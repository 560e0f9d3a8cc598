package meter

import "bytes"

// bodyStripper takes the meter off one body. It may be wrong in any way without harm to Check, as long
// as it ends; what it cannot make sense of it refuses.
type bodyStripper struct {
	st      *stripper
	r       reader
	in      instr
	o       []byte
	depth   int
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
	for f.depth = 1; f.depth > 0 && r.err == nil; {
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
	case opBlock, opIf:
		f.depth++
	case opLoop:
		f.depth++
		if !f.taken(f.st.fuel) || !f.skip(f.test) {
			r.fail("loop without payment")
		}
	case opEnd:
		f.depth--
		if f.depth == 0 && f.wrapped {
			f.credit("end of the function")
			return // the block around the body ended; the function's own end is left over and copied
		}
	case opGlobalGet, opGlobalSet:
		f.global(at)
		return
	case opCall, opTailCall, opRefFunc:
		f.function()
		return
	}
	f.o = append(f.o, r.b[at:f.in.end]...)
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

package meter

// What work costs, in units of about one plain instruction. A change here changes every metered module,
// and Check refuses those metered before: it is a change of protocol.
const (
	costCall = 4 // the frame, besides what the callee pays for itself
	// costLeaf is the largest cost of a function that its callers pay for. A caller that does not know
	// whom it calls pays so much.
	costLeaf = 48
	// frameLeaf is the largest frame, with those of all that it calls and that do not count their own
	// either, of a function whose callers count it. One that does not know whom it calls counts so much.
	frameLeaf = 64
	costBack  = 4    // a way back to a loop besides its instructions, for the payment is work too
	costGrow  = 4096 // memory.grow: zeroes a page at least, and a success is bounded by the memory's maximum

	shiftMemory = 4 // bulk memory: one unit for each 16 bytes
	shiftTable  = 1 // bulk tables: one unit for each 2 elements

	// frameBase is what a frame takes besides its locals and operands, in units of eight bytes.
	frameBase = 6

	// StackUnits is what "__stack_left" begins with: units of eight bytes of call stack, as estimated
	// from locals and operands. The host may set another value before the first call.
	StackUnits = 1 << 20
)

// cost is the static cost of one instruction.
func cost(op uint16) int64 {
	switch op {
	case opCall:
		return costCall
	case opCallIndirect:
		return costCall + costLeaf
	case opTailIndirect:
		return costCall + costLeaf + 1
	case opTailCall:
		return costCall + 1 // so that a tail call costs as much as the call and branch it may be turned into
	case opMemoryGrow:
		return costGrow
	}
	return 1
}

// dynamicShift tells by how many bits the operand on top is shifted to give the additional cost; 0: none.
func dynamicShift(op uint16) int64 {
	switch op {
	case opMemoryInit, opMemoryCopy, opMemoryFill:
		return shiftMemory
	case opTableInit, opTableCopy, opTableGrow, opTableFill:
		return shiftTable
	}
	return 0
}

package meter

// immKind says what follows an opcode.
type immKind uint8

const (
	immBad       immKind = iota // not an opcode that we know
	immNone                     // nothing
	immBlock                    // a block type
	immLabel                    // a label
	immBrTable                  // labels and a default
	immFunc                     // a function
	immIndirect                 // a type and a table
	immLocal                    // a local
	immGlobal                   // a global
	immTable                    // a table
	immMemArg                   // alignment and offset
	immMem                      // the memory, 0
	immI32                      // a constant
	immI64                      //
	immF32                      //
	immF64                      //
	immV128                     // 16 bytes: a constant or a shuffle
	immLane                     // a lane
	immMemLane                  // alignment, offset, lane
	immSelect                   // result types
	immRefType                  // a reference type
	immDataMem                  // a data segment and the memory
	immData                     // a data segment
	immMemMem                   // the memory, twice
	immElemTable                // an element segment and a table
	immElem                     // an element segment
	immTables                   // two tables
)

// opInfo is one row of the table of opcodes. For control instructions and calls pop and push are zero
// and the scan looks at the types.
type opInfo struct {
	imm       immKind
	pop, push int8
}

// Opcodes that are looked at by name. A prefixed one is its prefix times 256 plus its number.
const (
	opUnreachable  = 0x00
	opBlock        = 0x02
	opLoop         = 0x03
	opIf           = 0x04
	opElse         = 0x05
	opEnd          = 0x0b
	opBr           = 0x0c
	opBrIf         = 0x0d
	opBrTable      = 0x0e
	opReturn       = 0x0f
	opCall         = 0x10
	opCallIndirect = 0x11
	opTailCall     = 0x12
	opTailIndirect = 0x13
	opSelectTyped  = 0x1c
	opLocalGet     = 0x20
	opLocalTee     = 0x22
	opGlobalGet    = 0x23
	opGlobalSet    = 0x24
	opMemoryGrow   = 0x40
	opI32Const     = 0x41
	opI64Const     = 0x42
	opF64Const     = 0x44
	opI64LtS       = 0x53
	opI64Add       = 0x7c
	opI64Sub       = 0x7d
	opI64Or        = 0x84
	opI64ShrU      = 0x88
	opI64ExtendU   = 0xad
	opRefFunc      = 0xd2
	opMemoryInit   = 0xfc08
	opMemoryCopy   = 0xfc0a
	opMemoryFill   = 0xfc0b
	opTableInit    = 0xfc0c
	opTableCopy    = 0xfc0e
	opTableGrow    = 0xfc0f
	opTableFill    = 0xfc11

	blockEmpty    = 0x40
	typeV128      = 0x7b
	typeFuncref   = 0x70
	typeExternref = 0x6f
)

func isValType(t byte) bool {
	return t >= typeV128 && t <= 0x7f || t == typeFuncref || t == typeExternref
}

// lookup gives the row of an opcode.
func lookup(op uint16) opInfo {
	switch {
	case op < 0x45:
		return lookupPlain(op)
	case op <= 0xc4:
		return lookupNumeric(op)
	case op == 0xd0:
		return opInfo{immRefType, 0, 1}
	case op == 0xd1:
		return opInfo{immNone, 1, 1}
	case op == opRefFunc:
		return opInfo{immFunc, 0, 1}
	case op >= 0xfd00:
		return lookupVector(op & 0xff)
	case op >= 0xfc00:
		return lookupBulk(op & 0xff)
	}
	return opInfo{}
}

func lookupPlain(op uint16) opInfo {
	switch {
	case op <= 0x01, op == opElse, op == opEnd, op == opReturn:
		return opInfo{imm: immNone}
	case op <= opIf:
		return opInfo{imm: immBlock}
	case op == opBr || op == opBrIf:
		return opInfo{imm: immLabel}
	case op == opBrTable:
		return opInfo{imm: immBrTable}
	case op == opCall || op == opTailCall:
		return opInfo{imm: immFunc}
	case op == opCallIndirect || op == opTailIndirect:
		return opInfo{imm: immIndirect}
	case op == 0x1a: // drop
		return opInfo{immNone, 1, 0}
	case op == 0x1b: // select
		return opInfo{immNone, 3, 1}
	case op == opSelectTyped:
		return opInfo{immSelect, 3, 1}
	case op >= opLocalGet:
		return lookupAccess(op)
	}
	return opInfo{}
}

// lookupAccess covers locals, globals, tables, memory and constants.
func lookupAccess(op uint16) opInfo {
	switch {
	case op == opLocalGet:
		return opInfo{immLocal, 0, 1}
	case op == 0x21:
		return opInfo{immLocal, 1, 0}
	case op == opLocalTee:
		return opInfo{immLocal, 1, 1}
	case op == opGlobalGet:
		return opInfo{immGlobal, 0, 1}
	case op == opGlobalSet:
		return opInfo{immGlobal, 1, 0}
	case op == 0x25:
		return opInfo{immTable, 1, 1}
	case op == 0x26:
		return opInfo{immTable, 2, 0}
	case op == 0x27:
		return opInfo{}
	case op <= 0x35: // loads
		return opInfo{immMemArg, 1, 1}
	case op <= 0x3e: // stores
		return opInfo{immMemArg, 2, 0}
	case op == 0x3f:
		return opInfo{immMem, 0, 1}
	case op == opMemoryGrow:
		return opInfo{immMem, 1, 1}
	}
	return opInfo{immI32 + immKind(op-0x41), 0, 1}
}

func lookupNumeric(op uint16) opInfo {
	unary := op == 0x45 || op == 0x50 || op >= 0x67 && op <= 0x69 || op >= 0x79 && op <= 0x7b ||
		op >= 0x8b && op <= 0x91 || op >= 0x99 && op <= 0x9f || op >= 0xa7
	if unary {
		return opInfo{immNone, 1, 1}
	}
	return opInfo{immNone, 2, 1}
}

func lookupBulk(sub uint16) opInfo {
	switch {
	case sub <= 0x07: // saturating float to integer
		return opInfo{immNone, 1, 1}
	case sub == 0x08:
		return opInfo{immDataMem, 3, 0}
	case sub == 0x09:
		return opInfo{immData, 0, 0}
	case sub == 0x0a:
		return opInfo{immMemMem, 3, 0}
	case sub == 0x0b:
		return opInfo{immMem, 3, 0}
	case sub == 0x0c:
		return opInfo{immElemTable, 3, 0}
	case sub == 0x0d:
		return opInfo{immElem, 0, 0}
	case sub == 0x0e:
		return opInfo{immTables, 3, 0}
	case sub == 0x0f:
		return opInfo{immTable, 2, 1}
	case sub == 0x10:
		return opInfo{immTable, 0, 1}
	case sub == 0x11:
		return opInfo{immTable, 3, 0}
	}
	return opInfo{}
}

// vectorOps gives the number of operands of the SIMD instructions from 0x23 on that have no immediate,
// a dot where there is no instruction.
const vectorOps = "" +
	"222222222222222222222222222222222222222222" + // 0x23: comparisons
	"1222231..........11" + // 0x4d: bitwise; loads and stores of lanes stand elsewhere; demote, promote
	"11111221111222222222112222121111" + // 0x60: i8x16, float roundings
	"11211221111222222222122222.22222" + // 0x80: i16x8
	"11.11..11112222..2...222222.2222" + // 0xa0: i32x4
	"11.11..11112222..2...22222222222" + // 0xc0: i64x2
	"11.12222222211.12222222211111111" // 0xe0: f32x4, f64x2, conversions

// lookupVector covers the SIMD proposal without the relaxed instructions.
func lookupVector(sub uint16) opInfo {
	switch {
	case sub <= 0x0a, sub == 0x5c, sub == 0x5d: // loads
		return opInfo{immMemArg, 1, 1}
	case sub == 0x0b:
		return opInfo{immMemArg, 2, 0}
	case sub == 0x0c:
		return opInfo{immV128, 0, 1}
	case sub == 0x0d:
		return opInfo{immV128, 2, 1}
	case sub == 0x0e:
		return opInfo{immNone, 2, 1}
	case sub <= 0x14:
		return opInfo{immNone, 1, 1}
	case sub <= 0x22: // extract or replace a lane
		return opInfo{immLane, laneOperands(sub), 1}
	case sub >= 0x54 && sub <= 0x57:
		return opInfo{immMemLane, 2, 1}
	case sub >= 0x58 && sub <= 0x5b:
		return opInfo{immMemLane, 2, 0}
	}
	n := vectorOps[sub-0x23]
	if n == '.' {
		return opInfo{}
	}
	return opInfo{immNone, int8(n - '0'), 1}
}

func laneOperands(sub uint16) int8 {
	switch sub {
	case 0x17, 0x1a, 0x1c, 0x1e, 0x20, 0x22:
		return 2
	}
	return 1
}

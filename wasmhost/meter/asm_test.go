package meter

// A very small assembler, so that the modules of these tests stand beside what they prove.

const (
	i32 = 0x7f
	i64 = 0x7e
)

// fn is one function; code comes without its end.
type fn struct {
	export          string
	params, results []byte
	locals          []byte
	code            []byte
}

// asm is a module; a table holds all functions when tableMax is not zero.
type asm struct {
	fns      []fn
	pages    uint32
	tableMax uint32
	custom   []string
	start    bool
}

func vec(items ...[]byte) []byte {
	o := putU32(nil, uint32(len(items)))
	for _, i := range items {
		o = append(o, i...)
	}
	return o
}

func cat(parts ...[]byte) []byte {
	var o []byte
	for _, p := range parts {
		o = append(o, p...)
	}
	return o
}

func op(b ...byte) []byte { return b }

func (a asm) build() []byte {
	var types, funcs, exports, codes [][]byte
	for i, f := range a.fns {
		sig := append(putU32(op(0x60), uint32(len(f.params))), f.params...)
		sig = append(putU32(sig, uint32(len(f.results))), f.results...)
		types = append(types, sig)
		funcs = append(funcs, putU32(nil, uint32(i)))
		if f.export != "" {
			exports = append(exports, putU32(append(putName(nil, f.export), 0), uint32(i)))
		}
		body := putU32(nil, uint32(len(f.locals)))
		for _, l := range f.locals {
			body = append(body, 1, l)
		}
		body = cat(body, f.code, op(opEnd))
		codes = append(codes, append(putU32(nil, uint32(len(body))), body...))
	}
	o := append([]byte("\x00asm"), 1, 0, 0, 0)
	for _, c := range a.custom {
		o = putSection(o, secCustom, append(putName(nil, c), 1, 2, 3))
	}
	o = putSection(o, secType, vec(types...))
	o = putSection(o, secFunction, vec(funcs...))
	if a.tableMax > 0 {
		o = putSection(o, secTable, vec(putU32(putU32(op(typeFuncref, 1), uint32(len(a.fns))), a.tableMax)))
	}
	if a.pages > 0 {
		o = putSection(o, secMemory, vec(putU32(putU32(op(1), a.pages), a.pages)))
	}
	o = putSection(o, secExport, vec(exports...))
	if a.start {
		o = putSection(o, secStart, putU32(nil, 0))
	}
	if a.tableMax > 0 {
		o = putSection(o, secElement, vec(cat(op(0, 0x41, 0, opEnd), vec(funcs...))))
	}
	return putSection(o, secCode, vec(codes...))
}

// spin is a loop without end.
func spin() []byte {
	return asm{fns: []fn{{export: "run", code: op(opLoop, blockEmpty, opBr, 0, opEnd)}}}.build()
}

// recurse calls itself without end, keeping a few operands.
func recurse() []byte {
	return asm{fns: []fn{{export: "run", results: op(i32), code: op(0x41, 1, opCall, 0, 0x6a)}}}.build()
}

// mutual recurses through the table.
func mutual() []byte {
	return asm{tableMax: 2, fns: []fn{
		{export: "run", code: op(0x41, 1, opCallIndirect, 0, 0)},
		{code: op(0x41, 0, opCallIndirect, 0, 0)},
	}}.build()
}

// count turns a loop as often as it is told and gives a sum; a realistic tight loop for the benchmark.
func count() []byte {
	return asm{fns: []fn{{
		export: "run", params: op(i64), results: op(i64), locals: op(i64),
		code: op(opLoop, blockEmpty,
			opLocalGet, 1, opLocalGet, 0, 0x7e, opI64Const, 7, opI64Add, 0x21, 1, // sum = sum*n + 7
			opLocalGet, 0, opI64Const, 1, opI64Sub, opLocalTee, 0, opI64Const, 0, 0x52, opBrIf, 0,
			opEnd, opLocalGet, 1),
	}}}.build()
}

// landing is a loop with three ways back, which are paid for in one place.
func landing() []byte {
	return asm{fns: []fn{{export: "run", code: op(opLoop, blockEmpty,
		opI32Const, 1, opBrIf, 0, opI32Const, 1, opBrIf, 0, opBr, 0, opEnd)}}}.build()
}

// landings has loops with landings in one another, with results, tables, and ways out and back over each
// other; it gives its argument back.
func landings() []byte {
	turn := op(opLocalGet, 1, opI32Const, 1, 0x6a, opLocalTee, 1) // counts the turns
	code := cat(
		op(opLoop, i64, opLoop, blockEmpty), turn, op(opI32Const, 5, 0x49, opBrIf, 0), // back to the inner loop
		turn, op(opI32Const, 9, 0x49, opBrIf, 1), turn, op(opI32Const, 12, 0x49, opBrIf, 1), // to the outer one
		op(opBlock, blockEmpty), turn,
		op(opI32Const, 13, 0x6b, opBrTable, 3, 2, 1, 0, 0), // 13: the outer loop, 14: the inner one, else on
		op(opEnd, opEnd, opLocalGet, 0), turn, op(opI32Const, 20, 0x49, opIf, blockEmpty, opBr, 1, opEnd),
		turn, op(opI32Const, 30, 0x49, opIf, blockEmpty, opLocalGet, 0, opReturn, opEnd, opBr, 1, opEnd))
	return asm{fns: []fn{{
		export: "run", params: op(i64), results: op(i64), locals: op(i32), code: code,
	}}}.build()
}

// fib is recursion that ends.
func fib() []byte {
	return asm{fns: []fn{{
		export: "run", params: op(i64), results: op(i64),
		code: op(opLocalGet, 0, opI64Const, 2, opI64LtS, opIf, blockEmpty, opLocalGet, 0, opReturn, opEnd,
			opLocalGet, 0, opI64Const, 1, opI64Sub, opCall, 0,
			opLocalGet, 0, opI64Const, 2, opI64Sub, opCall, 0, opI64Add),
	}}}.build()
}

// fill writes its memory of the given pages over and over.
func fill(pages uint32) []byte {
	size := putS64(nil, int64(pages)<<16)
	code := cat(op(opLoop, blockEmpty, 0x41, 0, 0x41, 7, 0x41), size, op(0xfc, 0x0b, 0, opBr, 0, opEnd))
	return asm{pages: pages, fns: []fn{{export: "run", code: code}}}.build()
}

// tails is a loop made of tail calls, with so many parameters.
func tails(params int) []byte {
	f := fn{export: "run"}
	for i := range params {
		f.params = append(f.params, i64)
		f.code = append(f.code, opLocalGet, byte(i))
	}
	f.code = append(f.code, opTailCall, 0)
	return asm{fns: []fn{f}}.build()
}

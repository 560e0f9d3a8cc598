package meter

import (
	"bytes"
	"errors"
)

// hollowName is the custom section that says which module a hollow one was made of.
const hollowName = "stavily.of"

// hollowBody is a function that does nothing, whatever its type: its size, no locals,
// unreachable, end.
var hollowBody = []byte{3, 0, 0x00, 0x0b}

// Hollow returns the module without what its functions do: every body is one instruction
// that traps. All else, which is what an engine needs to know of a module that it has
// compiled already, is as it was, but for custom sections. of names the module that it was
// made of, so that no two modules have one hollow form. It reads no more than the lengths of
// sections: what is wrong in them the engine finds.
func Hollow(wasm, of []byte) ([]byte, error) {
	if !bytes.HasPrefix(wasm, []byte("\x00asm\x01\x00\x00\x00")) {
		return nil, errors.New("hollow: not a core WebAssembly module of version 1")
	}
	r := &reader{b: wasm, p: 8}
	out := append(make([]byte, 0, hollowSize(wasm)), wasm[:8]...)
	for !r.done() {
		id := r.byte()
		b := r.bytes(r.u32())
		switch id {
		case secCustom:
		case secCode:
			code := &reader{b: b, base: r.p - len(b)}
			n := code.count()
			if code.err != nil {
				return nil, code.err
			}
			out = putSection(out, id, append(putU32(nil, uint32(n)), bytes.Repeat(hollowBody, n)...))
		default:
			out = putSection(out, id, b)
		}
	}
	return putSection(out, secCustom, append(putName(nil, hollowName), of...)), r.err
}

// hollowSize is about how long the hollow form of a module is: that is mostly its data.
func hollowSize(wasm []byte) int { return len(wasm) / 2 }

// Functions returns how many functions a module has, without those that it imports; none for
// what is no module.
func Functions(wasm []byte) int {
	if len(wasm) < 8 {
		return 0
	}
	for r := (&reader{b: wasm, p: 8}); !r.done(); {
		id := r.byte()
		b := r.bytes(r.u32())
		if id == secCode {
			return (&reader{b: b}).count()
		}
	}
	return 0
}

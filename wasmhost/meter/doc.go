// Package meter rewrites a WebAssembly module so that it pays for its work, shows that a module was
// so rewritten, and says whether a module's shape may be compiled at all.
//
// A guest that the compiler has turned into machine code cannot be interrupted by Go: a loop without
// end would stall the garbage collector and with it the whole agent. So every module carries its own
// meter. Instrument adds
//
//   - an imported function "fuel" "out" of type ()->(),
//   - a mutable i64 global exported as "__fuel", 0 at first: what the guest may still spend,
//   - a mutable i64 global exported as "__stack_left", StackUnits at first: how much call stack is left.
//
// At each function entry the guest subtracts what the dearest way through the function costs, each loop
// gone round once; before each branch back to a loop it subtracts what the dearest way from the loop's
// header to that branch costs (a loop with three and more such branches, or one in a table, has them all
// lead behind its body, and pays there the dearest of them). The dearest way is found exactly, for
// structured code has one order in which everything is come by: so at any moment what a guest has done
// costs no more than what it has paid (and 48 where the host itself calls a function that pays nothing).
// It depends on nothing but the module, and no path can run for ever without paying, for only a loop label
// is reached backwards.
//
// Some functions have no meter of their own. What a function costs that never goes back, calls nothing by
// table and comes, with all of its kind that it calls, to at most 48, is in the price of each way
// that calls it; one that does not know whom it calls pays 48. A frame is counted by the callers of the
// function in the same way: at most 64 units for it and all of its kind below. Where calls lead round,
// the function that closes the round pays and counts, so that every recursion does both. Instructions whose
// work grows with an operand (memory.copy, table.fill and their kin) pay for the operand as well, else
// one cheap loop of large fills would hold the machine for hours between two payments.
//
// When the global falls below zero the guest calls fuel.out, once, and goes on when it returns. The host
// charges what was spent, the debt included (a copy of 64 MiB leaves one of four million), and either
// leaves "__fuel" at zero or above or ends the guest with wazero's sys.NewExitError. To add a slice that
// is smaller than the debt would let the guest do the next copy unpaid. The host must look at
// "__stack_left" too: below zero means that the guest recursed too deep. A host that does not look loses
// nothing: the guest then traps by itself. After any trap or exit the instance is dead, for the stack
// that its frames took is not given back; a host that goes on nevertheless sets the global anew.
//
// # Why a stack counter
//
// Fuel at entry bounds the time of a recursion, not its memory: the compiler's own limit is a constant
// 400 MB per instance, ten thousand wide frames reach it within a millisecond, and no max_memory_mb sees
// it. The interpreter's limit is 2,000 frames and so differs. The counter is kept in units of eight bytes
// of frame (locals and the deepest operand stack), since a count of calls says little when one frame may
// be 100 kB. It costs nothing in functions whose callers count for them, and shares the branch with the
// fuel test elsewhere. Measured in the compiler on amd64, plain and metered in turn on a busy machine: a
// recursion that does nothing but call (fib) takes 1.6 times as long, fuel and stack together; a tight loop
// 1.3 to 1.5 times; a question to a guest in C 1.04, in Rust 1.10, in Go and to QuickJS 1.20. For that a
// recursion without
// end makes the host allocate 11 MB (narrow frames) or 29 MB (500 operands in each) where the plain narrow
// one takes 169 MB. A Go module grows by 12 %, QuickJS by 5 %.
//
// A tail call gives the frame back first. Where it has more parameters than wazero passes in registers,
// wazero makes a plain call of it; so it is written as one here, and bounded like one.
//
// # What is checked, and why that is enough
//
// Parse decodes every instruction, bounds every index against the module's own spaces (a global index
// out of range in the original would become the meter in the metered module) and follows the height of
// the operand stack. Types of operands are left to the engine, which validates what comes out.
//
// Check does not look for payments and hope to find all: it takes the meter off, meters what is left
// with the same Instrument, and demands the same bytes. So a module that passes is the output of
// Instrument for some module, whatever the hub did.
package meter

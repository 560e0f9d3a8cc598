package meter

// leafBytesMax is how long a body may be to be looked at as a leaf: one that costs no more than
// costLeaf has hardly more.
const leafBytesMax = 64

// findLeaves finds the functions that pay nothing because each call of theirs is paid for by its
// caller: they call nothing, have no loop and cost little. So every chain of calls and every loop still
// pays, and what runs between two payments is bounded by the size of the module.
func (m *Module) findLeaves() {
	m.free = make([]int64, len(m.bodies))
	var s scan
	for i := range m.bodies {
		if len(m.bodies[i].b) > leafBytesMax || s.body(m, i) != nil {
			continue // what is wrong with it is said when it is metered
		}
		if c := s.costs[0]; !s.calls && s.loops == 0 && !s.dynamic && c <= costLeaf {
			m.free[i] = c
		}
	}
}

// paidByCaller is what a direct call pays for the function beyond the call itself; 0 for one that pays.
func (m *Module) paidByCaller(f uint32) int64 {
	if i := int(f) - m.importedFuncs; i >= 0 && i < len(m.free) {
		return m.free[i]
	}
	return 0
}

// leading follows whether nothing but plain instructions stood before the first loop.
type leading byte

const (
	mayLead leading = iota
	leads
	leadsNot
)

func (l leading) after(op uint16) leading {
	if l != mayLead {
		return l
	}
	switch {
	case op == opLoop:
		return leads
	case op == opBlock, op >= opLocalGet && op <= opGlobalSet, op >= opI32Const && op <= opF64Const:
		return mayLead
	}
	return leadsNot
}

// fold lets the first loop pay for the function when every call runs straight into it and what stands
// around it is little. Go's compiler makes nearly every function so, and jumps in it by that loop.
func (s *scan) fold() {
	if s.lead == leads && s.costs[0] <= s.costs[1]/2 {
		s.costs[1] += s.costs[0]
		s.costs[0] = 0
	}
}

package expr

import (
	"math"
	"slices"
)

// Select returns those of 0 to n-1 of which the expression is true, ascending. of gives
// the figures of one of them, draw a number from 0 up to and without its argument.
//
// sample(N) takes some of what the other parts of its && have left; a share is rounded
// up, so that a sample of some is at least one.
func (e *Expr) Select(n int, of func(int) Source, draw func(int) int) []int {
	all := make([]int, n)
	for i := range all {
		all[i] = i
	}
	return (&selection{of: of, draw: draw}).take(e.root, all)
}

type selection struct {
	of   func(int) Source
	draw func(int) int
}

// take returns those of in, which it leaves alone, of which n is true.
func (s *selection) take(n *node, in []int) []int {
	switch {
	case !n.samples():
		return slices.DeleteFunc(slices.Clone(in), func(i int) bool { return n.value(s.of(i)).Num == 0 })
	case n.op == opSample:
		return s.sample(n, in)
	case n.op == opNot:
		return without(in, s.take(n.kids[0], in))
	case n.op == opOr:
		first := s.take(n.kids[0], in)
		out := slices.Concat(first, s.take(n.kids[1], without(in, first)))
		slices.Sort(out)
		return out
	default: // opAnd: what samples goes last
		parts := n.conjuncts(nil)
		slices.SortStableFunc(parts, func(a, b *node) int { return rank(a) - rank(b) })
		for _, k := range parts {
			in = s.take(k, in)
		}
		return in
	}
}

// sample draws without putting back.
func (s *selection) sample(n *node, in []int) []int {
	want := int(min(n.num, float64(len(in))))
	if n.kids[0].kind == Share {
		want = min(len(in), int(math.Ceil(n.num*float64(len(in)))))
	}
	pool := slices.Clone(in)
	for i := range want {
		j := i + s.draw(len(pool)-i)
		pool[i], pool[j] = pool[j], pool[i]
	}
	pool = pool[:want]
	slices.Sort(pool)
	return pool
}

// samples reports whether sample stands in n or below.
func (n *node) samples() bool {
	found := false
	n.each(func(k *node) { found = found || k.op == opSample })
	return found
}

// conjuncts returns the operands of && and of the && directly below.
func (n *node) conjuncts(into []*node) []*node {
	if n.op != opAnd {
		return append(into, n)
	}
	return n.kids[1].conjuncts(n.kids[0].conjuncts(into))
}

func rank(n *node) int {
	if n.samples() {
		return 1
	}
	return 0
}

// without returns in less out, both ascending.
func without(in, out []int) []int {
	return slices.DeleteFunc(slices.Clone(in), func(i int) bool {
		_, found := slices.BinarySearch(out, i)
		return found
	})
}

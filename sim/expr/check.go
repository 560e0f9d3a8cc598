package expr

// check returns the kind of an operator's value, or why its operands do not fit.
func (p *parser) check(n *node) (Kind, error) {
	a, b := n.kids[0], n.kids[len(n.kids)-1]
	if n.op != opAnd && n.op != opOr && (a.samples() || b.samples()) {
		return 0, p.errorf(n.at, "sample stands beside && and || only")
	}
	switch n.op {
	case opAnd, opOr:
		for _, k := range n.kids {
			if k.kind != Bool {
				return 0, p.errorf(k.at, "%s beside %s is %s, want a condition", k, n.sign, k.kind)
			}
		}
		return Bool, nil
	case opMul, opDiv:
		return p.scale(n, a, b)
	case opLess, opLessEqual, opMore, opMoreEqual:
		if a.kind == Text || a.kind == Bool {
			return 0, p.errorf(n.at, "%s is %s, which has no order; want == or !=", a, a.kind)
		}
	case opAdd, opSub:
		if a.kind == Text || a.kind == Bool {
			return 0, p.errorf(n.at, "%s between %s and %s, want numbers", n.sign, a.kind, b.kind)
		}
		return a.kind, p.alike(n, a, b)
	default:
	}
	for _, k := range n.kids[1:] {
		if err := p.alike(n, a, k); err != nil {
			return 0, err
		}
	}
	return Bool, nil
}

func (p *parser) alike(n, a, b *node) error {
	if a.kind == b.kind {
		return nil
	}
	return p.errorf(b.at, "%s is %s and %s is %s: %q needs two of a kind", a, a.kind, b, b.kind, n.sign)
}

// scale checks a product or a quotient: one side of it is a plain number, or a quotient
// is of two of a kind.
func (p *parser) scale(n, a, b *node) (Kind, error) {
	sums := a.kind != Text && a.kind != Bool && b.kind != Text && b.kind != Bool
	switch {
	case sums && (b.kind == Number || b.kind == Share && a.kind != Share):
		return a.kind, nil
	case sums && n.op == opMul && (a.kind == Number || a.kind == Share && b.kind != Share):
		return b.kind, nil
	case sums && n.op == opDiv && a.kind == b.kind:
		return Number, nil
	}
	return 0, p.errorf(n.at, "%s is %s and %s is %s: %q makes no sense of them", a, a.kind, b, b.kind, n.sign)
}

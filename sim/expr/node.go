package expr

import (
	"slices"
	"strings"
)

// An op is what a node does.
type op uint8

const (
	opNumber op = iota // num
	opText             // arg
	opField            // name
	opCall             // name(arg)
	opSample           // num: a count, or with kind Share a part
	opIn               // kids[0] in the rest
	opNot
	opMinus
	opOr
	opAnd
	opEqual
	opUnequal
	opLess
	opLessEqual
	opMore
	opMoreEqual
	opAdd
	opSub
	opMul
	opDiv
)

// signs are the operators between two operands, and how tightly they bind.
var signs = map[string]struct {
	op   op
	rank int
}{
	"||": {opOr, 1}, "&&": {opAnd, 2},
	"==": {opEqual, 3}, "!=": {opUnequal, 3}, "<": {opLess, 3}, "<=": {opLessEqual, 3},
	">": {opMore, 3}, ">=": {opMoreEqual, 3}, "in": {opIn, 3},
	"+": {opAdd, 4}, "-": {opSub, 4}, "*": {opMul, 5}, "/": {opDiv, 5},
}

// A node is one part of an expression.
type node struct {
	op   op
	kind Kind
	num  float64
	name string // of a field or call; a number as written
	arg  string
	sign string
	at   int // offset in the text
	kids []*node
}

// each calls f for n and all below it, in the order written.
func (n *node) each(f func(*node)) {
	f(n)
	for _, k := range n.kids {
		k.each(f)
	}
}

func (n *node) value(src Source) Value {
	switch n.op {
	case opNumber:
		return Value{Num: n.num}
	case opText:
		return Value{Text: n.arg}
	case opField:
		return src.Field(n.name)
	case opCall:
		return src.Call(n.name, n.arg)
	case opSample:
		return Value{Num: 1}
	case opNot:
		return truth(n.kids[0].value(src).Num == 0)
	case opMinus:
		return Value{Num: -n.kids[0].value(src).Num}
	case opAnd, opOr:
		first := n.kids[0].value(src)
		if (first.Num != 0) == (n.op == opOr) {
			return first
		}
		return n.kids[1].value(src)
	case opIn:
		v := n.kids[0].value(src)
		return truth(slices.ContainsFunc(n.kids[1:], func(k *node) bool { return k.value(src) == v }))
	default:
		return n.arithmetic(n.kids[0].value(src), n.kids[1].value(src))
	}
}

func (n *node) arithmetic(a, b Value) Value {
	switch n.op {
	case opEqual:
		return truth(a == b)
	case opUnequal:
		return truth(a != b)
	case opLess:
		return truth(a.Num < b.Num)
	case opLessEqual:
		return truth(a.Num <= b.Num)
	case opMore:
		return truth(a.Num > b.Num)
	case opMoreEqual:
		return truth(a.Num >= b.Num)
	case opAdd:
		return Value{Num: a.Num + b.Num}
	case opSub:
		return Value{Num: a.Num - b.Num}
	case opMul:
		return Value{Num: a.Num * b.Num}
	default:
		if b.Num == 0 { // nothing of nothing
			return Value{}
		}
		return Value{Num: a.Num / b.Num}
	}
}

func truth(is bool) Value {
	if is {
		return Value{Num: 1}
	}
	return Value{}
}

// String writes the node with every pair of parentheses.
func (n *node) String() string {
	switch n.op {
	case opNumber, opField:
		return n.name
	case opText:
		return quote(n.arg)
	case opCall:
		return n.name + "(" + quote(n.arg) + ")"
	case opSample:
		return "sample(" + n.kids[0].name + ")"
	case opNot:
		return "!" + n.kids[0].inner()
	case opMinus:
		return "-" + n.kids[0].inner()
	case opIn:
		list := make([]string, len(n.kids)-1)
		for i, k := range n.kids[1:] {
			list[i] = k.String()
		}
		return n.kids[0].inner() + " in [" + strings.Join(list, ", ") + "]"
	default:
		return n.kids[0].inner() + " " + n.sign + " " + n.kids[1].inner()
	}
}

// inner is String for a part of something larger.
func (n *node) inner() string {
	if len(n.kids) == 0 {
		return n.String()
	}
	return "(" + n.String() + ")"
}

// quote writes a text in single quotes, which it cannot hold.
func quote(s string) string { return "'" + s + "'" }

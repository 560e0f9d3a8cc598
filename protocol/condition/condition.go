// Package condition holds the conditions of workflows in the form in which they travel
// and are evaluated: a small tree, lowered by the hub from the Common Expression Language
// (CEL), of which it is a subset with the same meaning.
//
// The hub parses and checks the text, with positions; a device only evaluates. A
// condition has no side effect, ends after a bounded number of steps, and gives true,
// false, or an error that says why it could not be evaluated, never a silent false.
package condition

import (
	"regexp"

	"github.com/stavily/stavily/protocol"
)

// The bounds of one condition.
const (
	// NodesMax bounds the nodes of a tree.
	NodesMax = 256
	// TextMax bounds the text of a condition in bytes, and that of a pattern in it.
	TextMax = 1024
	// StepsMax bounds the nodes that one evaluation visits.
	StepsMax = 20_000
	// sizeMax bounds a string or a list that an evaluation makes, in bytes or elements.
	sizeMax = 64 << 10
)

// Op says what a node does with its arguments.
type Op uint8

// The operations. Numbers are never given anew: they travel.
const (
	OpLiteral Op = 1 // Value
	OpVar     Op = 2 // Name: a variable, the innermost of that name
	OpField   Op = 3 // argument.Name
	OpHas     Op = 4 // has(argument.Name)
	OpList    Op = 5
	OpMap     Op = 6 // key, value, key, value ...
	OpIndex   Op = 7
	OpAnd     Op = 8
	OpOr      Op = 9
	OpNot     Op = 10
	OpChoose  Op = 11 // condition ? then : else
	OpEqual   Op = 12
	OpUnequal Op = 13
	OpLess    Op = 14
	OpAtMost  Op = 15
	OpMore    Op = 16
	OpAtLeast Op = 17
	OpAdd     Op = 18
	OpSub     Op = 19
	OpMul     Op = 20
	OpDiv     Op = 21
	OpMod     Op = 22
	OpNeg     Op = 23
	OpIn      Op = 24

	OpSize       Op = 25
	OpContains   Op = 26
	OpStartsWith Op = 27
	OpEndsWith   Op = 28
	OpMatches    Op = 29 // Name: the pattern, RE2
	OpInt        Op = 30
	OpDouble     Op = 31
	OpString     Op = 32
	OpNotFalse   Op = 33 // true unless the argument is false, for errors too

	// OpFold goes over a list, or the keys of a map. Name is the variable of the element,
	// Sum that of the result so far; arguments: range, begin, go on?, step, result.
	OpFold Op = 34

	opEnd Op = 35
)

// operands says how many arguments each operation takes; -1 for any number.
var operands = [opEnd]int{
	OpField: 1, OpHas: 1, OpList: -1, OpMap: -1, OpIndex: 2, OpAnd: 2, OpOr: 2, OpNot: 1, OpChoose: 3,
	OpEqual: 2, OpUnequal: 2, OpLess: 2, OpAtMost: 2, OpMore: 2, OpAtLeast: 2,
	OpAdd: 2, OpSub: 2, OpMul: 2, OpDiv: 2, OpMod: 2, OpNeg: 1, OpIn: 2,
	OpSize: 1, OpContains: 2, OpStartsWith: 2, OpEndsWith: 2, OpMatches: 1,
	OpInt: 1, OpDouble: 1, OpString: 1, OpNotFalse: 1, OpFold: 5,
}

// Node is one place of a tree.
type Node struct {
	Op    Op           `cbor:"1,keyasint"`
	Args  []uint16     `cbor:"2,keyasint,omitempty"` // indices of earlier nodes
	Name  string       `cbor:"3,keyasint,omitempty"`
	Sum   string       `cbor:"4,keyasint,omitempty"`
	Value protocol.Raw `cbor:"5,keyasint,omitempty"`
}

// Tree is a condition as it travels: nodes that name only nodes before them, so that
// there is no circle; the last one is the whole.
type Tree struct {
	Nodes []Node `cbor:"1,keyasint"`
	Text  string `cbor:"2,keyasint"` // as it was written, for messages
}

// Condition is a tree that was checked and can be evaluated. It may be used by many
// goroutines.
type Condition struct {
	tree     Tree
	literals []value
	patterns []*regexp.Regexp
}

// Parse reads an encoded Tree. The error has CodeBadMessage for what is no tree and
// CodeLimit for one beyond the bounds.
func Parse(b []byte) (*Condition, error) {
	var t Tree
	if err := protocol.Unmarshal(b, &t); err != nil {
		return nil, err
	}
	return New(t)
}

// New checks a tree. See Parse for the errors.
func New(t Tree) (*Condition, error) {
	if n := len(t.Nodes); n == 0 || n > NodesMax {
		return nil, protocol.Errorf(protocol.CodeLimit, "condition: %d nodes, want 1 to %d", n, NodesMax)
	}
	if len(t.Text) > TextMax {
		return nil, protocol.Errorf(protocol.CodeLimit, "condition: text of %d bytes, limit %d", len(t.Text),
			TextMax)
	}
	c := &Condition{
		tree: t, literals: make([]value, len(t.Nodes)), patterns: make([]*regexp.Regexp, len(t.Nodes)),
	}
	for i := range t.Nodes {
		if err := c.check(i); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// check holds one node against the rules and keeps what is found out for good.
func (c *Condition) check(i int) error {
	n := &c.tree.Nodes[i]
	bad := func(format string, args ...any) error {
		return protocol.Errorf(protocol.CodeBadMessage, "condition %q: node %d: "+format,
			append([]any{c.tree.Text, i}, args...)...)
	}
	if n.Op == 0 || n.Op >= opEnd {
		return bad("operation %d is not known", n.Op)
	}
	want := operands[n.Op]
	if want >= 0 && len(n.Args) != want {
		return bad("operation %d with %d arguments, want %d", n.Op, len(n.Args), want)
	}
	if n.Op == OpMap && len(n.Args)%2 != 0 {
		return bad("a map of %d keys and values", len(n.Args))
	}
	for _, a := range n.Args {
		if int(a) >= i {
			return bad("argument %d is not before it", a)
		}
	}
	var err error
	switch n.Op {
	case OpLiteral:
		c.literals[i], err = decode(n.Value)
	case OpMatches:
		if len(n.Name) > TextMax {
			return bad("pattern of %d bytes, limit %d", len(n.Name), TextMax)
		}
		c.patterns[i], err = regexp.Compile(n.Name)
	default:
	}
	if err != nil {
		return bad("%v", err)
	}
	return nil
}

// String returns the text as it was written.
func (c *Condition) String() string { return c.tree.Text }

// Vars are the variables that a condition may name, each one CBOR item, such as the
// data of an event.
type Vars map[string]protocol.Raw

// Eval returns whether the condition holds. The error, with CodeBadInput, says what
// could not be evaluated: a field that is not there, a number compared with a text, a
// result that is neither true nor false, too many steps.
func (c *Condition) Eval(vars Vars) (bool, error) {
	e := evaluation{of: c, vars: vars, steps: StepsMax}
	v := e.node(len(c.tree.Nodes) - 1)
	switch v := v.(type) {
	case bool:
		return v, nil
	case failure:
		return false, protocol.Errorf(protocol.CodeBadInput, "if %q: %s", c.tree.Text, string(v))
	default:
		return false, protocol.Errorf(protocol.CodeBadInput, "if %q: gives %s, want true or false",
			c.tree.Text, kind(v))
	}
}

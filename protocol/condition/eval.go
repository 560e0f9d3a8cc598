package condition

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// evaluation is one walk over a tree.
type evaluation struct {
	of    *Condition
	vars  Vars
	read  map[string]value // the variables that were decoded
	scope []binding        // of folds, the innermost last
	steps int
}

type binding struct {
	name string
	v    value
}

// node evaluates one node; what fails below it fails it, but for the logical ones.
func (e *evaluation) node(i int) value {
	if e.steps--; e.steps < 0 {
		return fail("more than %d steps", StepsMax)
	}
	n := &e.of.tree.Nodes[i]
	switch n.Op {
	case OpLiteral:
		return e.of.literals[i]
	case OpVar:
		return e.variable(n.Name)
	case OpAnd:
		return e.logical(n, false)
	case OpOr:
		return e.logical(n, true)
	case OpChoose:
		return e.choose(n)
	case OpNotFalse:
		return e.node(int(n.Args[0])) != value(false)
	case OpFold:
		return e.fold(n)
	default:
	}
	args := make([]value, len(n.Args))
	for k, a := range n.Args {
		args[k] = e.node(int(a))
		if bad, ok := args[k].(failure); ok {
			return bad
		}
	}
	return e.apply(i, args)
}

func (e *evaluation) variable(name string) value {
	for k := len(e.scope) - 1; k >= 0; k-- {
		if e.scope[k].name == name {
			return e.scope[k].v
		}
	}
	if v, ok := e.read[name]; ok {
		return v
	}
	raw, ok := e.vars[name]
	if !ok {
		return fail("no variable %q", name)
	}
	var v value // no data is null
	if len(raw) > 0 {
		var err error
		if v, err = decode(raw); err != nil {
			return fail("%s: %v", name, err)
		}
	}
	if e.read == nil {
		e.read = map[string]value{}
	}
	e.read[name] = v
	return v
}

// logical is && (short false) and || (short true): one side that decides is enough,
// whatever the other is.
func (e *evaluation) logical(n *Node, short bool) value {
	left := e.node(int(n.Args[0]))
	if left == value(short) {
		return short
	}
	right := e.node(int(n.Args[1]))
	if right == value(short) {
		return short
	}
	for _, v := range []value{left, right} {
		if bad, ok := v.(failure); ok {
			return bad
		}
		if _, ok := v.(bool); !ok {
			return fail("%s where a bool is wanted", kind(v))
		}
	}
	return !short
}

func (e *evaluation) choose(n *Node) value {
	switch c := e.node(int(n.Args[0])).(type) {
	case failure:
		return c
	case bool:
		if c {
			return e.node(int(n.Args[1]))
		}
		return e.node(int(n.Args[2]))
	default:
		return fail("%s where a bool is wanted", kind(c))
	}
}

// fold is what CEL makes of all, exists, exists_one, map and filter.
func (e *evaluation) fold(n *Node) value {
	var elements []value
	switch over := e.node(int(n.Args[0])).(type) {
	case failure:
		return over
	case []value:
		elements = over
	case *record:
		elements = over.keys
	default:
		return fail("%s where a list or a map is wanted", kind(over))
	}
	sum := e.node(int(n.Args[1]))
	depth := len(e.scope)
	defer func() { e.scope = e.scope[:depth] }()
	e.scope = append(e.scope, binding{n.Sum, sum}, binding{n.Name, nil})
	for _, element := range elements {
		e.scope[depth+1].v = element
		if e.node(int(n.Args[2])) != value(true) {
			break
		}
		e.scope[depth].v = e.node(int(n.Args[3]))
		if e.steps < 0 {
			return fail("more than %d steps", StepsMax)
		}
	}
	e.scope = e.scope[:depth+1] // the result knows the sum and no element
	return e.node(int(n.Args[4]))
}

// apply is every operation on values that are none of them failures.
func (e *evaluation) apply(i int, args []value) value {
	n := &e.of.tree.Nodes[i]
	if !e.pay(n.Op, args) {
		return fail("more than %d steps", StepsMax)
	}
	switch n.Op {
	case OpField, OpHas:
		return field(n, args[0])
	case OpList:
		return args
	case OpMap:
		return makeRecord(args)
	case OpIndex:
		return index(args[0], args[1])
	case OpNot:
		if b, ok := args[0].(bool); ok {
			return !b
		}
		return fail("! of %s", kind(args[0]))
	case OpEqual:
		return equal(args[0], args[1])
	case OpUnequal:
		return !equal(args[0], args[1])
	case OpIn:
		return in(args[0], args[1])
	case OpLess, OpAtMost, OpMore, OpAtLeast:
		return order(n.Op, args[0], args[1])
	case OpAdd, OpSub, OpMul, OpDiv, OpMod, OpNeg:
		return arithmetic(n.Op, args)
	case OpMatches:
		if s, ok := args[0].(string); ok {
			return e.of.patterns[i].MatchString(s)
		}
		return fail("matches of %s", kind(args[0]))
	case OpSize, OpContains, OpStartsWith, OpEndsWith:
		return text(n.Op, args)
	default:
		return convert(n.Op, args[0])
	}
}

// pay charges for what an operation goes through beyond its arguments: all of two lists
// for their equality, the bytes of a text for a search in it, the keys of a map.
func (e *evaluation) pay(op Op, args []value) bool {
	for _, v := range args {
		switch v := v.(type) {
		case string:
			e.steps -= len(v) / stepBytes
		case []byte:
			e.steps -= len(v) / stepBytes
		case []value:
			if op == OpEqual || op == OpUnequal || op == OpIn || op == OpAdd {
				e.steps -= weight(v)
			}
		case *record:
			e.steps -= len(v.keys) / stepKeys
			if op == OpEqual || op == OpUnequal || op == OpIn {
				e.steps -= weight(v)
			}
		}
	}
	return e.steps >= 0
}

// So many bytes of a text, and keys of a map that are looked through, cost one node.
const (
	stepBytes = 256
	stepKeys  = 16
)

// weight is how many values a value holds, no further than the bound.
func weight(v value) int {
	n := 1
	switch v := v.(type) {
	case string:
		n += len(v) / stepBytes
	case []byte:
		n += len(v) / stepBytes
	case []value:
		for _, x := range v {
			if n += weight(x); n > StepsMax {
				return n
			}
		}
	case *record:
		n += len(v.keys) * len(v.keys) // each key is looked for
		for _, x := range v.values {
			if n += weight(x); n > StepsMax {
				return n
			}
		}
	}
	return n
}

// brief writes a value for a message. A list or a map can be far larger when it is
// written than it is in memory, where its parts may be one and the same.
func brief(v value) string {
	switch v := v.(type) {
	case string:
		return strconv.Quote(v[:min(len(v), briefMax)])
	case bool, int64, uint64, float64:
		return fmt.Sprint(v)
	default:
		return kind(v)
	}
}

// briefMax bounds a text in a message, in bytes.
const briefMax = 64

func field(n *Node, of value) value {
	r, ok := of.(*record)
	if !ok {
		return fail("field %q of %s", n.Name, kind(of))
	}
	v, found := r.find(n.Name)
	if n.Op == OpHas {
		return found
	}
	if !found {
		return fail("no field %q", n.Name)
	}
	return v
}

func makeRecord(args []value) value {
	r := &record{}
	for k := 0; k < len(args); k += 2 {
		if rank(args[k]) == rankNone {
			return fail("a map's key is a %s", kind(args[k]))
		}
		if _, twice := r.find(args[k]); twice {
			return fail("a map has the key %s twice", brief(args[k]))
		}
		at, _ := slices.BinarySearchFunc(r.keys, args[k], func(a, b value) int {
			if before(a, b) {
				return -1
			}
			return 1
		})
		r.keys = slices.Insert(r.keys, at, args[k])
		r.values = slices.Insert(r.values, at, args[k+1])
	}
	return r
}

func index(of, at value) value {
	switch of := of.(type) {
	case []value:
		n, ok := whole(at)
		if !ok {
			return fail("index %s into a list", kind(at))
		}
		if n < 0 || n >= int64(len(of)) {
			return fail("index %d into a list of %d", n, len(of))
		}
		return of[n]
	case *record:
		if v, found := of.find(at); found {
			return v
		}
		return fail("no key %s", brief(at))
	default:
		return fail("index into %s", kind(of))
	}
}

// whole returns a number that is one, of any type.
func whole(v value) (int64, bool) {
	switch v := v.(type) {
	case int64:
		return v, true
	case uint64:
		return int64(v), v <= math.MaxInt64
	case float64:
		return int64(v), v == math.Trunc(v) && math.Abs(v) < 1<<53
	default:
		return 0, false
	}
}

func in(v, of value) value {
	switch of := of.(type) {
	case []value:
		return slices.ContainsFunc(of, func(x value) bool { return equal(v, x) })
	case *record:
		_, found := of.find(v)
		return found
	default:
		return fail("in of %s", kind(of))
	}
}

func order(op Op, a, b value) value {
	if ordered(a) && (isNaN(a) || isNaN(b)) {
		return false // as IEEE 754 has it: a number that is none is on no side of anything
	}
	n, ok := compare(a, b)
	if !ok {
		return fail("%s and %s have no order", kind(a), kind(b))
	}
	switch op {
	case OpLess:
		return n < 0
	case OpAtMost:
		return n <= 0
	case OpMore:
		return n > 0
	default:
		return n >= 0
	}
}

// ordered reports whether values of v's type have an order.
func ordered(v value) bool {
	switch v.(type) {
	case bool, int64, uint64, float64, string, []byte:
		return true
	default:
		return false
	}
}

func isNaN(v value) bool {
	d, ok := v.(float64)
	return ok && math.IsNaN(d)
}

func text(op Op, args []value) value {
	if op == OpSize {
		switch v := args[0].(type) {
		case string:
			return int64(utf8.RuneCountInString(v))
		case []byte:
			return int64(len(v))
		case []value:
			return int64(len(v))
		case *record:
			return int64(len(v.keys))
		default:
			return fail("size of %s", kind(v))
		}
	}
	s, ok := args[0].(string)
	part, also := args[1].(string)
	switch {
	case !ok || !also:
		return fail("a search in %s for %s", kind(args[0]), kind(args[1]))
	case op == OpContains:
		return strings.Contains(s, part)
	case op == OpStartsWith:
		return strings.HasPrefix(s, part)
	default:
		return strings.HasSuffix(s, part)
	}
}

// convert is int(), double() and string().
func convert(op Op, v value) value {
	var out value
	switch op {
	case OpInt:
		out = toInt(v)
	case OpDouble:
		out = toDouble(v)
	default:
		out = toString(v)
	}
	if out == nil {
		return fail("no %s of %s", map[Op]string{OpInt: "int", OpDouble: "double", OpString: "string"}[op], kind(v))
	}
	return out
}

// toInt, toDouble and toString return nil for what has no such value.
func toInt(v value) value {
	switch v := v.(type) {
	case int64:
		return v
	case uint64:
		if v <= math.MaxInt64 {
			return int64(v)
		}
	case float64:
		if v > math.MinInt64 && v < math.MaxInt64 {
			return int64(v)
		}
	case string:
		if n, err := strconv.ParseInt(v, 10, 64); err == nil {
			return n
		}
	}
	return nil
}

func toDouble(v value) value {
	switch v := v.(type) {
	case int64:
		return float64(v)
	case uint64:
		return float64(v)
	case float64:
		return v
	case string:
		if n, err := strconv.ParseFloat(v, 64); err == nil {
			return n
		}
	}
	return nil
}

func toString(v value) value {
	switch v := v.(type) {
	case bool:
		return strconv.FormatBool(v)
	case int64:
		return strconv.FormatInt(v, 10)
	case uint64:
		return strconv.FormatUint(v, 10)
	case float64:
		return strconv.FormatFloat(v, 'g', -1, 64)
	case string:
		return v
	case []byte:
		if utf8.Valid(v) {
			return string(v)
		}
	}
	return nil
}

// together joins two strings, byte strings or lists within the bound.
func together(a, b value) value {
	switch a := a.(type) {
	case string:
		if b, ok := b.(string); ok {
			return within(len(a)+len(b), func() value { return a + b })
		}
	case []byte:
		if b, ok := b.([]byte); ok {
			return within(len(a)+len(b), func() value { return slices.Concat(a, b) })
		}
	case []value:
		if b, ok := b.([]value); ok {
			return within(len(a)+len(b), func() value { return slices.Concat(a, b) })
		}
	}
	return fail("%s + %s", kind(a), kind(b))
}

// within makes a value of so many bytes or elements, if that is within the bound.
func within(size int, made func() value) value {
	if size > sizeMax {
		return fail("a result beyond %d", sizeMax)
	}
	return made()
}

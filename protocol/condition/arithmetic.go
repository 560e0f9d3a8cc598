package condition

import "math"

// arithmetic computes on two numbers of one type, as CEL does: there is no silent
// change of type, no wrap around and no division by zero.
func arithmetic(op Op, args []value) value {
	if op == OpNeg {
		return negative(args[0])
	}
	switch a := args[0].(type) {
	case int64:
		if b, ok := args[1].(int64); ok {
			return ints(op, a, b)
		}
	case uint64:
		if b, ok := args[1].(uint64); ok {
			return uints(op, a, b)
		}
	case float64:
		if b, ok := args[1].(float64); ok {
			return doubles(op, a, b)
		}
	default:
		if op == OpAdd {
			return together(args[0], args[1])
		}
	}
	return fail("%s %s %s: want two numbers of one type", kind(args[0]), signs[op], kind(args[1]))
}

var signs = map[Op]string{OpAdd: "+", OpSub: "-", OpMul: "*", OpDiv: "/", OpMod: "%"}

func negative(v value) value {
	switch v := v.(type) {
	case int64:
		if v == math.MinInt64 {
			return fail("-(%d) is no int", v)
		}
		return -v
	case float64:
		return -v
	default:
		return fail("- of %s", kind(v))
	}
}

func ints(op Op, a, b int64) value {
	switch op {
	case OpAdd:
		if sum := a + b; (sum > a) == (b > 0) {
			return sum
		}
	case OpSub:
		if diff := a - b; (diff < a) == (b > 0) {
			return diff
		}
	case OpMul:
		if a == 0 || b == 0 {
			return int64(0)
		}
		least := a == -1 && b == math.MinInt64 || b == -1 && a == math.MinInt64
		if p := a * b; p/b == a && !least {
			return p
		}
	case OpDiv, OpMod:
		switch {
		case b == 0:
			return fail("%d %s 0", a, signs[op])
		case a == math.MinInt64 && b == -1: // the one quotient that is no int
		case op == OpDiv:
			return a / b
		default:
			return a % b
		}
	default:
	}
	return fail("%d %s %d is no int", a, signs[op], b)
}

func uints(op Op, a, b uint64) value {
	switch op {
	case OpAdd:
		if sum := a + b; sum >= a {
			return sum
		}
	case OpSub:
		if b <= a {
			return a - b
		}
	case OpMul:
		if a == 0 || (a*b)/a == b {
			return a * b
		}
	case OpDiv, OpMod:
		if b == 0 {
			return fail("%d %s 0", a, signs[op])
		}
		if op == OpDiv {
			return a / b
		}
		return a % b
	default:
	}
	return fail("%d %s %d is no uint", a, signs[op], b)
}

func doubles(op Op, a, b float64) value {
	switch op {
	case OpAdd:
		return a + b
	case OpSub:
		return a - b
	case OpMul:
		return a * b
	case OpDiv:
		return a / b
	default:
		return fail("double %% double")
	}
}

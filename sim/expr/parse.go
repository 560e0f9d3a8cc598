package expr

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/stavily/stavily/text/nearest"
)

// A parser reads one text, from left to right.
type parser struct {
	text  string
	names *Names
	at    int // of the next byte
	depth int
}

func (p *parser) errorf(at int, format string, args ...any) error {
	return &Error{Offset: at, Text: fmt.Sprintf(format, args...)}
}

func (p *parser) whole() (*node, error) {
	n, err := p.binary(1)
	if err != nil {
		return nil, err
	}
	if word, at := p.peek(); word != "" {
		return nil, p.errorf(at, "unexpected %q; want && or || or the end", word)
	}
	if n.kind != Bool {
		return nil, p.errorf(n.at, "%s is %s, want a comparison such as %s > 0", n, n.kind, n)
	}
	return n, nil
}

// binary reads operands and the operators between them that bind at least as tightly
// as rank.
func (p *parser) binary(rank int) (*node, error) {
	left, err := p.unary()
	if err != nil {
		return nil, err
	}
	for {
		word, at := p.peek()
		s, ok := signs[word]
		if !ok || s.rank < rank {
			return left, p.misspelt(word, at)
		}
		p.at = at + len(word)
		n := &node{op: s.op, sign: word, at: at, kids: []*node{left}}
		if s.op == opIn {
			err = p.list(n)
		} else {
			var right *node
			right, err = p.binary(s.rank + 1)
			n.kids = append(n.kids, right)
		}
		if err != nil {
			return nil, err
		}
		if n.kind, err = p.check(n); err != nil {
			return nil, err
		}
		left = n
	}
}

// misspelt names the operator that was meant.
func (p *parser) misspelt(word string, at int) error {
	meant := map[string]string{
		"and": "&&", "or": "||", "not": "!", "=": "==", "&": "&&", "|": "||", "<>": "!=",
	}[word]
	if meant == "" {
		return nil
	}
	return p.errorf(at, "unexpected %q; did you mean %q?", word, meant)
}

// list reads [a, b, c] into the operands of in.
func (p *parser) list(n *node) error {
	if err := p.want("["); err != nil {
		return err
	}
	for {
		item, err := p.unary()
		if err != nil {
			return err
		}
		if item.op != opText && item.op != opNumber {
			return p.errorf(item.at, "%s in a list, want texts in quotes or numbers", item)
		}
		n.kids = append(n.kids, item)
		word, at := p.peek()
		p.at = at + len(word)
		switch word {
		case "]":
			return nil
		case ",":
		default:
			return p.errorf(at, "unexpected %q; want , or ] in the list", word)
		}
	}
}

func (p *parser) unary() (*node, error) {
	if p.depth++; p.depth > depthMax {
		return nil, p.errorf(p.at, "nested deeper than %d levels", depthMax)
	}
	defer func() { p.depth-- }()
	word, at := p.peek()
	p.at = at + len(word)
	switch {
	case word == "":
		return nil, p.errorf(at, "ends too early; want a figure or a value")
	case word == "(":
		n, err := p.binary(1)
		if err != nil {
			return nil, err
		}
		return n, p.want(")")
	case word == "!" || word == "-":
		return p.prefixed(word, at)
	case word[0] == '\'' || word[0] == '"':
		return p.quoted(word, at)
	case isDigit(word[0]) || word[0] == '.':
		return p.number(word, at)
	case isLetter(word[0]):
		return p.named(word, at)
	}
	return nil, p.errorf(at, "unexpected %q; want a figure or a value", word)
}

func (p *parser) prefixed(sign string, at int) (*node, error) {
	kid, err := p.unary()
	if err != nil {
		return nil, err
	}
	n := &node{op: opNot, kind: Bool, at: at, kids: []*node{kid}}
	if sign == "-" {
		n.op, n.kind = opMinus, kid.kind
		if kid.kind == Text || kid.kind == Bool {
			return nil, p.errorf(at, "minus before %s", kid.kind)
		}
		return n, nil
	}
	if kid.kind != Bool {
		return nil, p.errorf(at, "! before %s, want a condition", kid.kind)
	}
	return n, nil
}

func (p *parser) quoted(word string, at int) (*node, error) {
	if len(word) < 2 || word[len(word)-1] != word[0] {
		return nil, p.errorf(at, "a text without its closing %c", word[0])
	}
	text := word[1 : len(word)-1]
	if strings.ContainsAny(text, "'\n") {
		return nil, p.errorf(at, "a text with a quote or a new line in it")
	}
	return &node{op: opText, kind: Text, arg: text, at: at}, nil
}

// units are what may follow a number: the kind it makes and the factor.
var units = map[string]struct {
	kind   Kind
	factor float64
}{
	"":  {Number, 1},
	"%": {Share, 0.01},
	"ms": {
		Duration,
		0.001,
	},
	"s":   {Duration, 1},
	"m":   {Duration, 60},
	"h":   {Duration, 3600},
	"d":   {Duration, 86400},
	"B":   {Bytes, 1},
	"KB":  {Bytes, 1e3},
	"MB":  {Bytes, 1e6},
	"GB":  {Bytes, 1e9},
	"KiB": {Bytes, 1 << 10},
	"MiB": {Bytes, 1 << 20},
	"GiB": {Bytes, 1 << 30},
}

// number reads 5, 99.5%, 20m, 1h30m, 4MB.
func (p *parser) number(word string, at int) (*node, error) {
	n := &node{op: opNumber, at: at, name: word}
	for rest := word; rest != ""; {
		digits := span(rest, func(c byte) bool { return isDigit(c) || c == '.' })
		unit := span(rest[len(digits):], func(c byte) bool { return isLetter(c) || c == '%' })
		num, err := strconv.ParseFloat(digits, 64)
		u, known := units[unit]
		if err != nil || !known || math.IsInf(num, 0) || n.kind == Duration && u.kind != Duration ||
			n.kind != 0 && n.kind != Duration {
			return nil, p.errorf(
				at,
				"%q is no number with a unit; want such as 5, 99.5%%, 250ms, 20m, 34h, 30d, 4MB",
				word,
			)
		}
		n.kind = u.kind
		if u.factor < 1 { // 99.5/100 is nearer to what is meant than 99.5*0.01
			n.num += num / math.Round(1/u.factor)
		} else {
			n.num += num * u.factor
		}
		rest = rest[len(digits)+len(unit):]
	}
	return n, nil
}

// named reads a field, a call, true or false.
func (p *parser) named(word string, at int) (*node, error) {
	if word == "true" || word == "false" {
		return &node{op: opNumber, kind: Bool, num: truth(word == "true").Num, name: word, at: at}, nil
	}
	if next, _ := p.peek(); next == "(" {
		return p.call(word, at)
	}
	f, ok := p.names.Fields[word]
	if !ok {
		return nil, p.unknown(word, at)
	}
	return &node{op: opField, kind: f.Kind, name: word, at: at}, nil
}

func (p *parser) call(word string, at int) (*node, error) {
	f, ok := p.names.Funcs[word]
	sample := word == "sample" && p.names.Sample
	if !ok && !sample {
		return nil, p.unknown(word, at)
	}
	if err := p.want("("); err != nil {
		return nil, err
	}
	arg, err := p.unary()
	if err != nil {
		return nil, err
	}
	if sample {
		whole := arg.kind == Number && arg.num == math.Trunc(arg.num) && arg.num >= 1 && arg.num <= 1e9
		part := arg.kind == Share && arg.num > 0 && arg.num <= 1
		if arg.op != opNumber || !whole && !part {
			return nil, p.errorf(arg.at, "sample(%s): want a count such as 3 or a share such as 5%%", arg)
		}
		return &node{op: opSample, kind: Bool, num: arg.num, at: at, kids: []*node{arg}}, p.want(")")
	}
	if arg.op != opText {
		return nil, p.errorf(arg.at, "%s(%s): want the %s in quotes", word, arg, f.Arg)
	}
	return &node{op: opCall, kind: f.Kind, name: word, arg: arg.arg, at: at}, p.want(")")
}

func (p *parser) unknown(word string, at int) error {
	var known []string
	for name := range p.names.Fields {
		known = append(known, name)
	}
	for name, f := range p.names.Funcs {
		known = append(known, name+"('"+f.Arg+"')")
	}
	if p.names.Sample {
		known = append(known, "sample(N)")
	}
	slices.Sort(known)
	return p.errorf(at, "unknown figure %q%s", word, nearest.Suggest(word, known))
}

func (p *parser) want(word string) error {
	got, at := p.peek()
	if got == "" {
		return p.errorf(at, "ends too early; want %q", word)
	}
	if got != word {
		return p.errorf(at, "unexpected %q; want %q", got, word)
	}
	p.at = at + len(word)
	return nil
}

// peek returns the next word and where it begins, and takes nothing.
func (p *parser) peek() (string, int) {
	at := p.at
	for at < len(p.text) && strings.IndexByte(" \t\n\r", p.text[at]) >= 0 {
		at++
	}
	rest := p.text[at:]
	switch {
	case rest == "":
		return "", at
	case rest[0] == '\'' || rest[0] == '"':
		if end := strings.IndexByte(rest[1:], rest[0]); end >= 0 {
			return rest[:end+2], at
		}
		return rest, at
	case isDigit(rest[0]) || rest[0] == '.':
		return span(
			rest,
			func(c byte) bool { return isDigit(c) || isLetter(c) && c != '_' || c == '.' || c == '%' },
		), at
	case isLetter(rest[0]):
		return span(rest, func(c byte) bool { return isDigit(c) || isLetter(c) || c == '.' }), at
	}
	for _, two := range []string{"&&", "||", "==", "!=", "<=", ">=", "<>"} {
		if strings.HasPrefix(rest, two) {
			return two, at
		}
	}
	return rest[:max(1, runeLen(rest))], at
}

// span returns the longest beginning of s all of whose bytes are in.
func span(s string, in func(byte) bool) string {
	for i := range len(s) {
		if !in(s[i]) {
			return s[:i]
		}
	}
	return s
}

func runeLen(s string) int {
	for i := range s {
		if i > 0 {
			return i
		}
	}
	return len(s)
}

func isDigit(c byte) bool  { return c >= '0' && c <= '9' }
func isLetter(c byte) bool { return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_' }

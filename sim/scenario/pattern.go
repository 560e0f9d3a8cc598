package scenario

import (
	"fmt"
	"strconv"
	"strings"
)

// Pattern makes a text from an agent's number: "store-{i/5}" gives store-0 to agents 0
// to 4. Within braces i, counted from 0, goes with whole numbers and + - * / %, from
// left to right; {group} is the group's name.
type Pattern struct {
	text  string
	parts []part
}

// part is a plain text or, with ops, a number.
type part struct {
	text  string
	group bool
	ops   []arith // nil for a text
}

type arith struct {
	sign byte
	by   int
}

// String returns the pattern as written.
func (p Pattern) String() string { return p.text }

// Of returns the text for agent i of group.
func (p Pattern) Of(group string, i int) string {
	var b strings.Builder
	for _, part := range p.parts {
		switch {
		case part.group:
			b.WriteString(group)
		case part.ops == nil:
			b.WriteString(part.text)
		default:
			b.WriteString(strconv.Itoa(part.number(i)))
		}
	}
	return b.String()
}

// Varies reports whether the text depends on the agent.
func (p Pattern) Varies() bool {
	for _, part := range p.parts {
		if part.ops != nil {
			return true
		}
	}
	return false
}

func (p *part) number(i int) int {
	for _, op := range p.ops {
		switch op.sign {
		case '+':
			i += op.by
		case '-':
			i -= op.by
		case '*':
			i *= op.by
		case '/':
			i /= op.by
		default:
			i %= op.by
		}
	}
	return i
}

// ParsePattern reads a pattern. The error says which braces cannot be read.
func ParsePattern(text string) (Pattern, error) {
	p := Pattern{text: text}
	for rest := text; rest != ""; {
		plain, after, open := strings.Cut(rest, "{")
		if plain != "" {
			p.parts = append(p.parts, part{text: plain})
		}
		if !open {
			break
		}
		inner, tail, closed := strings.Cut(after, "}")
		if !closed {
			return p, fmt.Errorf("pattern %q: a { without its }", text)
		}
		piece, err := parseBraces(inner)
		if err != nil {
			return p, fmt.Errorf("pattern %q: {%s}: %w", text, inner, err)
		}
		p.parts = append(p.parts, piece)
		rest = tail
	}
	return p, nil
}

const patternNumberMax = 1_000_000

func parseBraces(inner string) (part, error) {
	word := strings.ReplaceAll(inner, " ", "")
	if word == "group" {
		return part{group: true}, nil
	}
	rest, ok := strings.CutPrefix(word, "i")
	if !ok {
		return part{}, fmt.Errorf("want {i}, arithmetic such as {i/5} or {i%%5+1}, or {group}")
	}
	out := part{ops: []arith{}}
	for rest != "" {
		sign := rest[0]
		if !strings.ContainsRune("+-*/%", rune(sign)) {
			return part{}, fmt.Errorf("%q after i, want one of + - * / %%", rest)
		}
		rest = rest[1:]
		end := strings.IndexAny(rest, "+-*/%")
		if end < 0 {
			end = len(rest)
		}
		by, err := strconv.Atoi(rest[:end])
		switch {
		case err != nil || by < 0 || by > patternNumberMax:
			return part{}, fmt.Errorf("%q, want a whole number from 0 to %d", rest[:end], patternNumberMax)
		case by == 0 && (sign == '/' || sign == '%'):
			return part{}, fmt.Errorf("division by 0")
		}
		out.ops = append(out.ops, arith{sign, by})
		rest = rest[end:]
	}
	return out, nil
}

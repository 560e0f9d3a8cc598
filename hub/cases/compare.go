package cases

import (
	"bytes"
	"encoding/json"
	"maps"
	"math/big"
	"reflect"
	"slices"
	"strings"

	"github.com/stavily/stavily/protocol"
	"github.com/stavily/stavily/wasmhost"
)

// plain returns a value as JSON's data model has it, numbers as they are written. What is
// no value, which the host lets through nowhere, is nil.
func plain(v protocol.Raw) any {
	if len(v) == 0 {
		return nil
	}
	dec := json.NewDecoder(bytes.NewReader(wasmhost.ToJSON(v)))
	dec.UseNumber()
	var out any
	if dec.Decode(&out) != nil {
		return nil
	}
	return out
}

// aligned returns got as it is compared with want: numbers that are equal are written the
// same, 80 and 80.0 for example, and with part the keys that want does not have are left
// out of mappings.
func aligned(want, got any, part bool) any {
	switch w := want.(type) {
	case map[string]any:
		g, ok := got.(map[string]any)
		if !ok {
			return got
		}
		out := map[string]any{}
		for key, value := range g {
			if inner, has := w[key]; has {
				out[key] = aligned(inner, value, part)
			} else if !part {
				out[key] = value
			}
		}
		return out
	case []any:
		g, ok := got.([]any)
		if !ok {
			return got
		}
		out := slices.Clone(g)
		for i := range min(len(w), len(g)) {
			out[i] = aligned(w[i], g[i], part)
		}
		return out
	case json.Number:
		if g, ok := got.(json.Number); ok && sameNumber(w, g) {
			return w
		}
	}
	return got
}

func sameNumber(a, b json.Number) bool {
	x, okX := new(big.Rat).SetString(a.String())
	y, okY := new(big.Rat).SetString(b.String())
	return okX && okY && x.Cmp(y) == 0
}

// differ returns how got differs from want as lines for a person, none when it does not:
// "- " what was wanted, "+ " what was got.
func differ(want, got any, part bool) []string {
	got = aligned(want, got, part)
	if reflect.DeepEqual(want, got) {
		return nil
	}
	return diff(lines(want), lines(got))
}

// has reports whether got has all that want says.
func has(want, got any) bool {
	return reflect.DeepEqual(want, aligned(want, got, true))
}

// lines spells a value, one thing a line, keys in ascending order.
func lines(v any) []string {
	var b strings.Builder
	spell(&b, v, "")
	return strings.Split(b.String(), "\n")
}

func spell(b *strings.Builder, v any, indent string) {
	deeper := indent + "  "
	switch v := v.(type) {
	case map[string]any:
		if len(v) == 0 {
			b.WriteString("{}")
			return
		}
		b.WriteString("{")
		for _, key := range slices.Sorted(maps.Keys(v)) {
			b.WriteString("\n" + deeper + quoted(key) + ": ")
			spell(b, v[key], deeper)
		}
		b.WriteString("\n" + indent + "}")
	case []any:
		if len(v) == 0 {
			b.WriteString("[]")
			return
		}
		b.WriteString("[")
		for _, item := range v {
			b.WriteString("\n" + deeper)
			spell(b, item, deeper)
		}
		b.WriteString("\n" + indent + "]")
	default:
		b.WriteString(quoted(v))
	}
}

// quoted returns a scalar as JSON on one line.
func quoted(v any) string {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return "?"
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// The bounds of a difference that is shown.
const (
	diffLinesMax = 400 // of one side that are compared
	diffShownMax = 60
)

// diff shows two texts as one: what both have once, the rest marked.
func diff(want, got []string) []string {
	want, got = cut(want), cut(got)
	// common[i][j] is how many lines want[i:] and got[j:] have in common.
	common := make([][]int, len(want)+1)
	for i := range common {
		common[i] = make([]int, len(got)+1)
	}
	for i := len(want) - 1; i >= 0; i-- {
		for j := len(got) - 1; j >= 0; j-- {
			if want[i] == got[j] {
				common[i][j] = common[i+1][j+1] + 1
			} else {
				common[i][j] = max(common[i+1][j], common[i][j+1])
			}
		}
	}
	var out []string
	for i, j := 0, 0; i < len(want) || j < len(got); {
		switch {
		case i < len(want) && j < len(got) && want[i] == got[j]:
			out = append(out, "  "+want[i])
			i, j = i+1, j+1
		case j == len(got) || i < len(want) && common[i+1][j] >= common[i][j+1]:
			out = append(out, "- "+want[i])
			i++
		default:
			out = append(out, "+ "+got[j])
			j++
		}
	}
	if len(out) > diffShownMax {
		out = append(out[:diffShownMax], "  ...")
	}
	return out
}

func cut(text []string) []string {
	if len(text) > diffLinesMax {
		return append(slices.Clone(text[:diffLinesMax]), "...")
	}
	return text
}

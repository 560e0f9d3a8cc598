package deploy

import (
	"bytes"
	"encoding/json"
	"maps"
	"math"
	"slices"

	"github.com/stavily/stavily/protocol"
	"github.com/stavily/stavily/protocol/condition"
)

// DeviceSchema returns the part of a JSON Schema that devices check, encoded as a
// condition.Schema, nil for nothing; and the keywords in it that only the hub checks, in
// ascending order. The schema is one that CompileSchema takes.
func DeviceSchema(text []byte) (schema []byte, beyond []string) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	var doc any
	if d.Decode(&doc) != nil {
		return nil, nil
	}
	l := lowering{beyond: map[string]bool{}}
	out := protocol.MustMarshal(l.schema(doc))
	beyond = slices.Sorted(maps.Keys(l.beyond))
	var again condition.Schema // as a device reads it: within its bounds
	switch err := protocol.Unmarshal(out, &again); {
	case err != nil || len(out) > protocol.ConfigMax:
		return nil, []string{"all of it: too large or too deep for a device"}
	case len(out) == 1: // an empty map: nothing is asked
		return nil, beyond
	}
	return out, beyond
}

// lowering takes a schema down to what a device checks. It leaves out, and never asks more.
type lowering struct{ beyond map[string]bool }

// annotations are the keywords that ask nothing.
var annotations = []string{
	"$schema", "$id", "id", "$comment", "$defs", "definitions", "title", "description", "default", "examples",
	"deprecated", "readOnly", "writeOnly",
}

func (l *lowering) schema(v any) (s condition.Schema) {
	m, ok := v.(map[string]any)
	if !ok {
		s.Never = v == false
		return s
	}
	if m["$ref"] != nil { // in older drafts, what stands beside it does not hold
		l.beyond["$ref"] = true
		return s
	}
	for _, key := range slices.Sorted(maps.Keys(m)) {
		if !slices.Contains(annotations, key) && !l.keyword(&s, key, m) {
			l.beyond[key] = true
		}
	}
	return s
}

// keyword takes one keyword in, and reports whether it could.
func (l *lowering) keyword(s *condition.Schema, key string, m map[string]any) (ok bool) {
	v := m[key]
	switch key {
	case "type":
		s.Kinds, ok = kindsOf(v)
	case "enum", "const":
		return values(s, key, v)
	case "minimum":
		s.AtLeast, ok = number(v)
	case "maximum":
		s.AtMost, ok = number(v)
	case "exclusiveMinimum":
		s.Above, ok = number(v)
	case "exclusiveMaximum":
		s.Below, ok = number(v)
	case "minLength":
		s.LengthMin, ok = whole(v)
	case "minItems":
		s.ItemsMin, ok = whole(v)
	case "maxLength":
		s.LengthMax, ok = most(v)
	case "maxItems":
		s.ItemsMax, ok = most(v)
	case "pattern":
		s.Pattern, ok = v.(string)
	case "items":
		return m["prefixItems"] == nil && l.below(v, func(of condition.Schema) { s.Items = &of })
	case "required":
		return required(s, v)
	case "properties":
		return l.properties(s, v)
	case "additionalProperties":
		return m["patternProperties"] == nil && l.below(v, func(of condition.Schema) { s.Others = &of })
	}
	return ok
}

// below lowers a schema within another.
func (l *lowering) below(v any, take func(condition.Schema)) bool {
	switch v.(type) {
	case bool, map[string]any:
		take(l.schema(v))
		return true
	}
	return false
}

func (l *lowering) properties(s *condition.Schema, v any) bool {
	of, ok := v.(map[string]any)
	for _, name := range slices.Sorted(maps.Keys(of)) {
		s.Properties = append(s.Properties, condition.Property{Name: name, Schema: l.schema(of[name])})
	}
	return ok
}

func required(s *condition.Schema, v any) bool {
	names, ok := v.([]any)
	for _, n := range names {
		if name, isText := n.(string); isText {
			s.Required = append(s.Required, name)
		}
	}
	return ok
}

// values takes an enum in, or a const, which is an enum of one.
func values(s *condition.Schema, key string, v any) bool {
	list := []any{v}
	if key == "enum" {
		list, _ = v.([]any)
	}
	if len(s.Enum) > 0 || len(list) == 0 {
		return false
	}
	for _, one := range list {
		raw, ok := literal(one)
		if !ok {
			s.Enum = nil
			return false
		}
		s.Enum = append(s.Enum, raw)
	}
	return true
}

// literal writes a value of a JSON text as a configuration has it.
func literal(v any) (protocol.Raw, bool) {
	exact := true
	raw, err := protocol.Marshal(plainOf(v, &exact))
	return raw, err == nil && exact
}

func plainOf(v any, exact *bool) any {
	switch v := v.(type) {
	case json.Number:
		raw, ok := number(v)
		*exact = *exact && ok
		return raw
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = plainOf(v[i], exact)
		}
		return out
	case map[string]any:
		out := make(map[string]any, len(v))
		for k, x := range v { // into a map: order does not matter
			out[k] = plainOf(x, exact)
		}
		return out
	}
	return v
}

// number encodes a number as a configuration has it: whole ones that fit as such.
func number(v any) (protocol.Raw, bool) {
	n, ok := v.(json.Number)
	if !ok {
		return nil, false
	}
	if i, err := n.Int64(); err == nil {
		return protocol.MustMarshal(i), true
	}
	f, err := n.Float64()
	return protocol.MustMarshal(f), err == nil && (f != math.Trunc(f) || math.Abs(f) < 1<<53)
}

func whole(v any) (int64, bool) {
	n, _ := v.(json.Number)
	f, err := n.Float64()
	return int64(f), err == nil && f == math.Trunc(f) && f >= 0 && f < 1<<53
}

func most(v any) (*int64, bool) {
	n, ok := whole(v)
	if !ok {
		return nil, false
	}
	return &n, true
}

// kindsOf reads a type, or a list of them.
func kindsOf(v any) (out condition.Kinds, ok bool) {
	list, many := v.([]any)
	if !many {
		list = []any{v}
	}
	for _, one := range list {
		name, _ := one.(string)
		at := slices.Index(condition.KindNames[:], name)
		if at < 0 {
			return 0, false
		}
		out |= 1 << at
	}
	return out, out != 0
}

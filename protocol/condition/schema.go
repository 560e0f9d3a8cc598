package condition

import (
	"math"
	"regexp"
	"strconv"
	"unicode/utf8"

	"github.com/stavily/stavily/protocol"
)

// Kinds is a set of JSON's types.
type Kinds uint8

// The types. Every whole number is an integer, 1.0 too.
const (
	KindNull    Kinds = 1 << 0
	KindBoolean Kinds = 1 << 1
	KindInteger Kinds = 1 << 2
	KindNumber  Kinds = 1 << 3
	KindString  Kinds = 1 << 4
	KindArray   Kinds = 1 << 5
	KindObject  Kinds = 1 << 6
)

// Schema is what a configuration must be, as it travels: the part of JSON Schema that a
// device checks, with the same meaning. What is not there is not asked.
type Schema struct {
	Never      bool           `cbor:"1,keyasint,omitempty"` // nothing is good
	Kinds      Kinds          `cbor:"2,keyasint,omitempty"` // 0: any
	Enum       []protocol.Raw `cbor:"3,keyasint,omitempty"`
	AtLeast    protocol.Raw   `cbor:"4,keyasint,omitempty"` // of numbers
	AtMost     protocol.Raw   `cbor:"5,keyasint,omitempty"`
	Above      protocol.Raw   `cbor:"6,keyasint,omitempty"`
	Below      protocol.Raw   `cbor:"7,keyasint,omitempty"`
	LengthMin  int64          `cbor:"8,keyasint,omitempty"` // of texts, in characters
	LengthMax  *int64         `cbor:"9,keyasint,omitempty"`
	ItemsMin   int64          `cbor:"10,keyasint,omitempty"` // of lists
	ItemsMax   *int64         `cbor:"11,keyasint,omitempty"`
	Items      *Schema        `cbor:"12,keyasint,omitempty"`
	Required   []string       `cbor:"13,keyasint,omitempty"` // of maps
	Properties []Property     `cbor:"14,keyasint,omitempty"`
	Others     *Schema        `cbor:"15,keyasint,omitempty"` // of keys that are no Properties
	Pattern    string         `cbor:"16,keyasint,omitempty"` // RE2, somewhere in a text
}

// Property is what the value under one key of a map must be.
type Property struct {
	Name   string `cbor:"1,keyasint"`
	Schema Schema `cbor:"2,keyasint"`
}

// ParseSchema reads an encoded Schema. The error has CodeBadMessage for what is none.
func ParseSchema(b []byte) (*Schema, error) {
	s := &Schema{}
	return s, protocol.Unmarshal(b, s)
}

// Check holds a configuration to s; none at all is an empty map. The error has CodeBadInput and
// names the first place and the rule that it breaks.
func (s *Schema) Check(config protocol.Raw) error {
	var v value = &record{}
	if len(config) > 0 {
		var err error
		if v, err = decode(config); err != nil {
			return err
		}
	}
	return s.check(v, nil)
}

// check holds v, which stands at path, to s.
func (s *Schema) check(v value, path []string) error {
	bad := func(format string, args ...any) error {
		return unfit("%s: %w", Place(path), unfit(format, args...))
	}
	switch {
	case s.Never:
		return bad("not allowed here")
	case s.Kinds != 0 && s.Kinds&kindsOf(v) == 0:
		return bad("type: got %s, want %s", kindsOf(v), s.Kinds)
	case len(s.Enum) > 0 && !s.among(v):
		return bad("enum: %s is none of its values", brief(v))
	}
	switch v := v.(type) {
	case int64, uint64, float64:
		if rule, limit := s.beyond(v); rule != "" {
			return bad("%s: got %s, want %s", rule, brief(v), brief(limit))
		}
	case string:
		if rule, limit := outside(utf8.RuneCountInString(v), s.LengthMin, s.LengthMax); rule != "" {
			return bad("%sLength: got %d characters, want %d", rule, utf8.RuneCountInString(v), limit)
		}
		if good, err := regexp.MatchString(s.Pattern, v); s.Pattern != "" && (err != nil || !good) {
			return bad("pattern: %s does not match %q", brief(v), s.Pattern)
		}
	case []value:
		if rule, limit := outside(len(v), s.ItemsMin, s.ItemsMax); rule != "" {
			return bad("%sItems: got %d, want %d", rule, len(v), limit)
		}
		return s.checkItems(v, path)
	case *record:
		return s.checkKeys(v, path)
	}
	return nil
}

func (s *Schema) checkItems(v []value, path []string) error {
	for i := range v {
		if s.Items == nil {
			return nil
		}
		if err := s.Items.check(v[i], below(path, strconv.Itoa(i))); err != nil {
			return err
		}
	}
	return nil
}

func (s *Schema) checkKeys(r *record, path []string) error {
	for _, name := range s.Required {
		if _, found := r.find(name); !found {
			return unfit("%s: required: missing", Place(below(path, name)))
		}
	}
	for i, k := range r.keys {
		key, _ := k.(string)
		of := s.Others
		for p := range s.Properties {
			if s.Properties[p].Name == key {
				of = &s.Properties[p].Schema
			}
		}
		if of == nil {
			continue
		}
		if err := of.check(r.values[i], below(path, key)); err != nil {
			return err
		}
	}
	return nil
}

func below(path []string, part string) []string { return append(path[:len(path):len(path)], part) }

func (s *Schema) among(v value) bool {
	for _, raw := range s.Enum {
		if one, err := decode(raw); err == nil && equal(one, v) {
			return true
		}
	}
	return false
}

// beyond names the bound that a number breaks, as JSON Schema does.
func (s *Schema) beyond(v value) (rule string, limit value) {
	for _, b := range [...]struct {
		raw  protocol.Raw
		rule string
		good func(order int) bool
	}{
		{s.AtLeast, "minimum", func(order int) bool { return order >= 0 }},
		{s.AtMost, "maximum", func(order int) bool { return order <= 0 }},
		{s.Above, "exclusiveMinimum", func(order int) bool { return order > 0 }},
		{s.Below, "exclusiveMaximum", func(order int) bool { return order < 0 }},
	} {
		if len(b.raw) == 0 {
			continue
		}
		limit, err := decode(b.raw)
		if order, ok := compare(v, limit); err != nil || !ok || !b.good(order) {
			return b.rule, limit
		}
	}
	return "", nil
}

// outside says which of two bounds n breaks, and that bound.
func outside(n int, least int64, most *int64) (rule string, limit int64) {
	switch {
	case int64(n) < least:
		return "min", least
	case most != nil && int64(n) > *most:
		return "max", *most
	}
	return "", 0
}

func kindsOf(v value) Kinds {
	switch v := v.(type) {
	case nil:
		return KindNull
	case bool:
		return KindBoolean
	case int64, uint64:
		return KindInteger | KindNumber
	case float64:
		if v == math.Trunc(v) {
			return KindInteger | KindNumber
		}
		return KindNumber
	case string:
		return KindString
	case []value:
		return KindArray
	case *record:
		return KindObject
	default:
		return 0
	}
}

// KindNames are the types by JSON Schema's names, in the order of their bits.
var KindNames = [...]string{"null", "boolean", "integer", "number", "string", "array", "object"}

// String returns the names, joined by "or"; for what is an integer and a number, the first.
func (k Kinds) String() string {
	text := ""
	for i, name := range KindNames {
		if k&(1<<i) == 0 || name == "number" && k&KindInteger != 0 {
			continue
		}
		if text != "" {
			text += " or "
		}
		text += name
	}
	return text
}

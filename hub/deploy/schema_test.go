package deploy

import (
	"encoding/json"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/stavily/stavily/protocol"
	"github.com/stavily/stavily/protocol/condition"
)

// onDevice holds a configuration to what a device gets of a schema.
func onDevice(t testing.TB, schema string, config any) error {
	t.Helper()
	compiled, _ := DeviceSchema([]byte(schema))
	if compiled == nil {
		return nil
	}
	s, err := condition.ParseSchema(compiled)
	if err != nil {
		t.Fatal(err)
	}
	return s.Check(protocol.MustMarshal(config))
}

func atHub(t testing.TB, schema string, config any) error {
	t.Helper()
	compiled, err := CompileSchema("s.json", []byte(schema))
	if err != nil {
		t.Fatalf("%s: %v", schema, err)
	}
	_, err = Validate(compiled, config)
	return err
}

// M-28: what a device says of a configuration names its place and the rule.
func TestDeviceSchemaSays(t *testing.T) {
	for _, c := range []struct {
		schema, config, want string
	}{
		{`{"type":"object"}`, `{}`, ""},
		{`{"type":["string","null"]}`, `3`, "with: type: got integer, want null or string"},
		{`{"properties":{"a":{"items":{"type":"integer"}}}}`, `{"a":[1,2.0,2.5]}`, "with.a[2]: type: got number, want integer"},
		{`{"enum":["x",1,{"a":[1]}]}`, `{"a":[1.0]}`, ""},
		{`{"enum":["x",1]}`, `true`, "with: enum: true is none of its values"},
		{`{"const":null}`, `0`, "with: enum: 0 is none of its values"},
		{`{"minimum":3}`, `2.5`, "with: minimum: got 2.5, want 3"},
		{`{"exclusiveMaximum":0.5}`, `0.5`, "with: exclusiveMaximum: got 0.5, want 0.5"},
		{`{"maximum":9007199254740993}`, `9007199254740994`, "with: maximum: got 9007199254740994, want 9007199254740993"},
		{`{"minLength":2}`, `"ü"`, "with: minLength: got 1 characters, want 2"},
		{`{"maxLength":0}`, `"x"`, "with: maxLength: got 1 characters, want 0"},
		{`{"pattern":"^a+$"}`, `"ab"`, `with: pattern: "ab" does not match "^a+$"`},
		{`{"minItems":1}`, `[]`, "with: minItems: got 0, want 1"},
		{`{"required":["a","b"]}`, `{"a":null}`, "with.b: required: missing"},
		{`{"properties":{"a":true},"additionalProperties":false}`, `{"a":1,"c":2}`, "with.c: not allowed here"},
		{`{"additionalProperties":{"type":"string"}}`, `{"a":1}`, "with.a: type: got integer, want string"},
	} {
		var config any
		if err := json.Unmarshal([]byte(c.config), &config); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(c.config, "9007") {
			config = int64(9007199254740994)
		}
		err := onDevice(t, c.schema, config)
		got := ""
		if err != nil {
			got = err.Error()
		}
		// A double that encoding/json made of 1 is the integer 1 to both.
		if strings.ReplaceAll(got, "got number, want string", "got integer, want string") != c.want || (atHub(t, c.schema, config) == nil) != (err == nil) {
			t.Errorf("%s of %s: got %q, want %q; the hub says %v", c.schema, c.config, got, c.want, atHub(t, c.schema, config))
		}
	}
}

// What a device does not check is named, and it is never stricter than the hub.
func TestDeviceSchemaLeavesOut(t *testing.T) {
	for schema, want := range map[string]string{
		`{"title":"x","type":"object"}`:                                   "",
		`{"$ref":"#/$defs/a","type":"object","$defs":{"a":{}}}`:           "$ref",
		`{"anyOf":[{"type":"string"}],"multipleOf":2,"uniqueItems":true}`: "anyOf multipleOf uniqueItems",
		`{"patternProperties":{"a":{}},"additionalProperties":false}`:     "additionalProperties patternProperties",
		`{"prefixItems":[{}],"items":false}`:                              "items prefixItems",
		`{"properties":{"a":{"not":{}}},"propertyNames":{}}`:              "not propertyNames",
		`{"enum":[1e400]}`:         "enum",
		`{"const":1,"enum":[1,2]}`: "enum",
		strings.Repeat(`{"items":`, 40) + `{"type":"string"}` + strings.Repeat("}", 40): "all of it: too large or too deep for a device",
	} {
		if _, beyond := DeviceSchema([]byte(schema)); strings.Join(beyond, " ") != want {
			t.Errorf("%s: got %q, want %q", schema, beyond, want)
		}
	}
}

// FuzzDeviceSchema: device and hub say the same of any schema of the keywords that both have.
func FuzzDeviceSchema(f *testing.F) {
	for seed := range uint64(400) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, seed uint64) {
		s := schemas{rand.New(rand.NewPCG(seed, 3))}
		schema, err := json.Marshal(s.schema(3))
		if err != nil {
			t.Fatal(err)
		}
		for range 5 {
			config := s.value(3)
			device, hub := onDevice(t, string(schema), config), atHub(t, string(schema), config)
			if (device == nil) != (hub == nil) && config != nil { // no configuration is an empty one
				t.Errorf("%s of %v:\ndevice %v\nhub    %v", schema, config, device, hub)
			}
		}
	})
}

// schemas makes schemas and configurations up.
type schemas struct{ r *rand.Rand }

func (s schemas) schema(depth int) any {
	if depth == 0 || s.r.IntN(12) == 0 {
		return s.r.IntN(4) > 0
	}
	out := map[string]any{}
	for range 1 + s.r.IntN(3) {
		switch key := s.pick("type", "types", "enum", "const", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "minLength", "maxLength",
			"minItems", "maxItems", "items", "required", "properties", "additionalProperties", "pattern"); key {
		case "type":
			out[key] = s.pick(condition.KindNames[:]...)
		case "types":
			names := slices.Clone(condition.KindNames[:])
			s.r.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
			out["type"] = names[:1+s.r.IntN(3)]
		case "enum":
			if _, both := out["const"]; !both {
				out[key] = []any{s.value(1), s.value(2), s.value(1)}
			}
		case "const":
			if _, both := out["enum"]; !both {
				out[key] = s.value(2)
			}
		case "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum":
			out[key] = s.number()
		case "minLength", "maxLength", "minItems", "maxItems":
			out[key] = s.r.IntN(4)
		case "items", "additionalProperties":
			out[key] = s.schema(depth - 1)
		case "required":
			out[key] = []string{s.pick("a", "b")}
		case "properties":
			out[key] = map[string]any{s.pick("a", "b"): s.schema(depth - 1), "c": s.schema(depth - 1)}
		case "pattern":
			out[key] = s.pick("a", "^b", "^.{2}$", "ü")
		}
	}
	return out
}

func (s schemas) number() any {
	if s.r.IntN(2) == 0 {
		return int64(s.r.IntN(7) - 3)
	}
	return float64(s.r.IntN(14)-7) / 2
}

func (s schemas) value(depth int) any {
	n := s.r.IntN(9)
	if depth == 0 {
		n = s.r.IntN(6)
	}
	switch n {
	case 0:
		return nil
	case 1:
		return s.r.IntN(2) == 0
	case 2, 3:
		return s.number()
	case 4, 5:
		return s.pick("", "a", "ab", "ba", "üü", "abc", "b")
	case 6:
		list := make([]any, s.r.IntN(4))
		for i := range list {
			list[i] = s.value(depth - 1)
		}
		return list
	default:
		m := map[string]any{}
		for range s.r.IntN(4) {
			m[s.pick("a", "b", "c", "d")] = s.value(depth - 1)
		}
		return m
	}
}

func (s schemas) pick(of ...string) string { return of[s.r.IntN(len(of))] }

package hub

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"path"
	"slices"

	"github.com/stavily/stavily/hub/cases"
	"github.com/stavily/stavily/hub/deploy"
	"github.com/stavily/stavily/protocol"
	"github.com/stavily/stavily/wasmhost"
)

// The bounds of what both engines are asked of one release.
const (
	agreeConfigsMax = 4
	agreeCasesMax   = 16
	agreeGenerated  = 12
	agreeDepth      = 4 // of a configuration that is made from a schema
)

// questions is what a release is asked in both engines: the same for the same release.
type questions struct {
	configs []protocol.Raw
	asked   []wasmhost.Request
}

// questionsOf gathers configurations from the plugin's examples, its cases and its schema, or
// tries without any; and requests from its cases and from a seed.
func questionsOf(c *candidate) (q questions, err error) {
	m := &c.release.Manifest
	if q.configs, err = exampleConfigs(c); err != nil {
		return q, err
	}
	q.asked = asked(m.Plugin.Type)
	if c.tree != nil {
		files, err := cases.Find(c.tree, m)
		if err != nil {
			return q, err
		}
		q.takeCases(files, m.Plugin.Type)
	}
	schema := map[string]any{}
	if json.Unmarshal(c.release.Schema, &schema) == nil {
		q.takeSchema(c, schema)
	}
	if len(q.configs) == 0 {
		q.configs = []protocol.Raw{nil}
	}
	q.asked = append(q.asked, generated(m.Plugin.Type, slices.Sorted(maps.Keys(properties(schema))))...)
	return q, nil
}

// exampleConfigs returns the plugin's examples.
func exampleConfigs(c *candidate) ([]protocol.Raw, error) {
	dir := c.release.Manifest.Configuration.Examples
	if dir == "" {
		return nil, nil
	}
	names, err := exampleFiles(c.tree, path.Clean(dir))
	if err != nil {
		return nil, err
	}
	var out []protocol.Raw
	for _, name := range names[:min(len(names), agreeConfigsMax)] {
		config, _, err := readExample(c.tree, name)
		if err != nil {
			return nil, err
		}
		out = append(out, protocol.MustMarshal(config))
	}
	return out, nil
}

// config takes one more configuration.
func (q *questions) config(raw protocol.Raw) {
	same := func(have protocol.Raw) bool { return bytes.Equal(have, raw) }
	if len(q.configs) < agreeConfigsMax && !slices.ContainsFunc(q.configs, same) {
		q.configs = append(q.configs, raw)
	}
}

func (q *questions) takeCases(files []*cases.File, of protocol.PluginType) {
	taken := 0
	for _, f := range files {
		for i := range f.Cases {
			config, r := f.Cases[i].Asked(of)
			q.config(config)
			if taken++; taken <= agreeCasesMax {
				q.asked = append(q.asked, r)
			}
		}
	}
}

// takeSchema takes what can be made of a schema and fits it: with all that it has, and with no more
// than it wants.
func (q *questions) takeSchema(c *candidate, schema map[string]any) {
	compiled, err := deploy.CompileSchema(c.release.Manifest.Configuration.Schema, c.release.Schema)
	if err != nil {
		return // checked before: nothing here depends on it
	}
	for _, all := range []bool{true, false} {
		config := sample(schema, all, agreeDepth)
		if _, err := deploy.Validate(compiled, config); err == nil {
			q.config(protocol.MustMarshal(whole(config)))
		}
	}
}

// whole makes integers of numbers that are some, as they are when a person writes them.
func whole(v any) any {
	switch v := v.(type) {
	case float64:
		if n := int64(v); float64(n) == v && math.Abs(v) < 1<<53 {
			return n
		}
	case []any:
		for i := range v {
			v[i] = whole(v[i])
		}
	case map[string]any:
		for name := range v {
			v[name] = whole(v[name])
		}
	}
	return v
}

func properties(schema map[string]any) map[string]any {
	p, _ := schema["properties"].(map[string]any)
	return p
}

// sample makes a value for a schema: what it names itself, or else something small of its type.
// Whether it fits is for the caller to see.
func sample(schema map[string]any, all bool, depth int) any {
	for _, word := range []string{"default", "const"} {
		if v, have := schema[word]; have {
			return v
		}
	}
	for _, word := range []string{"examples", "enum"} {
		if list, ok := schema[word].([]any); ok && len(list) > 0 {
			return list[0]
		}
	}
	switch schema["type"] {
	case "object":
		return sampleObject(schema, all, depth)
	case "array":
		items, _ := schema["items"].(map[string]any)
		out := []any{}
		least, _ := schema["minItems"].(float64)
		for range min(int(max(least, 1)), 8) {
			if depth > 0 {
				out = append(out, sample(items, all, depth-1))
			}
		}
		return out
	case "integer", "number":
		if least, ok := schema["minimum"].(float64); ok {
			return least
		}
		if over, ok := schema["exclusiveMinimum"].(float64); ok {
			return over + 1
		}
		return float64(0)
	case "boolean":
		return all
	case "string":
		least, _ := schema["minLength"].(float64)
		return "example, and more of it than the least that may be asked for here"[:min(max(int(least), 7), 65)]
	}
	return nil
}

func sampleObject(schema map[string]any, all bool, depth int) map[string]any {
	out := map[string]any{}
	required, _ := schema["required"].([]any)
	of := properties(schema)
	for _, name := range slices.Sorted(maps.Keys(of)) {
		one, ok := of[name].(map[string]any)
		if ok && depth > 0 && (all || slices.Contains(required, any(name))) {
			out[name] = sample(one, all, depth-1)
		}
	}
	return out
}

// generated makes requests from a fixed seed: data and states that a plugin may not expect, in the
// words that it knows. Whether it answers or errs, both engines must do the same.
func generated(of protocol.PluginType, words []string) []wasmhost.Request {
	g := generator{rand.New(rand.NewPCG(1, 2)), append(words, "value", "text", "id")}
	var out []wasmhost.Request
	for i := range agreeGenerated {
		now := protocol.Stamp{UnixMS: 1_790_000_001_000 + int64(i)*60_000, Quality: protocol.QualityClock}
		r := wasmhost.Request{Now: now, Key: fmt.Sprintf("publish/%d", i)}
		data := protocol.MustMarshal(g.value(3))
		switch of {
		case protocol.Action, protocol.Output:
			r.Kind = wasmhost.Run
			if of == protocol.Output {
				r.Kind = wasmhost.Deliver
			}
			r.Event = &protocol.Event{
				Run: protocol.RunID{2, byte(i)}, Workflow: "publish", Revision: 1, Time: now, Data: data,
			}
		default:
			r.Kind, r.Key, r.State, r.Why = wasmhost.Wake, "", data, wasmhost.WhyTimer
			if i%3 == 0 {
				r.Why = wasmhost.WhyMessage
				r.Message = &wasmhost.Message{Topic: "publish/example", Data: protocol.MustMarshal(g.value(2))}
			}
			if i%4 == 0 {
				r.State = nil
			}
		}
		out = append(out, r)
	}
	return out
}

type generator struct {
	*rand.Rand
	words []string
}

// value draws a value, an object of the words that are known more often than anything else.
func (g generator) value(depth int) any {
	switch kind := g.IntN(10); {
	case depth > 0 && kind < 5:
		out := map[string]any{}
		for _, word := range g.words {
			if g.IntN(4) > 0 {
				out[word] = g.value(depth - 1)
			}
		}
		return out
	case depth > 0 && kind == 5:
		return []any{g.value(depth - 1), g.value(depth - 1)}
	case kind < 7:
		return []any{0, -1, 81.5, 1e300, int64(1) << 53, -0.0001, 12345}[g.IntN(7)]
	case kind < 9:
		return []any{"", "example", "ä€😀\x00\"\\", "2026-11-23T00:00:00Z", "-17", "a b\nc"}[g.IntN(6)]
	}
	return []any{nil, true, false}[g.IntN(3)]
}

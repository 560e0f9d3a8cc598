package condition

import (
	"strings"
	"testing"

	"github.com/stavily/stavily/protocol"
)

// tree is a tree that gives the event, or a part of it.
func tree(fields ...string) Tree {
	t := Tree{Text: "${{ x }}", Nodes: []Node{{Op: OpVar, Name: "event"}}}
	for i, f := range fields {
		t.Nodes = append(t.Nodes, Node{Op: OpField, Name: f, Args: []uint16{uint16(i)}})
	}
	return t
}

func encoded(holes ...Hole) []byte { return protocol.MustMarshal(Template{Holes: holes}) }

func TestNewFillingRefuses(t *testing.T) {
	config := protocol.MustMarshal(map[string]any{"a": []any{nil}, "b": 3})
	for name, c := range map[string]struct {
		template []byte
		want     string
	}{
		"nothing":         {nil, "EOF"},
		"no template":     {[]byte{1}, "decode"},
		"no places":       {encoded(), "0 places, want 1 to 64"},
		"too many":        {encoded(make([]Hole, HolesMax+1)...), "65 places"},
		"no tree":         {encoded(Hole{Path: []string{"b"}}), "0 nodes"},
		"no such key":     {encoded(Hole{[]string{"c"}, tree()}), "no place with.c"},
		"below a number":  {encoded(Hole{[]string{"b", "x"}, tree()}), "no place with.b.x"},
		"beyond the list": {encoded(Hole{[]string{"a", "1"}, tree()}), "no place with.a[1]"},
		"no index":        {encoded(Hole{[]string{"a", "-1"}, tree()}), "no place with.a.-1"},
	} {
		if _, err := NewFilling(config, c.template); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %s", name, err, c.want)
		}
	}
}

// Whatever an event holds, a filled configuration is one, of bounded size, and the next run
// begins with nothing of it.
func TestFillIsBounded(t *testing.T) {
	config := protocol.MustMarshal(map[string]any{"a": []any{nil, "kept"}})
	for name, c := range map[string]struct {
		event any
		want  string // "" for a configuration
	}{
		"a value":   {map[string]any{"v": map[string]any{"x": 1.0}}, ""},
		"null":      {map[string]any{"v": nil}, ""},
		"no value":  {map[string]any{}, `with.a[0]: ${{ x }}: no field "v"`},
		"bytes":     {map[string]any{"v": []byte{1}}, "gives bytes, which no configuration can hold"},
		"a key":     {map[string]any{"v": map[int]int{1: 2}}, "a map with a key of type int, want text"},
		"too large": {map[string]any{"v": strings.Repeat("x", protocol.ConfigMax)}, "more than ConfigMax 16384 bytes"},
		"too much":  {map[string]any{"v": strings.Repeat("x", protocol.ConfigMax-8)}, "bytes when filled, limit ConfigMax 16384"},
	} {
		f, err := NewFilling(config, encoded(Hole{[]string{"a", "0"}, tree("v")}))
		if err != nil {
			t.Fatal(err)
		}
		got, err := f.Fill(Vars{"event": protocol.MustMarshal(c.event)})
		m, _ := c.event.(map[string]any)
		want := protocol.MustMarshal(map[string]any{"a": []any{m["v"], "kept"}})
		switch {
		case c.want == "" && (err != nil || string(got) != string(want)):
			t.Errorf("%s: got %x, %v, want %x", name, got, err, want)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want) || protocol.CodeOf(err) != protocol.CodeBadInput):
			t.Errorf("%s: got %v, want %s", name, err, c.want)
		}
	}
}

// All places of a configuration together have the steps of one condition, and what shares its
// parts in memory does not unfold.
func TestFillEnds(t *testing.T) {
	long := Tree{Nodes: []Node{{Op: OpVar, Name: "event"}, literal(true), {Op: OpFold, Name: "x", Sum: "s", Args: []uint16{0, 1, 1, 1, 1}}}}
	var holes []Hole
	config := make([]any, HolesMax)
	for i := range config {
		holes = append(holes, Hole{[]string{strings.Repeat("1", min(i, 1)) + "0"}, long})
	}
	for name, holes := range map[string][]Hole{"steps": holes, "doubled": {{[]string{"0"}, doubling(OpList)}}} {
		f, err := NewFilling(protocol.MustMarshal(config), encoded(holes...))
		if err != nil {
			t.Fatal(err)
		}
		if out, err := f.Fill(Vars{"event": protocol.MustMarshal(make([]int, 4000))}); err == nil {
			t.Errorf("%s: filled with %d bytes", name, len(out))
		}
	}
}

// FuzzFill: no bytes make filling panic, take long, or come to what is no configuration.
func FuzzFill(f *testing.F) {
	config := protocol.MustMarshal(map[string]any{"a": []any{nil}, "b": nil})
	f.Add(config, encoded(Hole{[]string{"a", "0"}, tree("v")}), []byte{0xa1, 0x61, 'v', 1})
	f.Add([]byte{}, encoded(Hole{nil, tree()}), []byte{0xf6})
	f.Add(config, encoded(Hole{[]string{"b"}, doubling(OpAdd)}), []byte{0x01})
	f.Fuzz(func(t *testing.T, config, template, event []byte) {
		filling, err := NewFilling(config, template)
		if err != nil {
			return
		}
		out, err := filling.Fill(Vars{"event": event, "results": event})
		if err != nil {
			return
		}
		var v any
		if err := protocol.Unmarshal(out, &v); err != nil && protocol.CodeOf(err) != protocol.CodeBadMessage || len(out) > protocol.ConfigMax {
			t.Errorf("%d bytes: %v", len(out), err)
		}
	})
}

// FuzzSchema: no bytes make checking panic, and the same is good twice.
func FuzzSchema(f *testing.F) {
	most := int64(2)
	f.Add(protocol.MustMarshal(Schema{
		Kinds: KindObject, Required: []string{"a"}, Others: &Schema{Never: true}, Properties: []Property{
			{"a", Schema{Items: &Schema{Enum: []protocol.Raw{{1}}}, ItemsMax: &most}},
			{"b", Schema{Pattern: "a(", AtLeast: protocol.Raw{0x61, 'x'}}},
		},
	}), []byte{0xa2, 0x61, 'a', 0x81, 1, 0x61, 'b', 0x61, 'x'})
	f.Add([]byte{0xa0}, []byte{})
	f.Fuzz(func(t *testing.T, schema, config []byte) {
		s, err := ParseSchema(schema)
		if err != nil {
			return
		}
		first, again := s.Check(config), s.Check(config)
		if (first == nil) != (again == nil) {
			t.Errorf("%v and then %v", first, again)
		}
	})
}

func BenchmarkFill(b *testing.B) {
	f, err := NewFilling(protocol.MustMarshal(map[string]any{"a": []any{nil}, "to": "x", "n": 3}),
		encoded(Hole{[]string{"a", "0"}, tree("value")}))
	if err != nil {
		b.Fatal(err)
	}
	vars := Vars{"event": protocol.MustMarshal(map[string]any{"metric": "temperature.cpu", "value": 81.5, "for": 30})}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := f.Fill(vars); err != nil {
			b.Fatal(err)
		}
	}
}

package condition

import (
	"strings"
	"testing"

	"github.com/stavily/stavily/protocol"
)

func literal(v any) Node { return Node{Op: OpLiteral, Value: protocol.MustMarshal(v)} }

func TestNewRefuses(t *testing.T) {
	for _, c := range []struct {
		name string
		tree Tree
		want string
	}{
		{"no nodes", Tree{}, "0 nodes, want 1 to 256"},
		{"too many nodes", Tree{Nodes: make([]Node, NodesMax+1)}, "257 nodes"},
		{"long text", Tree{Nodes: []Node{literal(true)}, Text: strings.Repeat("x", TextMax+1)}, "text of 1025 bytes"},
		{"operation 0", Tree{Nodes: []Node{{}}}, "operation 0 is not known"},
		{"operation of a newer hub", Tree{Nodes: []Node{{Op: opEnd}}}, "operation 35 is not known"},
		{"too few arguments", Tree{Nodes: []Node{{Op: OpNot}}}, "operation 10 with 0 arguments, want 1"},
		{"a circle", Tree{Nodes: []Node{{Op: OpNot, Args: []uint16{0}}}}, "argument 0 is not before it"},
		{"half a pair", Tree{Nodes: []Node{literal(1), {Op: OpMap, Args: []uint16{0}}}}, "a map of 1 keys and values"},
		{"no literal", Tree{Nodes: []Node{{Op: OpLiteral}}}, "node 0"},
		{"no pattern", Tree{Nodes: []Node{literal("x"), {Op: OpMatches, Args: []uint16{0}, Name: "("}}}, "missing closing )"},
	} {
		if _, err := New(c.tree); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %s", c.name, err, c.want)
		}
	}
}

// doubling is a tree in which each node takes the one before it twice: 2^250 visits
// for whoever does not count.
func doubling(op Op) Tree {
	t := Tree{Nodes: []Node{literal("x")}}
	for i := range uint16(NodesMax - 2) {
		t.Nodes = append(t.Nodes, Node{Op: op, Args: []uint16{i, i}})
	}
	return t
}

// What a stranger could send ends soon and small.
func TestEvalIsBounded(t *testing.T) {
	long := make([]int, 4000)
	fold := Tree{Nodes: []Node{
		{Op: OpVar, Name: "event"},
		literal(true),
		{Op: OpFold, Name: "x", Sum: "s", Args: []uint16{0, 1, 1, 1, 1}},
		{Op: OpFold, Name: "y", Sum: "s", Args: []uint16{0, 1, 1, 2, 1}},
	}}
	key := doubling(OpList)
	key.Nodes[NodesMax-2] = Node{Op: OpMap}
	key.Nodes = append(key.Nodes, Node{Op: OpIndex, Args: []uint16{NodesMax - 2, NodesMax - 3}})
	for name, tree := range map[string]Tree{"key": key, "texts": doubling(OpAdd), "lists": doubling(OpList), "equality": doubling(OpEqual), "folds": fold} {
		c, err := New(tree)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Eval(Vars{"event": protocol.MustMarshal(long)}); err == nil {
			t.Errorf("%s: evaluated", name)
		}
	}
}

func TestEvalSaysWhatIsWrong(t *testing.T) {
	for _, c := range []struct {
		nodes []Node
		vars  Vars
		want  string
	}{
		{[]Node{{Op: OpVar, Name: "event"}}, nil, `if "text": no variable "event"`},
		{[]Node{{Op: OpVar, Name: "event"}}, Vars{"event": nil}, "gives null, want true or false"},
		{[]Node{{Op: OpVar, Name: "event"}}, Vars{"event": {0xff}}, "event: "},
		{[]Node{literal("x"), {Op: OpField, Name: "f", Args: []uint16{0}}}, nil, `field "f" of string`},
		{[]Node{literal(1), literal("x"), {Op: OpLess, Args: []uint16{0, 1}}}, nil, "int and string have no order"},
	} {
		cond, err := New(Tree{Nodes: c.nodes, Text: "text"})
		if err != nil {
			t.Fatal(err)
		}
		if _, err = cond.Eval(c.vars); err == nil || !strings.Contains(err.Error(), c.want) || protocol.CodeOf(err) != protocol.CodeBadInput {
			t.Errorf("got %v, want %s", err, c.want)
		}
	}
}

// FuzzParse: no bytes make the evaluator panic or take long.
func FuzzParse(f *testing.F) {
	f.Add(protocol.MustMarshal(Tree{Nodes: []Node{literal(true)}, Text: "true"}), []byte{0xf5})
	f.Add(protocol.MustMarshal(Tree{Nodes: []Node{
		{Op: OpVar, Name: "event"},
		literal([]int{1, 2}),
		{Op: OpFold, Name: "x", Sum: "s", Args: []uint16{1, 0, 0, 0, 0}},
	}}), []byte{0xf5})
	f.Add(protocol.MustMarshal(doubling(OpList)), []byte{0x01})
	f.Fuzz(func(t *testing.T, tree, event []byte) {
		c, err := Parse(tree)
		if err != nil {
			return
		}
		first, err := c.Eval(Vars{"event": event, "results": event})
		again, err2 := c.Eval(Vars{"event": event, "results": event})
		if first != again || (err == nil) != (err2 == nil) {
			t.Errorf("%v, %v and then %v, %v", first, err, again, err2)
		}
	})
}

func BenchmarkEval(b *testing.B) {
	c, err := New(Tree{Text: "event.value < 120", Nodes: []Node{
		{Op: OpVar, Name: "event"},
		{Op: OpField, Name: "value", Args: []uint16{0}},
		literal(120),
		{Op: OpLess, Args: []uint16{1, 2}},
	}})
	if err != nil {
		b.Fatal(err)
	}
	vars := Vars{"event": protocol.MustMarshal(map[string]any{"metric": "temperature.cpu", "value": 81.5, "for": 30})}
	b.ReportAllocs()
	for b.Loop() {
		if ok, err := c.Eval(vars); !ok || err != nil {
			b.Fatal(ok, err)
		}
	}
}

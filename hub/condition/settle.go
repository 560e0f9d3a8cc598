package condition

import (
	"maps"

	"github.com/stavily/stavily/protocol"
	"github.com/stavily/stavily/protocol/condition"
)

// Settle puts in what is known of a tree's variables, so that only those are left that are
// not in vars. When none is left, value is what the tree gives. The error, with
// protocol.CodeBadInput, says what a part that only the known decides comes to: a label that
// is not there.
func Settle(t condition.Tree, vars condition.Vars) (left condition.Tree, value protocol.Raw, err error) {
	s := settling{of: t, vars: vars, free: make([]map[string]bool, len(t.Nodes))}
	for i := range t.Nodes {
		s.free[i] = s.freeOf(&t.Nodes[i])
	}
	root := len(t.Nodes) - 1
	if s.known(root) {
		value, err = s.value(root)
		return condition.Tree{}, value, err
	}
	if s.keep(root); s.err != nil {
		return condition.Tree{}, nil, s.err
	}
	if first := &s.nodes[0]; len(s.nodes) == 1 && first.Op == condition.OpLiteral { // of a branch
		return condition.Tree{}, first.Value, nil
	}
	return condition.Tree{Nodes: s.nodes, Text: t.Text}, nil, nil
}

type settling struct {
	of    condition.Tree
	vars  condition.Vars
	free  []map[string]bool // the variables that each node needs from outside
	nodes []condition.Node
	err   error
}

func (s *settling) freeOf(n *condition.Node) map[string]bool {
	out := map[string]bool{}
	if n.Op == condition.OpVar {
		out[n.Name] = true
	}
	for k, a := range n.Args {
		of := maps.Clone(s.free[a])
		if n.Op == condition.OpFold && k >= 2 { // range and begin know neither variable
			delete(of, n.Sum)
			if k < 4 { // the result knows no element
				delete(of, n.Name)
			}
		}
		maps.Copy(out, of)
	}
	return out
}

// known reports whether vars decide node i.
func (s *settling) known(i int) bool {
	for name := range s.free[i] {
		if _, ok := s.vars[name]; !ok {
			return false
		}
	}
	return true
}

func (s *settling) value(i int) (protocol.Raw, error) {
	c, err := condition.New(condition.Tree{Nodes: s.of.Nodes[:i+1], Text: s.of.Text})
	if err != nil {
		return nil, err
	}
	return c.Value(s.vars)
}

// keep appends what is left of node i, and returns its index.
func (s *settling) keep(i int) uint16 {
	n := s.of.Nodes[i]
	switch {
	case s.err != nil:
		return 0
	case s.known(i) && n.Op != condition.OpLiteral:
		n = condition.Node{Op: condition.OpLiteral}
		n.Value, s.err = s.value(i)
		return s.add(n)
	case n.Op == condition.OpChoose && s.known(int(n.Args[0])):
		return s.choose(&n)
	}
	args := make([]uint16, 0, len(n.Args))
	for _, a := range n.Args {
		args = append(args, s.keep(int(a)))
	}
	n.Args = args
	return s.add(n)
}

// choose keeps only the branch that is taken: the other one may be there because it has no
// value here.
func (s *settling) choose(n *condition.Node) uint16 {
	which, err := s.value(int(n.Args[0]))
	var yes bool
	if err == nil {
		err = protocol.Unmarshal(which, &yes)
	}
	if s.err = err; yes {
		return s.keep(int(n.Args[1]))
	}
	return s.keep(int(n.Args[2]))
}

func (s *settling) add(n condition.Node) uint16 {
	s.nodes = append(s.nodes, n)
	return uint16(len(s.nodes) - 1)
}

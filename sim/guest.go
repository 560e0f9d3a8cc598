package sim

import (
	"github.com/stavily/stavily/edge"
	"github.com/stavily/stavily/protocol"
)

// guest runs real modules in wasmhost.
type guest struct{ w *World }

func (g *guest) load(*device, edge.Instance, *edge.Load) (worker, *protocol.Error) {
	return nil, protocol.Errorf(protocol.CodeIncompatible, "no real modules yet")
}

var _ behaviour = (*guest)(nil)

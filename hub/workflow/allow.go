package workflow

import (
	"slices"

	"github.com/stavily/stavily/protocol"
)

// allow reads what the operator allows a step: capabilities with their scopes, in
// ascending order so that the same text always gives the same plan.
func (w *Workflow) allow(path string, in map[string][]string) ([]protocol.Grant, error) {
	names := make([]string, 0, len(in))
	for name := range in {
		names = append(names, name)
	}
	slices.Sort(names)
	var grants []protocol.Grant
	for _, name := range names {
		if !protocol.IsCapability(name) {
			return nil, w.Errorf(path+".allow", "%q is no capability; known are %s", name, protocol.CapabilityList())
		}
		scopes := slices.Clone(in[name])
		slices.Sort(scopes)
		grants = append(grants, protocol.Grant{Capability: name, Scopes: slices.Compact(scopes)})
	}
	return grants, nil
}

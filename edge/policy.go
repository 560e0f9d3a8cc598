package edge

import (
	"slices"
	"strings"

	"github.com/stavily/stavily/protocol"
)

// Policy is the device's own word on what plugins may do here, whatever a hub grants
// (C-8). A capability that Allow does not name is not granted. Scopes mean what they mean to the
// hub: "mqtt.listen:line/#" allows a hub to grant "line/+/state".
type Policy struct {
	Allow []protocol.Grant
	// NoRecord refuses every order to record what a plugin is asked and answers.
	NoRecord bool
}

// DefaultPolicy is protocol.DefaultPolicy: what reaches another program, host or secret
// must be allowed on the device too.
func DefaultPolicy() Policy { return Policy{Allow: protocol.DefaultPolicy()} }

// ParseGrant reads a capability with perhaps one scope: "process.execute:uptime". The
// error has CodeBadInput.
func ParseGrant(s string) (protocol.Grant, error) {
	capability, scope, scoped := strings.Cut(s, ":")
	if !protocol.IsCapability(capability) || scoped && scope == "" {
		return protocol.Grant{}, protocol.Errorf(protocol.CodeBadInput,
			"grant %q: want CAPABILITY or CAPABILITY:SCOPE; capabilities are %s", clip(s), protocol.CapabilityList())
	}
	g := protocol.Grant{Capability: capability}
	if scoped {
		g.Scopes = []string{scope}
	}
	return g, nil
}

// Cut returns what the policy leaves of grants, and in words what it took away, empty
// if nothing.
func (p Policy) Cut(grants []protocol.Grant) (left []protocol.Grant, taken []string) {
	for _, g := range grants {
		scopes, whole := p.scopes(g.Capability)
		switch {
		case whole && g.Capability != protocol.CapProcess:
			left = append(left, g)
		case len(scopes) == 0:
			taken = append(taken, wordsOf(g)...)
		case len(g.Scopes) == 0 && g.Capability != protocol.CapProcess:
			left = append(left, protocol.Grant{Capability: g.Capability, Scopes: scopes})
			taken = append(taken, g.Capability+" beyond "+strings.Join(scopes, " "))
		default:
			kept, lost := split(g, scopes)
			if len(kept.Scopes) > 0 {
				left = append(left, kept)
			}
			taken = append(taken, lost...)
		}
	}
	return left, taken
}

// scopes returns the scopes that the policy allows of capability; whole is true when
// it allows all of them.
func (p Policy) scopes(capability string) (scopes []string, whole bool) {
	for _, g := range p.Allow {
		named := g.Capability == capability
		whole = whole || named && len(g.Scopes) == 0
		if named {
			scopes = append(scopes, g.Scopes...)
		}
	}
	return scopes, whole
}

// split holds each scope of g to those that are allowed, by what they mean: of one that is only
// partly within them that part is kept.
func split(g protocol.Grant, allowed []string) (kept protocol.Grant, lost []string) {
	kept.Capability = g.Capability
	for _, s := range g.Scopes {
		parts, whole := partsOf(g.Capability, s, allowed)
		for _, p := range parts {
			if !slices.Contains(kept.Scopes, p) {
				kept.Scopes = append(kept.Scopes, p)
			}
		}
		switch named := g.Capability + ":" + s; {
		case whole:
		case len(parts) > 0:
			lost = append(lost, named+" beyond "+strings.Join(parts, " "))
		default:
			lost = append(lost, named)
		}
	}
	return kept, lost
}

// partsOf returns what of a scope is allowed, the scope itself if it is whole.
func partsOf(capability, scope string, allowed []string) (parts []string, whole bool) {
	for _, other := range allowed {
		left, some, all := protocol.ScopeWithin(capability, scope, other)
		if all {
			return []string{scope}, true
		}
		if some {
			parts = append(parts, left)
		}
	}
	return parts, false
}

func wordsOf(g protocol.Grant) []string {
	if len(g.Scopes) == 0 {
		return []string{g.Capability}
	}
	_, lost := split(g, nil)
	return lost
}

package protocol

import (
	"slices"
	"sort"
	"strings"
)

// The capabilities: the closed vocabulary of what a plugin may ask of a machine. A
// manifest's permission is one of these, perhaps with a scope after a colon.
const (
	CapProcess = "process.execute"  // scopes: programs by name or absolute path
	CapRead    = "filesystem.read"  // scopes: files or folders in the plugin's own data directory
	CapWrite   = "filesystem.write" // scopes: the same
	CapMetrics = "metrics.read"
	CapKV      = "kv"
	CapResolve = "dns.resolve"  // scopes: host names
	CapHTTP    = "http.request" // scopes: host:port
	CapListen  = "mqtt.listen"  // scopes: filters of local topics, for triggers
	CapMQTT    = "mqtt.publish" // scopes: filters of local topics
	CapSecret  = "secret.use"   // scopes: name@host:port, or name to be told the value
	CapTCP     = "tcp.connect"  // scopes: host:port
	scopeMark  = ":"
)

var capabilities = []string{
	CapResolve, CapRead, CapWrite, CapHTTP, CapKV, CapMetrics, CapListen, CapMQTT, CapProcess, CapSecret, CapTCP,
}

// needsScope holds the capabilities that grant nothing without a scope.
var needsScope = []string{CapProcess, CapHTTP, CapTCP, CapSecret}

// IsCapability reports whether name is in the vocabulary.
func IsCapability(name string) bool { return slices.Contains(capabilities, name) }

// CapabilityList returns the vocabulary for an error's text.
func CapabilityList() string { return strings.Join(capabilities, ", ") }

// ParsePermission reads a manifest's permission, "name" or "name:scope". The error has
// CodeBadInput.
func ParsePermission(s string) (capability, scope string, err error) {
	capability, scope, _ = strings.Cut(s, scopeMark)
	if !IsCapability(capability) {
		return "", "", Errorf(CodeBadInput, "permission %q: no such capability; known are %s", clip(s),
			CapabilityList())
	}
	return capability, scope, nil
}

// overNetwork holds the capabilities that allow_network_access governs.
var overNetwork = []string{CapResolve, CapHTTP, CapTCP}

// forbids reports whether a word of the manifest's own takes a capability back that
// its permissions ask for: of two words the more restrictive holds.
func (m *Manifest) forbids(capability string) bool {
	return !m.Network && slices.Contains(overNetwork, capability) ||
		m.Filesystem == "none" && (capability == CapRead || capability == CapWrite)
}

// Wishes returns what a manifest asks for as grants, in ascending order. A capability
// asked for without a scope has none here, which Intersect reads as "any that is
// allowed". What allow_network_access or allow_filesystem_access takes back is not
// among them, whatever the permissions say. The error has CodeBadInput.
func (m *Manifest) Wishes() ([]Grant, error) {
	scopes := map[string][]string{}
	open := map[string]bool{}
	for _, p := range slices.Concat(m.Permissions.System, m.Permissions.Network) {
		capability, scope, err := ParsePermission(p)
		if err != nil {
			return nil, err
		}
		if m.forbids(capability) {
			continue
		}
		scopes[capability] = append(scopes[capability], scope)
		open[capability] = open[capability] || scope == ""
	}
	var out []Grant
	for _, capability := range capabilities {
		list, asked := scopes[capability]
		switch {
		case !asked:
		case open[capability]:
			out = append(out, Grant{Capability: capability})
		default:
			slices.Sort(list)
			out = append(out, Grant{Capability: capability, Scopes: slices.Compact(list)})
		}
	}
	sortGrants(out)
	return out, nil
}

// Intersect returns what both a and b allow, in ascending order of capabilities. A
// grant without scopes allows any scope, so that the other side's remain. Scopes meet by
// what they mean and not as text: "*.example.com:443" and "www.example.com:*" have
// "www.example.com:443" in common, "10.0.0.0/8:502" and "10.1.0.0/16:502" the narrower of
// both. Chain it over manifest, site policy and approval, and end with Effective.
func Intersect(a, b []Grant) []Grant {
	var out []Grant
	for _, g := range a {
		i := slices.IndexFunc(b, func(o Grant) bool { return o.Capability == g.Capability })
		if i < 0 {
			continue
		}
		both, ok := intersectScopes(g, b[i].Scopes)
		if ok {
			out = append(out, Grant{Capability: g.Capability, Scopes: both})
		}
	}
	sortGrants(out)
	return out
}

func intersectScopes(g Grant, b []string) (both []string, ok bool) {
	switch {
	case len(g.Scopes) == 0:
		return slices.Clone(b), true
	case len(b) == 0:
		return slices.Clone(g.Scopes), true
	}
	for _, s := range g.Scopes {
		for _, o := range b {
			if c, some := common(g.Capability, s, o); some && !slices.Contains(both, c) {
				both = append(both, c)
			}
		}
	}
	return both, len(both) > 0
}

// Effective removes the grants that allow nothing because their capability needs a
// scope and none is left.
func Effective(grants []Grant) []Grant {
	return slices.DeleteFunc(slices.Clone(grants), func(g Grant) bool {
		return len(g.Scopes) == 0 && slices.Contains(needsScope, g.Capability)
	})
}

// DefaultPolicy is what a party allows that decided nothing: every capability that
// stays within the plugin's own data and the machine's figures, and none that reaches
// another program, host or secret.
func DefaultPolicy() []Grant {
	return []Grant{{Capability: CapRead}, {Capability: CapWrite}, {Capability: CapKV}, {Capability: CapMetrics}}
}

// Union returns what a or b allows, in ascending order of capabilities. Without scopes
// on one side, the union has none: any is allowed.
func Union(a, b []Grant) []Grant {
	var out []Grant
	for _, g := range slices.Concat(a, b) {
		i := slices.IndexFunc(out, func(o Grant) bool { return o.Capability == g.Capability })
		switch {
		case i < 0:
			out = append(out, Grant{Capability: g.Capability, Scopes: slices.Clone(g.Scopes)})
		case len(out[i].Scopes) == 0 || len(g.Scopes) == 0:
			out[i].Scopes = nil
		default:
			out[i].Scopes = append(out[i].Scopes, g.Scopes...)
			slices.Sort(out[i].Scopes)
			out[i].Scopes = slices.Compact(out[i].Scopes)
		}
	}
	sortGrants(out)
	return out
}

// sortGrants sorts by capability. sort.Slice, here and in the agent: its like in slices is 8 kB of a
// program for each type, and agents are small.
func sortGrants(all []Grant) {
	sort.Slice(all, func(i, j int) bool { return all[i].Capability < all[j].Capability })
}

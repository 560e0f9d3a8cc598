package native

import "strings"

// The fields of a Confinement that are layers of the jail and no field of a manifest.
const (
	LayerNamespaces   = "namespaces"
	LayerFiles        = "files"
	LayerCapabilities = "capabilities"
	LayerLandlock     = "landlock"
	LayerSeccomp      = "seccomp"
	LayerCgroup       = "cgroup"
)

// Rule says how one promise is kept on this machine.
type Rule struct {
	// Field is the manifest's key, such as execution_limits.max_memory_mb, or a layer.
	Field    string `json:"field"`
	Enforced bool   `json:"enforced"`
	// By is what enforces it, or why nothing does.
	By string `json:"by"`
}

// Confinement is how each promise is kept, in a fixed order.
type Confinement []Rule

// Unenforced returns the rules that nothing enforces.
func (c Confinement) Unenforced() Confinement {
	var out Confinement
	for _, r := range c {
		if !r.Enforced {
			out = append(out, r)
		}
	}
	return out
}

// Of returns the rule of a field, the zero Rule when there is none.
func (c Confinement) Of(field string) Rule {
	for _, r := range c {
		if r.Field == field {
			return r
		}
	}
	return Rule{}
}

// String returns one line for each rule.
func (c Confinement) String() string {
	var b strings.Builder
	for _, r := range c {
		verdict := "unenforced"
		if r.Enforced {
			verdict = "enforced"
		}
		b.WriteString(r.Field + ": " + verdict + ": " + r.By + "\n")
	}
	return b.String()
}

func (c *Confinement) add(field string, enforced bool, by string) {
	*c = append(*c, Rule{field, enforced, by})
}

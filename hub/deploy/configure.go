package deploy

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
	"golang.org/x/text/language"
	"golang.org/x/text/message"

	"github.com/stavily/stavily/hub/workflow"
	"github.com/stavily/stavily/protocol"
	"github.com/stavily/stavily/protocol/condition"
)

// configured is a step's configuration as one agent gets it.
type configured struct {
	config any
	left   *condition.Template // what is filled in for each run; nil for nothing
	bad    *workflow.Template  // with an error: whose it is; nil for the schema's
}

// configOn fills in what follows from a, and holds what is known then to the plugin's schema.
// A configuration without templates is held to it once, in Check.
func configOn(s *workflow.Step, r *Release, a *Agent) (out configured, err error) {
	if len(s.Templates) == 0 {
		out.config = s.With
		return out, nil
	}
	if out, err = fillFor(s, a); err != nil {
		return out, err
	}
	if n := len(protocol.MustMarshal(out.config)); n > protocol.ConfigMax {
		return out, fmt.Errorf("with: %d bytes when filled, limit %d", n, protocol.ConfigMax)
	}
	path, err := checkFilled(s, r, &out)
	if err != nil {
		err = fmt.Errorf("with%s: %w", path, err)
	}
	return out, err
}

func fillFor(s *workflow.Step, a *Agent) (out configured, err error) {
	out.config, out.left, out.bad, err = s.Configure(a.Address.Site, a.Address.Agent, a.Labels)
	if err != nil {
		err = fmt.Errorf("%s: %s: %w", condition.Place(out.bad.Keys), out.bad.Tree.Text, err)
	}
	return out, err
}

// configure puts the configuration into a step that goes to a, for which configOn had no
// error.
func configure(out *protocol.Step, s *workflow.Step, r *Release, a *Agent) {
	c, err := fillFor(s, a)
	if err != nil {
		return // who asks has excluded a
	}
	if c.config != nil {
		out.Config = protocol.MustMarshal(c.config)
	}
	if c.left != nil {
		out.Template = protocol.MustMarshal(c.left)
	}
	out.Schema = r.DeviceSchema
}

// checkFilled holds a configuration to the schema: what is known as a whole, what is filled in
// later by the types that it can have.
func checkFilled(s *workflow.Step, r *Release, c *configured) (path string, err error) {
	if len(r.Schema) == 0 {
		return "", nil
	}
	schema, err := CompileSchema(r.Manifest.Configuration.Schema, r.Schema)
	if err != nil {
		return "", err
	}
	var open []workflow.Template
	for i := range s.Templates {
		if t := &s.Templates[i]; c.open(t) {
			open = append(open, *t)
		}
	}
	value, err := validatable(samples(c.config, open))
	if err != nil {
		return "", err
	}
	return (&unknown{open}).first(schema.Validate(value))
}

// open reports whether t is filled in later.
func (c *configured) open(t *workflow.Template) bool {
	return c.left != nil && slices.ContainsFunc(c.left.Holes, func(h condition.Hole) bool {
		return slices.Equal(h.Path, t.Keys)
	})
}

// samples puts into config, in the places that are open, a value of the type that each can
// have.
func samples(config any, open []workflow.Template) any {
	for i := range open {
		var v any
		switch k := open[i].Kinds; {
		case k&condition.KindString != 0:
			v = ""
		case k&condition.KindInteger != 0:
			v = int64(0)
		case k&condition.KindBoolean != 0:
			v = false
		case k&condition.KindArray != 0:
			v = []any{}
		case k&condition.KindObject != 0:
			v = map[string]any{}
		}
		config = workflow.Put(config, open[i].Keys, v)
	}
	return config
}

// unknown are the places of a configuration whose values are samples.
type unknown struct{ open []workflow.Template }

// first returns the first error of a validation that the samples have no part in, and its
// place.
func (u *unknown) first(err error) (path string, cause error) {
	var v *jsonschema.ValidationError
	if !errors.As(err, &v) {
		return "", err
	}
	if v = u.real(v); v == nil {
		return "", nil
	}
	return instancePath(v), errors.New(v.ErrorKind.LocalizedString(message.NewPrinter(language.English)))
}

// real returns the innermost first error under v that holds whatever the values will be, nil
// for none.
func (u *unknown) real(v *jsonschema.ValidationError) *jsonschema.ValidationError {
	if len(v.Causes) == 0 {
		if u.excuses(v) {
			return nil
		}
		return v
	}
	_, any1 := v.ErrorKind.(*kind.AnyOf)
	_, one := v.ErrorKind.(*kind.OneOf)
	_, contains := v.ErrorKind.(*kind.Contains)
	var first *jsonschema.ValidationError
	for _, c := range v.Causes {
		bad := u.real(c)
		if bad == nil && (any1 || one || contains) { // that one may hold
			return nil
		}
		if first == nil {
			first = bad
		}
	}
	return first
}

// excuses reports whether an error may be the sample's: it is at a place that is open, below
// one, or compares as a whole something that has one in it.
func (u *unknown) excuses(v *jsonschema.ValidationError) bool {
	at := v.InstanceLocation
	for i := range u.open {
		t := &u.open[i]
		n := min(len(at), len(t.Keys))
		if !slices.Equal(at[:n], t.Keys[:n]) {
			continue
		}
		switch v.ErrorKind.(type) {
		case *kind.Type:
			if len(at) > len(t.Keys) || len(at) == len(t.Keys) && t.Kinds == 0 {
				return true
			}
		case *kind.Enum, *kind.Const, *kind.OneOf, *kind.Not, *kind.UniqueItems, *kind.Contains,
			*kind.MinContains, *kind.MaxContains:
			return true
		default:
			if len(at) >= len(t.Keys) {
				return true
			}
		}
	}
	return false
}

// checkTemplates holds a step's templates to the agents that are there: each has to have what
// they look at, and to come to a configuration that fits the plugin.
func checkTemplates(d *Deployment, i int, s *workflow.Step, agents []Agent) error {
	w, r := d.Workflow, &d.Releases[i]
	if len(s.Templates) == 0 {
		return nil
	}
	if err := checkSecrets(w, s, r); err != nil {
		return err
	}
	for k := range agents {
		a := &agents[k]
		if !d.runs(i, s, a) {
			continue
		}
		c, err := configOn(s, r, a)
		switch {
		case err == nil:
		case c.bad != nil:
			return w.ErrorAt(c.bad, nil, fmt.Sprintf("on agent %s: %s: %v", a.Address, c.bad.Tree.Text,
				errors.Unwrap(err)))
		default:
			return w.Errorf(s.Path+"."+place(err), "on agent %s: %v", a.Address, errors.Unwrap(err))
		}
	}
	return nil
}

// place returns the place that an error of configOn begins with.
func place(err error) string {
	at, _, _ := strings.Cut(err.Error(), ": ")
	return at
}

// runs reports whether a is to run the i-th step of d.
func (d *Deployment) runs(i int, s *workflow.Step, a *Agent) bool {
	if _, err := Choose(&d.Releases[i], a); err != nil {
		return false
	}
	switch {
	case s.Type != protocol.Trigger && !d.affected(s):
		return meant(a, s.Target) && a.Labels[LabelDuty] != dutySensor
	case s.Type != protocol.Trigger && d.lay().paired[a.Address.Agent]:
		return true
	case a.Labels[LabelDuty] == dutyAction:
		return false
	default:
		return watches(a, d.Workflow.Trigger.Target) &&
			(s.Type == protocol.Trigger || a.Labels[LabelActionAgent] == "")
	}
}

// checkSecrets refuses the handle of a secret where the plugin has no wish to use any.
func checkSecrets(w *workflow.Workflow, s *workflow.Step, r *Release) error {
	wishes, err := r.Manifest.Wishes()
	if err != nil {
		return w.Errorf(s.Path+".plugin", "%v", err)
	}
	secret := func(g protocol.Grant) bool { return g.Capability == protocol.CapSecret }
	wants := slices.ContainsFunc(wishes, secret)
	for i := range s.Templates {
		t := &s.Templates[i]
		for k := range t.Secrets {
			if !wants {
				return w.ErrorAt(t, &t.Secrets[k], fmt.Sprintf("secret %q: plugin %s does not ask for %s",
					t.Secrets[k].Name, &r.Manifest, protocol.CapSecret))
			}
		}
	}
	return nil
}

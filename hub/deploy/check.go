package deploy

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/stavily/stavily/hub/document"
	"github.com/stavily/stavily/hub/workflow"
	"github.com/stavily/stavily/protocol"
	"github.com/stavily/stavily/protocol/condition"
)

// Check holds a deployment against its releases before anything is planned: every
// plugin fits its slot, its configuration fits the plugin's schema on every agent that is to
// run it, every target can be placed, what the step is allowed is what the plugin asks for.
// Errors carry line and column of the workflow's text, and all of them come at once.
func Check(d *Deployment, agents []Agent) error {
	w := d.Workflow
	var wrong document.Found
	for i, step := range w.StepsInOrder() {
		wrong.Add(checkStep(w, step, &d.Releases[i]))
	}
	checkTargets(w, agents, &wrong)
	if err := wrong.Err(); err != nil { // what follows looks at steps and targets that fit
		return err
	}
	there := *d
	there.Fleet, there.laid = agents, nil
	for i, step := range w.StepsInOrder() {
		wrong.Add(checkTemplates(&there, i, step, agents))
	}
	return wrong.Err()
}

func checkStep(w *workflow.Workflow, s *workflow.Step, r *Release) error {
	if got := r.Manifest.Plugin.Type; got != s.Type {
		return w.Errorf(s.Path+".plugin", "plugin %s is of type %s; here goes a plugin of type %s",
			&r.Manifest, got, s.Type)
	}
	var wrong document.Found
	if n := len(protocol.MustMarshal(s.With)); n > protocol.ConfigMax {
		wrong.Add(w.Errorf(s.Path+".with", "configuration of %d bytes, limit %d", n, protocol.ConfigMax))
	} else if path, err := checkConfig(r, s); err != nil {
		wrong.Add(w.Errorf(s.Path+".with"+path, "%v", err))
	}
	wishes, err := r.Manifest.Wishes()
	if err != nil {
		wrong.Add(w.Errorf(s.Path+".plugin", "%v", err))
		return wrong.Err()
	}
	for _, g := range s.Allow {
		if what := unasked(wishes, g); what != "" {
			wrong.Add(w.Errorf(s.Path+".allow."+g.Capability, "plugin %s does not ask for %s; leave it out",
				&r.Manifest, what))
		}
	}
	return wrong.Err()
}

// unasked returns the first part of g that no wish covers, empty for none.
func unasked(wishes []protocol.Grant, g protocol.Grant) string {
	if len(g.Scopes) == 0 && len(protocol.Intersect(wishes, []protocol.Grant{g})) == 0 {
		return g.Capability
	}
	for _, scope := range g.Scopes {
		one := protocol.Grant{Capability: g.Capability, Scopes: []string{scope}}
		if len(protocol.Intersect(wishes, []protocol.Grant{one})) == 0 {
			return g.Capability + ":" + scope
		}
	}
	return ""
}

// checkConfig holds a configuration to the release's JSON Schema (M-28) and returns the place
// of the first thing that is wrong, whatever agent it is for and whatever happens there.
func checkConfig(r *Release, s *workflow.Step) (path string, err error) {
	all := configured{config: s.With, left: &condition.Template{}}
	for i := range s.Templates {
		all.left.Holes = append(all.left.Holes, condition.Hole{Path: s.Templates[i].Keys})
	}
	return checkFilled(s, r, &all)
}

// Validate holds a configuration, as document.Decode gives it, to a schema, and returns
// the place of the first thing that is wrong, as document.Errorf reads it. No
// configuration at all is an empty one.
func Validate(schema *jsonschema.Schema, config any) (path string, err error) {
	value, err := validatable(config)
	if err != nil {
		return "", err
	}
	return (&unknown{}).first(schema.Validate(value))
}

// validatable makes of a configuration what the validator takes, which knows the types of
// encoding/json: so the value takes that road.
func validatable(config any) (any, error) {
	if config == nil {
		config = map[string]any{}
	}
	text, err := json.Marshal(config)
	if err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	return jsonschema.UnmarshalJSON(bytes.NewReader(text))
}

// CompileSchema reads a JSON Schema (2020-12 unless it says otherwise). It loads no
// other file and nothing from the network.
func CompileSchema(name string, text []byte) (*jsonschema.Schema, error) {
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return nil, protocol.Errorf(protocol.CodeBadInput, "schema %s: %w", name, err)
	}
	const at = "schema:///config"
	c := jsonschema.NewCompiler()
	c.UseLoader(noLoader{})
	if err := c.AddResource(at, doc); err != nil {
		return nil, protocol.Errorf(protocol.CodeBadInput, "schema %s: %w", name, err)
	}
	schema, err := c.Compile(at)
	if err != nil {
		return nil, protocol.Errorf(protocol.CodeBadInput, "schema %s: %w", name, err)
	}
	return schema, nil
}

type noLoader struct{}

// Load refuses every reference out of the schema.
func (noLoader) Load(url string) (any, error) {
	return nil, fmt.Errorf("reference to %q: not allowed", url)
}

// instancePath writes the place of an error as document.Errorf reads it.
func instancePath(v *jsonschema.ValidationError) string {
	var b strings.Builder
	for _, part := range v.InstanceLocation {
		if strings.Trim(part, "0123456789") == "" {
			b.WriteString("[" + part + "]")
		} else {
			b.WriteString("." + part)
		}
	}
	return b.String()
}

// checkTargets refuses what names nobody, and what cannot go together.
func checkTargets(w *workflow.Workflow, agents []Agent, wrong *document.Found) {
	for _, s := range w.StepsInOrder() {
		key := ".on"
		if s.Type == protocol.Trigger {
			key = ".at"
		}
		t := s.Target
		switch {
		case t.Kind == workflow.Affected:
			continue
		case t.Kind == workflow.Pool && s.Type == protocol.Trigger:
			wrong.Add(w.Errorf(s.Path+key, "%s: a pool takes steps; who watches is an agent, a group or the hub", t))
		case !anyone(agents, t):
			wrong.Add(w.Errorf(s.Path+key, "%s: no such agent%s", t, hint(t, agents)))
		}
	}
}

// hint says who there is.
func hint(t workflow.Target, agents []Agent) string {
	switch t.Kind {
	case workflow.Pool:
		return fmt.Sprintf("; its agents have the label %s=%s", LabelPool, t.Pool)
	case workflow.Hub:
		return fmt.Sprintf("; the agent beside the hub has the label %s=yes", LabelHub)
	default:
		return "; known are " + agentList(agents)
	}
}

func anyone(agents []Agent, t workflow.Target) bool {
	for i := range agents {
		if meant(&agents[i], t) {
			return true
		}
	}
	// A group may be empty today and have members tomorrow; an agent's name that
	// nobody has is a slip of the pen.
	return t.Kind == workflow.Group
}

func agentList(agents []Agent) string {
	if len(agents) == 0 {
		return "none"
	}
	names := make([]string, 0, len(agents))
	for i := range agents {
		if i == 10 {
			names = append(names, "...")
			break
		}
		names = append(names, string(agents[i].Address.Agent))
	}
	return strings.Join(names, ", ")
}

package workflow

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/stavily/stavily/hub/condition"
	"github.com/stavily/stavily/hub/document"
	"github.com/stavily/stavily/protocol"
	device "github.com/stavily/stavily/protocol/condition"
)

// Template is one place of a step's configuration whose value is worked out: from what the
// agent is when it is planned for, and from event and results for each run.
type Template struct {
	condition.Template
	Keys []string // the place within With, where there is nil
	Path string   // in the document, such as actions[0].with.text
}

// templates compiles the templates in the configurations of all steps, and puts nil in their
// places.
func (w *Workflow) templates(wrong *document.Found) {
	wrong.Add(w.templatesOf(&w.Trigger, condition.Scope{}))
	scope := condition.Scope{Event: true}
	for i := range w.Actions {
		wrong.Add(w.templatesOf(&w.Actions[i], scope))
		scope.Earlier = append(scope.Earlier, w.Actions[i].Name)
	}
	for i := range w.Outputs {
		wrong.Add(w.templatesOf(&w.Outputs[i], scope))
	}
}

func (w *Workflow) templatesOf(s *Step, scope condition.Scope) error {
	f := finding{of: w, step: s, scope: scope}
	s.With = f.in(s.With, nil, s.Path+".with")
	if len(s.Templates) > device.HolesMax {
		f.wrong.Add(w.Errorf(s.Path+".with", "%d templates, limit %d", len(s.Templates), device.HolesMax))
	}
	return f.wrong.Err()
}

// finding is a walk through one configuration.
type finding struct {
	of    *Workflow
	step  *Step
	scope condition.Scope
	wrong document.Found
}

// in returns v, which stands at keys, with nil in the places of its templates.
func (f *finding) in(v any, keys []string, path string) any {
	below := func(key string) []string { return append(keys[:len(keys):len(keys)], key) }
	switch v := v.(type) {
	case string:
		if !condition.IsTemplate(v) {
			return v
		}
		f.wrong.Add(f.template(v, keys, path))
		return nil
	case []any:
		for i := range v {
			v[i] = f.in(v[i], below(strconv.Itoa(i)), fmt.Sprintf("%s[%d]", path, i))
		}
	case map[string]any:
		for _, k := range slices.Sorted(maps.Keys(v)) {
			if condition.IsTemplate(k) {
				f.wrong.Add(f.of.Errorf(path+"."+k, "a key is no template; only values are"))
				continue
			}
			v[k] = f.in(v[k], below(k), path+"."+k)
		}
	}
	return v
}

func (f *finding) template(text string, keys []string, path string) error {
	c, err := compiler()
	if err != nil {
		return err
	}
	t, err := c.Template(text, f.scope)
	var bad *condition.Error
	switch {
	case errors.As(err, &bad):
		return f.of.within(path, bad, bad.Text)
	case err != nil:
		return f.of.Errorf(path, "%v", err)
	}
	f.step.Templates = append(f.step.Templates, Template{*t, keys, path})
	return nil
}

// within returns an error at a place of the text at path.
func (w *Workflow) within(path string, at *condition.Error, text string) error {
	return w.doc.ErrorWithin(path, document.Place{Line: at.Line, Column: at.Column}, text)
}

// ErrorAt returns an error at a template's expression, or at a secret in it.
func (w *Workflow) ErrorAt(t *Template, secret *condition.Secret, text string) error {
	if secret != nil {
		return w.within(t.Path, &secret.At, text)
	}
	written := t.Tree.Text
	at := strings.Index(written, "${{")
	before := written[:max(at, 0)]
	line := strings.Count(before, "\n") + 1
	return w.within(t.Path, &condition.Error{
		Line: line, Column: len([]rune(before[strings.LastIndexByte(before, '\n')+1:])) + 1,
	}, text)
}

// Configure returns the step's configuration on an agent: what follows from the agent is in
// it, and the template has what is left for each run; nil when nothing is. An error names the
// template that has no value there; its cause has protocol.CodeBadInput.
func (s *Step) Configure(site protocol.Site, name protocol.AgentName, labels map[string]string,
) (config any, left *device.Template, bad *Template, err error) {
	if len(s.Templates) == 0 {
		return s.With, nil, nil, nil
	}
	if labels == nil {
		labels = map[string]string{}
	}
	vars := device.Vars{
		condition.VarName: protocol.MustMarshal(name), condition.VarSite: protocol.MustMarshal(site),
		condition.VarLabels: protocol.MustMarshal(labels),
	}
	config, left = s.With, &device.Template{}
	for i := range s.Templates {
		t := &s.Templates[i]
		tree, raw, err := condition.Settle(t.Tree, vars)
		if err != nil {
			return nil, nil, t, err
		}
		if raw == nil {
			left.Holes = append(left.Holes, device.Hole{Path: t.Keys, Tree: tree})
			continue
		}
		value, err := Plain(raw)
		if err != nil {
			return nil, nil, t, err
		}
		config = Put(config, t.Keys, value)
	}
	if len(left.Holes) == 0 {
		left = nil
	}
	return config, left, nil, nil
}

// Put returns of with v at keys, which are in it, and leaves of as it is.
func Put(of any, keys []string, v any) any {
	if len(keys) == 0 {
		return v
	}
	switch of := of.(type) {
	case map[string]any:
		changed := maps.Clone(of)
		changed[keys[0]] = Put(of[keys[0]], keys[1:], v)
		return changed
	case []any:
		i, _ := strconv.Atoi(keys[0])
		changed := slices.Clone(of)
		changed[i] = Put(of[i], keys[1:], v)
		return changed
	default:
		return of
	}
}

// Plain reads a configuration, or a part of one, as document.Decode gives it.
func Plain(raw protocol.Raw) (any, error) {
	var v any
	err := protocol.Unmarshal(raw, &v)
	return texted(v), err
}

// texted makes of what the codec read what a document holds: maps with text keys.
func texted(v any) any {
	switch v := v.(type) {
	case []any:
		for i := range v {
			v[i] = texted(v[i])
		}
	case map[any]any:
		out := make(map[string]any, len(v))
		for k, x := range v { // into a map: order does not matter
			key, _ := k.(string)
			out[key] = texted(x)
		}
		return out
	case uint64:
		if n := int64(v); n >= 0 {
			return n
		}
	}
	return v
}

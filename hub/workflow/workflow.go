// Package workflow reads workflows as people write them: YAML in, a checked Workflow
// out, errors with line and column. It knows the shape of a workflow and nothing of
// the fleet or the registry; hub/deploy brings the three together.
package workflow

import (
	"fmt"
	"time"

	"github.com/stavily/stavily/hub/document"
	"github.com/stavily/stavily/hub/version"
	"github.com/stavily/stavily/protocol"
)

// Workflow is one workflow, checked for itself. Its steps have names that are unique
// within it; the trigger's is always "trigger".
type Workflow struct {
	Name    protocol.WorkflowName
	Trigger Step
	Actions []Step
	Outputs []Step
	CatchUp protocol.CatchUp
	If      protocol.Raw // an encoded condition over the event; nil for none
	Rollout *Rollout     // nil: a change goes to all at once
	// Automatic: the hub moves it to newer releases by itself, as far as its ranges allow.
	Automatic bool
	Limit     *protocol.RunLimit
	Once      *protocol.Once
	// Circle says that it may be part of a circle of workflows that trigger each other.
	Circle bool
	// Urgent: what it tells goes to the hub before what others tell, and is kept longer.
	Urgent bool
	Text   []byte // as written

	doc *document.Document
}

// Step is one place in a workflow.
type Step struct {
	Name    protocol.StepName
	Type    protocol.PluginType
	Plugin  PluginRef
	With    any // as document.Decode gives it; nil for nothing, and where Templates put something
	Target  Target
	Retry   protocol.Retry
	Timeout time.Duration
	When    protocol.When
	If      protocol.Raw     // an encoded condition over the event and earlier results; nil for none
	Allow   []protocol.Grant // what the operator allows this step, besides the hub's own list
	Path    string           // in the document, such as actions[0]

	Templates []Template // in the order of their places
}

// PluginRef is a plugin with the versions of it that serve: "name", "name@1",
// "name@^1.2", "name@1.2.0", or one of version.Channels: "name@beta".
type PluginRef struct {
	Name  protocol.PluginName
	Range string // empty for any
}

// String returns the reference as it is written.
func (r PluginRef) String() string {
	if r.Range == "" {
		return string(r.Name)
	}
	return string(r.Name) + "@" + r.Range
}

// ParsePluginRef reads a reference. The error has CodeBadInput or CodeBadName.
func ParsePluginRef(s string) (PluginRef, error) {
	name, versions, err := version.Cut(s)
	ref := PluginRef{Name: protocol.PluginName(name), Range: versions.String()}
	if err != nil {
		return ref, err
	}
	return ref, ref.Name.Check()
}

// StepsInOrder returns the steps in the order in which a run takes them.
func (w *Workflow) StepsInOrder() []*Step {
	steps := []*Step{&w.Trigger}
	for i := range w.Actions {
		steps = append(steps, &w.Actions[i])
	}
	for i := range w.Outputs {
		steps = append(steps, &w.Outputs[i])
	}
	return steps
}

// Errorf returns an error at path of the workflow's document.
func (w *Workflow) Errorf(path, format string, args ...any) error {
	return w.doc.Errorf(path, format, args...)
}

// Place names a place in the text, as file:line:column.
func (w *Workflow) Place(path string) string {
	at := w.doc.Errorf(path, "")
	return fmt.Sprintf("%s:%d:%d", at.File, at.Line, at.Column)
}

// written is the document's shape.
type written struct {
	Workflow string          `json:"workflow"`
	Trigger  writtenStep     `json:"trigger"`
	If       string          `json:"if"`
	Actions  []writtenStep   `json:"actions"`
	Outputs  []writtenStep   `json:"outputs"`
	CatchUp  string          `json:"catch-up"`
	Rollout  *writtenRollout `json:"rollout"`
	Update   string          `json:"update"`
	Limit    *writtenLimit   `json:"limit"`
	Once     *writtenOnce    `json:"once"`
	Circle   bool            `json:"allow-circle"`
	Urgent   bool            `json:"urgent"`
}

type writtenStep struct {
	Name    string              `json:"name"`
	Plugin  string              `json:"plugin"`
	With    any                 `json:"with"`
	At      *Target             `json:"at"`
	On      *Target             `json:"on"`
	Retry   *writtenRetry       `json:"retry"`
	Timeout time.Duration       `json:"timeout"`
	When    string              `json:"when"`
	If      string              `json:"if"`
	Allow   map[string][]string `json:"allow"`
}

type writtenRetry struct {
	Times uint32        `json:"times"`
	Wait  time.Duration `json:"wait"`
}

// Parse reads and checks one workflow. name stands in errors, which are
// *document.Error.
func Parse(name string, text []byte) (*Workflow, error) {
	doc, err := document.Parse(name, text)
	if err != nil {
		return nil, err
	}
	var in written
	var wrong document.Found
	wrong.Add(doc.Decode(&in))
	wrong.Add(doc.Require("workflow", "trigger", "trigger.plugin", "actions", "outputs"))
	w := &Workflow{Name: protocol.WorkflowName(in.Workflow), Text: text, doc: doc}
	w.read(&in, &wrong)
	if err := wrong.Err(); err != nil {
		return nil, err
	}
	return w, nil
}

// read takes over what was written, and gathers what is wrong with it.
func (w *Workflow) read(in *written, wrong *document.Found) {
	err := w.Name.Check()
	if err != nil {
		wrong.Add(w.Errorf("workflow", "%v", err))
	}
	w.CatchUp, err = w.catchUp(in.CatchUp)
	wrong.Add(err)
	w.Rollout, err = w.rollout(in.Rollout)
	wrong.Add(err)
	if w.Automatic = in.Update == "automatic"; !w.Automatic && in.Update != "" && in.Update != "manual" {
		wrong.Add(w.Errorf("update", "%q: want manual or automatic", in.Update))
	}
	w.Urgent = in.Urgent
	w.storm(in, wrong)
	w.steps(in, wrong)
	w.conditions(in, wrong)
	w.templates(wrong)
}

func (w *Workflow) catchUp(text string) (protocol.CatchUp, error) {
	switch text {
	case "", "none":
		return protocol.CatchUpNone, nil
	case "latest":
		return protocol.CatchUpLatest, nil
	case "all":
		return protocol.CatchUpAll, nil
	}
	return 0, w.Errorf("catch-up", "%q: want none, latest or all", text)
}

func (w *Workflow) steps(in *written, wrong *document.Found) {
	w.Trigger = w.step(protocol.Trigger, "trigger", &in.Trigger, wrong)
	seen := map[protocol.StepName]string{w.Trigger.Name: w.Trigger.Path}
	for _, part := range []struct {
		kind  protocol.PluginType
		path  string
		steps []writtenStep
		into  *[]Step
	}{{protocol.Action, "actions", in.Actions, &w.Actions}, {
		protocol.Output, "outputs", in.Outputs,
		&w.Outputs,
	}} {
		if n := len(part.steps); n == 0 || n > protocol.StepsMax {
			wrong.Add(w.Errorf(part.path, "%d of them, want 1 to %d", n, protocol.StepsMax))
			continue
		}
		for i := range part.steps {
			path := fmt.Sprintf("%s[%d]", part.path, i)
			step := w.step(part.kind, path, &part.steps[i], wrong)
			if first, twice := seen[step.Name]; twice && step.Name != "" {
				wrong.Add(w.Errorf(path+".name", "step name %q is taken by %s; give one of them a name", step.Name,
					first))
			}
			seen[step.Name] = path
			*part.into = append(*part.into, step)
		}
	}
}

func (w *Workflow) step(kind protocol.PluginType, path string, in *writtenStep, wrong *document.Found) Step {
	s := Step{Type: kind, Name: protocol.StepName(in.Name), With: in.With, Timeout: in.Timeout, Path: path}
	var err error
	if in.Plugin == "" {
		wrong.Add(w.Errorf(path+".plugin", "missing"))
	} else if s.Plugin, err = ParsePluginRef(in.Plugin); err != nil {
		wrong.Add(w.Errorf(path+".plugin", "%v", err))
	} else if s.Name, err = w.stepName(kind, path, in, s.Plugin); err != nil {
		wrong.Add(err)
	}
	s.Target, err = w.target(kind, path, in)
	wrong.Add(err)
	s.When, err = w.when(kind, path, in.When)
	wrong.Add(err)
	if in.Retry != nil {
		s.Retry = protocol.Retry{Times: in.Retry.Times, WaitMS: in.Retry.Wait.Milliseconds()}
	}
	wrong.Add(w.checkBounds(kind, path, &s))
	s.Allow, err = w.allow(path, in.Allow)
	wrong.Add(err)
	return s
}

const (
	retriesMax = 100
	timeoutMax = 24 * time.Hour
)

func (w *Workflow) checkBounds(kind protocol.PluginType, path string, s *Step) error {
	switch {
	case s.Retry.Times > retriesMax:
		return w.Errorf(path+".retry.times", "%d, want at most %d", s.Retry.Times, retriesMax)
	case kind == protocol.Trigger && s.Retry != protocol.Retry{}:
		return w.Errorf(path+".retry", "a trigger is woken again by itself; retry is for actions and outputs")
	case s.Timeout > timeoutMax:
		return w.Errorf(path+".timeout", "%v, want at most %v", s.Timeout, timeoutMax)
	}
	return nil
}

func (w *Workflow) stepName(kind protocol.PluginType, path string, in *writtenStep,
	ref PluginRef,
) (protocol.StepName, error) {
	name := protocol.StepName(in.Name)
	switch {
	case kind == protocol.Trigger && in.Name != "":
		return name, w.Errorf(path+".name", "a trigger is always named trigger")
	case kind == protocol.Trigger:
		return "trigger", nil
	case in.Name == "":
		name = protocol.StepName(ref.Name)
	}
	if err := name.Check(); err != nil {
		return name, w.Errorf(path+".name", "%v", err)
	}
	return name, nil
}

func (w *Workflow) target(kind protocol.PluginType, path string, in *writtenStep) (Target, error) {
	key, other, given, wrong := "on", "at", in.On, in.At
	if kind == protocol.Trigger {
		key, other, given, wrong = "at", "on", in.At, in.On
	}
	switch {
	case wrong != nil:
		return Target{}, w.Errorf(path+"."+other, "a %s says where with %q", kind, key)
	case given == nil && kind == protocol.Trigger:
		return Target{}, w.Errorf(path+".at", "missing: say which agents watch, such as {agent: NAME} or {group: "+
			"{env: production}}")
	case given == nil:
		return Target{Kind: Affected}, nil
	case given.Kind == Affected && kind == protocol.Trigger:
		return Target{}, w.Errorf(path+".at", "affected means the agents on which the trigger fired; name an "+
			"agent or a group")
	}
	return *given, nil
}

func (w *Workflow) when(kind protocol.PluginType, path, text string) (protocol.When, error) {
	if text != "" && kind != protocol.Output {
		return 0, w.Errorf(path+".when", "only outputs have it")
	}
	switch text {
	case "", "always":
		return protocol.Always, nil
	case "ok":
		return protocol.IfOK, nil
	case "error":
		return protocol.IfError, nil
	}
	return 0, w.Errorf(path+".when", "%q: want always, ok or error", text)
}

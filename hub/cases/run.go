package cases

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/stavily/stavily/protocol"
	"github.com/stavily/stavily/wasmhost"
)

// Options is how cases are run. The zero value serves.
type Options struct {
	CacheDir    string           // of compiled code; empty keeps none
	Compile     wasmhost.Compile // bounds the compiling
	Interpreter bool             // rather than the compiler
	Only        string           // runs the cases whose name has this in it; empty: all
}

// Report is what came of all cases.
type Report struct {
	Cases []Verdict `json:"cases"`
	// Used and Unused are the capabilities that the manifest asks for and some case used,
	// and the others; ascending.
	Used   []string `json:"used"`
	Unused []string `json:"unused"`
}

// Verdict is what came of one case.
type Verdict struct {
	File      string   `json:"file"`
	Line      int      `json:"line"`
	Name      string   `json:"name"`
	Passed    bool     `json:"passed"`
	Problems  []string `json:"problems,omitempty"` // each of one line or several
	Fuel      uint64   `json:"fuel"`
	MemoryB   uint64   `json:"memory_bytes"`
	HostCalls uint32   `json:"host_calls"`
}

// Failed returns how many cases failed.
func (r *Report) Failed() int {
	n := 0
	for i := range r.Cases {
		if !r.Cases[i].Passed {
			n++
		}
	}
	return n
}

// Err is nil when all passed. It has CodeRefused and tells of the first that did not.
func (r *Report) Err() error {
	for i := range r.Cases {
		if v := &r.Cases[i]; !v.Passed {
			return protocol.Errorf(protocol.CodeRefused, "%d of %d cases failed; %s:%d: %s: %s", r.Failed(),
				len(r.Cases), v.File, v.Line, v.Name, strings.Join(v.Problems, "\n"))
		}
	}
	return nil
}

// Run holds a plugin to cases, each with a fresh instance, one after another. s is as an
// agent loads it, metered; its step, workflow and KV are the cases'. ctx bounds the whole.
// Errors are those of a module that is not fit to be started, and CodeDeadline when ctx
// ended; what a case found is in the report.
func Run(ctx context.Context, s wasmhost.Spec, files []*File, o Options) (*Report, error) {
	r := &runner{spec: s}
	cfg := wasmhost.Config{
		CacheDir: o.CacheDir, Compile: o.Compile, Interpreter: o.Interpreter, Random: r,
		Calls: map[string]wasmhost.HostCall{},
		Clock: func() time.Time { return time.Unix(0, r.clock.Load()) },
		Lines: func(l protocol.LogLine) { r.now.line(l) },
	}
	for _, name := range wasmhost.HostCalls() {
		if name != callLog && !strings.HasPrefix(name, "kv.") { // those are answered as KV
			cfg.Calls[name] = r.hostCall(name)
		}
	}
	var err error
	if r.host, err = wasmhost.New(ctx, cfg); err != nil {
		return nil, err
	}
	defer func() { _ = r.host.Close(context.WithoutCancel(ctx)) }()
	code, err := r.host.Module(ctx, s.Wasm, &s.Manifest) // keeps it compiled from case to case
	if err != nil {
		return nil, err
	}
	defer code.Close(context.WithoutCancel(ctx))
	if r.wishes, err = wishes(&s.Manifest); err != nil {
		return nil, err
	}
	out := &Report{Used: []string{}, Unused: []string{}}
	for _, f := range files {
		for i := range f.Cases {
			c := &f.Cases[i]
			if !strings.Contains(c.Name, o.Only) {
				continue
			}
			if ctx.Err() != nil {
				return nil, protocol.Errorf(protocol.CodeDeadline, "cases: ended after their time: %w", ctx.Err())
			}
			v := Verdict{File: f.Name, Line: c.line, Name: c.Name}
			r.judge(ctx, c, &v)
			v.Passed = len(v.Problems) == 0
			out.Cases = append(out.Cases, v)
		}
	}
	for _, g := range r.wishes {
		switch {
		case slices.Contains(r.used, g.Capability):
			out.Used = append(out.Used, g.Capability)
		case !unseen(g.Capability, r.used):
			out.Unused = append(out.Unused, g.Capability)
		}
	}
	return out, nil
}

// runner runs one case at a time.
type runner struct {
	spec   wasmhost.Spec
	host   *wasmhost.Host
	wishes []protocol.Grant
	now    *script // of the case that runs
	random *rand.ChaCha8
	clock  atomic.Int64 // nanoseconds since 1970
	used   []string     // capabilities
}

// Read is the guests' randomness: from the seed of the case.
func (r *runner) Read(p []byte) (int, error) { return r.random.Read(p) }

// wishes is what the manifest asks for. What would need a scope to be granted gets one
// here: nothing is done but by the case.
func wishes(m *protocol.Manifest) ([]protocol.Grant, error) {
	list, err := m.Wishes()
	if err != nil {
		return nil, err
	}
	for i := range list {
		if len(protocol.Effective(list[i:i+1])) == 0 {
			list[i].Scopes = []string{"any"}
		}
	}
	return list, nil
}

// judge runs one case and notes what is wrong.
func (r *runner) judge(ctx context.Context, c *Case, v *Verdict) {
	r.now = newScript(c)
	seed := [32]byte{}
	for i := range 8 {
		seed[i] = byte(c.Seed >> (8 * i))
	}
	r.random = rand.NewChaCha8(seed)
	r.clock.Store(c.now.UnixNano())
	answer, audit := r.ask(ctx, c)
	v.Fuel, v.MemoryB, v.HostCalls = answer.Usage.Fuel, answer.Usage.MemoryB, answer.Usage.HostCalls
	j := judge{c: c, s: r.now, a: answer}
	for _, a := range audit {
		asked := slices.ContainsFunc(r.wishes, func(g protocol.Grant) bool { return g.Capability == a.Capability })
		switch {
		case asked && a.Allowed > 0 && !slices.Contains(r.used, a.Capability):
			r.used = append(r.used, a.Capability)
		case !asked && a.Denied > 0: // M-32
			j.say("host call %s: the manifest does not ask for %s: add it under permissions", a.Subject, a.Capability)
		}
	}
	j.all()
	v.Problems = j.problems
}

// ask starts the plugin as the case says and puts it the request.
func (r *runner) ask(ctx context.Context, c *Case) (wasmhost.Answer, []protocol.Audit) {
	s := r.spec
	s.Workflow, s.KV = "cases", r.now
	s.Step = protocol.Step{Name: "case", Config: c.Config.Raw, Grants: r.wishes}
	if c.Grants != nil {
		s.Step.Grants = granted(c.Grants)
	}
	plugin, err := r.host.Load(ctx, s)
	if err != nil {
		return wasmhost.Answer{Error: protocol.AsError(errors.Unwrap(err))}, nil
	}
	defer plugin.Close(context.WithoutCancel(ctx))
	return plugin.Call(ctx, c.request(s.Manifest.Plugin.Type)), plugin.Counters()
}

// granted reads permissions that were checked to be some.
func granted(permissions []string) []protocol.Grant {
	var out []protocol.Grant
	for _, text := range permissions {
		capability, scope, _ := protocol.ParsePermission(text)
		i := slices.IndexFunc(out, func(g protocol.Grant) bool { return g.Capability == capability })
		if i < 0 {
			i, out = len(out), append(out, protocol.Grant{Capability: capability})
		}
		if scope != "" {
			out[i].Scopes = append(out[i].Scopes, scope)
		}
	}
	return out
}

// Asked returns the configuration of a case and what it asks of a plugin of that type, for who
// wants to ask the same without judging the answer.
func (c *Case) Asked(of protocol.PluginType) (protocol.Raw, wasmhost.Request) {
	return c.Config.Raw, c.request(of)
}

// request is what the case asks.
func (c *Case) request(of protocol.PluginType) wasmhost.Request {
	now := protocol.Stamp{UnixMS: c.now.UnixMilli(), Quality: protocol.QualityClock}
	out := wasmhost.Request{Kind: c.requestOf(of), Now: now, Key: c.Key, Why: wasmhost.Why(c.Why)}
	switch out.Kind {
	case wasmhost.Wake:
		out.State = c.State.Raw
		switch {
		case c.Said != nil:
			out.Why, out.Message = wasmhost.WhyMessage, &wasmhost.Message{Topic: c.Said.Topic, Data: c.Said.Data.Raw}
		case out.Why == "":
			out.Why = wasmhost.WhyStart
		}
	case wasmhost.Run, wasmhost.Deliver:
		if out.Key == "" {
			out.Key = "cases/case"
		}
		out.Event = &protocol.Event{
			Run: runID, Workflow: "cases", Revision: 1, Time: now, Data: c.Event.Raw,
		}
		for _, r := range c.Result {
			out.Results = append(out.Results, r.result())
		}
	case wasmhost.Check:
	}
	return out
}

// runID is the run of every case: 000102...0f.
var runID = protocol.RunID{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}

func (r *Result) result() protocol.Result {
	out := protocol.Result{Step: protocol.StepName(r.Step), Status: protocol.StatusOK, Data: r.Data.Raw}
	if r.Error != nil {
		out.Status = protocol.StatusError
		out.Error = &protocol.Error{Code: r.Error.code, Text: r.Error.Text}
	}
	return out
}

// String is the verdict for a person.
func (v *Verdict) String() string {
	if v.Passed {
		return fmt.Sprintf("ok    %s:%d: %s", v.File, v.Line, v.Name)
	}
	text := strings.ReplaceAll("\n"+strings.Join(v.Problems, "\n"), "\n", "\n      ")
	return fmt.Sprintf("FAIL  %s:%d: %s%s", v.File, v.Line, v.Name, text)
}

var _ fmt.Stringer = (*Verdict)(nil)

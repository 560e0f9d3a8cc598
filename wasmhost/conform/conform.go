// Package conform holds a plugin to the conversation of wasmhost/ABI.md: any plugin, as a
// WebAssembly module or as a native program, and each SDK by its conformance plugin.
//
// There are two levels. The contract is what every plugin must keep, whatever its work:
// Run starts it again and again, asks it in all the ways that a host may, and gives one
// Check for each promise. A plugin breaks a promise in one place, so a check that could
// not be made because another failed is skipped and says so.
//
// The cases (Cases) are for the conformance plugin of an SDK, which does on command what
// a plugin can do at all: each is a request, the host calls that it must bring about with
// their answers, and the answer that must come. See case.go for the commands.
//
// Host calls are answered by the suite itself: nothing is read, written or run on the
// machine. A native program, though, is not confined at all.
package conform

import (
	"context"
	"slices"
	"time"

	"github.com/stavily/stavily/protocol"
	"github.com/stavily/stavily/wasmhost"
)

// Target is what is held to the contract: a module or a program.
type Target struct {
	Wasm    []byte   // a module, metered or not
	Command []string // or a native program with its arguments. It runs unconfined
	// Args and Mounts are for a module that is an engine: what it is started with, its script
	// among it.
	Args   []string
	Mounts []wasmhost.Mount
	// Manifest is what the plugin says of itself. Nil takes type and name from its hello
	// and lets it make every host call that there is.
	Manifest *protocol.Manifest
}

// Options say how a plugin is set up and asked. The zero value serves but for Clock.
type Options struct {
	Config protocol.Raw // the step's configuration; nil is {}
	Event  protocol.Raw // the event's data for actions and outputs; nil is {}
	Cases  []Case       // also held to these; nil for a plugin that is no SDK's
	// CompiledOnly leaves out the cases in the interpreter, which takes minutes for a big engine.
	// That both engines give the same bytes is checked all the same.
	CompiledOnly bool
	// Timeout bounds each start, request and end. 0: 10 seconds.
	Timeout time.Duration
	// Clock tells the time to guests and measures. It must be set.
	Clock func() time.Time
}

// Verdict is how a check went.
type Verdict string

// The verdicts.
const (
	OK      Verdict = "ok"
	Failed  Verdict = "failed"
	Skipped Verdict = "skipped"
)

// Check is one promise and whether it was kept.
type Check struct {
	Name    string  `json:"name"`
	Verdict Verdict `json:"verdict"`
	Detail  string  `json:"detail,omitempty"` // what went wrong, why it was skipped, or what was seen
	TookUS  int64   `json:"took_us"`
}

// Report is what was found out about a plugin.
type Report struct {
	Plugin   string  `json:"plugin"`
	Type     string  `json:"type"`
	SDK      string  `json:"sdk"`
	Carrier  string  `json:"carrier"`            // "wasm" or "native"
	Encoding string  `json:"encoding,omitempty"` // "json" or "cbor"
	Checks   []Check `json:"checks"`
}

// Failed returns how many checks failed.
func (r *Report) Failed() int {
	n := 0
	for i := range r.Checks {
		if r.Checks[i].Verdict == Failed {
			n++
		}
	}
	return n
}

// Passed reports whether no check failed and at least one was made.
func (r *Report) Passed() bool {
	made := slices.ContainsFunc(r.Checks, func(c Check) bool { return c.Verdict == OK })
	return made && r.Failed() == 0
}

// Run holds a plugin to the contract, and to the cases of opts. What the plugin does wrong
// is in the report; the error is for what keeps the suite itself from its work, with
// CodeBadInput for a target or options that make no sense, or when ctx has ended.
func Run(ctx context.Context, t Target, opts Options) (Report, error) {
	switch {
	case (len(t.Wasm) == 0) == (len(t.Command) == 0):
		return Report{}, protocol.Errorf(protocol.CodeBadInput, "conform: want a module or a program")
	case opts.Clock == nil:
		return Report{}, protocol.Errorf(protocol.CodeBadInput, "conform: no clock")
	}
	if opts.Timeout == 0 {
		opts.Timeout = 10 * time.Second
	}
	s := newSuite(t, opts)
	defer s.close(context.WithoutCancel(ctx))
	err := s.contract(ctx)
	if err == nil && len(opts.Cases) > 0 {
		err = s.cases(ctx)
	}
	if err == nil {
		err = ctx.Err()
	}
	return s.report, err
}

package conform

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/stavily/stavily/protocol"
	"github.com/stavily/stavily/wasmhost"
	"github.com/stavily/stavily/wasmhost/meter"
)

// now is the time that plugins are told.
const now = 1_790_000_000_000

// suite is one run.
type suite struct {
	target   Target
	opts     Options
	report   Report
	manifest *protocol.Manifest // the target's, or what was learned
	wishes   []protocol.Grant
	metered  []byte   // the module as agents run it
	main     room     // where most of the work is done
	calls    []string // host calls that were made while answering, each once
	lasts    bool     // one instance answered a hundred requests
	began    time.Time
}

func newSuite(t Target, opts Options) *suite {
	s := &suite{target: t, opts: opts, manifest: t.Manifest, report: Report{Carrier: "wasm"}}
	if len(t.Command) > 0 {
		s.report.Carrier = "native"
	}
	if s.manifest == nil {
		s.manifest = &protocol.Manifest{
			Plugin: protocol.PluginInfo{Name: "plugin", Version: "0.0.0"},
			Limits: protocol.Limits{MemoryMB: 256},
		}
	}
	return s
}

func (s *suite) close(ctx context.Context) {
	if s.main != nil {
		s.main.close(ctx)
	}
}

func (s *suite) native() bool { return len(s.target.Command) > 0 }

// The checks that others stand on, in the order in which they are reported.
var basic = []string{"module", "hello", "ready", "check", "answer", "messages", "id", "order", "calls"}

// deep are the checks of a plugin that answers as it should.
var deep = []struct {
	name string
	look func(*suite, context.Context) finding
}{
	{"end", (*suite).end},
	{"config", (*suite).config},
	{"unknown-keys", (*suite).unknownKeys},
	{"unknown-request", (*suite).unknownRequest},
	{"large", (*suite).large},
	{"unicode", (*suite).unicode},
	{"integers", (*suite).integers},
	{"denied", (*suite).denied},
	{"hundred", (*suite).hundred},
	{"batch", (*suite).batch},
	{"memory", (*suite).memory},
	{"interpreter", (*suite).interpreter},
	{"unmetered", (*suite).unmetered},
}

// finding is what a check found: an error, a reason to skip it, or what was seen.
type finding struct {
	err    error
	skip   string
	detail string
	tookUS int64 // 0: since the last one was put
}

// contract makes all the checks. Its error is the suite's own.
func (s *suite) contract(ctx context.Context) error {
	s.began = s.opts.Clock()
	found := map[string]finding{}
	err := s.basics(ctx, found)
	if err != nil {
		return err
	}
	blocked := ""
	for _, name := range basic {
		f, made := found[name]
		if !made {
			f.skip = "not reached"
			if blocked != "" {
				f.skip = "see " + blocked
			}
		}
		if f.err != nil && name != "check" && blocked == "" && !errors.Is(f.err, errUndeclared) {
			blocked = name
		}
		s.put(name, f)
	}
	for _, d := range deep {
		f := finding{skip: "see " + blocked}
		s.began = s.opts.Clock()
		if blocked == "" {
			f = d.look(s, ctx)
		}
		s.put(d.name, f)
	}
	return nil
}

// put adds a check to the report.
func (s *suite) put(name string, f finding) {
	c := Check{Name: name, Verdict: OK, Detail: f.detail}
	switch {
	case f.err != nil:
		c.Verdict, c.Detail = Failed, f.err.Error()
	case f.skip != "":
		c.Verdict, c.Detail = Skipped, f.skip
	}
	if c.TookUS = f.tookUS; c.TookUS == 0 {
		c.TookUS = s.lap()
	}
	s.report.Checks = append(s.report.Checks, c)
}

// lap returns the microseconds since the last lap.
func (s *suite) lap() int64 {
	at := s.opts.Clock()
	us := at.Sub(s.began).Microseconds()
	s.began = at
	return us
}

// basics starts the plugin and asks it what it must answer, until it breaks a promise.
func (s *suite) basics(ctx context.Context, found map[string]finding) error {
	verdict, err := s.admit()
	found["module"] = verdict
	if err != nil || verdict.err != nil {
		return err
	}
	if err := s.enter(ctx); err != nil {
		verdict = finding{err: err}
	}
	verdict.tookUS = s.lap()
	if found["module"] = verdict; verdict.err != nil {
		return nil
	}
	one, f := open(ctx, s.opening())
	defer one.close(ctx)
	s.meet(one, f, found)
	if f != nil {
		return nil
	}
	if f = s.selfCheck(ctx, one, found); f != nil {
		found[f.check] = finding{err: f.err}
	}
	if f == nil || f.check == "check" {
		s.work(ctx, found)
	}
	return nil
}

// admit verifies a module and meters it.
func (s *suite) admit() (finding, error) {
	if s.native() {
		return finding{skip: "a native program"}, nil
	}
	var err error
	if s.manifest.Plugin.Type != "" {
		if s.wishes, err = s.manifest.Wishes(); err != nil {
			return finding{}, err
		}
	}
	v, err := wasmhost.Verify(s.target.Wasm, s.manifest)
	if err != nil {
		return finding{err: err}, nil //nolint:nilerr // what was found, not what went wrong
	}
	s.metered = s.target.Wasm
	if !v.Metered {
		if s.metered, err = meter.Instrument(s.target.Wasm); err != nil {
			return finding{err: err}, nil //nolint:nilerr // the same
		}
	}
	return finding{detail: fmt.Sprintf("%d bytes, %d imports", v.SizeB, len(v.Imports))}, nil
}

// enter opens the room in which most of the work is done.
func (s *suite) enter(ctx context.Context) (err error) {
	if s.native() {
		s.main = &nativeRoom{s.target.Command}
		return nil
	}
	s.main, err = s.openWasm(ctx, engine{})
	return err
}

// opening is how sessions begin unless something else is looked at.
func (s *suite) opening() opening {
	o := opening{room: s.main, desk: newDesk(), timeout: s.opts.Timeout, fits: s.fits}
	o.setup = wasmhost.Setup{
		Config: s.opts.Config, Limits: s.manifest.Limits.WithDefaults(),
		Grants: protocol.Effective(s.wishes), Workflow: "conform", Step: "plugin",
	}
	return o
}

// fits holds a hello against the manifest.
func (s *suite) fits(h wasmhost.Hello) error {
	p := &s.manifest.Plugin
	if s.target.Manifest != nil && (h.Type != string(p.Type) || h.Plugin != string(p.Name)) {
		return protocol.Errorf(protocol.CodeContract, "hello: %s %q, the manifest says %s %q", h.Type, h.Plugin,
			p.Type, p.Name)
	}
	if err := protocol.PluginType(h.Type).Check(); err != nil {
		return err
	}
	return protocol.PluginName(h.Plugin).Check()
}

// meet notes how a plugin began.
func (s *suite) meet(one *session, f *fault, found map[string]finding) {
	if one != nil && one.hello.Type != "" {
		h := one.hello
		s.report.Plugin, s.report.Type, s.report.SDK, s.report.Encoding = h.Plugin, h.Type, h.SDK, "json"
		if one.talk.CBOR() {
			s.report.Encoding = "cbor"
		}
	}
	if f == nil || f.check != "hello" && s.report.Type != "" {
		r := &s.report
		found["hello"] = finding{detail: fmt.Sprintf("%s %q in %s", r.Type, r.Plugin, r.Encoding)}
	}
	switch {
	case f == nil:
		found["ready"] = finding{tookUS: s.lap()}
		if s.target.Manifest == nil {
			s.manifest.Plugin.Type = protocol.PluginType(one.hello.Type)
			s.manifest.Plugin.Name = protocol.PluginName(one.hello.Plugin)
		}
	case f.check == "ready" && isOwn(f.err):
		found["ready"] = finding{err: fmt.Errorf("refuses this configuration: %w", f.err)}
	default:
		found[f.check] = finding{err: f.err}
	}
}

// selfCheck asks for the self-check, twice.
func (s *suite) selfCheck(ctx context.Context, one *session, found map[string]finding) *fault {
	detail := "passes"
	for range 2 {
		a, f := one.ask(ctx, "check", wasmhost.Request{Kind: wasmhost.Check, Now: stamp()})
		if f != nil {
			return f
		}
		if a.Error != nil {
			detail = "says " + a.Error.Text
		}
	}
	s.used(one)
	found["check"] = finding{detail: detail, tookUS: s.lap()}
	return nil
}

// work asks what the plugin is there for.
func (s *suite) work(ctx context.Context, found map[string]finding) {
	one, f := open(ctx, s.opening())
	defer one.close(ctx)
	var a wasmhost.Answer
	for i := 0; i < 3 && f == nil; i++ {
		a, f = one.ask(ctx, "answer", s.request(i, a.State, nil))
	}
	if f != nil {
		found[f.check] = finding{err: f.err}
		return
	}
	s.used(one)
	found["answer"] = finding{detail: describe(a), tookUS: s.lap()}
	found["messages"] = finding{detail: fmt.Sprintf("%d bytes on stdout, %d lines on stderr", len(one.said),
		one.logged())}
	found["id"], found["order"] = finding{}, finding{}
	found["calls"] = s.declared()
}

func describe(a wasmhost.Answer) string {
	if a.Error != nil {
		return "an error: " + a.Error.Text
	}
	return ""
}

// used notes the host calls that a session made.
func (s *suite) used(one *session) {
	for _, name := range one.desk.calls {
		if !slices.Contains(s.calls, name) {
			s.calls = append(s.calls, name)
		}
	}
}

var errUndeclared = errors.New("the manifest does not ask for it")

// declared holds the host calls that were made against the manifest.
func (s *suite) declared() finding {
	slices.Sort(s.calls)
	for _, name := range s.calls {
		capability, known := wasmhost.CapabilityOf(name)
		if !known {
			return finding{err: fmt.Errorf("call %q: no such host call: %w", name, errUndeclared)}
		}
		asked := slices.ContainsFunc(s.wishes, func(g protocol.Grant) bool { return g.Capability == capability })
		if capability != "" && !asked && s.target.Manifest != nil {
			return finding{err: fmt.Errorf("call %s: permission %s: %w", name, capability, errUndeclared)}
		}
	}
	detail := "none"
	if len(s.calls) > 0 {
		detail = strings.Join(s.calls, ", ")
	}
	if s.target.Manifest == nil {
		detail += "; no manifest to hold them against"
	}
	return finding{detail: detail}
}

func stamp() protocol.Stamp { return protocol.Stamp{UnixMS: now, Quality: protocol.QualityClock} }

// request is the i-th request to the plugin in its session. data nil is the usual.
func (s *suite) request(i int, state, data protocol.Raw) wasmhost.Request {
	at := protocol.Stamp{UnixMS: now + int64(i)*1000, Quality: protocol.QualityClock}
	if data == nil {
		data = s.opts.Event
	}
	if data == nil {
		data = protocol.Raw{0xa0}
	}
	if s.manifest.Plugin.Type == protocol.Trigger {
		why := wasmhost.WhyTimer
		if i == 0 {
			why = wasmhost.WhyStart
		}
		steady := 60_000 + int64(i)*1000
		return wasmhost.Request{Kind: wasmhost.Wake, Why: why, State: state, Now: at, SteadyMS: steady}
	}
	r := wasmhost.Request{
		Kind: wasmhost.Run, Key: fmt.Sprintf("conform-%d", i), Now: at,
		Event: &protocol.Event{Workflow: "conform", Time: at, Data: data},
	}
	copy(r.Event.Run[:], bytes.Repeat([]byte{byte(i)}, len(r.Event.Run)))
	if s.manifest.Plugin.Type == protocol.Output {
		r.Kind = wasmhost.Deliver
		r.Results = []protocol.Result{{Step: "before", Status: protocol.StatusOK, Data: data}}
	}
	return r
}

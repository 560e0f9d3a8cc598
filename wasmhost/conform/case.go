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
)

// Case is one thing that a conformance plugin must be able to do.
//
// A conformance plugin is called "conformance", is built as each of the three types, and
// does what a map says that it gets: an action and an output in the event's data, a
// trigger in its state. The map's "do" is one of
//
//	echo       value          the result is value, as it came
//	none                      no result
//	request                   the result is all that stands in the request but its data or state
//	init                      the result is all of init: config, limits, grants, workflow, step
//	fail       text           an error with code plugin
//	retryable  text           an error with code retryable
//	panic      text           what the language has for a defect
//	print      text           prints as the language prints, then no result
//	call       name, args     one host call by its name; the result is {"ok":...} or {"error":{"code","text"}}
//	calls      list           as many of them, in order; the result is a list
//	count                     the result is how often it was asked to count in this instance
//	big        bytes          the result is a text of so many x
//	exit       code           ends the program
//	spin                      computes for ever
//	log, metrics, process, append, write, read, list, get, put
//	                          the SDK's own function for that host call, with "args" as in ABI.md;
//	                          the result is what it returns
//	fire       events, state, after_ms, at_ms    (trigger) the answer; at_ms only where it matters
//
// An action answers with the result as its data, a trigger with one event that is the
// result and no state, an output by the host call kv.put of key "result" (none for no
// result). To check it says an error if its configuration has "check", with that text. A
// configuration with "refuse" is refused with that text; "value" may be anything.
type Case struct {
	Name    string
	Type    protocol.PluginType // whose plugin it is for; empty: all three
	Config  string              // JSON; empty is {}
	Grants  []protocol.Grant
	Refuses string // what the error to init holds; nothing is asked then
	Asks    []Ask  // in one instance, which may have answered other cases; not so with a Config
	Stderr  string // that must stand in stderr afterwards
}

// Ask is one request of a case. JSON texts are compared as values: 1 is not 1.0.
type Ask struct {
	Kind    wasmhost.RequestKind // empty: that of the plugin's type
	Do      string               // JSON: the command
	Results []protocol.Result
	NoClock bool          // the device's clock cannot be believed
	Widen   bool          // with keys that nobody knows
	Within  time.Duration // 0: the suite's timeout
	Config  string        // JSON: another configuration, told before; passed over where the plugin takes none
	Calls   []Call        // that must be made, in order

	Result string        // JSON of the result that must come; empty for none
	Fired  string        // JSON of a trigger's answer instead: {"events","state","after_ms"}, and "at_ms"
	Code   protocol.Code // of the error that must come; CodeContract: ended, CodeDeadline: had to be ended
	Text   string        // that must stand in the error
	OrEnds bool          // with Code: the program may end instead

	// Batch are requests that are put as one, if the plugin takes batches; else they are
	// passed over. Each says its Do, Results, Calls and what must come of it.
	Batch []Ask
}

// Call is a host call and its answer.
type Call struct {
	Name  string
	Args  string          // JSON: what args must hold. What it lacks may be there if it is empty
	OK    string          // JSON: the reply, {} when empty
	Error *protocol.Error // the reply instead
}

// cases holds the plugin to the cases for its type, in every engine unless the options say
// otherwise.
func (s *suite) cases(ctx context.Context) error {
	rooms := []struct {
		name string
		room room
	}{{"compiled", s.main}}
	switch {
	case s.native():
		rooms[0].name = "native"
	case s.metered != nil && !s.opts.CompiledOnly:
		other, err := s.openWasm(ctx, engine{interpreted: true})
		if err != nil {
			return err
		}
		defer other.close(context.WithoutCancel(ctx))
		rooms = append(rooms, struct {
			name string
			room room
		}{"interpreted", other})
	}
	for _, r := range rooms {
		one := shared{room: r.room}
		for i := range s.opts.Cases {
			c := &s.opts.Cases[i]
			if c.Type != "" && c.Type != s.manifest.Plugin.Type {
				continue
			}
			s.began = s.opts.Clock()
			f := finding{skip: "the plugin does not begin as it should"}
			if s.main != nil && s.report.Type != "" {
				f = finding{err: s.try(ctx, &one, c)}
			}
			s.put("case "+c.Name+" ("+r.name+")", f)
		}
		one.session.close(ctx)
	}
	return nil
}

// shared is a room with the session of the last case, if the next may go on in it.
type shared struct {
	room    room
	session *session
}

// plain reports whether a case needs no instance of its own.
func (c *Case) plain() bool {
	return c.Config == "" && c.Grants == nil && c.Refuses == "" && c.Stderr == "" &&
		!slices.ContainsFunc(c.Asks, func(a Ask) bool {
			return a.OrEnds || a.Code == protocol.CodeContract || a.Code == protocol.CodeDeadline
		})
}

// try holds the plugin to one case, in the shared session if that serves.
func (s *suite) try(ctx context.Context, in *shared, c *Case) error {
	one := in.session
	if in.session = nil; one == nil || !c.plain() {
		one.close(ctx)
		var f *fault
		var err error
		if one, f, err = s.begin(ctx, in.room, c); err != nil || f != nil || c.Refuses != "" {
			one.close(ctx)
			return errors.Join(err, c.refused(f))
		}
	}
	for i := range c.Asks {
		one.widened = c.Asks[i].Widen
		try := s.tryAsk
		if c.Asks[i].Batch != nil {
			try = s.tryBatch
		}
		if err := try(ctx, one, &c.Asks[i]); err != nil {
			one.close(ctx)
			return fmt.Errorf("request %d: %w", i+1, err)
		}
	}
	if c.plain() {
		in.session = one
		return nil
	}
	defer one.close(ctx)
	if c.Stderr != "" && one.finish(ctx) == nil && !strings.Contains(strings.Join(one.stderr, "\n"), c.Stderr) {
		return fmt.Errorf("stderr has %q, want %q", one.stderr, c.Stderr)
	}
	return nil
}

// begin opens the session of a case.
func (s *suite) begin(ctx context.Context, r room, c *Case) (*session, *fault, error) {
	o := s.opening()
	o.room, o.desk.bound, o.setup.Grants = r, true, c.Grants
	o.setup.Limits = protocol.DefaultLimits()
	if c.Config != "" {
		config, err := wasmhost.FromJSON([]byte(c.Config))
		if err != nil {
			return nil, nil, fmt.Errorf("the case's config: %w", err)
		}
		o.setup.Config = config
	}
	one, f := open(ctx, o)
	return one, f, nil
}

// refused compares how a session began with what the case wants.
func (c *Case) refused(f *fault) error {
	switch {
	case c.Refuses == "":
		return because(f)
	case f == nil:
		return fmt.Errorf("the configuration was taken, want it refused with %q", c.Refuses)
	case f.check != "ready" || !isOwn(f.err) || !strings.Contains(f.err.Error(), c.Refuses):
		return fmt.Errorf("want the configuration refused with %q, got %w", c.Refuses, because(f))
	}
	return nil
}

// tryAsk puts one request and compares what comes of it.
func (s *suite) tryAsk(ctx context.Context, one *session, a *Ask) error {
	req, err := s.asking(a)
	if err != nil {
		return err
	}
	one.desk.script, one.desk.fault = s.script(a), nil
	if a.Config != "" {
		if !one.hello.Reinit {
			return nil
		}
		if err := s.tell(ctx, one, a); err != nil {
			return err
		}
	}
	if a.Within > 0 {
		defer func(usual time.Duration) { one.timeout = usual }(one.timeout)
		one.timeout = a.Within
	}
	got, f := one.ask(ctx, "answer", req)
	switch {
	case one.desk.fault != nil:
		return one.desk.fault
	case a.Code != protocol.CodeOK:
		return a.wrong(got, f)
	case f != nil:
		return because(f)
	case got.Error != nil:
		return fmt.Errorf("error %s: %w", got.Error.Code, got.Error)
	case len(one.desk.script) > 0:
		return fmt.Errorf("host call %s was not made", one.desk.script[0].Name)
	}
	return s.compare(a, got)
}

// tell gives the plugin another configuration.
func (s *suite) tell(ctx context.Context, one *session, a *Ask) error {
	setup := s.opening().setup
	setup.Limits = protocol.DefaultLimits()
	var err error
	if setup.Config, err = wasmhost.FromJSON([]byte(a.Config)); err != nil {
		return fmt.Errorf("the case's config: %w", err)
	}
	one.within(ctx, func() { err = one.talk.SetUp(setup) })
	if err == nil {
		err = because(one.settled("speaks before it is asked"))
	}
	if err != nil {
		return fmt.Errorf("another configuration: %w", err)
	}
	return nil
}

// script is the host calls that must be made for an ask.
func (s *suite) script(a *Ask) []Call {
	out := slices.Clone(a.Calls)
	if s.manifest.Plugin.Type == protocol.Output && a.Result != "" {
		out = append(out, Call{Name: "kv.put", Args: `{"key":"result","value":` + a.Result + `}`})
	}
	return out
}

// asking makes the request of an ask.
func (s *suite) asking(a *Ask) (wasmhost.Request, error) {
	do := protocol.Raw{0xa0}
	if a.Do != "" {
		var err error
		if do, err = wasmhost.FromJSON([]byte(a.Do)); err != nil {
			return wasmhost.Request{}, fmt.Errorf("the case's command: %w", err)
		}
	}
	r := s.request(1, do, do)
	if a.NoClock {
		r.Now.Quality = protocol.QualityFloor
	}
	r.Results = a.Results
	if a.Kind != "" {
		r.Kind = a.Kind
	}
	return r, nil
}

// wrong compares an error that must come.
func (a *Ask) wrong(got wasmhost.Answer, f *fault) error {
	if f != nil {
		code := protocol.CodeOf(f.err)
		ended := code == protocol.CodeDeadline || strings.HasPrefix(f.err.Error(), "ended: ")
		if code == a.Code && ended || a.OrEnds && ended {
			return nil
		}
		return because(f)
	}
	switch {
	case got.Error == nil:
		return fmt.Errorf("an answer, want error %s", a.Code)
	case got.Error.Code != a.Code || !strings.Contains(got.Error.Text, a.Text):
		return fmt.Errorf("error %s %.200q, want %s with %.200q", got.Error.Code, got.Error.Text, a.Code, a.Text)
	}
	return nil
}

// compare compares an answer.
func (s *suite) compare(a *Ask, got wasmhost.Answer) error {
	switch t := s.manifest.Plugin.Type; {
	case a.Kind != "" && a.Kind != s.request(0, nil, nil).Kind, t == protocol.Output:
		return nil // has no result, or it went by a host call
	case a.Fired != "":
		return same("answer", a.Fired, firedJSON(got))
	case t == protocol.Action:
		return same("result", a.Result, wasmhost.ToJSON(got.Data))
	case a.Result == "" && len(got.Events) == 0:
		return same("state", "", wasmhost.ToJSON(got.State))
	case len(got.Events) != 1 || got.Next.AfterMS != 0 || got.Next.AtMS != 0:
		return fmt.Errorf("answer %.300s, want one event and no more", firedJSON(got))
	}
	return errors.Join(same("event", a.Result, wasmhost.ToJSON(got.Events[0])),
		same("state", "", wasmhost.ToJSON(got.State)))
}

// same compares a JSON text with what a case wants: "" is null.
func same(what, want string, have []byte) error {
	if want == "" {
		want = "null"
	}
	wanted, err := wasmhost.FromJSON([]byte(want))
	if err != nil {
		return fmt.Errorf("the case's %s: %w", what, err)
	}
	if got, err := wasmhost.FromJSON(have); err != nil || !bytes.Equal(got, wanted) {
		return fmt.Errorf("%s %.300s, want %.300s", what, have, want)
	}
	return nil
}

// firedJSON returns a trigger's answer as a case says it.
func firedJSON(a wasmhost.Answer) []byte {
	out := []byte(`{"events":[`)
	for i, e := range a.Events {
		if i > 0 {
			out = append(out, ',')
		}
		out = append(out, wasmhost.ToJSON(e)...)
	}
	out = append(append(out, `],"state":`...), wasmhost.ToJSON(a.State)...)
	out = fmt.Appendf(out, `,"after_ms":%d`, a.Next.AfterMS)
	if a.Next.AtMS != 0 {
		out = fmt.Appendf(out, `,"at_ms":%d`, a.Next.AtMS)
	}
	return append(out, '}')
}

// scripted answers a call as the case says.
func (d *desk) scripted(name string, args protocol.Raw) (protocol.Raw, error) {
	if len(d.script) == 0 {
		return nil, d.stray(fmt.Errorf("host call %s is not in the case", name))
	}
	c := d.script[0]
	d.script = d.script[1:]
	if c.Name != name {
		return nil, d.stray(fmt.Errorf("host call %s, want %s", name, c.Name))
	}
	if err := sameArgs(args, c.Args); err != nil {
		return nil, d.stray(fmt.Errorf("host call %s: %w", name, err))
	}
	if c.Error != nil {
		return nil, c.Error
	}
	if c.OK == "" {
		return nil, nil
	}
	return wasmhost.FromJSON([]byte(c.OK))
}

// stray keeps the first call that should not have been.
func (d *desk) stray(err error) error {
	if d.fault == nil {
		d.fault = err
	}
	return err
}

// empties are arguments that say nothing.
var empties = []string{"null", "0", `""`, "false", "[]", "{}"}

// sameArgs wants what the case says of a call's arguments, and nothing else that says
// something.
func sameArgs(args protocol.Raw, text string) error {
	if text == "" {
		text = "{}"
	}
	wanted, err := wasmhost.FromJSON([]byte(text))
	if err != nil {
		return fmt.Errorf("the case's arguments: %w", err)
	}
	if len(args) == 0 {
		args = protocol.Raw{0xa0}
	}
	var want, got map[string]protocol.Raw
	if err := errors.Join(protocol.Unmarshal(wanted, &want), protocol.Unmarshal(args, &got)); err != nil {
		return err
	}
	for key, value := range got {
		if want[key] == nil && !slices.Contains(empties, string(wasmhost.ToJSON(value))) {
			return fmt.Errorf("argument %q is not in the case", key)
		}
	}
	for key, value := range want {
		if !bytes.Equal(got[key], value) {
			return fmt.Errorf("argument %q is %.200s, want %.200s", key, wasmhost.ToJSON(got[key]),
				wasmhost.ToJSON(value))
		}
	}
	return nil
}

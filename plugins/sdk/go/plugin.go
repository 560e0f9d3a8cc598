package stavily

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"strings"
)

// Plugin is a plugin with its functions. It is made by Trigger, Action or Output and
// serves one conversation.
type Plugin struct {
	name    string
	kind    string
	wake    func(*Context, Wake) (Fired, error)
	run     func(*Context, Run) (any, error)
	deliver func(*Context, Delivery) error
	batch   func(*Context, []Run) []Outcome
	check   func(*Context) error
	config  any
	unset   reflect.Value // what config points to before it was filled
}

// Trigger makes a trigger: wake is called at start, and again after the time that its
// answer asked for. The name is the manifest's.
func Trigger(name string, wake func(*Context, Wake) (Fired, error)) *Plugin {
	return &Plugin{name: name, kind: "trigger", wake: wake}
}

// Action makes an action: run is called for an event and answers with the data of the
// step's result, which goes through encoding/json; nil is null.
func Action(name string, run func(*Context, Run) (any, error)) *Plugin {
	return &Plugin{name: name, kind: "action", run: run}
}

// Output makes an output: deliver is called when the actions of a run are over; no
// error means delivered.
func Output(name string, deliver func(*Context, Delivery) error) *Plugin {
	return &Plugin{name: name, kind: "output", deliver: deliver}
}

// Config says where the step's configuration goes: a pointer to a struct, filled before
// the first request. A key that the struct does not have is refused. When the pointer
// has a method Validate() error, that is asked too; it may also fill in defaults. A workflow
// may fill the configuration from each event: then it is another one in the next request,
// made of what the struct held at first.
func (p *Plugin) Config(into any) *Plugin {
	p.config = into
	return p
}

// Check says what the self-check does: no error means that the plugin could do its work
// on this machine now. It must not change anything. Without one, every check passes.
func (p *Plugin) Check(check func(*Context) error) *Plugin {
	p.check = check
	return p
}

// Batch says how an action or an output works on several events at once, which pays where
// one write or one request serves many: the host may ask so when a queue has built up. It
// returns an outcome for each of work, in order. It may return fewer, for as many as it
// came to: the host asks for the rest again. Without it the function for one event is
// called for one event after another. For an output, the Data of an Outcome is passed over.
func (p *Plugin) Batch(batch func(c *Context, work []Run) []Outcome) *Plugin {
	p.batch = batch
	return p
}

// Main serves the host on stdin and stdout until stdin ends, and ends the program with
// exit code 1 when the conversation breaks. Call it last in main.
func (p *Plugin) Main() {
	in, out := os.Stdin, os.Stdout
	os.Stdin, os.Stdout = nil, os.Stderr
	if err := p.Serve(in, out); err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", p.name, err)
		os.Exit(1)
	}
}

// init fills the configuration from what the host sent. Nothing of one before is left.
func (p *Plugin) init(config json.RawMessage) error {
	if len(config) == 0 || string(config) == "null" {
		config = json.RawMessage("{}")
	}
	into := p.config
	if into == nil {
		into = &struct{}{}
	}
	p.reset(into)
	d := json.NewDecoder(bytes.NewReader(config))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return fmt.Errorf("config: %s", plain(err))
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("config: more than one JSON value")
	}
	if v, ok := into.(interface{ Validate() error }); ok {
		if err := guard(v.Validate); err != nil {
			return fmt.Errorf("config: %w", err)
		}
	}
	return nil
}

// reset makes of a configuration what it was before it was filled first.
func (p *Plugin) reset(config any) {
	v := reflect.ValueOf(config)
	if v.Kind() != reflect.Pointer || v.IsNil() {
		return // encoding/json says so
	}
	if !p.unset.IsValid() {
		p.unset = reflect.New(v.Type().Elem()).Elem()
		p.unset.Set(v.Elem())
	}
	v.Elem().Set(p.unset)
	for i := 0; v.Elem().Kind() == reflect.Struct && i < v.Elem().NumField(); i++ {
		if f := v.Elem().Field(i); f.CanSet() {
			own(f)
		}
	}
}

// own makes what is filled in place another one than that of the default.
func own(f reflect.Value) {
	switch {
	case f.Kind() == reflect.Slice && !f.IsNil():
		f.Set(reflect.AppendSlice(reflect.MakeSlice(f.Type(), 0, f.Len()), f))
	case f.Kind() == reflect.Map && !f.IsNil():
		m := reflect.MakeMap(f.Type())
		for _, k := range f.MapKeys() {
			m.SetMapIndex(k, f.MapIndex(k))
		}
		f.Set(m)
	}
}

// plain says a JSON error in the words of the one who wrote the configuration.
func plain(err error) string {
	var wrong *json.UnmarshalTypeError
	if errors.As(err, &wrong) && wrong.Field != "" {
		return fmt.Sprintf("%s: want %s, got %s", wrong.Field, wrong.Type, wrong.Value)
	}
	text := strings.TrimPrefix(err.Error(), "json: ")
	return strings.Replace(text, "unknown field", "unknown key", 1)
}

// Conformance is the plugin by which this SDK is held to the conversation with the host:
// it does on command what a plugin can do at all. The commands are those of
// wasmhost/conform, which runs it. It is built once for each type, and for each encoding:
//
//	GOOS=wasip1 GOARCH=wasm go build -ldflags='-X main.kind=trigger -X main.encoding=cbor' .
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/stavily/stavily/plugins/sdk/go"
)

// What the build says.
var (
	kind     = "action"
	encoding = "json"
)

func main() {
	if encoding == "json" {
		plugin().Main()
		return
	}
	in, out := os.Stdin, os.Stdout
	os.Stdin, os.Stdout = nil, os.Stderr
	if err := plugin().Serve(newCBORReader(in), cborWriter{out}); err != nil {
		fmt.Fprintln(os.Stderr, "conformance:", err)
		os.Exit(1)
	}
}

type config struct {
	Value  json.RawMessage `json:"value"`
	Refuse string          `json:"refuse"`
	Sensor string          `json:"check"`
}

// Validate refuses the configuration when it says so.
func (c *config) Validate() error {
	if c.Refuse != "" {
		return errors.New(c.Refuse)
	}
	return nil
}

func plugin() *stavily.Plugin {
	w := &worker{}
	var p *stavily.Plugin
	switch kind {
	case "trigger":
		p = stavily.Trigger("conformance", w.wake)
	case "output":
		p = stavily.Output("conformance", w.deliver)
	default:
		p = stavily.Action("conformance", w.run)
	}
	return p.Config(&w.config).Check(func(*stavily.Context) error {
		if w.config.Sensor != "" {
			return errors.New(w.config.Sensor)
		}
		return nil
	})
}

type worker struct {
	config config
	count  int
}

// command is what to do, and what with.
type command struct {
	Do      string            `json:"do"`
	Value   json.RawMessage   `json:"value"`
	Text    string            `json:"text"`
	Bytes   int               `json:"bytes"`
	Code    int               `json:"code"`
	Events  []json.RawMessage `json:"events"`
	State   json.RawMessage   `json:"state"`
	AfterMS int64             `json:"after_ms"`
	AtMS    int64             `json:"at_ms"`
	List    []hostCall        `json:"list"`
	hostCall
}

type hostCall struct {
	Name string          `json:"name"`
	Args json.RawMessage `json:"args"`
}

// arguments are those of the SDK's own functions.
type arguments struct {
	Level     stavily.Level   `json:"level"`
	Text      string          `json:"text"`
	Names     []string        `json:"names"`
	Argv      []string        `json:"argv"`
	Stdin     string          `json:"stdin"`
	OutputMax int             `json:"output_max"`
	TimeoutMS int64           `json:"timeout_ms"`
	Path      string          `json:"path"`
	Data      string          `json:"data"`
	Max       int             `json:"max"`
	Sync      bool            `json:"sync"`
	Key       string          `json:"key"`
	Value     json.RawMessage `json:"value"`
}

func (w *worker) run(c *stavily.Context, r stavily.Run) (any, error) {
	data := r.Event.Data
	r.Event.Data = nil
	return w.do(c, data, work(r))
}

func (w *worker) deliver(c *stavily.Context, d stavily.Delivery) error {
	r := stavily.Run(d)
	data := r.Event.Data
	r.Event.Data = nil
	result, err := w.do(c, data, work(r))
	if err != nil || result == nil {
		return err
	}
	return c.KVPut("result", result)
}

// work is a request without the event's data.
func work(r stavily.Run) any {
	return map[string]any{
		"event":   map[string]any{"run": r.Event.Run, "workflow": r.Event.Workflow, "time_ms": r.Event.TimeMS},
		"results": r.Results, "key": r.Key, "deadline_ms": r.DeadlineMS, "now_ms": r.NowMS,
	}
}

func (w *worker) wake(c *stavily.Context, r stavily.Wake) (stavily.Fired, error) {
	var do command
	if err := r.LoadState(&do); err == nil && do.Do == "fire" {
		return fire(do), nil
	}
	result, err := w.do(c, r.State, map[string]any{
		"why": r.Why, "now_ms": c.Now().UnixMilli(), "steady_ms": r.SteadyMS, "clock": r.Clock,
	})
	if err != nil || result == nil {
		return stavily.Fired{}, err
	}
	return stavily.Fired{Events: []any{result}}, nil
}

func fire(do command) stavily.Fired {
	f := stavily.Fired{After: time.Duration(do.AfterMS) * time.Millisecond}
	if do.AtMS > 0 {
		f.At = time.UnixMilli(do.AtMS)
	}
	for _, e := range do.Events {
		f.Events = append(f.Events, e)
	}
	if do.State != nil {
		f.State = do.State
	}
	return f
}

// do does a command and returns its result, nil for none.
func (w *worker) do(c *stavily.Context, text json.RawMessage, request any) (any, error) {
	var do command
	if len(text) == 0 || string(text) == "null" || string(text) == "{}" {
		return nil, nil
	}
	if err := json.Unmarshal(text, &do); err != nil {
		return nil, err
	}
	switch do.Do {
	case "echo":
		return do.Value, nil
	case "none", "":
		return nil, nil
	case "request":
		return request, nil
	case "init":
		return map[string]any{
			"config": map[string]any{"value": w.config.Value}, "limits": c.Limits(), "grants": c.Grants(),
			"workflow": c.Workflow(), "step": c.Step(),
		}, nil
	case "count":
		w.count++
		return w.count, nil
	case "big":
		return strings.Repeat("x", do.Bytes), nil
	case "call":
		return made(c, do.hostCall)
	case "calls":
		return makeAll(c, do.List)
	}
	return w.misbehave(c, do)
}

// misbehave does what no plugin should.
func (w *worker) misbehave(c *stavily.Context, do command) (any, error) {
	switch do.Do {
	case "fail":
		return nil, errors.New(do.Text)
	case "retryable":
		return nil, stavily.Retryable(errors.New(do.Text))
	case "panic":
		panic(do.Text)
	case "print":
		fmt.Println(do.Text)
		return nil, nil
	case "exit":
		os.Exit(do.Code)
	case "spin":
		for i := uint64(1); i != 0; i += 2 {
		}
	}
	var a arguments
	if len(do.Args) > 0 {
		if err := json.Unmarshal(do.Args, &a); err != nil {
			return nil, err
		}
	}
	return ask(c, do.Do, a)
}

// made makes a host call by its name.
func made(c *stavily.Context, call hostCall) (any, error) {
	var ok json.RawMessage
	err := c.Call(call.Name, call.Args, &ok)
	var refused *stavily.Error
	if errors.As(err, &refused) {
		return map[string]any{"error": map[string]string{"code": refused.Code, "text": refused.Text}}, nil
	}
	return map[string]any{"ok": ok}, err
}

func makeAll(c *stavily.Context, list []hostCall) (any, error) {
	var out []any
	for _, call := range list {
		result, err := made(c, call)
		if err != nil {
			return nil, err
		}
		out = append(out, result)
	}
	return out, nil
}

// ask uses the SDK's own function for a host call.
func ask(c *stavily.Context, name string, a arguments) (any, error) {
	switch name {
	case "log":
		c.Log(a.Level, a.Text)
		return nil, nil
	case "metrics":
		return c.Metrics(a.Names...)
	case "process":
		return c.Process(stavily.Command{
			Argv: a.Argv, Stdin: a.Stdin, OutputMax: a.OutputMax,
			Timeout: time.Duration(a.TimeoutMS) * time.Millisecond,
		})
	case "append":
		return c.Append(a.Path, a.Data, a.Sync)
	case "write":
		return nil, c.WriteFile(a.Path, a.Data)
	case "read":
		return c.ReadFile(a.Path, a.Max)
	case "list":
		return c.ListFiles(a.Path)
	case "put":
		return nil, c.KVPut(a.Key, a.Value)
	case "get":
		var value json.RawMessage
		found, err := c.KVGet(a.Key, &value)
		if err != nil || !found {
			return nil, err
		}
		return value, nil
	}
	return nil, fmt.Errorf("command %q: not known", name)
}

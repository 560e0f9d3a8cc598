package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/stavily/stavily/protocol"
	"github.com/stavily/stavily/wasmhost"
)

// asking is one request that is put to a plugin at the desk.
type asking struct {
	spec         wasmhost.Spec
	configFrom   string // for people
	event, state protocol.Raw
	why          wasmhost.Why
	interpreter  bool
	data         string // folder of the plugin's files; empty for one that is removed
}

// asked is all that came of it.
type asked struct {
	request     wasmhost.RequestKind
	answer      wasmhost.Answer
	recording   *wasmhost.Recording
	lines       []protocol.LogLine
	load, start time.Duration // until it was compiled and ran, and of a further start
}

// ask loads the plugin and records it while it answers one request.
func (a *asking) ask(ctx context.Context) (out asked, err error) {
	dir, drop, err := a.dataDir()
	if err != nil {
		return out, fmt.Errorf("data: %w", err)
	}
	defer drop()
	code, err := compiled()
	if err != nil {
		return out, err
	}
	var heard heard
	host, err := wasmhost.New(ctx, wasmhost.Config{
		CacheDir: code, DataDir: dir, Interpreter: a.interpreter, Lines: heard.line,
	})
	if err != nil {
		return out, err
	}
	defer func() { _ = host.Close(ctx) }()
	began := time.Now()
	p, err := host.Load(ctx, a.spec)
	out.lines = heard.take()
	if err != nil {
		return out, withLog(err, out.lines)
	}
	out.load = time.Since(began)
	began = time.Now()
	r := a.request()
	answers, recording, err := p.Record(ctx, wasmhost.RecordingMax, r)
	if err != nil {
		return out, err
	}
	out.request, out.answer, out.recording, out.lines = r.Kind, answers[0], recording, heard.take()
	out.start = time.Since(began) - time.Duration(out.answer.Usage.TookUS)*time.Microsecond
	return out, nil
}

// withLog adds to an error what the plugin logged before it.
func withLog(err error, lines []protocol.LogLine) error {
	if len(lines) == 0 {
		return err
	}
	return fmt.Errorf("%w\nits log: %s", err, lines[len(lines)-1].Text)
}

func (a *asking) request() wasmhost.Request {
	now := protocol.Stamp{UnixMS: time.Now().UnixMilli(), Quality: protocol.QualityClock}
	r := wasmhost.Request{Now: now, Key: "desk", Why: a.why, Kind: wasmhost.Wake, State: a.state}
	switch a.spec.Manifest.Plugin.Type {
	case protocol.Action:
		r.Kind = wasmhost.Run
	case protocol.Output:
		r.Kind = wasmhost.Deliver
	case protocol.Trigger: // is woken
	}
	if r.Kind != wasmhost.Wake {
		r.Event = &protocol.Event{Workflow: a.spec.Workflow, Time: now, Data: a.event}
	}
	return r
}

// heard are the lines of a plugin's log.
type heard struct {
	mu    sync.Mutex // guards the field below
	lines []protocol.LogLine
}

func (h *heard) line(l protocol.LogLine) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.lines = append(h.lines, l)
}

// take returns the lines since the last time.
func (h *heard) take() []protocol.LogLine {
	h.mu.Lock()
	defer h.mu.Unlock()
	out := h.lines
	h.lines = nil
	return out
}

// ran is what "plugin run" tells.
type ran struct {
	Plugin    string            `json:"plugin"`
	Type      string            `json:"type"`
	Engine    string            `json:"engine,omitempty"`
	Config    string            `json:"config,omitempty"` // the file of it
	Asked     string            `json:"asked"`
	Answer    json.RawMessage   `json:"answer,omitempty"` // of an action
	Events    []json.RawMessage `json:"events,omitempty"` // of a trigger
	State     json.RawMessage   `json:"state,omitempty"`
	NextMS    int64             `json:"next_ms,omitempty"`
	Error     *protocol.Error   `json:"error,omitempty"`
	HostCalls []hostCall        `json:"host_calls"`
	Log       []logged          `json:"log"`
	Usage     used              `json:"usage"`
	Cut       string            `json:"cut,omitempty"` // why host calls are missing
	Recorded  *recorded         `json:"recorded,omitempty"`

	kind protocol.PluginType
}

type hostCall struct {
	Call  string          `json:"call"`
	Args  json.RawMessage `json:"args"`
	OK    json.RawMessage `json:"ok,omitempty"`
	Error *protocol.Error `json:"error,omitempty"`
}

type logged struct {
	Level int8   `json:"level"`
	Text  string `json:"text"`
}

// used is what it cost. Load is until the module was compiled, or found compiled, and
// had started; Start is of a start after that.
type used struct {
	Fuel        uint64  `json:"fuel"`
	StartFuel   uint64  `json:"start_fuel"`
	MemoryB     uint64  `json:"memory_bytes"`
	MemoryMaxMB uint32  `json:"memory_max_mb"`
	TookMS      float64 `json:"took_ms"`
	LoadMS      float64 `json:"load_ms"`
	StartMS     float64 `json:"start_ms"`
	HostCalls   uint32  `json:"host_calls"`
	Denied      uint32  `json:"denied"`
}

// ran puts together what is told.
func (d *desk) ran(a asked) ran {
	usage := a.answer.Usage
	out := ran{
		Plugin: d.manifest.String(), Type: string(d.manifest.Plugin.Type), kind: d.manifest.Plugin.Type,
		Asked: string(a.request), Error: a.answer.Error, NextMS: a.answer.Next.AfterMS,
		HostCalls: []hostCall{}, Log: []logged{},
		Usage: used{
			Fuel: usage.Fuel, StartFuel: a.recording.Start, MemoryB: usage.MemoryB,
			MemoryMaxMB: d.manifest.Limits.WithDefaults().MemoryMB,
			TookMS:      milliseconds(time.Duration(usage.TookUS) * time.Microsecond),
			LoadMS:      milliseconds(a.load), StartMS: milliseconds(a.start),
			HostCalls: usage.HostCalls, Denied: usage.Denied,
		},
	}
	if d.engine != nil {
		out.Engine = d.engine.Name
	}
	if out.Error == nil {
		out.Answer, out.State = spelled(a.answer.Data), spelled(a.answer.State)
		for _, e := range a.answer.Events {
			out.Events = append(out.Events, spelled(e))
		}
	}
	if a.recording.Cut != wasmhost.CutNot {
		out.Cut = cutText(a.recording)
	}
	for i := range a.recording.Calls {
		for _, h := range a.recording.Calls[i].HostCalls {
			out.HostCalls = append(out.HostCalls, hostCallOf(&h))
		}
	}
	for _, l := range a.lines {
		out.Log = append(out.Log, logged{l.Level, l.Text})
	}
	return out
}

func hostCallOf(h *wasmhost.RecordedHost) hostCall {
	out := hostCall{Call: h.Name, Args: json.RawMessage("{}")}
	if args := spelled(h.Args); args != nil {
		out.Args = args
	}
	if h.Code != protocol.CodeOK {
		out.Error = &protocol.Error{Code: h.Code, Text: h.Text}
	} else if out.OK = spelled(h.OK); out.OK == nil {
		out.OK = json.RawMessage("{}")
	}
	return out
}

func spelled(v protocol.Raw) json.RawMessage {
	if len(v) == 0 {
		return nil
	}
	return wasmhost.ToJSON(v)
}

func (r ran) show(w io.Writer) {
	row(w, "plugin", r.Plugin, r.Type, r.Engine)
	if r.Config != "" {
		row(w, "config", r.Config)
	}
	row(w, "asked", r.Asked)
	for _, l := range r.Log {
		row(w, "log", l.Text)
	}
	for _, h := range r.HostCalls {
		told := string(h.OK)
		if h.Error != nil {
			told = h.Error.Code.String() + ": " + h.Error.Text
		}
		row(w, "host call", h.Call+" "+string(h.Args))
		row(w, "  reply", told)
	}
	if r.Cut != "" {
		row(w, "host calls", r.Cut)
	}
	r.answered(w)
	u := r.Usage
	row(w, "fuel", fmt.Sprintf("%d, and %d for the start", u.Fuel, u.StartFuel))
	row(w, "memory", fmt.Sprintf("%.1f MiB of %d", float64(u.MemoryB)/(1<<20), u.MemoryMaxMB))
	row(w, "time", fmt.Sprintf("%.2f ms; a start %.1f ms, the first %.0f ms", u.TookMS, u.StartMS, u.LoadMS))
	if u.Denied > 0 {
		row(w, "denied", fmt.Sprintf("%d of %d host calls", u.Denied, u.HostCalls))
	}
	if r.Recorded != nil {
		row(w, "recorded", r.Recorded.File, fmt.Sprint(r.Recorded.SizeB, " bytes"), r.Recorded.Cut)
	}
}

func (r ran) answered(w io.Writer) {
	switch {
	case r.Error != nil:
		row(w, "error", r.Error.Code, r.Error.Text)
	case r.kind == protocol.Trigger:
		for _, e := range r.Events {
			row(w, "event", string(e))
		}
		row(w, "state", string(r.State))
		next := "not again until the next start"
		if r.NextMS > 0 {
			next = (time.Duration(r.NextMS) * time.Millisecond).String()
		}
		row(w, "next", next)
	case r.kind == protocol.Output:
		row(w, "answer", "delivered")
	default:
		row(w, "answer", string(r.Answer))
	}
}

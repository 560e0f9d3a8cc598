package stavily

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
)

const start = `{"init":{"config":{},"workflow":"w","step":"s","limits":{"max_memory_mb":64},` +
	`"grants":[{"capability":"kv","scopes":["a"]}]}}` + "\n"

// serve says the host's lines to a plugin and returns what it said after ready.
func serve(t *testing.T, p *Plugin, lines ...string) ([]string, error) {
	t.Helper()
	var out bytes.Buffer
	err := p.Serve(strings.NewReader(start+strings.Join(lines, "\n")), &out)
	said := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(said) < 2 || said[1] != `{"ready":{}}` {
		t.Fatalf("said %q", said)
	}
	return said[2:], err
}

// TestReinit: another configuration has nothing of the one before, and the defaults again.
func TestReinit(t *testing.T) {
	config := struct {
		Name string            `json:"name"`
		List []int             `json:"list"`
		Map  map[string]string `json:"map"`
	}{"none", []int{7}, map[string]string{"a": "b"}}
	p := action(func(*Context, Run) (any, error) { return config, nil }).Config(&config)
	ask := func(id int) string { return fmt.Sprintf(`{"id":%d,"run":{"event":{"data":null}}}`, id) }
	said, err := serve(t, p, `{"init":{"config":{"name":"x","list":[1,2],"map":{"c":"d"}}}}`, ask(1),
		`{"init":{"config":{"list":[3]}}}`, ask(2), `{"init":{}}`, ask(3), `{"init":{"config":{"no":1}}}`, ask(4))
	want := []string{
		`{"ready":{}}`, `{"id":1,"answer":{"data":{"name":"x","list":[1,2],"map":{"a":"b","c":"d"}}}}`,
		`{"ready":{}}`, `{"id":2,"answer":{"data":{"name":"none","list":[3],"map":{"a":"b"}}}}`,
		`{"ready":{}}`, `{"id":3,"answer":{"data":{"name":"none","list":[7],"map":{"a":"b"}}}}`,
		`{"error":{"code":"plugin","text":"config: unknown key \"no\""}}`,
	}
	if err != nil || strings.Join(said, "\n") != strings.Join(want, "\n") {
		t.Errorf("%v\ngot  %s\nwant %s", err, strings.Join(said, "\n"), strings.Join(want, "\n"))
	}
}

// TestBatches: several events in one request, each with its own outcome.
func TestBatches(t *testing.T) {
	const ask = `{"id":1,"batch":{"kind":"run","deadline_ms":1000,"now_ms":5,"items":[` +
		`{"event":{"data":1},"key":"a"},{"event":{"data":2},"key":"b"},{"event":{"data":3},"key":"c"}]}}`
	one := action(func(c *Context, r Run) (any, error) {
		switch string(r.Event.Data) {
		case "2":
			return nil, Retryable(errors.New("busy"))
		case "3":
			panic("three")
		}
		return r.Key, nil
	})
	all := func(n int) *Plugin {
		return action(nil).Batch(func(c *Context, work []Run) []Outcome {
			out := make([]Outcome, n)
			for i := range out {
				out[i].Data = len(work)
			}
			return out
		})
	}
	for name, c := range map[string]struct {
		plugin *Plugin
		want   string
	}{
		"one by one": {one, `{"id":1,"answer":{"items":[{"data":"a"},{"error":{"code":"retryable","text":"busy"}},` +
			`{"error":{"code":"plugin","text":"panic: three"}}]}}`},
		"together": {all(3), `{"id":1,"answer":{"items":[{"data":3},{"data":3},{"data":3}]}}`},
		"fewer":    {all(1), `{"id":1,"answer":{"items":[{"data":3}]}}`},
		"none":     {all(0), `{"id":1,"error":{"code":"plugin","text":"batch: 0 outcomes for 3 events"}}`},
		"too many": {all(4), `{"id":1,"error":{"code":"plugin","text":"batch: 4 outcomes for 3 events"}}`},
		"large": {
			action(func(*Context, Run) (any, error) { return strings.Repeat("x", 24<<10), nil }),
			`{"id":1,"answer":{"items":[{"data":"` + strings.Repeat("x", 24<<10) + `"}`,
		},
		"output":  {Output("o", func(*Context, Delivery) error { return nil }), `"text":"request 1: not one for output`},
		"trigger": {Trigger("t", func(*Context, Wake) (Fired, error) { return Fired{}, nil }), `not one for trigger`},
	} {
		said, err := serve(t, c.plugin, ask)
		if err != nil || len(said) != 1 || !strings.Contains(said[0], c.want) || len(said[0]) > LineMax {
			t.Errorf("%s: said %.300q, %v\nwant %.300q", name, said, err, c.want)
		}
	}
}

func action(f func(*Context, Run) (any, error)) *Plugin { return Action("a", f) }

func TestAnswers(t *testing.T) {
	boom := errors.New("boom")
	busy, no := &Error{Code: CodeUnavailable, Text: "busy"}, &Error{Code: CodeDenied, Text: "no"}
	wake := func(f Fired, err error) *Plugin {
		return Trigger("t", func(*Context, Wake) (Fired, error) { return f, err })
	}
	run := func(v any, err error) *Plugin {
		return action(func(*Context, Run) (any, error) { return v, err })
	}
	deliver := func(err error) *Plugin {
		return Output("o", func(*Context, Delivery) error { return err })
	}
	const askWake, askRun = `{"id":1,"wake":{"why":"start","now_ms":5}}`, `{"id":2,"run":{"now_ms":5}}`
	const askDeliver, askCheck = `{"id":3,"deliver":{}}`, `{"id":4,"check":{"now_ms":5}}`
	for name, test := range map[string]struct {
		plugin    *Plugin
		ask, want string
	}{
		"fired nothing": {wake(Fired{}, nil), askWake, `{"id":1,"answer":{"events":[],"state":null}}`},
		"fired": {
			wake(Fired{Events: []any{1, "<b>"}, State: map[string]int{"n": 1}, After: 1500_001}, nil), askWake,
			`{"id":1,"answer":{"events":[1,"<b>"],"next":{"after_ms":2},"state":{"n":1}}}`,
		},
		"wake error":   {wake(Fired{}, boom), askWake, `{"id":1,"error":{"code":"plugin","text":"boom"}}`},
		"bad event":    {wake(Fired{Events: []any{func() {}}}, nil), askWake, `"text":"answer: event 1: json: `},
		"bad state":    {wake(Fired{State: func() {}}, nil), askWake, `"text":"answer: json: `},
		"data":         {run([]int{1}, nil), askRun, `{"id":2,"answer":{"data":[1]}}`},
		"raw data":     {run(json.RawMessage("[\n1 ]"), nil), askRun, `{"id":2,"answer":{"data":[1]}}`},
		"no data":      {run(nil, nil), askRun, `{"id":2,"answer":{"data":null}}`},
		"run error":    {run(nil, boom), askRun, `{"id":2,"error":{"code":"plugin","text":"boom"}}`},
		"retryable":    {run(nil, Retryable(boom)), askRun, `"error":{"code":"retryable","text":"boom"}`},
		"wrapped":      {run(nil, fmt.Errorf("x: %w", Retryable(boom))), askRun, `"retryable","text":"x: boom"`},
		"unavailable":  {run(nil, busy), askRun, `"code":"retryable","text":"busy"`},
		"denied":       {run(nil, no), askRun, `"code":"plugin","text":"no"`},
		"too long":     {run(strings.Repeat("x", LineMax), nil), askRun, `answer: message too long: 131`},
		"delivered":    {deliver(nil), askDeliver, `{"id":3,"answer":{}}`},
		"undelivered":  {deliver(boom), askDeliver, `{"id":3,"error":{"code":"plugin","text":"boom"}}`},
		"check":        {deliver(nil), askCheck, `{"id":4,"answer":{}}`},
		"check error":  {deliver(nil).Check(func(*Context) error { return boom }), askCheck, `"text":"boom"`},
		"wrong kind":   {deliver(nil), askRun, `"text":"request 2: not one for output \"o\""`},
		"new request":  {deliver(nil), `{"id":3,"dance":{}}`, `"code":"plugin","text":"request 3: not one for output`},
		"key unknown":  {deliver(nil), `{"id":3,"deliver":{"new":1}}`, `{"id":3,"answer":{}}`},
		"no more text": {run(nil, errors.New(strings.Repeat("ä", 900))), askRun, `ä..."}}`},
	} {
		t.Run(name, func(t *testing.T) {
			said, err := serve(t, test.plugin, test.ask)
			if err != nil || len(said) != 1 || !strings.Contains(said[0], test.want) {
				t.Errorf("said %q, %v\nwant %q", said, err, test.want)
			}
			if !json.Valid([]byte(said[0])) || len(said[0]) > 2000 {
				t.Errorf("not JSON, or %d bytes", len(said[0]))
			}
		})
	}
}

// A panic costs the request and not the instance.
func TestPanicIsAnError(t *testing.T) {
	defer func(stderr *os.File) { os.Stderr = stderr }(os.Stderr)
	os.Stderr, _ = os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	n := 0
	p := action(func(*Context, Run) (any, error) {
		if n++; n == 1 {
			panic("at the disco")
		}
		return n, nil
	})
	said, err := serve(t, p, `{"id":1,"run":{}}`, `{"id":2,"run":{}}`)
	want := []string{
		`{"id":1,"error":{"code":"plugin","text":"panic: at the disco"}}`, `{"id":2,"answer":{"data":2}}`,
	}
	if err != nil || fmt.Sprint(said) != fmt.Sprint(want) {
		t.Errorf("said %q, %v", said, err)
	}
}

// What is not in the contract ends the conversation with an error that says so.
func TestContractBreaks(t *testing.T) {
	calls := action(func(c *Context, _ Run) (any, error) { return c.Metrics("load.1") })
	for name, test := range map[string]struct{ lines, want string }{
		"not JSON":      {`{"id":`, "read: message: unexpected end of JSON input"},
		"no kind":       {`{}`, "want one kind that this SDK knows, got 0"},
		"unknown kind":  {`{"dance":{}}`, "want one kind that this SDK knows, got 0"},
		"two kinds":     {`{"id":1,"run":{},"check":{}}`, "got 2"},
		"lonely reply":  {`{"reply":{"n":1}}`, "want a request, got a reply"},
		"long":          {`{"id":1,"run":"` + strings.Repeat("x", LineMax) + `"}`, "message over 131072 bytes"},
		"wrong reply":   {`{"id":1,"run":{}}` + "\n" + `{"reply":{"n":2,"ok":{}}}`, "want the reply to call 1"},
		"no reply":      {`{"id":1,"run":{}}` + "\n" + `{"id":2,"run":{}}`, "want the reply to call 1"},
		"wrong type":    {`{"id":"one","run":{}}`, "read: message: json: cannot unmarshal"},
		"ends in reply": {`{"id":1,"run":{}}`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := serve(t, calls, test.lines)
			if !says(err, test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
}

// says reports whether err has the text, or is nil where none is wanted.
func says(err error, text string) bool {
	if err == nil || text == "" {
		return err == nil && text == ""
	}
	return strings.Contains(err.Error(), text)
}

func TestBeginnings(t *testing.T) {
	p := func() *Plugin { return action(func(*Context, Run) (any, error) { return nil, nil }) }
	if err := p().Serve(strings.NewReader(""), io.Discard); err != nil {
		t.Errorf("nobody there: %v", err)
	}
	err := p().Serve(strings.NewReader(`{"id":1,"run":{}}`+"\n"), io.Discard)
	if err == nil || err.Error() != "read: first message: want init" {
		t.Errorf("request before init: %v", err)
	}
	if err := p().Serve(strings.NewReader(start), failing{}); err == nil {
		t.Error("out fails: no error")
	}
	if err := p().Serve(failing{}, io.Discard); err == nil || err.Error() != "read: broken" {
		t.Errorf("in fails: %v", err)
	}
}

type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, errors.New("broken") }
func (failing) Read([]byte) (int, error)  { return 0, errors.New("broken") }

type settings struct {
	Wait  Duration `json:"wait"`
	Count int      `json:"count"`
	panic bool
}

func (s *settings) Validate() error {
	if s.Count > 9 {
		return fmt.Errorf("count %d: limit 9", s.Count)
	}
	return nil
}

func TestConfig(t *testing.T) {
	for config, want := range map[string]string{
		`{"wait":"1m30s","count":3}`: "",
		`null`:                       "",
		``:                           "",
		`{"count":10}`:               "config: count 10: limit 9",
		`{"count":"3"}`:              "config: count: want int, got string",
		`{"wiat":"1s"}`:              `config: unknown key "wiat"`,
		`{"wait":5}`:                 `config: duration 5: want a string such as "30s"`,
		`{"wait":"-5s"}`:             `config: duration "-5s": want a number with a unit`,
		`{"wait":"5"}`:               `config: duration "5": want a number with a unit`,
		`{} {}`:                      "config: more than one JSON value",
		`[]`:                         "config: cannot unmarshal array",
	} {
		err := action(nil).Config(new(settings)).init(json.RawMessage(config))
		if !says(err, want) {
			t.Errorf("config %s: got %v, want %q", config, err, want)
		}
	}
	if err := action(nil).init(json.RawMessage(`{"any":1}`)); err == nil {
		t.Error("a plugin without configuration takes one")
	}
}

func TestDurationJSON(t *testing.T) {
	b, err := json.Marshal(Duration(1500_000_000))
	if err != nil || string(b) != `"1.5s"` {
		t.Errorf("got %s, %v", b, err)
	}
	if got := Duration(1).MS(); got != 1 {
		t.Errorf("1 ns in ms: got %d, want 1", got)
	}
}

// Whatever a host says, a plugin neither panics nor writes what is not a line of JSON.
func FuzzServe(f *testing.F) {
	f.Add([]byte(start + `{"id":1,"run":{"event":{"data":{"a":1}},"key":"k"}}` + "\n" +
		`{"reply":{"n":1,"ok":{}}}` + "\n"))
	f.Add([]byte(start + `{"id":2,"check":{}}` + "\n"))
	f.Add([]byte(`{"init":null}` + "\n"))
	f.Fuzz(func(t *testing.T, in []byte) {
		p := action(func(c *Context, r Run) (any, error) {
			values, err := c.Metrics("load.1")
			return map[string]any{"values": values, "event": r.Event.Data}, err
		})
		var out bytes.Buffer
		_ = p.Serve(bytes.NewReader(in), &out)
		for line := range strings.Lines(out.String()) {
			if !json.Valid([]byte(line)) || len(line) > LineMax || !strings.HasSuffix(line, "\n") {
				t.Errorf("said %q", line)
			}
		}
	})
}

// One event in, one answer out: what the SDK costs.
func BenchmarkRun(b *testing.B) {
	const ask = `{"id":7,"run":{"event":{"run":"000102030405060708090a0b0c0d0e0f","workflow":"w","time_ms":1,` +
		`"data":{"metric":"cpu.percent","value":93.5,"above":80}},` +
		`"results":[],"key":"k","deadline_ms":30000,"now_ms":1}}` + "\n"
	p := action(func(_ *Context, r Run) (any, error) { return r.Event.Data, nil })
	in := io.MultiReader(strings.NewReader(start), &repeated{line: ask, left: b.N})
	b.ReportAllocs()
	b.ResetTimer()
	if err := p.Serve(in, io.Discard); err != nil {
		b.Fatal(err)
	}
}

// repeated reads as one line, again and again.
type repeated struct {
	line string
	left int
}

func (r *repeated) Read(b []byte) (int, error) {
	if r.left == 0 {
		return 0, io.EOF
	}
	r.left--
	return copy(b, r.line), nil
}

package cases

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stavily/stavily/hub/document"
	"github.com/stavily/stavily/protocol"
	"github.com/stavily/stavily/wasmhost"
)

// spec is a plugin of wasmhost's test modules.
func spec(t testing.TB, name string, of protocol.PluginType, permissions ...string) wasmhost.Spec {
	t.Helper()
	b, err := os.ReadFile("../../wasmhost/testdata/rust/" + name + ".wasm")
	if err != nil {
		t.Fatal(err)
	}
	return specOf(t, b, name, of, permissions...)
}

func specOf(t testing.TB, wasm []byte, name string, of protocol.PluginType, permissions ...string) wasmhost.Spec {
	t.Helper()
	metered, err := wasmhost.Metered(wasm)
	if err != nil {
		t.Fatal(err)
	}
	return wasmhost.Spec{
		Wasm: metered, Digest: protocol.DigestOf(metered), Manifest: protocol.Manifest{
			Plugin:  protocol.PluginInfo{Name: protocol.PluginName(name), Version: "1.0.0", Type: of},
			Network: true, Filesystem: "restricted", Limits: protocol.Limits{Connections: 2},
			Permissions: protocol.Permissions{System: permissions},
		},
	}
}

// compiled is where tests share compiled code.
var compiled string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "stavily-cases-test-")
	if err != nil {
		panic(err)
	}
	compiled = dir
	code := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// run runs a text of cases.
func run(t testing.TB, s wasmhost.Spec, text string) *Report {
	t.Helper()
	f, err := Read("tests/a.yaml", []byte(text), s.Manifest.Plugin.Type)
	if err != nil {
		t.Fatal(err)
	}
	r, err := Run(t.Context(), s, []*File{f}, Options{CacheDir: compiled})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// The cases of testdata hold, compiled and interpreted, and cost the same fuel each time.
func TestCasesHold(t *testing.T) {
	for name, s := range map[string]wasmhost.Spec{
		"threshold": spec(t, "threshold", protocol.Action, "kv"),
		"counter":   spec(t, "counter", protocol.Trigger),
	} {
		text, err := os.ReadFile("testdata/" + name + ".yaml")
		if err != nil {
			t.Fatal(err)
		}
		tree := fstest.MapFS{"tests/a.yaml": {Data: text}, "tests/more/b.yaml": {Data: []byte("x")}, "tests/c.json": {}}
		files, err := Find(tree, &s.Manifest)
		if err != nil || len(files) != 1 {
			t.Fatalf("%s: %d files, %v", name, len(files), err)
		}
		var before *Report
		for _, o := range []Options{{}, {Interpreter: true}} {
			r, err := Run(t.Context(), s, files, o)
			if err != nil {
				t.Fatal(err)
			}
			for i := range r.Cases {
				if v := &r.Cases[i]; !v.Passed || v.Fuel == 0 && !strings.Contains(v.Name, "too quick") {
					t.Errorf("%s: %d of fuel", v, v.Fuel)
				}
			}
			if before != nil && !reflect.DeepEqual(before, r) {
				t.Errorf("%s: compiled %+v, interpreted %+v", name, before, r)
			}
			before = r
		}
		if name == "threshold" && (!slices.Equal(before.Used, []string{"kv"}) || len(before.Unused) > 0) {
			t.Errorf("used %v, unused %v", before.Used, before.Unused)
		}
	}
}

// Each thing that is wanted and not got is told, as a difference.
func TestCasesFail(t *testing.T) {
	threshold := spec(t, "threshold", protocol.Action, "kv", "http.request")
	counter := spec(t, "counter", protocol.Trigger)
	lean := spec(t, "threshold", protocol.Action)
	for _, c := range []struct {
		name string
		s    wasmhost.Spec
		text string
		want []string
	}{
		{
			"answer", threshold, "event: {value: 12}\n    want: {answer: {over: false, highest: 12}}",
			[]string{"answer: - wanted, + got", "    {\n", "      \"highest\": 12\n", "  -   \"over\": false\n", "  +   \"over\": true\n"},
		},
		{"a key more", threshold, "event: {value: 12}\n    want: {answer: {over: true}}", []string{`+   "highest": 12`}},
		{"part", threshold, "event: {value: 12}\n    want: {answer-has: {over: true, low: 1}}", []string{`-   "low": 1`}},
		{"error", threshold, "event: 1\n    want: {answer: {}}", []string{"want no error, got plugin: event data: "}},
		{"no error", threshold, "event: {value: 1}\n    want: {error: plugin}", []string{`want error plugin, got an answer: {"highest":1`}},
		{"code", threshold, "event: 1\n    want: {error: retryable}", []string{"want error retryable, got plugin: "}},
		{"text", threshold, "event: 1\n    want: {error: {code: plugin, text: xyz}}", []string{`want a text with "xyz", got "event`}},
		{
			"calls", threshold, "event: {value: 1}\n    want: {calls: [{call: kv.get}]}",
			[]string{"host calls: - wanted, + got", "\n    kv.get {}", `+ kv.put {"key":"highest","value":1}`},
		},
		{"order", threshold, "event: {value: 1}\n    want: {calls: [{call: kv.put}, {call: kv.get}]}", []string{"- kv.put {}"}},
		{"kv", threshold, "event: {value: 1}\n    want: {kv: {}}", []string{"kv: - wanted, + got\n", `"highest": 1`}},
		{
			"left over", threshold, "event: {value: 1}\n    calls: [{call: kv.get, args: {key: other}, times: 2}]\n    want: {}",
			[]string{"calls[0]: kv.get: never called, or not with these arguments (2 more wanted)"},
		},
		{"log", threshold, "event: {value: 1}\n    want: {log: [hello]}", []string{`log: want a line with "hello", got null`}},
		{"not asked for", lean, "event: {value: 1}\n    want: {error: plugin}", // M-32
			[]string{"host call kv.get: the manifest does not ask for kv: add it under permissions"}},
		{"not granted", threshold, "event: {value: 1}\n    grants: [http.request:a:1]\n    want: {answer: {}}", []string{"capability kv is not granted"}},
		{"events", counter, "config: {every: 1s}\n    why: timer\n    want: {events: [{count: 2}]}", []string{`-     "count": 2`, `+     "count": 1`}},
		{"state", counter, "config: {every: 1s}\n    want: {state: {count: 1}, next: never}", []string{"state: - wanted", "next: want never, got 1s"}},
		{"topics", counter, "config: {every: 1s}\n    message: {topic: a/b, data: 1}\n    want: {topics: [a/+]}", []string{"topics: - wanted, + got\n  - a/+"}},
		{"start", counter, "config: {every: 1ms}\n    want: {events: []}", []string{"want no error, got plugin: start: config: every: want"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := run(t, c.s, "cases:\n  - name: x\n    "+c.text+"\n")
			said := r.Cases[0].String()
			if r.Failed() != 1 || r.Cases[0].Passed || protocol.CodeOf(r.Err()) != protocol.CodeRefused || r.Cases[0].Line != 2 {
				t.Errorf("failed %d: %v", r.Failed(), r.Err())
			}
			for _, want := range c.want {
				if !strings.Contains(said, strings.ReplaceAll(want, "\n", "\n      ")) {
					t.Errorf("want %q in\n%s", want, said)
				}
			}
		})
	}
}

// M-32: a module that makes a host call names it, and no other; of a script it is seen as
// far as it goes, and the SDK in it does not count.
func TestUses(t *testing.T) {
	module := spec(t, "threshold", protocol.Action).Wasm
	script := func(files map[string]string) []byte {
		var b bytes.Buffer
		z := zip.NewWriter(&b)
		for _, name := range slices.Sorted(maps.Keys(files)) {
			w, err := z.Create(name)
			if err == nil {
				_, err = w.Write([]byte(files[name]))
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		if err := z.Close(); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	bundle := "// stavily-sdk:src/context.js\nthis.call(\"kv.get\");\n// main.js\nvar x = ctx.http({});\n// stavily-sdk:src/serve.js\n\"tcp.read\"\n"
	code := map[string]string{"main.pyc": "\x00kv_get\x00append\x00", "stavily/_context.pyc": "kv.put"}
	for _, c := range []struct {
		name                 string
		code                 Code
		asks                 []string
		calls, missing, idle string
		refused              bool
		warned               int
	}{
		{"module", Code{Module: module}, []string{"kv"}, "kv.get kv.put", "", "", false, 0},
		{"module, less", Code{Module: module}, nil, "kv.get kv.put", "kv", "", true, 0},
		{"module, more", Code{Module: module}, []string{"kv", "http.request:a:80"}, "kv.get kv.put", "", "http.request", false, 1},
		{"JavaScript", Code{Script: script(map[string]string{"main.js": bundle})}, []string{"kv"}, "http.request", "http.request", "kv", false, 2},
		{"Python", Code{Script: script(code)}, []string{"kv"}, "kv.get", "", "", false, 0},
	} {
		u, err := c.code.Find(&protocol.Manifest{Permissions: protocol.Permissions{System: c.asks}})
		if err != nil {
			t.Fatal(err)
		}
		got := [3]string{strings.Join(u.Calls, " "), strings.Join(u.Missing, " "), strings.Join(u.Idle, " ")}
		if got != [3]string{c.calls, c.missing, c.idle} || (u.Err() != nil) != c.refused || len(u.Warnings()) != c.warned {
			t.Errorf("%s: %q, %v, %q", c.name, got, u.Err(), u.Warnings())
		}
		if c.refused && protocol.CodeOf(u.Err()) != protocol.CodeUnverified {
			t.Error(u.Err())
		}
	}
	for _, bad := range [][]byte{{}, []byte("PK")} {
		if _, err := (Code{Script: bad}).Find(&protocol.Manifest{}); protocol.CodeOf(err) != protocol.CodeBadInput {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

// Host calls of every kind are answered by the case and by nothing else, whatever scope
// the manifest leaves open; which capabilities were used is told.
func TestScriptedCalls(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles a guest of Go")
	}
	out := filepath.Join(t.TempDir(), "probe.wasm")
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", out, "../../wasmhost/testdata/guests/probe")
	cmd.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm")
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	wasm, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	f, err := Read("a.yaml", []byte(`
cases:
  - name: by match
    event:
      calls:
        - { name: http.request, args: { url: "http://b/" } }
        - { name: http.request, args: { url: "http://a/", method: GET } }
        - { name: process.run, args: { argv: [uptime] } }
        - { name: metrics.read, args: { names: [load.1] } }
        - { name: log, args: { level: 0, text: hello you } }
        - { name: secret.use, args: {} }
    calls:
      - { call: http.request, args: { url: "http://a/" }, answer: { status: 200 } }
      - { call: http.request, answer: { status: 404 } }
      - { call: process.run, error: { code: deadline, text: too slow } }
      - { call: metrics.read, answer: { values: { load.1: 0.5 } }, times: any }
      - { call: tcp.connect, times: any }
    want:
      answer:
        replies:
          - { n: 1, ok: { status: 404 } }
          - { n: 2, ok: { status: 200 } }
          - { n: 3, error: { code: deadline, text: too slow } }
          - { n: 4, ok: { values: { load.1: 0.5 } } }
          - { n: 5, ok: {} }
          - { n: 6, error: { code: denied, text: "call secret.use: capability secret.use is not granted" } }
      log: [hello]
  - name: in order
    event: { calls: [{ name: fs.read, args: { path: b } }, { name: fs.read, args: { path: a } }] }
    in-order: true
    calls:
      - { call: fs.read, args: { path: a }, answer: { data: x } }
      - { call: fs.read, args: { path: b }, answer: { data: y } }
    want: {}
`), protocol.Action)
	if err != nil {
		t.Fatal(err)
	}
	s := specOf(t, wasm, "probe", protocol.Action, "http.request", "process.execute", "metrics.read", "tcp.connect", "filesystem.read")
	r, err := Run(t.Context(), s, []*File{f}, Options{Interpreter: true})
	if err != nil {
		t.Fatal(err)
	}
	wants := [][]string{
		{"host call secret.use: the manifest does not ask for secret.use: add it under permissions"},
		{`host call fs.read {"path":"b"}: the case has no reply to it`, "calls[1]: fs.read: never called, or not with these arguments (1 more wanted)"},
	}
	for i, want := range wants {
		if got := r.Cases[i].Problems; !slices.Equal(got, want) {
			t.Errorf("%s: got %q\nwant %q", r.Cases[i].Name, got, want)
		}
	}
	if !slices.Equal(r.Used, []string{"filesystem.read", "http.request", "metrics.read", "process.execute"}) || !slices.Equal(r.Unused, []string{"tcp.connect"}) {
		t.Errorf("used %v, unused %v", r.Used, r.Unused)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Run(ctx, s, []*File{f}, Options{}); protocol.CodeOf(err) == protocol.CodeOK {
		t.Error("runs on after its time")
	}
}

// What is wrong in a file is told with its line and column.
func TestRead(t *testing.T) {
	for _, c := range []struct {
		of         protocol.PluginType
		text, want string
	}{
		{protocol.Action, "case: []\n", `a.yaml:1:1: case: unknown key "case"; did you mean "cases"?`},
		{protocol.Action, "cases: []\n", "a.yaml:1:8: cases: 0 of them, want 1 to 256"},
		{protocol.Action, "cases:\n  - want: {}\n", "a.yaml:2:5: cases[0].name: missing"},
		{protocol.Action, "cases:\n  - name: a\n    want: {}\n  - name: a\n    want: {}\n", `a.yaml:4:11: cases[1].name: "a" twice, first on line 2`},
		{protocol.Action, "cases:\n  - name: a\n", "a.yaml:2:5: cases[0]: no want: the case could not fail"},
		{protocol.Action, "cases:\n  - name: a\n    state: 1\n    want: {}\n", "a.yaml:3:12: cases[0].state: only a trigger has this; the plugin is of type action"},
		{protocol.Trigger, "cases:\n  - name: a\n    event: 1\n    want: {}\n", "a.yaml:3:12: cases[0].event: only an action or an output has this"},
		{protocol.Output, "cases:\n  - name: a\n    want: {answer: 1}\n", "a.yaml:3:20: cases[0].want.answer: only an action has this"},
		{protocol.Action, "cases:\n  - name: a\n    want: {answer: 1, answer-has: 1}\n", "cases[0].want.answer-has: answer and answer-has: want one of both"},
		{protocol.Action, "cases:\n  - name: a\n    want: {answer: 1, error: plugin}\n", "a.yaml:3:30: cases[0].want.error: an error has no answer"},
		{protocol.Action, "cases:\n  - name: a\n    want: {error: bad}\n", `a.yaml:3:19: cases[0].want.error: code "bad": want the code of an error`},
		{protocol.Action, "cases:\n  - name: a\n    want: {error: ok}\n", `code "ok"`},
		{protocol.Action, "cases:\n  - name: a\n    calls: [{call: kv.gut}]\n    want: {}\n", `a.yaml:3:20: cases[0].calls[0].call: "kv.gut": no such host call; `},
		{protocol.Action, "cases:\n  - name: a\n    calls: [{call: log}]\n    want: {}\n", "log needs no answer"},
		{protocol.Action, "cases:\n  - name: a\n    calls: [{answer: 1}]\n    want: {}\n", "a.yaml:3:13: cases[0].calls[0].call: missing"},
		{protocol.Action, "cases:\n  - name: a\n    calls: [{call: kv.get, answer: 1, error: denied}]\n    want: {}\n", "calls[0].error: an answer and an error"},
		{protocol.Action, "cases:\n  - name: a\n    calls: [{call: kv.get, times: 0}]\n    want: {}\n", "a.yaml:3:35: cases[0].calls[0].times: want 1 to 1024"},
		{protocol.Action, "cases:\n  - name: a\n    now: noon\n    want: {}\n", `a.yaml:3:10: cases[0].now: "noon": want a time such as 2026-`},
		{protocol.Action, "cases:\n  - name: a\n    grants: [everything]\n    want: {}\n", `a.yaml:3:14: cases[0].grants[0]: permission "everything"`},
		{protocol.Action, "cases:\n  - name: a\n    ask: run\n    want: {}\n", `cases[0].ask: "run": want check`},
		{protocol.Trigger, "cases:\n  - name: a\n    why: fun\n    want: {}\n", `cases[0].why: "fun": want start, timer or message`},
		{protocol.Trigger, "cases:\n  - name: a\n    why: timer\n    message: {topic: a}\n    want: {}\n", "cases[0].why: timer: why is message where"},
		{protocol.Trigger, "cases:\n  - name: a\n    message: {topic: /}\n    want: {}\n", "a.yaml:3:22: cases[0].message.topic: "},
		{protocol.Trigger, "cases:\n  - name: a\n    want: {next: soon}\n", "a.yaml:3:18: cases[0].want.next: want a duration"},
	} {
		_, err := Read("a.yaml", []byte(c.text), c.of)
		var at *document.Error
		if !errors.As(err, &at) || at.Line == 0 || !strings.Contains(at.Error(), c.want) {
			t.Errorf("%q:\ngot  %v\nwant %s", c.text, err, c.want)
		}
	}
}

// The folder of the manifest's suite is looked at too; a file that is no cases is an error.
func TestFind(t *testing.T) {
	m := &protocol.Manifest{Plugin: protocol.PluginInfo{Type: protocol.Action}, Testing: protocol.Testing{Suite: "checks/"}}
	good := &fstest.MapFile{Data: []byte("cases: [{name: a, want: {}}]")}
	files, err := Find(fstest.MapFS{"checks/b.yaml": good, "tests/a.yaml": good, "c.yaml": good}, m)
	if err != nil || len(files) != 2 || files[0].Name != "tests/a.yaml" || files[1].Name != "checks/b.yaml" {
		t.Errorf("%v, %v", files, err)
	}
	if files, err := Find(fstest.MapFS{}, m); err != nil || len(files) != 0 {
		t.Errorf("%v, %v", files, err)
	}
	_, err = Find(fstest.MapFS{"tests/b.yaml": {Data: []byte("a: [")}}, m)
	if err == nil || !strings.Contains(err.Error(), "tests/b.yaml:1") {
		t.Error(err)
	}
	many := fstest.MapFS{}
	for i := range FilesMax + 1 {
		many["tests/"+strings.Repeat("a", i+1)+".yaml"] = good
	}
	if _, err := Find(many, m); protocol.CodeOf(err) != protocol.CodeLimit {
		t.Error(err)
	}
}

// The schema for editors has the keys that are read, and no others.
func TestSchema(t *testing.T) {
	var s struct {
		Properties map[string]json.RawMessage `json:"properties"`
		Defs       map[string]struct {
			Additional *bool                      `json:"additionalProperties"`
			Properties map[string]json.RawMessage `json:"properties"`
		} `json:"$defs"`
	}
	if err := json.Unmarshal(Schema(), &s); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		of  reflect.Type
		got map[string]json.RawMessage
	}{
		"file": {reflect.TypeFor[File](), s.Properties}, "case": {reflect.TypeFor[Case](), s.Defs["case"].Properties},
		"reply": {reflect.TypeFor[Reply](), s.Defs["reply"].Properties}, "want": {reflect.TypeFor[Want](), s.Defs["want"].Properties},
		"call": {reflect.TypeFor[Call](), s.Defs["call"].Properties}, "result": {reflect.TypeFor[Result](), s.Defs["result"].Properties},
	} {
		var want []string
		for i := range c.of.NumField() {
			if key := c.of.Field(i).Tag.Get("json"); key != "" && key != "-" {
				want = append(want, key)
			}
		}
		slices.Sort(want)
		if got := slices.Sorted(maps.Keys(c.got)); !slices.Equal(got, want) {
			t.Errorf("%s: the schema has %v, read are %v", name, got, want)
		}
	}
	for _, call := range wasmhost.HostCalls() {
		if call != callLog && !strings.Contains(string(Schema()), `"`+call+`"`) {
			t.Errorf("the schema has no host call %s", call)
		}
	}
}

// FuzzRead: no panic, and what is read can be asked.
func FuzzRead(f *testing.F) {
	for _, name := range []string{"threshold", "counter"} {
		text, err := os.ReadFile("testdata/" + name + ".yaml")
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		for _, of := range []protocol.PluginType{protocol.Trigger, protocol.Action, protocol.Output} {
			file, err := Read("a.yaml", text, of)
			if err != nil {
				continue
			}
			for i := range file.Cases {
				if r := file.Cases[i].request(of); r.Kind == "" {
					t.Errorf("asks nothing: %+v", file.Cases[i])
				}
			}
		}
	})
}

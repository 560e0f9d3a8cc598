package wasmhost

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stavily/stavily/protocol"
)

// asking returns a spec of probe that asks for these permissions and is granted them.
func asking(t testing.TB, permissions ...string) Spec {
	t.Helper()
	s := specOf("probe", guest(t, "probe"))
	s.Manifest.Network = true
	s.Manifest.Permissions.System = permissions
	grants, err := s.Manifest.Wishes()
	if err != nil {
		t.Fatal(err)
	}
	s.Step.Grants = grants
	return s
}

// reply is what the guest was told about one host call.
type reply struct {
	OK    map[string]any `json:"ok"`
	Error *struct{ Code, Text string }
}

// code returns the code of the error, "ok" for none.
func (r reply) code() string {
	if r.Error == nil {
		return "ok"
	}
	return r.Error.Code
}

// calls lets the guest make these host calls, each "name args", in one request.
func calls(t testing.TB, p *Plugin, list ...string) ([]reply, Answer) {
	t.Helper()
	var parts []string
	for _, c := range list {
		name, args, _ := strings.Cut(c, " ")
		parts = append(parts, fmt.Sprintf(`{"name":%q,"args":%s}`, name, args))
	}
	a := p.Call(context.Background(), work(t, `{"calls":[`+strings.Join(parts, ",")+`]}`))
	if a.Error != nil {
		t.Fatalf("%v: %v", list, a.Error)
	}
	var out struct{ Replies []reply }
	if err := json.Unmarshal([]byte(jsonOf(a.Data)), &out); err != nil {
		t.Fatal(err)
	}
	return out.Replies, a
}

// everyCall is one well-formed call of each capability.
var everyCall = map[string]string{
	protocol.CapKV:      `kv.get {"key":"a"}`,
	protocol.CapRead:    `fs.list {"path":"."}`,
	protocol.CapWrite:   `fs.write {"path":"a","data":"x"}`,
	protocol.CapProcess: `process.run {"argv":["echo","x"]}`,
	protocol.CapMetrics: `metrics.read {"names":["load.1"]}`,
}

// TestNothingWithoutAGrant: S-04, M-26.
func TestNothingWithoutAGrant(t *testing.T) {
	added := map[string]HostCall{
		protocol.CapMetrics: func(context.Context, Grants, protocol.Raw) (any, error) {
			return map[string]any{"values": map[string]float64{"load.1": 0.5}}, nil
		},
	}
	h := newHost(t, Config{DataDir: t.TempDir(), Calls: added})
	p := load(t, h, asking(t, "kv", "filesystem.read", "filesystem.write", "process.execute:echo", "metrics.read"))
	granted := p.grants
	for capability, call := range everyCall {
		p.SetGrants(granted)
		if got, a := calls(t, p, call); got[0].code() != "ok" || a.Usage.Denied != 0 || a.Usage.HostCalls != 1 {
			t.Errorf("%s granted: %+v %+v", capability, got[0].Error, a.Usage)
		}
		var without []protocol.Grant
		for _, g := range granted {
			if g.Capability != capability {
				without = append(without, g)
			}
		}
		p.SetGrants(without)
		if got, a := calls(t, p, call); got[0].code() != "denied" || a.Usage.Denied != 1 {
			t.Errorf("%s not granted: %+v %+v", capability, got[0], a.Usage)
		}
	}
	for _, c := range p.Counters() {
		if c.Allowed != 1 || c.Denied != 1 || c.Plugin != "probe" || c.Workflow != "flow" {
			t.Errorf("counted %+v, want one use and one denial", c)
		}
	}
	if n := len(p.Counters()); n != len(everyCall) {
		t.Errorf("%d counters, want %d", n, len(everyCall))
	}
}

// TestManifestBoundsGrants: what the manifest does not ask for cannot be granted.
func TestManifestBoundsGrants(t *testing.T) {
	p := load(t, newHost(t, Config{}), asking(t, "process.execute:echo"))
	p.SetGrants([]protocol.Grant{{Capability: protocol.CapKV}, {Capability: protocol.CapProcess, Scopes: []string{"sh"}}})
	got, _ := calls(t, p, everyCall[protocol.CapKV], `process.run {"argv":["sh"]}`, `no.such {}`, `dns.resolve {"name":"x"}`)
	for i, want := range []string{"denied", "denied", "not-found", "denied"} {
		if got[i].code() != want {
			t.Errorf("call %d: %s, want %s", i, got[i].code(), want)
		}
	}
}

// TestKV keeps values as they were and holds its bounds.
func TestKV(t *testing.T) {
	p := load(t, newHost(t, Config{}), asking(t, "kv"))
	got, _ := calls(t, p, `kv.put {"key":"a","value":{"n":9007199254740993}}`, `kv.get {"key":"a"}`,
		`kv.put {"key":"a","value":null}`, `kv.get {"key":"a"}`, `kv.put {"key":"","value":1}`,
		`kv.put {"key":"big","value":"`+strings.Repeat("x", KVValueMax)+`"}`)
	for i, want := range []string{"ok", "ok", "ok", "ok", "limit", "limit"} {
		if got[i].code() != want {
			t.Errorf("call %d: %+v, want %s", i, got[i].Error, want)
		}
	}
	if got[3].OK["value"] != nil {
		t.Errorf("removed value is %v", got[3].OK)
	}
	var many []string
	for i := range KVKeysMax + 1 {
		many = append(many, fmt.Sprintf(`kv.put {"key":"k%d","value":%d}`, i, i))
	}
	got, _ = calls(t, p, many...)
	if got[KVKeysMax-1].code() != "ok" || got[KVKeysMax].code() != "limit" {
		t.Errorf("key %d: %s, key %d: %s", KVKeysMax, got[KVKeysMax-1].code(), KVKeysMax+1, got[KVKeysMax].code())
	}
}

// TestHostCallDefects: what a host call does wrong stays with it.
func TestHostCallDefects(t *testing.T) {
	p := load(t, newHost(t, Config{Calls: map[string]HostCall{
		"metrics.read": func(context.Context, Grants, protocol.Raw) (any, error) { panic("defect") },
		"dns.resolve":  func(context.Context, Grants, protocol.Raw) (any, error) { return []byte{1}, nil },
		"secret.use":   func(context.Context, Grants, protocol.Raw) (any, error) { return nil, errors.New("plain") },
	}}), asking(t, "metrics.read", "dns.resolve:x", "secret.use:x"))
	got, _ := calls(t, p, `metrics.read {}`, `dns.resolve {}`, `secret.use {}`)
	for i, want := range []string{"internal", "bad-input", "internal"} {
		if got[i].code() != want {
			t.Errorf("call %d: %+v, want %s", i, got[i].Error, want)
		}
	}
}

// TestFiles writes, appends, reads and lists.
func TestFiles(t *testing.T) {
	dir := t.TempDir()
	p := load(t, newHost(t, Config{DataDir: dir}), asking(t, "filesystem.read", "filesystem.write"))
	got, _ := calls(t, p, `fs.write {"path":"a.txt","data":"one"}`, `fs.append {"path":"a.txt","data":" two\n","sync":true}`,
		`fs.append {"path":"sub/deep/b.txt","data":"ü"}`, `fs.read {"path":"a.txt"}`, `fs.read {"path":"a.txt","max":3}`,
		`fs.read {"path":"sub/deep/b.txt","max":1}`, `fs.list {"path":"."}`, `fs.read {"path":"none"}`)
	want := []string{
		`map[size:3]`, `map[size:8]`, `map[size:2]`, "map[data:one two\n size:8]", `map[data:one size:8]`,
		`map[data: size:2]`, `map[names:[a.txt sub/]]`, `map[]`,
	}
	for i := range want {
		if fmt.Sprint(got[i].OK) != want[i] {
			t.Errorf("call %d: got %v %+v, want %s", i, got[i].OK, got[i].Error, want[i])
		}
	}
	if got[7].code() != "not-found" || strings.Contains(got[7].Error.Text, dir) {
		t.Errorf("a file that is not there: %+v", got[7].Error)
	}
	if b, err := os.ReadFile(filepath.Join(dir, "probe", "a.txt")); err != nil || string(b) != "one two\n" {
		t.Errorf("on disk: %q %v", b, err)
	}
}

func must(t testing.TB, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

// TestFileBounds: a plugin cannot fill the disk.
func TestFileBounds(t *testing.T) {
	dir := t.TempDir()
	p := load(t, newHost(t, Config{DataDir: dir}), asking(t, "filesystem.write"))
	var many []string
	for i := range FilesMax + 1 {
		many = append(many, fmt.Sprintf(`fs.append {"path":"f%d","data":""}`, i))
	}
	got, _ := calls(t, p, many...)
	if got[FilesMax-1].code() != "ok" || got[FilesMax].code() != "limit" {
		t.Errorf("file %d: %s, file %d: %s", FilesMax, got[FilesMax-1].code(), FilesMax+1, got[FilesMax].code())
	}
	must(t, os.Truncate(filepath.Join(dir, "probe", "f0"), FileBytesMax))
	got, _ = calls(t, p, `fs.append {"path":"f1","data":""}`, `fs.append {"path":"f1","data":"x"}`)
	if got[1].code() != "limit" {
		t.Errorf("a byte above the bound: %+v", got[1])
	}
}

// TestProcess runs programs that are granted, and none else.
func TestProcess(t *testing.T) {
	t.Setenv("STAVILY_TEST_SECRET", "leaked")
	dir := t.TempDir()
	p := load(t, newHost(t, Config{DataDir: dir}), asking(t, "process.execute:echo", "process.execute:/bin/sh",
		"process.execute:cat", "process.execute:no-such-program", "process.execute:./x"))
	for _, c := range []struct{ args, code, stdout string }{
		{`{"argv":["echo","a b","$HOME; id"]}`, "ok", "a b $HOME; id\n"},
		{`{"argv":["cat"],"stdin":"in"}`, "ok", "in"},
		{`{"argv":["sh","-c","echo $STAVILY_TEST_SECRET$HOME"]}`, "ok", "\n"},
		{`{"argv":["/bin/sh","-c","pwd"]}`, "ok", filepath.Join(dir, "probe") + "\n"},
		{`{"argv":["/bin/sh","-c","exit 3"]}`, "ok", ""},
		{`{"argv":["/bin/echo","x"]}`, "denied", ""},
		{`{"argv":["ls"]}`, "denied", ""},
		{`{"argv":["./x"]}`, "denied", ""},
		{`{"argv":["../bin/sh"]}`, "denied", ""},
		{`{"argv":["no-such-program"]}`, "not-found", ""},
		{`{"argv":[]}`, "limit", ""},
		{`{"argv":["echo","a\u0000b"]}`, "bad-input", ""},
	} {
		got, _ := calls(t, p, "process.run "+c.args)
		if got[0].code() != c.code || c.code == "ok" && got[0].OK["stdout"] != c.stdout {
			t.Errorf("%s: got %v %+v, want %s %q", c.args, got[0].OK, got[0].Error, c.code, c.stdout)
		}
	}
	got, _ := calls(t, p, `process.run {"argv":["sh","-c","exit 3"]}`, `process.run {"argv":["sh","-c","kill -9 $$"]}`,
		`process.run {"argv":["sh","-c","while :; do echo 0123456789; done | head -c 100000; echo err >&2"],"output_max":1000}`)
	if got[0].OK["exit"] != 3.0 || got[1].OK["exit"] != 137.0 {
		t.Errorf("exit codes: %v %v", got[0], got[1])
	}
	out, _ := got[2].OK["stdout"].(string)
	if len(out) != 1000 || got[2].OK["truncated"] != true || got[2].OK["stderr"] != "err\n" {
		t.Errorf("output cap: %d bytes, truncated %v, stderr %q", len(out), got[2].OK["truncated"], got[2].OK["stderr"])
	}
}

// TestProcessEndsWithItsTime: the timeout kills the group, and the request's does too.
func TestProcessEndsWithItsTime(t *testing.T) {
	dir := t.TempDir()
	p := load(t, newHost(t, Config{DataDir: dir}), asking(t, "process.execute:sh"))
	began := time.Now()
	script := `echo $$ >group; sleep 600 & sleep 600 & wait`
	got, _ := calls(t, p, fmt.Sprintf(`process.run {"argv":["sh","-c",%q],"timeout_ms":300}`, script))
	if got[0].code() != "deadline" {
		t.Errorf("got %+v", got[0])
	}
	noneLeft(t, filepath.Join(dir, "probe", "group"))
	// A process that ends and leaves others behind does not hold up the call.
	got, _ = calls(t, p, `process.run {"argv":["sh","-c","echo $$ >group; sleep 600 & echo done"]}`)
	if got[0].code() != "ok" || got[0].OK["stdout"] != "done\n" {
		t.Errorf("left behind: %+v", got[0])
	}
	noneLeft(t, filepath.Join(dir, "probe", "group"))
	r := work(t, fmt.Sprintf(`{"calls":[{"name":"process.run","args":{"argv":["sh","-c",%q]}}]}`, script))
	r.TimeoutMS = 300
	if a := p.Call(context.Background(), r); protocol.CodeOf(asError(a)) != protocol.CodeDeadline {
		t.Errorf("the request's own deadline: %v", a.Error)
	}
	noneLeft(t, filepath.Join(dir, "probe", "group"))
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("took %v", took)
	}
}

// noneLeft fails when a process of the group in the file is still alive.
func noneLeft(t *testing.T, file string) {
	t.Helper()
	b, err := os.ReadFile(file)
	must(t, err)
	var group int
	if _, err := fmt.Sscan(string(b), &group); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); {
		if syscall.Kill(-group, 0) != nil || zombies(group) {
			return
		}
		runtime.Gosched() // killed, but not yet gone
	}
	t.Errorf("group %d is still alive", group)
}

// zombies reports whether all that is left of a group is dead and waits for a parent
// that does not reap, as in a container without an init.
func zombies(group int) bool {
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, f := range stats {
		b, _ := os.ReadFile(f)
		_, after, _ := strings.Cut(string(b), ") ")
		var state string
		var parent, of int
		if n, _ := fmt.Sscan(after, &state, &parent, &of); n == 3 && of == group && state != "Z" {
			return false
		}
	}
	return true
}

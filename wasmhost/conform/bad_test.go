package conform

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stavily/stavily/protocol"
)

func badSource(mode string) source {
	return source{".", "./testdata/guests/bad", "-X main.mode=" + mode, false}
}

// failed returns the names of the checks that failed.
func failed(r *Report) (names, details []string) {
	for _, c := range r.Checks {
		if c.Verdict == Failed {
			names, details = append(names, c.Name), append(details, c.Detail)
		}
	}
	return names, details
}

// Who breaks one promise fails the check of that promise and no other.
func TestBadPrograms(t *testing.T) {
	file := build(t, source{".", "./testdata/guests/bad", "", true})
	named := func(name protocol.PluginName) *protocol.Manifest {
		return &protocol.Manifest{Plugin: protocol.PluginInfo{Name: name, Version: "1.0.0", Type: protocol.Action}}
	}
	manifest, other := named("bad"), named("good")
	for _, c := range []struct {
		mode, check, text string
		manifest          *protocol.Manifest
	}{
		{"", "", "", manifest},
		{"", "", "", nil},
		{"stderr", "", "", manifest},
		{"", "hello", `"bad", the manifest says action "good"`, other},
		{"none", "hello", "ended: exit 0", nil},
		{"nohello", "hello", "took longer", nil},
		{"abi2", "hello", "version 2", nil},
		{"oddname", "hello", "Bad Name", nil},
		{"oddtype", "hello", "actor", nil},
		{"banner", "messages", "first byte 0x62", nil},
		{"neverready", "ready", "took longer", nil},
		{"unready", "ready", `"answer" after init`, nil},
		{"refuses", "ready", "want a name", nil},
		{"early", "order", "before it is asked", nil},
		{"checkignored", "check", "took longer", nil},
		{"checklist", "check", "not a map", nil},
		{"silent", "answer", "took longer", nil},
		{"gossip", "answer", "gossip", nil},
		{"hostcode", "answer", "denied", nil},
		{"dies", "answer", "at work", nil},
		{"wrongid", "id", "id 10", nil},
		{"noid", "id", "id 0", nil},
		{"twice", "order", "more than was asked", nil},
		{"twokinds", "messages", "two things", nil},
		{"prints", "messages", "JSON byte 0", nil},
		{"wrongcall", "calls", "n 7", nil},
		{"strangecall", "calls", "gpio.write", nil},
		{"kvcall", "calls", "permission kv", manifest},
		{"stays", "end", "does not end", nil},
		{"exit3", "end", "exit status 3", nil},
		{"goodbye", "end", "says something", nil},
		{"fragile", "config", "panic: config", nil},
		{"wordless", "config", "without a word", nil},
		{"strict", "unknown-keys", "not in the contract", nil},
		{"lenient", "unknown-request", "want an error", nil},
		{"shortline", "large", "too long", nil},
		{"ascii", "unicode", "came back as", nil},
		{"float32", "integers", "which was not sent", nil},
		{"touchy", "denied", "cannot do without", nil},
		{"tired", "hundred", "request 51", nil},
		{"batchfull", "batch", "want an array of 1 to 2", nil},
		{"batchless", "batch", "items", nil},
	} {
		t.Run(c.mode+"/"+c.check, func(t *testing.T) {
			t.Parallel()
			bad := Target{Command: []string{file, c.mode}, Manifest: c.manifest}
			r := run(t, bad, Options{Timeout: 2 * time.Second})
			names, details := failed(&r)
			var want []string
			if c.check != "" {
				want = []string{c.check}
			}
			if !slices.Equal(names, want) || c.check != "" && !strings.Contains(details[0], c.text) {
				t.Errorf("failed %q: %q, want %q with %q", names, details, want, c.text)
			}
			if r.Passed() != (c.check == "") || len(r.Checks) != len(basic)+len(deep) {
				t.Errorf("passed %v with %d checks", r.Passed(), len(r.Checks))
			}
		})
	}
}

// What only a module can show.
func TestBadModules(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles modules")
	}
	for _, c := range []struct{ mode, check, text string }{
		{"leaks", "memory", "want growth of at most"},
		{"silent", "answer", "reads on"},
		{"checkignored", "check", "reads on"},
		{"nohello", "hello", "reads on"},
	} {
		t.Run(c.mode, func(t *testing.T) {
			r := run(t, target(t, badSource(c.mode)), Options{})
			names, details := failed(&r)
			if !slices.Equal(names, []string{c.check}) || !strings.Contains(details[0], c.text) {
				t.Errorf("failed %q: %q, want %s with %q", names, details, c.check, c.text)
			}
		})
	}
}

// A plugin that is not the same twice cannot be compared between engines, which is no
// fault of the contract.
func TestClockIsNotCompared(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles a module")
	}
	r := run(t, target(t, badSource("clock")), Options{})
	for _, name := range []string{"interpreter", "unmetered"} {
		i := slices.IndexFunc(r.Checks, func(c Check) bool { return c.Name == name })
		if r.Checks[i].Verdict != Skipped || !strings.Contains(r.Checks[i].Detail, "not the same twice") {
			t.Errorf("%+v", r.Checks[i])
		}
	}
}

// What is no module fails the first check, and nothing else is said of it.
func TestNoModule(t *testing.T) {
	r := run(t, Target{Wasm: []byte("\x00asm\x01\x00\x00\x00")}, Options{Cases: Cases()[:1]})
	if names, details := failed(&r); !slices.Equal(names, []string{"module"}) || r.Passed() {
		t.Errorf("failed %q: %q", names, details)
	}
}

func TestWantsATargetAndAClock(t *testing.T) {
	for _, c := range []struct {
		target Target
		clock  func() time.Time
	}{
		{Target{}, time.Now},
		{Target{Wasm: []byte{1}, Command: []string{"x"}}, time.Now},
		{Target{Wasm: []byte{1}}, nil},
	} {
		_, err := Run(context.Background(), c.target, Options{Clock: c.clock})
		if protocol.CodeOf(err) != protocol.CodeBadInput {
			t.Errorf("%+v: %v", c.target, err)
		}
	}
}

// A conformance plugin that does something else is found out, whatever it does else.
func TestCasesFail(t *testing.T) {
	r := run(t, target(t, sdks[0].of("action", true)), Options{Cases: []Case{
		{Name: "result", Asks: []Ask{{Do: echo("1"), Result: "1.0"}}},
		{Name: "error", Asks: []Ask{{Do: echo("1"), Code: protocol.CodePlugin}}},
		{Name: "code", Asks: []Ask{{Do: `{"do":"fail","text":"x"}`, Code: protocol.CodeRetryable}}},
		{Name: "text", Asks: []Ask{{Do: `{"do":"fail","text":"x"}`, Code: protocol.CodePlugin, Text: "y"}}},
		{Name: "no error", Asks: []Ask{{Do: `{"do":"fail","text":"x"}`}}},
		{Name: "no call", Asks: []Ask{{Calls: []Call{{Name: "log"}}}}},
		{Name: "a call", Asks: []Ask{{Do: `{"do":"call","name":"log","args":{}}`, Result: `{"ok":{}}`}}},
		{Name: "other call", Asks: []Ask{{
			Do: `{"do":"call","name":"log","args":{}}`, Calls: []Call{{Name: "kv.get"}}, Result: `{"ok":{}}`,
		}}},
		{Name: "lacking argument", Asks: []Ask{{
			Do:    `{"do":"call","name":"log","args":{}}`,
			Calls: []Call{{Name: "log", Args: `{"text":"x"}`}}, Result: `{"ok":{}}`,
		}}},
		{Name: "more arguments", Asks: []Ask{{
			Do: `{"do":"call","name":"log","args":{"text":"x"}}`, Calls: []Call{{Name: "log"}}, Result: `{"ok":{}}`,
		}}},
		{Name: "not ended", Asks: []Ask{{Do: echo("1"), Code: protocol.CodeDeadline}}},
		{Name: "exit is not deadline", Asks: []Ask{{Do: `{"do":"exit"}`, Code: protocol.CodeDeadline}}},
		{Name: "config taken", Refuses: "x"},
		{Name: "stderr", Stderr: "x", Asks: []Ask{{Do: `{"do":"none"}`}}},
	}})
	for _, c := range r.Checks[len(basic)+len(deep):] {
		if c.Verdict != Failed {
			t.Errorf("%s: %s", c.Name, c.Verdict)
		}
		t.Logf("%s: %s", c.Name, c.Detail)
	}
}

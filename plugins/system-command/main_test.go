package main

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stavily/stavily/plugins/sdk/go"
	"github.com/stavily/stavily/plugins/sdk/go/stavilytest"
)

type m = map[string]any

// running starts the plugin on a host where the program ends so.
func running(t *testing.T, config m, exit stavily.Exit) *stavilytest.Host {
	t.Helper()
	h := stavilytest.Start(t, plugin, config)
	h.Answer("process.run", func(json.RawMessage) (any, error) { return exit, nil })
	return h
}

// what the host is asked for, and what comes back.
func TestRun(t *testing.T) {
	h := running(t, m{"run": []string{"uptime", "-p"}, "timeout": "5s", "stdin": "x"},
		stavily.Exit{Stdout: "up 3 days\n", TookMS: 4})
	got, err := h.Run(nil)
	want := `{"exit":0,"stdout":"up 3 days\n","stderr":"","truncated":false,"took_ms":4}`
	if err != nil || string(got) != want {
		t.Errorf("got %s, %v\nwant %s", got, err, want)
	}
	asked := `{"argv":["uptime","-p"],"stdin":"x","output_max":8192,"timeout_ms":5000}`
	if len(h.Calls) != 1 || string(h.Calls[0].Args) != asked {
		t.Errorf("asked %s, want %s", h.Calls, asked)
	}
}

// Without a timeout of its own, the program gets what the step has.
func TestTimeoutOfTheStep(t *testing.T) {
	h := running(t, m{"run": []string{"true"}, "output_max": 10}, stavily.Exit{})
	if _, err := h.RunFull(stavily.Run{DeadlineMS: 1234}); err != nil {
		t.Fatal(err)
	}
	if got := string(h.Calls[0].Args); !strings.Contains(got, `"output_max":10,"timeout_ms":1111`) {
		t.Errorf("asked %s", got)
	}
}

func TestExitCodes(t *testing.T) {
	run := []string{"grep", "x"}
	for name, test := range map[string]struct {
		config m
		exit   stavily.Exit
		want   string
	}{
		"expected": {m{"run": run, "ok_exit": []int{0, 1}}, stavily.Exit{Exit: 1}, ""},
		"unexpected": {
			m{"run": run},
			stavily.Exit{Exit: 2, Stderr: "\ngrep: no such file\nmore\n"},
			`run "grep": exit code 2, want one of [0]: grep: no such file`,
		},
		"silent": {
			m{"run": run}, stavily.Exit{Exit: 1}, `run "grep": exit code 1, want one of [0]: nothing on stderr`,
		},
		"0 not in list": {
			m{"run": run, "ok_exit": []int{1}},
			stavily.Exit{},
			`run "grep": exit code 0, want one of [1]: nothing on stderr`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := running(t, test.config, test.exit).Run(nil)
			if test.want == "" && err != nil || test.want != "" && (err == nil || err.Error() != test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
			if err != nil && stavily.Code(err) != stavily.CodePlugin {
				t.Errorf("code %q: want one that is not retried", stavily.Code(err))
			}
		})
	}
}

func TestDenied(t *testing.T) {
	h := stavilytest.Start(t, plugin, m{"run": []string{"rm", "-rf", "/"}})
	h.Deny("process.run")
	_, err := h.Run(nil)
	if err == nil || err.Error() != `run "rm": process.run: process.run: not granted` {
		t.Errorf("got %v", err)
	}
}

// A check runs nothing: it only looks whether there is anything that may be run.
func TestCheck(t *testing.T) {
	h := stavilytest.Start(t, plugin, m{"run": []string{"true"}})
	if err := h.Check(); err == nil || err.Error() != "process.execute: not granted" {
		t.Errorf("without grant: %v", err)
	}
	h.Grants = []stavily.Grant{{Capability: "kv"}, {Capability: "process.execute", Scopes: []string{"true"}}}
	h.Restart()
	if err := h.Check(); err != nil || len(h.Calls) != 0 {
		t.Errorf("with grant: %v, calls %s", err, h.Calls)
	}
}

// Output that takes more room as JSON than a result may have is shortened, and says so.
func TestOutputFits(t *testing.T) {
	h := running(t, m{"run": []string{"od"}}, stavily.Exit{
		Stdout: strings.Repeat("\x01", 8<<10), Stderr: strings.Repeat("ä", 4<<10),
	})
	data, err := h.Run(nil)
	if err != nil || len(data) > dataMax {
		t.Fatalf("%d bytes, limit %d, %v", len(data), dataMax, err)
	}
	var exit stavily.Exit
	if err := json.Unmarshal(data, &exit); err != nil {
		t.Fatal(err)
	}
	if !exit.Truncated || exit.Stdout == "" || len(exit.Stderr) < 1000 ||
		strings.Contains(exit.Stderr, "\ufffd") {
		t.Errorf("truncated %v, stdout %d, stderr %d bytes", exit.Truncated, len(exit.Stdout), len(exit.Stderr))
	}
}

func TestConfig(t *testing.T) {
	for config, want := range map[string]string{
		`{}`:                                                   "config: run: want the program and its arguments",
		`{"run":[""]}`:                                         "config: run: want the program and its arguments",
		`{"run":"ls -l"}`:                                      "config: run: want []string, got string",
		`{"run":["a","b\u0000"]}`:                              "config: run: a zero byte in an argument",
		`{"run":["a"],"output_max":0}`:                         "config: output_max 0: want 1 to 16384",
		`{"run":["a"],"output_max":1e6}`:                       "config: output_max: want int, got number 1e6",
		`{"run":["a"],"ok_exit":[]}`:                           "config: ok_exit: want at least one exit code",
		`{"run":["a"],"ok_exit":[0,256]}`:                      "config: ok_exit 256: want 0 to 255",
		`{"run":["a"],"shell":true}`:                           `config: unknown key "shell"`,
		`{"run":["a"],"timeout":"x"}`:                          `config: duration "x"`,
		`{"run":["a"` + strings.Repeat(`,"a"`, argvMax) + `]}`: "config: run: 65 arguments, limit 64",
	} {
		_, err := stavilytest.TryStart(t, plugin, json.RawMessage(config))
		if err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("config %.60s: got %v, want %q", config, err, want)
		}
	}
}

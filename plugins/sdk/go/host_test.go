package stavily_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/stavily/stavily/plugins/sdk/go"
	"github.com/stavily/stavily/plugins/sdk/go/stavilytest"
)

// once makes an action of a function and runs it.
func once(
	t *testing.T, f func(*stavily.Context) (any, error), prepare ...func(*stavilytest.Host),
) (string, *stavilytest.Host, error) {
	t.Helper()
	h := stavilytest.Start(t, func() *stavily.Plugin {
		return stavily.Action("a", func(c *stavily.Context, _ stavily.Run) (any, error) { return f(c) })
	}, nil)
	for _, p := range prepare {
		p(h)
	}
	data, err := h.Run(nil)
	return string(data), h, err
}

func TestHostCalls(t *testing.T) {
	for name, test := range map[string]struct {
		call func(*stavily.Context) (any, error)
		args string
		want string
	}{
		"log": {func(c *stavily.Context) (any, error) {
			c.Log(stavily.LevelWarn, "hot")
			return nil, nil
		}, `log {"level":4,"text":"hot"}`, `null`},
		"metrics": {
			func(c *stavily.Context) (any, error) { return c.Metrics("load.1", "load.5") },
			`metrics.read {"names":["load.1","load.5"]}`, `{"load.1":0.5}`,
		},
		"process": {
			func(c *stavily.Context) (any, error) {
				return c.Process(stavily.Command{Argv: []string{"uptime", "-p"}, OutputMax: 10, Timeout: time.Second})
			}, `process.run {"argv":["uptime","-p"],"stdin":"","output_max":10,"timeout_ms":1000}`,
			`{"exit":0,"stdout":"up\n","stderr":"","truncated":false,"took_ms":3}`,
		},
		"append": {
			func(c *stavily.Context) (any, error) { return c.Append("a/b", "more\n", true) },
			`fs.append {"path":"a/b","data":"more\n","sync":true}`, `9`,
		},
		"write": {
			func(c *stavily.Context) (any, error) { return nil, c.WriteFile("f", "x") },
			`fs.write {"path":"f","data":"x"}`, `null`,
		},
		"read": {
			func(c *stavily.Context) (any, error) { return c.ReadFile("a/b", 2) },
			`fs.read {"path":"a/b","max":2}`, `"on"`,
		},
		"list": {
			func(c *stavily.Context) (any, error) { return c.ListFiles("a") },
			`fs.list {"path":"a"}`, `["b"]`,
		},
		"kv get": {func(c *stavily.Context) (any, error) {
			var n int
			found, err := c.KVGet("n", &n)
			return []any{found, n}, err
		}, `kv.get {"key":"n"}`, `[true,7]`},
		"kv get nothing": {func(c *stavily.Context) (any, error) {
			var n int
			found, err := c.KVGet("m", &n)
			return []any{found, n}, err
		}, `kv.get {"key":"m"}`, `[false,0]`},
		"kv put": {
			func(c *stavily.Context) (any, error) { return nil, c.KVPut("k", []int{1}) },
			`kv.put {"key":"k","value":[1]}`, `null`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			got, h, err := once(t, test.call, func(h *stavilytest.Host) {
				h.Metrics["load.1"] = 0.5
				h.Files["a/b"] = "one\n"
				h.KV["n"] = json.RawMessage("7")
				h.Answer("process.run", func(json.RawMessage) (any, error) {
					return stavily.Exit{Stdout: "up\n", TookMS: 3}, nil
				})
			})
			if err != nil || got != test.want {
				t.Errorf("got %s, %v, want %s", got, err, test.want)
			}
			if len(h.Calls) != 1 || h.Calls[0].Name+" "+string(h.Calls[0].Args) != test.args {
				t.Errorf("calls %s, want %s", h.Calls, test.args)
			}
		})
	}
}

func TestHostRefuses(t *testing.T) {
	calls := map[string]func(*stavily.Context) error{
		"metrics.read": func(c *stavily.Context) error { _, err := c.Metrics("load.1"); return err },
		"process.run":  func(c *stavily.Context) error { _, err := c.Process(stavily.Command{}); return err },
		"fs.append":    func(c *stavily.Context) error { _, err := c.Append("f", "x", false); return err },
		"fs.list":      func(c *stavily.Context) error { _, err := c.ListFiles("."); return err },
		"kv.get":       func(c *stavily.Context) error { _, err := c.KVGet("k", nil); return err },
	}
	for name, call := range calls {
		_, _, err := once(t, func(c *stavily.Context) (any, error) {
			err := call(c)
			if stavily.Code(err) != stavily.CodeDenied {
				return nil, fmt.Errorf("code %q", stavily.Code(err))
			}
			return nil, err
		}, func(h *stavilytest.Host) { h.Deny(name) })
		if want := name + ": " + name + ": not granted"; err == nil || err.Error() != want {
			t.Errorf("%s: got %v, want %q", name, err, want)
		}
	}
}

// What cannot be sent is an error of the call, and the next call is counted right.
func TestCallsThatAreNotSent(t *testing.T) {
	_, h, err := once(t, func(c *stavily.Context) (any, error) {
		if _, err := c.Append("f", "\xff", false); err == nil {
			return nil, errors.New("append: not text is taken")
		}
		if err := c.WriteFile("f", "\xff"); err == nil {
			return nil, errors.New("write: not text is taken")
		}
		if err := c.KVPut("k", func() {}); err == nil {
			return nil, errors.New("put: a function is taken")
		}
		if err := c.KVPut("k", strings.Repeat("x", stavily.LineMax)); err == nil {
			return nil, errors.New("put: a long value is taken")
		}
		return nil, c.KVPut("k", 1)
	})
	if err != nil || len(h.Calls) != 1 {
		t.Errorf("got %v, calls %d", err, len(h.Calls))
	}
}

func TestReplyOfAnotherShape(t *testing.T) {
	_, _, err := once(t, func(c *stavily.Context) (any, error) { return c.Metrics("load.1") },
		func(h *stavilytest.Host) {
			h.Answer("metrics.read", func(json.RawMessage) (any, error) { return "fine", nil })
		})
	if err == nil || !strings.HasPrefix(err.Error(), "metrics.read: reply: ") {
		t.Errorf("got %v", err)
	}
}

func TestContextTells(t *testing.T) {
	grants := []stavily.Grant{{Capability: "kv", Scopes: []string{}}}
	data, _, err := once(t, func(c *stavily.Context) (any, error) {
		if !reflect.DeepEqual(c.Grants(), grants) {
			return nil, fmt.Errorf("grants %v", c.Grants())
		}
		return []any{c.Now(), c.Workflow(), c.Step(), c.Limits().MemoryMB}, nil
	}, func(h *stavilytest.Host) {
		h.Grants = grants
		h.Restart()
	})
	if want := `["2026-01-01T00:00:00Z","test","plugin",64]`; err != nil || data != want {
		t.Errorf("got %s, %v, want %s", data, err, want)
	}
}

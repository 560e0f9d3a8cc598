package sim

import (
	"testing"

	"github.com/stavily/stavily/protocol"
	"github.com/stavily/stavily/wasmhost"
)

// What a real module asks of the world in a simulation touches nothing of this machine: programs
// are not started, nobody is called, files are the device's.
func TestGuestCallsReachNothing(t *testing.T) {
	w := worldOf(t, "")
	g := &w.guests
	g.asked = &guestWorker{w: w, d: w.devices[0], name: "logger"}
	grants := wasmhost.Grants{
		{Capability: protocol.CapProcess, Scopes: []string{"/usr/bin/touch"}},
		{Capability: protocol.CapHTTP, Scopes: []string{"example.com:443"}},
	}
	calls := g.calls()
	ask := func(call string, args map[string]any) (map[string]any, error) {
		out, err := calls[call](t.Context(), grants, protocol.MustMarshal(args))
		answer, _ := out.(map[string]any)
		return answer, err
	}
	proof := t.TempDir() + "/proof"
	for _, c := range []struct {
		name, call string
		args       map[string]any
		up         bool
		want       protocol.Code
		key        string
		value      any
	}{
		{name: "a program", call: "process.run", args: map[string]any{"argv": []string{"touch", proof}}, key: "exit", value: 0},
		{name: "another program", call: "process.run", args: map[string]any{"argv": []string{"rm", proof}}, want: protocol.CodeDenied},
		{name: "no program", call: "process.run", args: map[string]any{}, want: protocol.CodeBadInput},
		{name: "a request", call: protocol.CapHTTP, args: map[string]any{"url": "https://example.com/x"}, up: true, key: "status", value: 200},
		{name: "without a line", call: protocol.CapHTTP, args: map[string]any{"url": "https://example.com/x"}, want: protocol.CodeUnavailable},
		{name: "another host", call: protocol.CapHTTP, args: map[string]any{"url": "https://example.org/x"}, up: true, want: protocol.CodeDenied},
		{name: "a connection", call: protocol.CapTCP, args: map[string]any{}, up: true, want: protocol.CodeUnavailable},
		{name: "a line of a file", call: "fs.append", args: map[string]any{"path": "a/log", "data": "one"}, key: "size", value: 3},
		{name: "another line", call: "fs.append", args: map[string]any{"path": "a/log", "data": " two"}, key: "size", value: 7},
		{name: "the file", call: "fs.read", args: map[string]any{"path": "a/log", "from": 4, "max": 2}, key: "data", value: "tw"},
		{name: "a file that is none", call: "fs.read", args: map[string]any{"path": "b"}, want: protocol.CodeNotFound},
		{name: "a file elsewhere", call: "fs.write", args: map[string]any{"path": "../x", "data": "y"}, want: protocol.CodeDenied},
	} {
		w.devices[0].line.up = c.up
		out, err := ask(c.call, c.args)
		if protocol.CodeOf(err) != c.want || err == nil && out[c.key] != c.value {
			t.Errorf("%s: %v, %v", c.name, out, err)
		}
	}
	if names, err := ask("fs.list", map[string]any{"path": "."}); err != nil || len(names["names"].([]string)) != 1 {
		t.Errorf("the plugin has %v, %v", names, err)
	}
	var err error
	for range filesMax/100_000 + 1 {
		_, err = ask("fs.append", map[string]any{"path": "x", "data": string(make([]byte, 100_000))})
	}
	if protocol.CodeOf(err) != protocol.CodeStorage {
		t.Errorf("more than there is room for: %v", err)
	}
}

package stavilytest

import (
	"encoding/json"
	"fmt"
	"path"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/stavily/stavily/plugins/sdk/go"
)

// reply answers host call n of a request.
func (h *Host) reply(n uint64, raw json.RawMessage) {
	h.t.Helper()
	var call struct {
		N    uint64          `json:"n"`
		Name string          `json:"name"`
		Args json.RawMessage `json:"args"`
	}
	h.decode(raw, &call)
	if call.N != n {
		h.t.Fatalf("call %q: number %d, want %d", call.Name, call.N, n)
	}
	h.Calls = append(h.Calls, Call{call.Name, call.Args})
	answer, scripted := h.answers[call.Name]
	if !scripted {
		answer = h.builtin(call.Name)
	}
	ok, err := answer(call.Args)
	reply := map[string]any{"n": n}
	if err != nil {
		reply["error"] = errorOf(err)
	} else {
		reply["ok"] = ok
	}
	h.say(map[string]any{"reply": reply})
}

// builtin returns what answers a call from the host's maps.
func (h *Host) builtin(name string) Answer {
	switch name {
	case "log":
		return h.log
	case "metrics.read":
		return h.metrics
	case "kv.get":
		return h.kvGet
	case "kv.put":
		return h.kvPut
	case "fs.append", "fs.write":
		return func(args json.RawMessage) (any, error) { return h.write(name == "fs.append", args) }
	case "fs.read":
		return h.read
	case "fs.list":
		return h.list
	case "dns.resolve":
		return h.resolve
	case "http.request":
		return h.http
	case "secret.use":
		return h.secret
	case "tcp.connect":
		return h.connect
	case "tcp.read", "tcp.write", "tcp.close":
		return func(args json.RawMessage) (any, error) { return h.talkTCP(name, args) }
	}
	return func(json.RawMessage) (any, error) {
		return nil, &stavily.Error{Code: stavily.CodeUnavailable, Text: name + ": no answer in this test"}
	}
}

func (h *Host) secret(args json.RawMessage) (any, error) {
	var a struct{ Name string }
	if err := json.Unmarshal(args, &a); err != nil {
		return nil, err
	}
	value, ok := h.Secrets[a.Name]
	switch {
	case !ok:
		return nil, &stavily.Error{Code: stavily.CodeUnavailable, Text: "secret " + a.Name + ": not on this device"}
	case utf8.ValidString(value):
		return map[string]any{"value": value}, nil
	}
	return map[string]any{"value_base64": []byte(value)}, nil
}

func (h *Host) log(args json.RawMessage) (any, error) {
	var l Log
	err := json.Unmarshal(args, &l)
	h.Logs = append(h.Logs, l)
	return struct{}{}, err
}

func (h *Host) metrics(args json.RawMessage) (any, error) {
	var a struct{ Names []string }
	if err := json.Unmarshal(args, &a); err != nil {
		return nil, err
	}
	values := map[string]float64{}
	for _, name := range a.Names {
		if v, ok := h.Metrics[name]; ok {
			values[name] = v
		}
	}
	return map[string]any{"values": values}, nil
}

func (h *Host) kvGet(args json.RawMessage) (any, error) {
	var a struct{ Key string }
	err := json.Unmarshal(args, &a)
	return map[string]any{"value": h.KV[a.Key]}, err
}

func (h *Host) kvPut(args json.RawMessage) (any, error) {
	var a struct {
		Key   string
		Value json.RawMessage
	}
	err := json.Unmarshal(args, &a)
	h.KV[a.Key] = a.Value
	return struct{}{}, err
}

// write appends to a file or makes it anew.
func (h *Host) write(more bool, args json.RawMessage) (any, error) {
	var a struct{ Path, Data string }
	if err := json.Unmarshal(args, &a); err != nil {
		return nil, err
	}
	if a.Path != path.Clean(a.Path) || strings.HasPrefix(a.Path, "/") || strings.HasPrefix(a.Path, "..") {
		return nil, &stavily.Error{Code: stavily.CodeDenied, Text: fmt.Sprintf("path %q: outside", a.Path)}
	}
	if more {
		a.Data = h.Files[a.Path] + a.Data
	}
	h.Files[a.Path] = a.Data
	return map[string]any{"size": len(a.Data)}, nil
}

func (h *Host) read(args json.RawMessage) (any, error) {
	var a struct {
		Path string
		Max  int
	}
	if err := json.Unmarshal(args, &a); err != nil {
		return nil, err
	}
	data, ok := h.Files[a.Path]
	if !ok {
		return nil, &stavily.Error{Code: stavily.CodeNotFound, Text: fmt.Sprintf("file %q: not there", a.Path)}
	}
	return map[string]any{"data": data[:min(len(data), max(a.Max, 0))]}, nil
}

func (h *Host) list(args json.RawMessage) (any, error) {
	var a struct{ Path string }
	if err := json.Unmarshal(args, &a); err != nil {
		return nil, err
	}
	names := []string{}
	for name := range h.Files {
		if path.Dir(name) == path.Clean(a.Path) {
			names = append(names, path.Base(name))
		}
	}
	slices.Sort(names)
	return map[string]any{"names": names}, nil
}

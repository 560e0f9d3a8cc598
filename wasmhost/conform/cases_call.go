package conform

import (
	"strings"

	"github.com/stavily/stavily/protocol"
)

// own is a case of an SDK's own function for a host call: args as it must say them, the
// reply, and the result that it makes of it.
func own(name, do string, c Call, result string) Case {
	return Case{Name: name, Asks: []Ask{{
		Do: `{"do":"` + do + `","args":` + c.Args + `}`, Calls: []Call{c}, Result: result,
	}}}
}

var errNoGrant = protocol.Errorf(protocol.CodeDenied, "call kv.get: capability kv is not granted")

// calling are cases of host calls.
var calling = []Case{
	{Name: "call", Asks: []Ask{{
		Do:     `{"do":"call","name":"kv.get","args":{"key":"ü"}}`,
		Calls:  []Call{{Name: "kv.get", Args: `{"key":"ü"}`, OK: `{"value":[1,2.0,"x"]}`}},
		Result: `{"ok":{"value":[1,2.0,"x"]}}`,
	}}},
	{Name: "call that is denied", Asks: []Ask{
		{
			Do:     `{"do":"call","name":"kv.get","args":{"key":"k"}}`,
			Calls:  []Call{{Name: "kv.get", Args: `{"key":"k"}`, Error: errNoGrant}},
			Result: `{"error":{"code":"denied","text":"call kv.get: capability kv is not granted"}}`,
		},
		{Do: echo("7"), Result: "7"},
	}},
	{Name: "call with an error of each code", Asks: eachCode()},
	{Name: "calls count anew in each request", Asks: []Ask{
		threeCalls, threeCalls, {Do: echo("8"), Result: "8"},
	}},
	{Name: "call with a large reply", Asks: []Ask{{
		Do: `{"do":"call","name":"fs.read","args":{"path":"p","max":20000}}`,
		Calls: []Call{{
			Name: "fs.read", Args: `{"path":"p","max":20000}`, OK: `{"data":"` + big20k + `","size":20000}`,
		}},
		Result: `{"ok":{"data":"` + big20k + `","size":20000}}`,
	}}},
	{Name: "call with unknown keys in the reply", Asks: []Ask{{
		Do: `{"do":"get","args":{"key":"k"}}`, Widen: true,
		Calls: []Call{{Name: "kv.get", Args: `{"key":"k"}`, OK: `{"value":true,"more":1}`}}, Result: "true",
	}}},
	own("log", "log", Call{Name: "log", Args: `{"level":4,"text":"warm: ü"}`}, ""),
	own("log of every level", "log", Call{Name: "log", Args: `{"level":-4,"text":"x"}`}, ""),
	own("metrics", "metrics", Call{
		Name: "metrics.read", Args: `{"names":["cpu.percent","load.1"]}`, OK: `{"values":{"cpu.percent":12.5}}`,
	}, `{"cpu.percent":12.5}`),
	own("process", "process", Call{
		Name: "process.run", Args: `{"argv":["uptime","-p"],"stdin":"x","output_max":100,"timeout_ms":1500}`,
		OK: `{"exit":3,"stdout":"up ü","stderr":"e","truncated":true,"took_ms":7}`,
	}, `{"exit":3,"stdout":"up ü","stderr":"e","truncated":true,"took_ms":7}`),
	own("append", "append", Call{
		Name: "fs.append", Args: `{"path":"a/b.txt","data":"line\n","sync":true}`, OK: `{"size":9007199254740991}`,
	}, "9007199254740991"),
	own("write", "write", Call{Name: "fs.write", Args: `{"path":"a","data":"ü"}`, OK: `{"size":2}`}, ""),
	own("read", "read", Call{
		Name: "fs.read", Args: `{"path":"a","max":10}`, OK: `{"data":"ü\u0000\n","size":4}`,
	}, `"ü\u0000\n"`),
	own("list", "list", Call{Name: "fs.list", Args: `{"path":"."}`, OK: `{"names":["a","b/"]}`}, `["a","b/"]`),
	own("list of nothing", "list", Call{Name: "fs.list", Args: `{"path":"."}`, OK: `{"names":[]}`}, `[]`),
	own("get", "get", Call{Name: "kv.get", Args: `{"key":"k"}`, OK: `{"value":{"a":1}}`}, `{"a":1}`),
	own("get of nothing", "get", Call{Name: "kv.get", Args: `{"key":"k"}`, OK: `{"value":null}`}, ""),
	own("put", "put", Call{Name: "kv.put", Args: `{"key":"k","value":{"a":[1,2.5]}}`}, ""),
	{Name: "put that is denied", Asks: []Ask{{
		Do: `{"do":"put","args":{"key":"k","value":1}}`, Code: protocol.CodePlugin, Text: "not granted",
		Calls: []Call{{Name: "kv.put", Args: `{"key":"k","value":1}`, Error: errNoGrant}},
	}}},
	{Name: "read while the host cannot", Asks: []Ask{{
		Do: `{"do":"read","args":{"path":"a","max":1}}`, Code: protocol.CodeRetryable, Text: "busy",
		Calls: []Call{{
			Name: "fs.read", Args: `{"path":"a","max":1}`, Error: protocol.Errorf(protocol.CodeUnavailable, "busy"),
		}},
	}}},
}

var big20k = strings.Repeat("y", 20_000)

var threeCalls = Ask{
	Do: `{"do":"calls","list":[{"name":"kv.put","args":{"key":"a","value":1}},` +
		`{"name":"conform.new","args":{}},{"name":"kv.get","args":{"key":"a"}}]}`,
	Calls: []Call{
		{Name: "kv.put", Args: `{"key":"a","value":1}`},
		{Name: "conform.new", Error: protocol.Errorf(protocol.CodeNotFound, "no such host call")},
		{Name: "kv.get", Args: `{"key":"a"}`, OK: `{"value":1}`},
	},
	Result: `[{"ok":{}},{"error":{"code":"not-found","text":"no such host call"}},{"ok":{"value":1}}]`,
}

// eachCode asks for one call that ends in each code that a plugin should know.
func eachCode() []Ask {
	var out []Ask
	for _, code := range []protocol.Code{
		protocol.CodeDenied, protocol.CodeNotFound, protocol.CodeLimit, protocol.CodeBadInput,
		protocol.CodeDeadline, protocol.CodeStorage, protocol.CodeUnavailable, protocol.CodeInternal,
	} {
		out = append(out, Ask{
			Do:     `{"do":"call","name":"fs.list","args":{"path":"."}}`,
			Calls:  []Call{{Name: "fs.list", Args: `{"path":"."}`, Error: protocol.Errorf(code, "why")}},
			Result: `{"error":{"code":"` + code.String() + `","text":"why"}}`,
		})
	}
	return out
}

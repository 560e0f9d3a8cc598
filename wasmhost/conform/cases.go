package conform

import (
	"fmt"
	"strings"
	"time"

	"github.com/stavily/stavily/protocol"
	"github.com/stavily/stavily/wasmhost"
)

// Cases returns what every SDK is held to.
func Cases() []Case {
	var out []Case
	for _, v := range values {
		out = append(out, Case{Name: "echo " + v.name, Asks: []Ask{{Do: echo(v.json), Result: v.json}}})
	}
	out = append(out, asked...)
	out = append(out, calling...)
	out = append(out, configurations...)
	out = append(out, triggers...)
	out = append(out, works...)
	return append(out, batches...)
}

// echo asks for a value back.
func echo(value string) string { return fmt.Sprintf(`{"do":"echo","value":%s}`, value) }

// values must come back as they went.
var values = []struct{ name, json string }{
	{"true", "true"},
	{"false", "false"},
	{"zero", "0"},
	{"a negative integer", "-1"},
	{"integers of 53 bits", "[9007199254740991,-9007199254740991,4294967296,2147483648,-2147483649]"},
	{"integers of 64 bits", "[18446744073709551615,9223372036854775807,-9223372036854775808]"},
	{"a double", "[0.5,-0.1,1.5e300,5e-324]"},
	{"a double that is whole", "[1.0,-3.0,1e20]"},
	{"text", `"hello"`},
	{"no text", `""`},
	{"unicode", `"ü € \u2028 😀 é"`},
	{"escapes", `"\u0000\u001f\"\\/\b\f\n\r\t\u007f<&>"`},
	{"an empty list", "[]"},
	{"an empty map", "{}"},
	{"nulls within", `[null,{"a":null}]`},
	{"a map with odd keys", `{"":1,"ü":2,"a b":3,"\u0000":4,"do":"echo"}`},
	{"nine levels", strings.Repeat("[", 9) + strings.Repeat("]", 9)},
	{"a long text", `"` + strings.Repeat("x", 24_000) + `"`},
	{"a long list", "[" + strings.Repeat("1,", 4000) + "1]"},
	{"a wide map", wide(1000)},
}

// wide returns a map of n pairs.
func wide(n int) string {
	pairs := make([]string, n)
	for i := range pairs {
		pairs[i] = fmt.Sprintf(`"key-%d":%d`, i, i)
	}
	return "{" + strings.Join(pairs, ",") + "}"
}

const boom = "boom: ü \" \\"

// asked are cases of requests, answers and errors.
var asked = []Case{
	{Name: "no result", Asks: []Ask{{Do: `{"do":"none"}`}}},
	{Name: "fail", Asks: []Ask{{
		Do: `{"do":"fail","text":"boom: ü \" \\"}`, Code: protocol.CodePlugin, Text: boom,
	}}},
	{Name: "retryable", Asks: []Ask{
		{Do: `{"do":"retryable","text":"boom: ü \" \\"}`, Code: protocol.CodeRetryable, Text: boom},
		{Do: echo("1"), Result: "1"},
	}},
	{Name: "a long error", Asks: []Ask{{
		Do: `{"do":"fail","text":"` + strings.Repeat("ü", 1500) + `"}`, Code: protocol.CodePlugin, Text: "üüü...",
	}}},
	{Name: "panic", Asks: []Ask{{
		Do: `{"do":"panic","text":"boom"}`, Code: protocol.CodePlugin, Text: "boom", OrEnds: true,
	}}},
	{Name: "unknown command", Asks: []Ask{{Do: `{"do":"conform"}`, Code: protocol.CodePlugin, Text: "conform"}}},
	{Name: "print", Stderr: "out of band", Asks: []Ask{
		{Do: `{"do":"print","text":"{\"out of band\":1}"}`}, {Do: echo("2"), Result: "2"},
	}, Type: protocol.Action},
	{Name: "count in one instance", Config: "{}", Asks: []Ask{
		{Do: `{"do":"count"}`, Result: "1"},
		{Do: `{"do":"count"}`, Result: "2"},
		{Do: `{"do":"count"}`, Result: "3"},
	}},
	{Name: "exit", Asks: []Ask{{Do: `{"do":"exit","code":3}`, Code: protocol.CodeContract}}},
	{Name: "spin", Asks: []Ask{{
		Do: `{"do":"spin"}`, Code: protocol.CodeDeadline, Within: 500 * time.Millisecond,
	}}},
	{Name: "too big a result", Asks: []Ask{
		{Do: `{"do":"big","bytes":200000}`, Code: protocol.CodePlugin}, {Do: echo("3"), Result: "3"},
	}},
	{Name: "check", Asks: []Ask{{Kind: wasmhost.Check}, {Kind: wasmhost.Check}}},
	{Name: "check that fails", Config: `{"check":"no sensor"}`, Asks: []Ask{
		{Kind: wasmhost.Check, Code: protocol.CodePlugin, Text: "no sensor"}, {Do: echo("4"), Result: "4"},
	}},
	{Name: "unknown request", Asks: []Ask{
		{Kind: "conform", Code: protocol.CodePlugin}, {Do: echo("5"), Result: "5"},
	}},
	{Name: "unknown keys", Asks: []Ask{{Do: echo("6"), Result: "6", Widen: true}}},
	{Name: "config refused", Config: `{"refuse":"not today"}`, Refuses: "not today"},
	{
		Name: "init", Config: `{"value":{"a":[1,2.5,"x",null]}}`,
		Grants: []protocol.Grant{
			{Capability: protocol.CapKV}, {Capability: protocol.CapProcess, Scopes: []string{"uptime", "/bin/x"}},
		},
		Asks: []Ask{{Do: `{"do":"init"}`, Result: `{"config":{"value":{"a":[1,2.5,"x",null]}},` +
			`"limits":{"max_memory_mb":64,"max_cpu_cores":0.5,"max_execution_time_seconds":30,` +
			`"max_file_descriptors":16,"max_network_connections":0},"grants":[{"capability":"kv","scopes":[]},` +
			`{"capability":"process.execute","scopes":["uptime","/bin/x"]}],"workflow":"conform","step":"plugin"}`}},
	},
}

// configured is the result of "init" with a value in the configuration, and no grants.
func configured(value string) string {
	return `{"config":{"value":` + value + `},"limits":{"max_memory_mb":64,"max_cpu_cores":0.5,` +
		`"max_execution_time_seconds":30,"max_file_descriptors":16,"max_network_connections":0},` +
		`"grants":[],"workflow":"conform","step":"plugin"}`
}

// configurations are cases of a plugin that is told another configuration between two requests.
var configurations = []Case{
	{Name: "another configuration", Config: `{"value":1}`, Asks: []Ask{
		{Do: `{"do":"init"}`, Result: configured("1")},
		{Do: `{"do":"init"}`, Config: `{"value":["x",2.5]}`, Result: configured(`["x",2.5]`)},
		{Do: `{"do":"init"}`, Config: `{}`, Result: configured("null")},
		{Do: echo("7"), Config: `{"value":3}`, Result: "7"},
		{Do: `{"do":"count"}`, Config: `{"value":4}`, Result: "1"},
		{Do: `{"do":"count"}`, Config: `{"value":5}`, Result: "2"}, // in the same instance
	}},
}

// triggers are cases of what only a trigger has.
var triggers = []Case{
	{Name: "fire", Type: protocol.Trigger, Asks: []Ask{
		{
			Do:    `{"do":"fire","events":[1,{"a":"b"},null],"state":{"n":7},"after_ms":1500}`,
			Fired: `{"events":[1,{"a":"b"},null],"state":{"n":7},"after_ms":1500}`,
		},
		{
			Do:    `{"do":"fire","events":[],"state":null,"after_ms":0}`,
			Fired: `{"events":[],"state":null,"after_ms":0}`,
		},
	}},
	{Name: "fire 64 events", Type: protocol.Trigger, Asks: []Ask{{
		Do:    `{"do":"fire","events":[` + strings.Repeat("1,", 63) + `1],"state":null,"after_ms":1}`,
		Fired: `{"events":[` + strings.Repeat("1,", 63) + `1],"state":null,"after_ms":1}`,
	}}},
	{Name: "fire again after a day", Type: protocol.Trigger, Asks: []Ask{{
		Do:    `{"do":"fire","events":[],"state":1,"after_ms":86400000}`,
		Fired: `{"events":[],"state":1,"after_ms":86400000}`,
	}}},
	{Name: "fire at a time of the clock", Type: protocol.Trigger, Asks: []Ask{{
		Do:    `{"do":"fire","events":[],"state":1,"after_ms":0,"at_ms":1790000060001}`,
		Fired: `{"events":[],"state":1,"after_ms":0,"at_ms":1790000060001}`,
	}}},
	{Name: "wake as asked", Type: protocol.Trigger, Asks: []Ask{
		{
			Do:     `{"do":"request"}`,
			Result: `{"why":"timer","now_ms":1790000001000,"steady_ms":61000,"clock":true}`,
		},
		{
			Do: `{"do":"request"}`, NoClock: true,
			Result: `{"why":"timer","now_ms":1790000001000,"steady_ms":61000,"clock":false}`,
		},
	}},
}

const (
	someEvent = `"event":{"run":"01010101010101010101010101010101","workflow":"conform","time_ms":1790000001000}`
	someWork  = `{` + someEvent + `,"results":[],"key":"conform-1","deadline_ms":10000,"now_ms":1790000001000}`
)

// works are cases of what actions and outputs have.
var works = []Case{
	{Name: "run as asked", Type: protocol.Action, Asks: []Ask{{Do: `{"do":"request"}`, Result: someWork}}},
	{Name: "deliver as asked", Type: protocol.Output, Asks: []Ask{{Do: `{"do":"request"}`, Result: someWork}}},
	{Name: "results", Type: protocol.Action, Asks: []Ask{{
		Do: `{"do":"request"}`, Results: someResults,
		Result: `{` + someEvent + `,"results":[{"step":"a","status":"ok","data":{"x":[1]}},` +
			`{"step":"b","status":"error","data":null,"error":{"code":"denied","text":"no ü"}},` +
			`{"step":"c","status":"dropped","data":null},{"step":"d","status":"skipped","data":null}],` +
			`"key":"conform-1","deadline_ms":10000,"now_ms":1790000001000}`,
	}}},
}

var someResults = []protocol.Result{
	{Step: "a", Status: protocol.StatusOK, Data: protocol.Raw{0xa1, 0x61, 'x', 0x81, 1}},
	{Step: "b", Status: protocol.StatusError, Error: protocol.Errorf(protocol.CodeDenied, "no ü")},
	{Step: "c", Status: protocol.StatusDropped},
	{Step: "d", Status: protocol.StatusSkipped},
}

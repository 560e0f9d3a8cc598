// Command probe is an action that does what the event's data asks for, good or bad, so
// that one program serves many tests.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"strings"
)

type object = map[string]any

var (
	in     = bufio.NewScanner(os.Stdin)
	config struct {
		Bad string `json:"bad"`
	}
	told  json.RawMessage // the configuration as it came
	inits int             // how often it did
)

func main() {
	in.Buffer(make([]byte, 0, 4096), 1<<20)
	hello := object{"abi": 1, "type": "action", "plugin": "probe", "sdk": "test/1"}
	if n, err := strconv.Atoi(os.Getenv("BATCH")); err == nil {
		hello["batch"] = n
	}
	if os.Getenv("REINIT") != "" {
		hello["reinit"] = true
	}
	say(object{"hello": hello})
	for in.Scan() {
		var m map[string]json.RawMessage
		if err := json.Unmarshal(in.Bytes(), &m); err != nil {
			panic(err)
		}
		answer(m)
	}
}

func say(v any) {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	os.Stdout.Write(append(b, '\n'))
}

func answer(m map[string]json.RawMessage) {
	if b, ok := m["init"]; ok {
		var i struct {
			Config json.RawMessage `json:"config"`
		}
		json.Unmarshal(b, &i)
		told = i.Config
		inits++
		json.Unmarshal(i.Config, &config)
		if config.Bad != "" {
			say(object{"error": object{"code": "plugin", "text": config.Bad}})
			return
		}
		say(object{"ready": object{}})
		return
	}
	id := m["id"]
	if b, ok := m["run"]; ok {
		run(id, b)
		return
	}
	if b, ok := m["batch"]; ok {
		batch(id, b)
		return
	}
	say(object{"id": id, "answer": object{}})
}

// batch answers with each event's data and key. An event that says "fail" fails, one that
// says a mode does that, and before one that says "stop" the answer ends.
func batch(id json.RawMessage, b []byte) {
	var r struct {
		Kind  string `json:"kind"`
		Items []struct {
			Event struct {
				Data json.RawMessage `json:"data"`
			} `json:"event"`
			Key string `json:"key"`
		} `json:"items"`
	}
	if err := json.Unmarshal(b, &r); err != nil {
		panic(err)
	}
	items := []object{}
	for i, item := range r.Items {
		var do struct {
			Mode, Fail, Code string
			Stop, Told       bool
			Big              int
		}
		json.Unmarshal(item.Event.Data, &do)
		switch {
		case do.Mode != "":
			misbehave(do.Mode, id)
			return
		case do.Stop && i > 0:
			say(object{"id": id, "answer": object{"items": items}})
			return
		case do.Fail != "":
			items = append(items, object{"error": object{"code": do.Code, "text": do.Fail}})
		case do.Told:
			items = append(items, object{"data": object{"told": told, "inits": inits, "of": len(r.Items)}})
		case do.Big > 0:
			items = append(items, object{"data": strings.Repeat("x", do.Big)})
		default:
			items = append(items, object{"data": object{"data": item.Event.Data, "key": item.Key, "of": len(r.Items)}})
		}
	}
	say(object{"id": id, "answer": object{"items": items}})
}

// run does what the event's data says: {"calls":[{"name","args"}...]} makes host calls
// and answers their replies; anything else comes back as it is.
func run(id json.RawMessage, b []byte) {
	var r struct {
		Event struct {
			Data json.RawMessage `json:"data"`
		} `json:"event"`
	}
	if err := json.Unmarshal(b, &r); err != nil {
		panic(err)
	}
	var do struct {
		Calls []struct {
			Name string          `json:"name"`
			Args json.RawMessage `json:"args"`
		} `json:"calls"`
		Mode string `json:"mode"`
		Fail string `json:"fail"`
		Code string `json:"code"`
		Told bool   `json:"told"`
	}
	json.Unmarshal(r.Event.Data, &do)
	if do.Told {
		say(object{"id": id, "answer": object{"data": object{"told": told, "inits": inits, "of": 1}}})
		return
	}
	if do.Mode != "" {
		misbehave(do.Mode, id)
		return
	}
	if do.Fail != "" {
		say(object{"id": id, "error": object{"code": do.Code, "text": do.Fail}})
		return
	}
	if do.Calls == nil {
		say(object{"id": id, "answer": object{"data": r.Event.Data}})
		return
	}
	var replies []json.RawMessage
	for i, c := range do.Calls {
		say(object{"call": object{"n": i + 1, "name": c.Name, "args": c.Args}})
		if !in.Scan() {
			fmt.Fprintln(os.Stderr, "stdin ended within a call")
			os.Exit(3)
		}
		var reply struct {
			Reply json.RawMessage `json:"reply"`
		}
		if err := json.Unmarshal(in.Bytes(), &reply); err != nil {
			panic(err)
		}
		replies = append(replies, append(json.RawMessage(nil), reply.Reply...))
	}
	say(object{"id": id, "answer": object{"data": object{"replies": replies}}})
}

// Command bad is an action that keeps the contract but in the one way that its mode says.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"time"
)

// mode is the build's, or the first argument.
var mode = ""

var (
	kept  [][]byte
	count int
)

func say(line string) { os.Stdout.WriteString(line + "\n") }

type request struct {
	ID   json.RawMessage
	Init *struct{ Config json.RawMessage }
	Run  *struct {
		Event struct{ Data json.RawMessage }
	}
	Check *struct{}
	Batch *struct{}
}

func main() {
	if len(os.Args) > 1 {
		mode = os.Args[1]
	}
	in := bufio.NewScanner(os.Stdin)
	in.Buffer(make([]byte, 0, 1024), 128<<10)
	if mode == "shortline" {
		in = bufio.NewScanner(os.Stdin)
		in.Buffer(make([]byte, 0, 1024), 16<<10)
	}
	hello()
	for in.Scan() {
		var r request
		if err := json.Unmarshal(in.Bytes(), &r); err != nil {
			panic(err)
		}
		if mode == "strict" && strings.Contains(in.Text(), "conform-added") {
			panic("a key that is not in the contract")
		}
		switch {
		case r.Init != nil:
			ready(string(r.Init.Config))
		case r.Check != nil:
			check(string(r.ID))
		case r.Run != nil:
			run(in, string(r.ID), r.Run.Event.Data)
		case r.Batch != nil && mode == "batchfull":
			say(`{"id":` + string(r.ID) + `,"answer":{"items":[{},{},{}]}}`)
		case mode == "lenient", r.Batch != nil && mode == "batchless":
			say(`{"id":` + string(r.ID) + `,"answer":{}}`)
		default:
			say(`{"id":` + string(r.ID) + `,"error":{"code":"plugin","text":"not known"}}`)
		}
	}
	if mode == "shortline" && in.Err() != nil {
		panic(in.Err())
	}
	switch mode {
	case "stays":
		time.Sleep(time.Hour)
	case "exit3":
		os.Exit(3)
	case "goodbye":
		say(`{"bye":{}}`)
	}
}

func hello() {
	switch mode {
	case "none":
		os.Exit(0)
	case "nohello":
		return
	case "banner":
		say("bad 1.0, starting")
	case "abi2":
		say(`{"hello":{"abi":2,"type":"action","plugin":"bad"}}`)
		return
	case "oddname":
		say(`{"hello":{"abi":1,"type":"action","plugin":"Bad Name"}}`)
		return
	case "oddtype":
		say(`{"hello":{"abi":1,"type":"actor","plugin":"bad"}}`)
		return
	}
	if strings.HasPrefix(mode, "batch") {
		say(`{"hello":{"abi":1,"type":"action","plugin":"bad","sdk":"none","batch":16}}`)
		return
	}
	say(`{"hello":{"abi":1,"type":"action","plugin":"bad","sdk":"none"}}`)
}

func ready(config string) {
	switch {
	case mode == "neverready":
		time.Sleep(time.Hour)
	case mode == "unready":
		say(`{"id":1,"answer":{}}`)
		return
	case mode == "refuses":
		say(`{"error":{"code":"plugin","text":"config: want a name"}}`)
		return
	case mode == "fragile" && strings.Contains(config, "conform"):
		panic("config")
	case mode == "wordless" && strings.Contains(config, "conform"):
		say(`{"error":{"code":"plugin","text":""}}`)
		return
	case mode == "early":
		say(`{"ready":{}}`)
	}
	say(`{"ready":{}}`)
}

func check(id string) {
	switch mode {
	case "checkignored":
		return
	case "checklist":
		say(`{"id":` + id + `,"answer":[]}`)
		return
	}
	say(`{"id":` + id + `,"answer":{}}`)
}

func run(in *bufio.Scanner, id string, data json.RawMessage) {
	answer := func(data string) { say(`{"id":` + id + `,"answer":{"data":` + data + `}}`) }
	count++
	switch mode {
	case "silent":
		return
	case "wrongid":
		id += "0"
	case "noid":
		say(`{"answer":{}}`)
		return
	case "twice":
		answer("1")
	case "twokinds":
		say(`{"id":` + id + `,"answer":{},"error":{"code":"plugin","text":"both"}}`)
		return
	case "prints":
		fmt.Println("working on it")
	case "gossip":
		say(`{"id":` + id + `,"gossip":{}}`)
		return
	case "hostcode":
		say(`{"id":` + id + `,"error":{"code":"denied","text":"no"}}`)
		return
	case "dies":
		panic("at work")
	case "wrongcall":
		say(`{"call":{"n":7,"name":"log","args":{}}}`)
	case "strangecall":
		call(in, "gpio.write")
	case "kvcall", "touchy":
		if reply := call(in, "kv.get"); mode == "touchy" && strings.Contains(reply, "denied") {
			panic("cannot do without")
		}
	case "tired":
		if count > 50 {
			os.Exit(0)
		}
	case "leaks":
		kept = append(kept, make([]byte, 256<<10))
	case "ascii":
		answer(strings.Map(func(r rune) rune {
			if r > 126 {
				return '?'
			}
			return r
		}, string(data)))
		return
	case "float32":
		var v struct{ Conform []float32 }
		_ = json.Unmarshal(data, &v)
		b, _ := json.Marshal(v.Conform)
		answer(string(b))
		return
	case "stderr":
		fmt.Fprintln(os.Stderr, `{"id":1,"answer":{}}`)
	case "clock":
		answer(fmt.Sprint(time.Now().UnixNano()))
		return
	}
	answer(string(data))
}

func call(in *bufio.Scanner, name string) string {
	say(`{"call":{"n":1,"name":"` + name + `","args":{"key":"k"}}}`)
	in.Scan()
	return in.Text()
}

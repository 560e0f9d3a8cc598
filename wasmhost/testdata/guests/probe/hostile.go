package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"time"
)

var sink [][]byte

// misbehave breaks the contract in the way that mode says.
func misbehave(mode string, id json.RawMessage) {
	switch mode {
	case "loop":
		for i := 0; ; i++ {
			if i < 0 {
				return
			}
		}
	case "recursion":
		fmt.Fprintln(os.Stderr, deeper(1))
	case "memory":
		for {
			b := make([]byte, 1<<20)
			for i := range b {
				b[i] = byte(i)
			}
			sink = append(sink, b)
		}
	case "output":
		for {
			os.Stdout.WriteString(strings.Repeat("x", 4096))
		}
	case "lines":
		for {
			os.Stdout.WriteString("{}\n")
		}
	case "stderr":
		for {
			fmt.Fprintln(os.Stderr, "again and again")
		}
	case "loglines":
		for i := range 1000 {
			fmt.Fprintln(os.Stderr, "line", i)
		}
		say(object{"id": id, "answer": object{}})
	case "silence": // reads on without an answer
	case "twice":
		say(object{"id": id, "answer": object{}})
		say(object{"id": id, "answer": object{}})
	case "late":
		say(object{"id": id, "answer": object{}})
		for {
			sink = sink[:0]
		}
	case "wrongid":
		say(object{"id": 999, "answer": object{}})
	case "unknown":
		say(object{"id": id, "gossip": object{}})
	case "two":
		say(object{"id": id, "answer": object{}, "error": object{"code": "plugin", "text": "both"}})
	case "garbage":
		os.Stdout.WriteString("hello world\n")
	case "calls":
		for n := 1; ; n++ {
			say(object{"call": object{"n": n, "name": "log", "args": object{"text": "x"}}})
			if !in.Scan() {
				os.Exit(4)
			}
		}
	case "callnumber":
		say(object{"call": object{"n": 7, "name": "log", "args": object{}}})
	case "sleep":
		time.Sleep(time.Hour)
	case "exit":
		os.Exit(7)
	case "goodbye":
		say(object{"id": id, "answer": object{"data": "bye"}})
		os.Exit(0)
	case "panic":
		panic("for a reason")
	case "big":
		say(object{"id": id, "answer": object{"data": strings.Repeat("x", 25<<10)}})
	case "deep":
		say(object{"id": id, "answer": object{"data": json.RawMessage(strings.Repeat("[", 11) + strings.Repeat("]", 11))}})
	case "fs":
		say(object{"id": id, "answer": object{"data": tryFiles()}})
	case "env":
		say(object{"id": id, "answer": object{"data": object{"args": os.Args, "env": os.Environ()}}})
	}
}

// tryFiles returns what could be opened.
func tryFiles() []string {
	open := []string{}
	for _, name := range []string{"/etc/passwd", "/", ".", "..", "/proc/self/environ", "/dev/null", "x"} {
		if f, err := os.Open(name); err == nil {
			open = append(open, name)
			f.Close()
		}
		if f, err := os.Create(name); err == nil {
			open = append(open, "create "+name)
			f.Close()
		}
	}
	for fd := uintptr(3); fd < 10; fd++ {
		if _, err := os.NewFile(fd, "fd").Stat(); err == nil {
			open = append(open, fmt.Sprint("fd ", fd))
		}
	}
	return open
}

// deeper recurses without end.
//
//go:noinline
func deeper(n int) int {
	if n < 0 {
		return 0
	}
	return deeper(n+1) + 1
}

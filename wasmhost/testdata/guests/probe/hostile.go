package main

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
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
	case "chance":
		say(object{"id": id, "answer": object{"data": chance()}})
	case "mounts":
		say(object{"id": id, "answer": object{"data": useMounts()}})
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

// chance returns what is not the same twice.
func chance() object {
	began := time.Now()
	b := make([]byte, 8)
	rand.Read(b)
	time.Sleep(time.Duration(b[0]) * time.Microsecond)
	order := ""
	for k := range map[string]int{"a": 1, "b": 2, "c": 3, "d": 4, "e": 5, "f": 6} {
		order += k
	}
	return object{"now": fmt.Sprint(began.UnixNano()), "random": hex.EncodeToString(b), "took": fmt.Sprint(time.Since(began)), "order": order}
}

// useMounts walks /lib, and tries what a mount must not allow.
func useMounts() object {
	out := object{}
	files := object{}
	err := filepath.WalkDir("/lib", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(name)
		files[name] = string(b[:min(len(b), 20)])
		return err
	})
	out["walk"], out["files"] = fmt.Sprint(err), files
	var open []*os.File
	for {
		f, err := os.Open("/lib/a.txt")
		if err != nil {
			out["open"], out["most"] = len(open), fmt.Sprint(errors.Is(err, syscall.EMFILE))
			break
		}
		open = append(open, f)
	}
	for _, f := range open {
		f.Close()
	}
	f, err := os.Open("/lib/a.txt")
	b := make([]byte, 3)
	f.Seek(1, io.SeekStart)
	io.ReadFull(f, b)
	out["part"], out["again"] = string(b), fmt.Sprint(err)
	out["write"] = fmt.Sprint(os.WriteFile("/lib/a.txt", nil, 0o600))
	out["create"] = fmt.Sprint(os.WriteFile("/lib/new", nil, 0o600))
	out["outside"] = fmt.Sprint(os.ReadFile("/lib/../etc/passwd"))
	out["link"] = fmt.Sprint(os.Symlink("/etc", "/lib/etc"))
	return out
}

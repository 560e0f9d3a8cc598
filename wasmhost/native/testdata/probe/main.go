// Command probe is a plugin that tries what a jail must not let it do. It speaks JSON
// lines and says in its answer's data how it went.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"runtime"
	"strings"
	"syscall"
	"time"
	"unsafe"
)

type message struct {
	ID   int             `json:"id"`
	Init json.RawMessage `json:"init"`
	Run  *struct {
		Event struct {
			Data struct {
				Do   string `json:"do"`
				Text string `json:"text"`
				N    int    `json:"n"`
			} `json:"data"`
		} `json:"event"`
	} `json:"run"`
	Reply json.RawMessage `json:"reply"`
}

var in = bufio.NewScanner(os.Stdin)

func main() {
	if len(os.Args) > 1 {
		time.Sleep(time.Hour) // a child
	}
	fmt.Println(`{"hello":{"abi":1,"type":"action","plugin":"probe","sdk":"test/1"}}`)
	for in.Scan() {
		var m message
		if err := json.Unmarshal(in.Bytes(), &m); err != nil {
			panic(err)
		}
		switch {
		case m.Init != nil:
			fmt.Println(`{"ready":{}}`)
		case m.Run != nil:
			d := m.Run.Event.Data
			text, _ := json.Marshal(do(d.Do, d.Text, d.N, m.ID))
			fmt.Printf(`{"id":%d,"answer":{"data":%s}}`+"\n", m.ID, text)
		default:
			fmt.Printf(`{"id":%d,"answer":{}}`+"\n", m.ID)
		}
	}
}

// how says how something went.
func how(err error) string {
	if err == nil {
		return "done"
	}
	return err.Error()
}

func errno(nr, a, b, c uintptr) string {
	if _, _, e := syscall.Syscall(nr, a, b, c); e != 0 {
		return e.Error()
	}
	return "done"
}

func do(what, text string, n, id int) string {
	switch what {
	case "echo":
		return text
	case "read":
		b, err := os.ReadFile(text)
		if err == nil {
			return "read " + string(b[:min(len(b), 100)])
		}
		return err.Error()
	case "grep": // what a process is held by
		b, err := os.ReadFile(text)
		if err != nil {
			return err.Error()
		}
		var found []string
		for line := range strings.Lines(string(b)) {
			if strings.HasPrefix(line, "Cap") || strings.HasPrefix(line, "NoNew") || strings.HasPrefix(line, "Sec") {
				found = append(found, line)
			}
		}
		return strings.Join(found, "")
	case "list":
		entries, err := os.ReadDir(text)
		if err != nil {
			return err.Error()
		}
		var names []string
		for _, e := range entries {
			names = append(names, e.Name())
		}
		return strings.Join(names, " ")
	case "dial":
		_, err := net.DialTimeout("tcp", text, time.Second)
		return how(err)
	case "socket":
		_, err := syscall.Socket(n, syscall.SOCK_DGRAM, 0)
		return how(err)
	case "mount":
		return how(syscall.Mount("none", "/tmp", "tmpfs", 0, ""))
	case "unshare":
		return how(syscall.Unshare(syscall.CLONE_NEWUSER))
	case "ptrace":
		return errno(syscall.SYS_PTRACE, syscall.PTRACE_TRACEME, 0, 0)
	case "kill":
		return how(syscall.Kill(n, syscall.SIGKILL))
	case "setuid":
		return errno(syscall.SYS_SETUID, 0, 0, 0)
	case "write":
		err := os.WriteFile(text, make([]byte, n), 0o600)
		if err != nil {
			os.Remove(text)
		}
		return how(err)
	case "fill":
		return fill(n)
	case "exec":
		return how(start(text))
	case "execfd":
		return execFD(n)
	case "forks":
		started := 0
		for ; started < n && start("/plugin/main") == nil; started++ {
		}
		return fmt.Sprint(started)
	case "files":
		return fmt.Sprint(files(n))
	case "whoami":
		return fmt.Sprintf("uid %d pid %d", os.Getuid(), os.Getpid())
	case "memory":
		return memory(n)
	case "spin":
		return spin(time.Duration(n) * time.Millisecond)
	}
	return misbehave(what, n, id)
}

// misbehave breaks the contract.
func misbehave(what string, n, id int) string {
	switch what {
	case "twice":
		fmt.Printf(`{"id":%d,"answer":{"data":1}}`+"\n", id)
	case "unknown":
		fmt.Printf(`{"id":%d,"nonsense":{}}`+"\n", id)
	case "big":
		fmt.Println(`{"id":` + strings.Repeat("1", n))
	case "large data":
		return strings.Repeat("x", n)
	case "sleep":
		time.Sleep(time.Hour)
	case "orphan":
		_, err := syscall.ForkExec("/plugin/main", []string{"main", "stavily-orphan"}, &syscall.ProcAttr{
			Sys: &syscall.SysProcAttr{Setsid: true},
		})
		if err != nil {
			return err.Error()
		}
		time.Sleep(time.Hour)
	case "exit":
		fmt.Fprintln(os.Stderr, "going")
		os.Exit(n)
	case "log":
		line := strings.Repeat("x", 100) + "\n"
		for range n {
			os.Stderr.WriteString(line)
		}
	case "call":
		fmt.Println(`{"call":{"n":1,"name":"kv.get","args":{"key":"k"}}}`)
		in.Scan()
		return in.Text()
	}
	return what
}

func start(program string) error {
	_, err := syscall.ForkExec(program, []string{"main", "child"}, &syscall.ProcAttr{})
	return err
}

// execFD tries to execute an open file by its descriptor.
func execFD(n int) string {
	file, err := os.Open("/plugin/main")
	if err != nil {
		return err.Error()
	}
	if err := syscall.Dup3(int(file.Fd()), n, 0); err != nil {
		return err.Error()
	}
	empty := [1]byte{}
	args := [2]*byte{&empty[0], nil}
	_, _, e := syscall.Syscall6(execveat, uintptr(n), uintptr(unsafe.Pointer(&empty[0])),
		uintptr(unsafe.Pointer(&args[0])), uintptr(unsafe.Pointer(&args[1])), 0x1000, 0)
	return e.Error()
}

// files opens until it cannot, at most n.
func files(n int) int {
	var open []*os.File
	for len(open) < n {
		f, err := os.Open("/dev/null")
		if err != nil {
			break
		}
		open = append(open, f)
	}
	got := len(open)
	for _, f := range open {
		f.Close()
	}
	return got
}

// fill writes n MiB into files of one MiB.
func fill(n int) string {
	for i := range n {
		if err := os.WriteFile(fmt.Sprintf("/tmp/f%d", i), make([]byte, 1<<20), 0o600); err != nil {
			return err.Error()
		}
	}
	return "done"
}

// memory touches n MiB.
func memory(n int) string {
	b, err := syscall.Mmap(-1, 0, n<<20, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		return err.Error()
	}
	for i := 0; i < len(b); i += 4096 {
		b[i] = 1
	}
	return "done"
}

// spin computes for a while and returns the share of a core that it got, in percent.
func spin(d time.Duration) string {
	var before, after syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &before)
	began := time.Now()
	for x := 0; time.Since(began) < d; x++ {
		if x%1000 == 0 {
			runtime.Gosched()
		}
	}
	wall := time.Since(began)
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &after)
	used := after.Utime.Nano() - before.Utime.Nano() + after.Stime.Nano() - before.Stime.Nano()
	return fmt.Sprint(100 * used / wall.Nanoseconds())
}

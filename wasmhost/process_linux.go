package wasmhost

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// restrict sets a program's limits. It runs already when they are set, so what it started in
// the microseconds before does not have them; it is one that the operator has named.
func restrict(pid int, l processLimits) error {
	for _, r := range []struct {
		resource int
		most     uint64
	}{
		{unix.RLIMIT_NOFILE, l.files},
		{unix.RLIMIT_DATA, l.memoryB},
		{unix.RLIMIT_CPU, l.seconds},
		{unix.RLIMIT_FSIZE, l.fileB},
		{unix.RLIMIT_CORE, 0},
	} {
		var now unix.Rlimit
		if err := unix.Prlimit(pid, r.resource, nil, &now); err != nil {
			return err
		}
		most := min(r.most, now.Max) // what this process may not have, its children may not
		if err := unix.Prlimit(pid, r.resource, &unix.Rlimit{Cur: most, Max: most}, nil); err != nil {
			return err
		}
	}
	return nil
}

// sweepRounds bounds how often what a program left behind is looked for: whatever starts
// others faster than it is killed is left in the end.
const sweepRounds = 10

// sweep kills all that a program left behind, also what has left its group and its session.
// It is known by the mark in its environment, which every process hands on to what it
// starts. since is when the program started, in the kernel's ticks.
func sweep(mark string, since uint64) {
	for range sweepRounds {
		found := false
		stats, _ := filepath.Glob("/proc/[0-9]*/stat")
		for _, file := range stats {
			pid, started, live := processOf(file)
			if !live || started < since {
				continue
			}
			env, err := os.ReadFile(filepath.Join(filepath.Dir(file), "environ"))
			if err == nil && marked(env, mark) {
				found = true
				_ = syscall.Kill(pid, syscall.SIGKILL)
			}
		}
		if !found {
			return
		}
	}
}

func marked(env []byte, mark string) bool {
	for v := range bytes.SplitSeq(env, []byte{0}) {
		if string(v) == mark {
			return true
		}
	}
	return false
}

// startOf returns when a process started, in the kernel's ticks.
func startOf(pid int) uint64 {
	_, started, _ := processOf("/proc/" + strconv.Itoa(pid) + "/stat")
	return started
}

// processOf reads a stat file of /proc: whose it is, when that started, and whether it is
// more than a remnant that waits for its parent.
func processOf(file string) (pid int, started uint64, live bool) {
	b, err := os.ReadFile(file)
	if err != nil {
		return 0, 0, false
	}
	text := string(b)
	name := strings.LastIndexByte(text, ')') // a program's name may hold anything
	fields := strings.Fields(text[name+1:])
	if name < 0 || len(fields) < 20 {
		return 0, 0, false
	}
	id, _, _ := strings.Cut(text, " ")
	pid, err = strconv.Atoi(id)
	if err != nil {
		return 0, 0, false
	}
	started, err = strconv.ParseUint(fields[19], 10, 64)
	return pid, started, err == nil && fields[0] != "Z" && fields[0] != "X"
}

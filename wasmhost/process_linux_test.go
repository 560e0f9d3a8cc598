package wasmhost

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
	"time"
)

// TestProcessIsBounded: a program has limits of its own, and what leaves its group and its
// session ends with the call all the same.
func TestProcessIsBounded(t *testing.T) {
	dir := t.TempDir()
	p := load(t, newHost(t, Config{DataDir: dir}), asking(t, "process.execute:sh"))
	shell := func(script string) reply {
		got, _ := calls(t, p, fmt.Sprintf(`process.run {"argv":["sh","-c",%q],"timeout_ms":8000}`, script))
		return got[0]
	}
	want := fmt.Sprintf("%d 0 %d 9 %d\n", processFilesMin, processMemoryMin>>10, FileBytesMax/512)
	if r := shell(`sleep 0.2; echo $(ulimit -n) $(ulimit -c) $(ulimit -d) $(ulimit -t) $(ulimit -f)`); r.OK["stdout"] != want {
		t.Errorf("limits %v %v, want %q", r.OK, r.Error, want)
	}
	if r := shell(`sleep 0.2; head -c 80000000 /dev/zero >big; wc -c <big`); r.OK["stdout"] != fmt.Sprintln(FileBytesMax) {
		t.Errorf("a file of more than %d: %v %v", FileBytesMax, r.OK, r.Error)
	}
	for _, script := range []string{
		`setsid sh -c 'echo $$ >>pids; exec sleep 600' & sleep 0.3`,
		`setsid sh -c '(setsid sh -c "echo \$\$ >>pids; exec sleep 600" &) ; exit' >/dev/null 2>&1; sleep 0.3`,
	} {
		_ = os.Remove(filepath.Join(dir, "probe", "pids"))
		if r := shell(script); r.Error != nil {
			t.Errorf("%s: %+v", script, r.Error)
		}
		b, err := os.ReadFile(filepath.Join(dir, "probe", "pids"))
		must(t, err)
		var pid int
		if _, err := fmt.Sscan(string(b), &pid); err != nil {
			t.Fatal(err)
		}
		for end := time.Now().Add(5 * time.Second); ; runtime.Gosched() {
			if _, _, live := processOf(fmt.Sprintf("/proc/%d/stat", pid)); !live {
				break
			}
			if time.Now().After(end) {
				t.Errorf("%s: %d is still alive", script, pid)
				_ = syscall.Kill(pid, syscall.SIGKILL)
				break
			}
		}
	}
}

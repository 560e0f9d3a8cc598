//go:build linux && (amd64 || arm64 || riscv64)

package native

import (
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/stavily/stavily/protocol"
)

// lookEvery is how often a process is looked at that no cgroup holds.
const lookEvery = 20 * time.Millisecond

// pacer holds a process to its share of CPU and to its memory where there is no cgroup
// for it: it looks at the process while that is asked something, and lets it stand still
// otherwise.
type pacer struct {
	proc   *process
	cores  float64 // 0: a cgroup does it
	memory int64   // 0: a cgroup does it

	mu    sync.Mutex    // guards the fields below
	asked chan struct{} // closed when it is to stand still; nil while it does
	stood chan struct{} // closed when it does
}

// start begins to hold p, if there is something to hold.
func (c *pacer) start(p *process, of *plan) {
	c.proc, c.cores, c.memory = p, of.cores, of.memory
}

func (c *pacer) idle() bool { return c.cores == 0 && c.memory == 0 }

// resume lets the process run, and watches it until rest.
func (c *pacer) resume() {
	if c.idle() {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.asked != nil {
		return
	}
	c.asked, c.stood = make(chan struct{}), make(chan struct{})
	go c.hold(c.asked, c.stood)
}

// rest lets the process stand still.
func (c *pacer) rest() {
	if c.idle() {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.asked != nil {
		close(c.asked)
		<-c.stood // or its last signal would come after the next one's first
		c.asked = nil
	}
}

// hold lets the process run until asked is closed, in its share of CPU.
func (c *pacer) hold(asked <-chan struct{}, stood chan<- struct{}) {
	defer close(stood)
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	c.signal(unix.SIGCONT)
	began, used := time.Now(), c.proc.cpu()
	standing := false
	for {
		select {
		case <-asked:
			c.signal(unix.SIGSTOP)
			return
		case <-c.proc.done:
			return
		case <-tick.C:
		}
		if c.memory > 0 && c.proc.memoryB() > uint64(c.memory) {
			c.proc.End(protocol.Errorf(protocol.CodeMemory, "more than max_memory_mb %d", c.memory>>20))
			return
		}
		if c.cores == 0 {
			continue
		}
		due := time.Duration(float64(time.Since(began)) * c.cores)
		ahead := c.proc.cpu()-used > due+lookEvery/2
		if ahead != standing {
			standing = ahead
			c.signal(map[bool]unix.Signal{true: unix.SIGSTOP, false: unix.SIGCONT}[ahead])
		}
	}
}

func (c *pacer) signal(s unix.Signal) { _ = c.proc.cmd.Process.Signal(s) }

// memoryB returns the resident memory of the process in bytes, 0 when it has ended.
func (p *process) memoryB() uint64 {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(p.cmd.Process.Pid) + "/statm")
	words := strings.Fields(string(b))
	if err != nil || len(words) < 2 {
		return 0
	}
	pages, _ := strconv.ParseUint(words[1], 10, 64)
	return pages * uint64(os.Getpagesize())
}

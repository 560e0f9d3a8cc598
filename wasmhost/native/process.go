//go:build linux && (amd64 || arm64 || riscv64)

package native

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
	"golang.org/x/time/rate"

	"github.com/stavily/stavily/protocol"
	"github.com/stavily/stavily/wasmhost"
)

const (
	// startPatience bounds the set-up of a jail.
	startPatience = 10 * time.Second
	// endPatience bounds how long a process that was ended is waited for.
	endPatience = 2 * time.Second
	// stderrBurst bytes of stderr are taken at once, then stderrPerSecond: a flood is held
	// back, and does not cost the agent its CPU.
	stderrBurst     = 64 << 10
	stderrPerSecond = 256 << 10
	// settingUp is the memory that a jail has at least until it is the plugin.
	settingUp = 96 << 20
)

// process is one jailed process from its start to its end.
type process struct {
	*wasmhost.Fate
	cmd    *exec.Cmd
	stdin  *os.File
	stdout *os.File
	group  *cgroup
	desk   *wasmhost.Desk
	status status
	jailed bool // its end ends all that it has started
	pace   pacer
	mute   chan struct{} // closed when its stderr has ended
	done   chan struct{} // closed when it has ended
	exit   error         // how; set before done is closed
	used   atomic.Int64  // CPU time that was seen last, ns
	had    atomic.Uint64 // memory that was seen when it was killed, bytes
	before time.Duration // the CPU time at Begin
}

// ends are the pipes of one process: ours, and its own until it was started.
type ends struct {
	stdin, stdout, stderr, order, status *os.File
	its                                  []*os.File
}

func (e *ends) close() {
	for _, f := range []*os.File{e.stdin, e.stdout, e.stderr, e.order, e.status} {
		if f != nil {
			f.Close()
		}
	}
	e.closeIts()
}

func (e *ends) closeIts() {
	for _, f := range e.its {
		f.Close()
	}
	e.its = nil
}

// newEnds makes the pipes; its has the process's ends in the order of descriptors.
func newEnds() (e *ends, err error) {
	e = &ends{}
	defer func() {
		if err != nil {
			e.close()
		}
	}()
	pipe := func(reads bool, ours **os.File) {
		if err != nil {
			return
		}
		var r, w *os.File
		if r, w, err = os.Pipe(); err != nil {
			return
		}
		if reads {
			*ours, e.its = w, append(e.its, r)
		} else {
			*ours, e.its = r, append(e.its, w)
		}
	}
	pipe(true, &e.stdin)
	pipe(false, &e.stdout)
	pipe(false, &e.stderr)
	pipe(true, &e.order)
	pipe(false, &e.status)
	return e, err
}

// launch starts a jail and waits until it is the plugin, or has said why not.
func (h *Host) launch(ctx context.Context, p *plan, desk *wasmhost.Desk, stderr io.Writer) (*process, error) {
	e, err := newEnds()
	if err != nil {
		return nil, protocol.Errorf(protocol.CodeUnavailable, "pipes: %w", err)
	}
	proc := &process{stdin: e.stdin, stdout: e.stdout, jailed: p.order.Jail, done: make(chan struct{})}
	proc.mute = make(chan struct{})
	proc.desk, proc.Fate = desk, wasmhost.NewFate(proc.kill)
	limits := p.group
	if limits.memory < settingUp {
		limits.memory = settingUp
	}
	if proc.group, err = h.groups.newGroup(h.groupName(), limits); err != nil {
		e.close()
		return nil, protocol.Errorf(protocol.CodeUnavailable, "cgroup: %w", err)
	}
	proc.cmd = h.command(e.its, p.cloneFlags)
	err = h.begin(proc.cmd)
	e.closeIts()
	if err != nil {
		e.close()
		proc.group.remove()
		return nil, protocol.Errorf(protocol.CodeUnavailable, "start jail: %w", err)
	}
	go proc.wait()
	go func() {
		defer close(proc.mute)
		drain(e.stderr, stderr, proc.done)
	}()
	stop := context.AfterFunc(ctx, proc.kill)
	defer stop()
	err = proc.setUp(e, p)
	e.order.Close()
	e.status.Close()
	if err != nil {
		proc.kill()
		if proc.Await(endPatience) {
			proc.Free()
		}
		return nil, protocol.Errorf(protocol.CodeUnavailable, "jail: %w", err)
	}
	proc.pace.start(proc, p)
	return proc, nil
}

// setUp puts the process into its groups, orders it to set itself up and hears how that
// went.
func (p *process) setUp(e *ends, of *plan) error {
	if err := p.group.enter(p.cmd.Process.Pid); err != nil {
		return err
	}
	if _, err := e.order.Write(framed(of.order)); err != nil {
		return err
	}
	_ = e.status.SetReadDeadline(time.Now().Add(startPatience))
	if err := readFramed(e.status, &p.status); err != nil {
		return fmt.Errorf("no status: %w", err)
	}
	if p.status.Error != "" {
		return errors.New(p.status.Error)
	}
	var late status
	switch err := readFramed(e.status, &late); { // its end is the exec's
	case err == nil:
		return errors.New(late.Error)
	case !errors.Is(err, io.EOF):
		return fmt.Errorf("status: %w", err)
	}
	if d, ok := p.group.dirs["memory"]; ok && of.group.memory < settingUp {
		return d.limitMemory(of.group.memory)
	}
	return nil
}

// command is the agent's own program as the first process of a jail.
func (h *Host) command(files []*os.File, cloneFlags uintptr) *exec.Cmd {
	cmd := exec.Command(h.cfg.Self, ChildArg)
	cmd.Env = []string{}
	cmd.Dir = "/"
	cmd.Stdin, cmd.Stdout, cmd.Stderr, cmd.ExtraFiles = files[0], files[1], files[2], files[3:]
	attr := &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL, Cloneflags: cloneFlags}
	if cloneFlags&unix.CLONE_NEWUSER != 0 {
		attr.UidMappings, attr.GidMappings = h.mappings()
		attr.GidMappingsEnableSetgroups = h.root
	}
	cmd.SysProcAttr = attr
	return cmd
}

// mappings maps the user of the set-up and, when the agent is root, that of the plugin.
func (h *Host) mappings() (users, groups []syscall.SysProcIDMap) {
	users = []syscall.SysProcIDMap{{HostID: os.Geteuid(), Size: 1}}
	groups = []syscall.SysProcIDMap{{HostID: os.Getegid(), Size: 1}}
	if h.root {
		also := syscall.SysProcIDMap{ContainerID: insideID, HostID: outsideID, Size: 1}
		users, groups = append(users, also), append(groups, also)
	}
	return users, groups
}

// wait notes the end, and ends what the process has left behind.
func (p *process) wait() {
	p.exit = p.cmd.Wait()
	if !p.jailed {
		_ = unix.Kill(-p.cmd.Process.Pid, unix.SIGKILL)
		for _, pid := range p.group.processes() {
			_ = unix.Kill(pid, unix.SIGKILL)
		}
		_ = p.stdout.SetReadDeadline(time.Now().Add(endPatience)) // should anything have got away
	}
	close(p.done)
}

// kill ends the process and, in a jail, all that it has started. It does not wait.
func (p *process) kill() {
	if p.cmd == nil || p.cmd.Process == nil {
		return
	}
	p.used.Store(int64(cpuTime(p.cmd.Process.Pid)))
	p.had.Store(p.memoryB())
	if !p.jailed {
		_ = unix.Kill(-p.cmd.Process.Pid, unix.SIGKILL)
	}
	_ = p.cmd.Process.Kill()
	// A process that cannot die, such as a traced one, must not hold up who speaks with it.
	_ = p.stdin.SetWriteDeadline(time.Now())
	_ = p.stdout.SetReadDeadline(time.Now())
}

// Await waits for the end of the process, at most d.
func (p *process) Await(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-p.done:
		return true
	case <-timer.C:
		return false
	}
}

// Free closes what is left of a process that has ended.
func (p *process) Free() {
	p.stdin.Close()
	p.stdout.Close()
	p.group.remove()
}

// Gone reports whether the process has ended by itself or must.
func (p *process) Gone() bool {
	select {
	case <-p.done:
		return true
	default:
		return p.Cause() != nil
	}
}

// Said reports whether the process has said what was not read.
func (p *process) Said() bool {
	n := 0
	raw, err := p.stdout.SyscallConn()
	if err == nil {
		_ = raw.Control(func(fd uintptr) { n, _ = unix.IoctlGetInt(int(fd), unix.TIOCINQ) })
	}
	return n > 0
}

// Settle waits for nothing: over a pipe nobody sees that the process waits.
func (p *process) Settle() bool { return !p.Said() }

// Begin lets the process run.
func (p *process) Begin() {
	p.before = p.cpu()
	p.pace.resume()
}

// Rest lets the process stand still, where that is how it is held to its share.
func (p *process) Rest() { p.pace.rest() }

// Used returns the CPU time since Begin, of all threads together, and the resident memory.
func (p *process) Used() wasmhost.Usage {
	memory := p.memoryB()
	if memory == 0 {
		memory = p.had.Load()
	}
	return wasmhost.Usage{CPUUS: max(0, p.cpu()-p.before).Microseconds(), MemoryB: memory}
}

// Finish ends the stdin of the process.
func (p *process) Finish() {
	p.pace.resume() // or it would not hear of it
	p.stdin.Close()
}

// Autopsy says how the process has ended, which the host did not end.
func (p *process) Autopsy() *protocol.Error {
	how := "exit 0"
	var exit interface{ Sys() any }
	if errors.As(p.exit, &exit) {
		how = p.exit.Error()
		if w, ok := exit.Sys().(syscall.WaitStatus); ok && w.Exited() {
			how = fmt.Sprintf("exit %d", w.ExitStatus())
		}
	}
	select {
	case <-p.mute:
	case <-time.After(endPatience / 10):
	}
	if said := p.desk.First(); said != "" {
		how += ": " + said
	}
	if p.group.outOfMemory() {
		return protocol.AsError(protocol.Errorf(protocol.CodeMemory,
			"ended for want of memory beyond max_memory_mb %d: %.400s", p.desk.Limits().MemoryMB, how))
	}
	return protocol.AsError(protocol.Errorf(protocol.CodeContract, "ended without an answer: %.400s", how))
}

// Read gives what the process says: io.EOF when it has ended.
func (p *process) Read(b []byte) (int, error) {
	n, err := p.stdout.Read(b)
	if err != nil && !errors.Is(err, io.EOF) {
		err = io.EOF
	}
	return n, err
}

// Write gives b to the process's stdin.
func (p *process) Write(b []byte) (int, error) {
	n, err := p.stdin.Write(b)
	if err != nil {
		err = io.ErrClosedPipe
	}
	return n, err
}

// cpu returns the CPU time that the process has used, all of its threads together.
func (p *process) cpu() time.Duration {
	if d := cpuTime(p.cmd.Process.Pid); d > 0 {
		p.used.Store(int64(d))
	}
	return time.Duration(p.used.Load())
}

// cpuTime asks the clock of a process; 0 when it has ended.
func cpuTime(pid int) time.Duration {
	var t unix.Timespec
	if unix.ClockGettime(int32(^pid<<3|2), &t) != nil { // as clock_getcpuclockid makes it
		return 0
	}
	return time.Duration(t.Nano())
}

// drain hands on stderr, no faster than its bounds.
func drain(from *os.File, to io.Writer, done <-chan struct{}) {
	defer from.Close()
	gate := rate.NewLimiter(stderrPerSecond, stderrBurst)
	buf := make([]byte, 4<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			_, _ = to.Write(buf[:n])
		}
		if err != nil {
			return
		}
		if wait := gate.ReserveN(time.Now(), n).Delay(); wait > 0 {
			select {
			case <-time.After(wait):
			case <-done:
				return
			}
		}
	}
}

//go:build linux && (amd64 || arm64 || riscv64)

package native

import (
	"fmt"
	"io"
	"os"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ChildArg is the argument with which the agent's program starts itself as the first
// process of a jail. A main that wants native plugins calls Child when it is the only one.
const ChildArg = "native-jail"

// IsChild reports whether args are those of a jail's first process.
func IsChild(args []string) bool { return len(args) == 2 && args[1] == ChildArg }

// Child is the first process of a jail: it does what it is ordered, becomes the plugin and
// does not return. When it cannot, it tells so and returns an exit code.
func Child() int {
	// What follows belongs to a thread: capabilities, filters, the exec. It must be one.
	runtime.LockOSThread()
	keepToSelf()
	o, err := readOrder(os.NewFile(orderFD, "order"))
	var s status
	if err == nil {
		err = o.obey(&s)
	}
	if err != nil {
		s.Error = err.Error()
		sayStatus(s)
		return 1
	}
	return 0
}

// keepToSelf closes all but the three streams when the plugin is executed, whatever the
// agent itself was started with.
func keepToSelf() {
	if unix.CloseRange(orderFD, 1<<31, unix.CLOSE_RANGE_CLOEXEC) == nil {
		return
	}
	for fd := orderFD; fd <= execFD; fd++ { // kernels before 5.11
		unix.CloseOnExec(fd)
	}
}

func readOrder(r io.Reader) (*order, error) {
	var o order
	if err := readFramed(r, &o); err != nil {
		return nil, fmt.Errorf("order: %w", err)
	}
	return &o, nil
}

func sayStatus(s status) {
	_, _ = unix.Write(statusFD, framed(s))
}

// obey does the set-up, outermost first: each step still needs what the next takes away.
func (o *order) obey(s *status) error {
	unix.Umask(0o022)
	if o.Jail {
		if err := o.enter(s); err != nil {
			return err
		}
		if err := unix.Sethostname([]byte("plugin")); err != nil {
			return fmt.Errorf("hostname: %w", err)
		}
	}
	if o.Program != "" {
		if err := o.openProgram(); err != nil {
			return err
		}
	}
	for _, l := range o.Rlimits {
		if err := l.set(); err != nil {
			return err
		}
	}
	if err := o.drop(); err != nil {
		return err
	}
	if o.Landlock {
		var err error
		if s.Landlock, err = o.landlock(); err != nil {
			s.Notes = append(s.Notes, "landlock: "+err.Error())
		}
	}
	return o.leave(*s)
}

// leave bounds memory, puts the filter on, says how it went and becomes the plugin. What
// that needs is made before memory is bounded: the bound is the plugin's, and the agent's
// own program can be above it.
func (o *order) leave(s status) error {
	calls, said := filter(o.Calls), framed(s)
	then, err := o.image()
	if err != nil {
		return err
	}
	if o.Data != 0 {
		if err := (rlimit{unix.RLIMIT_DATA, o.Data}).set(); err != nil {
			return err
		}
	}
	if o.Seccomp {
		if err := calls.install(); err != nil {
			return fmt.Errorf("seccomp: %w", err)
		}
	}
	_, _ = unix.Write(statusFD, said)
	if o.Program == "" {
		return nil
	}
	return fmt.Errorf("exec %s: %w", o.Exec, then.become())
}

// set bounds the resource for this process and what it becomes.
func (l rlimit) set() error {
	lim := unix.Rlimit{Cur: l.Value, Max: l.Value}
	if err := unix.Prlimit(0, l.Resource, &lim, nil); err != nil {
		return fmt.Errorf("rlimit %d: %w", l.Resource, err)
	}
	return nil
}

// openProgram opens what is executed at a descriptor that nothing else can have.
func (o *order) openProgram() error {
	fd, err := unix.Open(o.Exec, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("program %s: %w", o.Exec, err)
	}
	if err := unix.Dup3(fd, execFD, unix.O_CLOEXEC); err != nil {
		return fmt.Errorf("program %s: %w", o.Exec, err)
	}
	return unix.Close(fd)
}

// drop gives up every privilege for good, and makes sure that the process still dies with
// the agent: a change of user forgets that.
func (o *order) drop() error {
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("no_new_privs: %w", err)
	}
	_ = unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
	for c := range uintptr(64) {
		err := unix.Prctl(unix.PR_CAPBSET_DROP, c, 0, 0, 0)
		if err == unix.EPERM && !o.Jail {
			break // no privilege to give up: there is none to gain either
		}
		if err != nil && err != unix.EINVAL {
			return fmt.Errorf("bounding set: %w", err)
		}
	}
	if o.ID != 0 {
		if err := raw(unix.SYS_SETGROUPS, 0, 0, 0); err != nil {
			return fmt.Errorf("groups: %w", err)
		}
		id := uintptr(o.ID)
		if err := raw(unix.SYS_SETRESGID, id, id, id); err != nil {
			return fmt.Errorf("group %d: %w", o.ID, err)
		}
		if err := raw(unix.SYS_SETRESUID, id, id, id); err != nil {
			return fmt.Errorf("user %d: %w", o.ID, err)
		}
	}
	head := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var none [2]unix.CapUserData
	if err := unix.Capset(&head, &none[0]); err != nil {
		return fmt.Errorf("capabilities: %w", err)
	}
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0); err != nil {
		return fmt.Errorf("death signal: %w", err)
	}
	return agentLives()
}

// agentLives returns an error when the agent has gone: it holds the other end of the
// order's pipe until the plugin runs.
func agentLives() error {
	fds := []unix.PollFd{{Fd: orderFD}}
	if _, err := unix.Poll(fds, 0); err == nil && fds[0].Revents&unix.POLLHUP != 0 {
		return fmt.Errorf("the agent has gone")
	}
	return nil
}

// raw makes a system call for this thread only.
func raw(nr, a, b, c uintptr) error {
	if _, _, errno := unix.RawSyscall(nr, a, b, c); errno != 0 {
		return errno
	}
	return nil
}

// image is what a program is executed with.
type image struct{ args, env []*byte }

func (o *order) image() (i image, err error) {
	if i.args, err = syscall.SlicePtrFromStrings(o.Args); err != nil {
		return i, err
	}
	i.env, err = syscall.SlicePtrFromStrings(o.Env)
	return i, err
}

// become becomes the plugin; it returns only when that fails.
func (i image) become() error {
	empty := [1]byte{}
	_, _, errno := unix.RawSyscall6(unix.SYS_EXECVEAT, execFD,
		uintptr(unsafe.Pointer(&empty[0])),  //nolint:gosec // the kernel's own face
		uintptr(unsafe.Pointer(&i.args[0])), //nolint:gosec // the kernel's own face
		uintptr(unsafe.Pointer(&i.env[0])),  //nolint:gosec // the kernel's own face
		unix.AT_EMPTY_PATH, 0)
	return errno
}

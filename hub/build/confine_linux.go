package build

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
)

// room is how programs are confined on this machine: in namespaces of their own, as no user
// of the machine, with a root that holds the system's programs, the toolchain and the
// build's folder and nothing else, without capabilities or a way to them, and without a
// network unless they fetch. The namespaces are the kernel's by clone; what is mounted in
// them is set up by util-linux's programs in a shell, which then becomes the program.
type room struct {
	other bool // the hub is root: programs run as buildUser
}

// buildUser is nobody's: a user and group of the machine that own no file but the build's.
// insideUser is what it is called in the room.
const (
	buildUser  = 64_017
	insideUser = 1000
)

// tools are the programs that set a room up, all of them of the package util-linux.
var tools = []string{"sh", "mount", "umount", "pivot_root", "prlimit", "setpriv"}

// openRoom tries a room. The error says what this machine lacks for one.
func openRoom(ctx context.Context) (*room, error) {
	for _, tool := range tools {
		if _, err := exec.LookPath(tool); err != nil {
			return nil, fmt.Errorf("confine: no %s: install util-linux", tool)
		}
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), toolchainMax) // asked once, for all
	defer cancel()
	dir, err := os.MkdirTemp("", "stavily-room-")
	if err != nil {
		return nil, fmt.Errorf("confine: %w", err)
	}
	defer os.RemoveAll(dir)
	r := &room{other: os.Geteuid() == 0}
	w := &workspace{dir: dir, room: r}
	first := command{what: "a first program", argv: []string{"/bin/sh", "-c", "exit 0"}, dir: confinedAt}
	if err := w.run(ctx, first); err != nil {
		return nil, fmt.Errorf("confine: this machine allows no user namespaces with mounts: %w", err)
	}
	return r, nil
}

// command makes the command that runs c in the room.
func (r *room) command(ctx context.Context, w *workspace, c command) (*exec.Cmd, error) {
	if err := r.own(w, c); err != nil {
		return nil, err
	}
	script, err := r.script(w, c)
	if err != nil {
		return nil, err
	}
	shell, err := exec.LookPath("sh")
	if err != nil {
		return nil, fmt.Errorf("confine: %w", err)
	}
	cmd := exec.CommandContext(ctx, shell, append([]string{"-ec", script, "sh"}, c.argv...)...)
	cmd.Env = c.env
	flags := uintptr(syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS | syscall.CLONE_NEWPID | syscall.CLONE_NEWIPC |
		syscall.CLONE_NEWUTS)
	if !c.network {
		flags |= syscall.CLONE_NEWNET
	}
	users := []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Geteuid(), Size: 1}}
	groups := []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}}
	if r.other {
		users = append(users, syscall.SysProcIDMap{ContainerID: insideUser, HostID: buildUser, Size: 1})
		groups = append(groups, syscall.SysProcIDMap{ContainerID: insideUser, HostID: buildUser, Size: 1})
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Setpgid: true, Pdeathsig: syscall.SIGKILL, Cloneflags: flags, UidMappings: users, GidMappings: groups,
		GidMappingsEnableSetgroups: r.other,
	}
	return cmd, nil
}

// own gives the workspace to the user that the program runs as.
func (r *room) own(w *workspace, c command) error {
	if !r.other || c.asHub {
		return nil
	}
	root, err := os.OpenRoot(w.dir)
	if err != nil {
		return fmt.Errorf("confine: %w", err)
	}
	defer root.Close()
	return fs.WalkDir(root.FS(), ".", func(name string, _ fs.DirEntry, err error) error {
		if err != nil {
			return fmt.Errorf("confine: %w", err)
		}
		return root.Lchown(name, buildUser, buildUser)
	})
}

// system is what a room has of the machine, where it is there.
var system = []string{
	"/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/etc/alternatives", "/etc/ld.so.cache", "/etc/ssl",
	"/etc/ca-certificates", "/etc/pki", "/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom",
}

// online is what a room with a network has besides.
var online = []string{"/etc/resolv.conf", "/etc/hosts", "/etc/nsswitch.conf", "/etc/services"}

// script sets the room up and becomes the program, which is its arguments.
func (r *room) script(w *workspace, c command) (string, error) {
	at := filepath.Join(w.dir, ".room")
	if err := os.MkdirAll(at, 0o755); err != nil {
		return "", fmt.Errorf("confine: %w", err)
	}
	b := &script{}
	b.line("umask 022; PATH=/usr/sbin:/usr/bin:/sbin:/bin; export PATH")
	b.line("mount --make-rprivate /")
	b.line("mount -t tmpfs -o mode=755,size=16m room %s; cd %s", quote(at), quote(at))
	b.line("mkdir -p proc tmp old .%s", confinedAt)
	b.line("mount -t tmpfs -o mode=1777,size=512m none tmp")
	shown := slices.Concat(system, c.reads)
	if c.network {
		shown = append(shown, online...)
	}
	for _, path := range shown {
		b.show(path, false)
	}
	for _, path := range c.writes {
		b.show(path, true)
	}
	b.line("mount --bind %s .%s", quote(w.dir), confinedAt)
	b.line("mount -t proc none proc 2>/dev/null || true")
	b.line("pivot_root . old; cd /; umount -l /old; rmdir /old; mount -o remount,bind,ro /")
	b.line("cd %s", quote(c.dir))
	limits := fmt.Sprintf("--nproc=%d --as=%d --fsize=%d --core=0", processesMax, int64(addressMax),
		int64(fileMax))
	user := ""
	if r.other && !c.asHub {
		user = fmt.Sprintf("--reuid=%d --regid=%d --clear-groups", insideUser, insideUser)
	}
	path := ""
	for _, e := range c.env {
		if strings.HasPrefix(e, "PATH=") {
			path = "env " + quote(e)
		}
	}
	b.line(`exec prlimit %s setpriv %s --no-new-privs --inh-caps=-all --bounding-set=-all %s "$@"`, limits,
		user, path)
	return b.String(), b.err
}

// script is lines of a shell.
type script struct {
	strings.Builder
	err error
}

func (b *script) line(format string, args ...any) {
	fmt.Fprintf(b, format+"\n", args...)
}

// show puts a file, folder or link of the machine into the room, if it is there.
func (b *script) show(path string, write bool) {
	if write {
		b.err = errors.Join(b.err, os.MkdirAll(path, 0o700))
	}
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return
	case err != nil:
		b.err = errors.Join(b.err, fmt.Errorf("confine: %w", err))
		return
	}
	b.line("mkdir -p .%s", quote(filepath.Dir(path)))
	at := "." + quote(path)
	switch {
	case info.Mode()&fs.ModeSymlink != 0 && filepath.Dir(path) == "/":
		to, err := os.Readlink(path)
		b.err = errors.Join(b.err, err)
		b.line("ln -s %s %s", quote(to), at)
		return
	case !info.IsDir() && info.Mode()&fs.ModeSymlink == 0, !isDir(path):
		b.line("touch %s", at)
	default:
		b.line("mkdir -p %s", at)
	}
	b.line("mount --bind %s %s", quote(path), at)
	if !write && !strings.HasPrefix(path, "/dev/") {
		b.line("mount -o remount,bind,ro %s", at)
	}
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

// quote makes one word of a shell of any text.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// runHere runs a command on a thread that lives as long as the command: Pdeathsig is about
// the thread that started it, not the process.
func runHere(cmd *exec.Cmd) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	return cmd.Run()
}

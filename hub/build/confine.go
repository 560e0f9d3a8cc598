package build

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/stavily/stavily/protocol"
)

// command is one program of a toolchain, and what it may do. Where the machine can, it is
// confined: see room.
type command struct {
	what string // for errors, such as "cargo build"
	argv []string
	env  []string
	dir  string // the working directory, as workspace.inside gives it
	// reads are folders and files of the toolchain, besides what the system has in /usr;
	// writes are those besides the workspace. Both stand at their own paths inside.
	reads, writes []string
	network       bool
	// asHub runs it as the hub's own user, because it must write what is the hub's. Only
	// for programs that run no code of the source.
	asHub bool
	// stdout gets the standard output, if it is not nil; otherwise it is among what is said.
	stdout *capped
}

// The bounds of a confined program. A compiler needs much of each; a build script that
// wants more has run wild.
const (
	processesMax   = 256
	addressMax     = 8 << 30 // bytes of address space of one process
	fileMax        = 1 << 30 // bytes of one file
	confinedAt     = "/build"
	confinedLimits = "the build is confined: no network after the fetch, writes in its own folder only, at " +
		"most 256 processes of 8 GiB, and a deadline"
)

// inside is where a path of the workspace stands for its programs. It is the same for each
// build where there is a room, so that no folder of this machine gets into a module.
func (w *workspace) inside(path string) string {
	if w.room == nil {
		return path
	}
	rel, err := filepath.Rel(w.dir, path)
	if err != nil || strings.HasPrefix(rel, "..") {
		return path
	}
	return filepath.Join(confinedAt, rel)
}

// run runs a program of a toolchain to its end. Its own words come back in the error, cut
// to a bound.
func (w *workspace) run(ctx context.Context, c command) error {
	cmd := exec.CommandContext(ctx, c.argv[0], c.argv[1:]...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	cmd.Dir, cmd.Env = c.dir, c.env
	if w.room != nil {
		var err error
		if cmd, err = w.room.command(ctx, w, c); err != nil {
			return err
		}
	}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
	out := &capped{left: outputMax}
	cmd.Stdout, cmd.Stderr = out, out
	if c.stdout != nil {
		cmd.Stdout = c.stdout
	}
	if err := runHere(cmd); err != nil {
		said := tail(out.Bytes())
		if w.room != nil {
			said += "\n" + confinedLimits
		}
		return overtime(ctx, c.what, protocol.Errorf(protocol.CodeBadInput, "%s: %w\n%s", c.what, err, said))
	}
	return nil
}

// mayRun refuses to run code of the source where this machine cannot confine it, unless
// the operator allows that. what says which code it is.
func (w *workspace) mayRun(what string) error {
	if w.room != nil || w.b.cfg.AllowUnconfined {
		return nil
	}
	return protocol.Errorf(protocol.CodeUnavailable, "build: %s, and this machine cannot confine it: %w; "+
		"where that is acceptable, start the hub with --allow-unconfined-builds", what, w.b.unconfined)
}

// read returns a file that a program has left in the workspace: a regular one, not beyond
// it by links, of at most so many bytes.
func (w *workspace) read(rel string, most int64) ([]byte, error) {
	root, err := os.OpenRoot(w.dir)
	if err != nil {
		return nil, fmt.Errorf("build: %w", err)
	}
	defer root.Close()
	info, err := root.Lstat(rel)
	if err != nil {
		return nil, fmt.Errorf("build: %w", err)
	}
	if !info.Mode().IsRegular() || info.Size() > most {
		return nil, protocol.Errorf(protocol.CodeLimit, "build: %s: %s of %d bytes, want a file of at most %d",
			filepath.Base(rel), info.Mode().Type(), info.Size(), most)
	}
	return root.ReadFile(rel)
}

// confinement looks once whether this machine can confine a program, and says why not.
func (b *Builder) confinement(ctx context.Context) (*room, error) {
	b.looked.Do(func() { b.room, b.unconfined = openRoom(ctx) })
	return b.room, b.unconfined
}

// CanConfine says whether builds on this machine are confined, and why not.
func CanConfine(ctx context.Context) error {
	_, err := openRoom(ctx)
	return err
}

//go:build linux && (amd64 || arm64 || riscv64)

package native

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/stavily/stavily/protocol"
	"github.com/stavily/stavily/wasmhost"
)

// outsideID is the user and group that plugins have on the machine when the agent is root:
// one that owns nothing and that no distribution gives to anyone.
const outsideID = 0x7000_0000

// namespaces are those of a jail; with unix.CLONE_NEWUSER where that is allowed.
const namespaces = unix.CLONE_NEWNET | unix.CLONE_NEWPID | unix.CLONE_NEWNS | unix.CLONE_NEWIPC |
	unix.CLONE_NEWUTS | unix.CLONE_NEWCGROUP

// Config is what a Host is made of. Calls and Dir must be set.
type Config struct {
	// Calls answers the plugins' host calls.
	Calls *wasmhost.Host
	// Dir is where artifacts are unpacked. New creates it with mode 0700 and empties it:
	// it belongs to one Host.
	Dir string
	// Log gets what is not about one plugin. Nil discards it.
	Log *slog.Logger
	// Self is the program that is started as the first process of a jail, with ChildArg.
	// Empty: this one.
	Self string
	// Need names the fields of a Confinement without which a plugin with sandbox_mode is
	// refused. Nil: namespaces and seccomp.
	Need []string
	// Without names layers that are not used though this machine has them:
	// LayerNamespaces, LayerLandlock, LayerSeccomp or LayerCgroup.
	Without []string
}

// Host starts plugins as jailed processes. Its methods may be called from any goroutine.
type Host struct {
	cfg    Config
	root   bool // the agent is
	groups cgroups
	facts  facts
	starts chan start
	serial atomic.Uint64

	mu      sync.Mutex // guards the fields below
	plugins map[*wasmhost.Plugin]struct{}
	closed  bool
}

// facts are what this machine was found to have.
type facts struct {
	jail     uintptr // flags of the namespaces, 0 for none
	jailWhy  string
	landlock int
	seccomp  bool
}

// start is a process to be started.
type start struct {
	cmd  *exec.Cmd
	done chan error
}

// New makes a Host: it looks at what this machine has by setting up a jail that ends at
// once. The error has CodeStorage when Dir cannot be used, CodeBadInput without Calls.
func New(ctx context.Context, cfg Config) (*Host, error) {
	if cfg.Calls == nil || cfg.Dir == "" {
		return nil, protocol.Errorf(protocol.CodeBadInput, "native: config: want Calls and Dir")
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Self == "" {
		cfg.Self = "/proc/self/exe"
	}
	if cfg.Need == nil {
		cfg.Need = []string{LayerNamespaces, LayerSeccomp}
	}
	h := &Host{
		cfg: cfg, root: os.Geteuid() == 0, starts: make(chan start), plugins: map[*wasmhost.Plugin]struct{}{},
	}
	if err := h.clearDir(); err != nil {
		return nil, protocol.Errorf(protocol.CodeStorage, "native: %w", err)
	}
	if !slices.Contains(cfg.Without, LayerCgroup) {
		h.groups = findCgroups()
	} else {
		h.groups.why = map[string]string{"memory": notUsed, "cpu": notUsed, "pids": notUsed}
	}
	go h.starter()
	h.facts = h.look(ctx)
	return h, nil
}

// notUsed is why a layer is not there that was not wanted.
const notUsed = "not used, as configured"

// clearDir makes Dir and removes what another start has left in it.
func (h *Host) clearDir() error {
	if err := os.MkdirAll(h.cfg.Dir, 0o700); err != nil {
		return err
	}
	old, err := os.ReadDir(h.cfg.Dir)
	if err != nil {
		return err
	}
	for _, e := range old {
		if err := os.RemoveAll(filepath.Join(h.cfg.Dir, e.Name())); err != nil {
			return err
		}
	}
	h.cfg.Dir, err = filepath.Abs(h.cfg.Dir)
	if err != nil {
		return err
	}
	return os.Mkdir(h.rootDir(), 0o700)
}

// rootDir is the empty folder on which each jail mounts its root; nobody else sees that.
func (h *Host) rootDir() string { return filepath.Join(h.cfg.Dir, "root") }

// starter starts every process, on one thread that lives as long as the Host: a jail dies
// with the thread that started it.
func (h *Host) starter() {
	runtime.LockOSThread() // for good: the thread ends with this goroutine
	for s := range h.starts {
		s.done <- s.cmd.Start()
	}
}

// begin starts a process on the starter's thread.
func (h *Host) begin(cmd *exec.Cmd) (err error) {
	defer func() {
		if recover() != nil { // the channel is closed
			err = errors.New("host is closed")
		}
	}()
	s := start{cmd, make(chan error, 1)}
	h.starts <- s
	return <-s.done
}

func (h *Host) groupName() string {
	return groupPrefix + strconv.Itoa(os.Getpid()) + "-" + strconv.FormatUint(h.serial.Add(1), 10)
}

// look finds out what this machine has, by trying.
func (h *Host) look(ctx context.Context) facts {
	f := facts{jailWhy: notUsed}
	if !slices.Contains(h.cfg.Without, LayerNamespaces) {
		var tried []string
		for _, flags := range h.jails() {
			err := h.try(ctx, flags)
			if err == nil {
				f.jail, f.jailWhy = flags, ""
				break
			}
			tried = append(tried, err.Error())
			f.jailWhy = strings.Join(tried, "; ")
		}
	}
	if !slices.Contains(h.cfg.Without, LayerLandlock) {
		f.landlock = landlockABI()
	}
	action := uint32(unix.SECCOMP_RET_ERRNO)
	f.seccomp = !slices.Contains(h.cfg.Without, LayerSeccomp) && seccompHas(action)
	return f
}

// jails returns the sets of namespaces to try, best first: root can do without one for
// users.
func (h *Host) jails() []uintptr {
	sets := []uintptr{namespaces | unix.CLONE_NEWUSER}
	if h.root {
		sets = append(sets, namespaces)
	}
	return sets
}

// try sets up a jail that ends at once.
func (h *Host) try(ctx context.Context, flags uintptr) error {
	e, err := newEnds()
	if err != nil {
		return err
	}
	defer e.close()
	cmd := h.command(e.its, flags)
	if err := h.begin(cmd); err != nil {
		return err
	}
	e.closeIts()
	stop := context.AfterFunc(ctx, func() { _ = cmd.Process.Kill() })
	defer stop()
	defer func() { _ = cmd.Wait() }()
	defer func() { _ = cmd.Process.Kill() }()
	o := order{Jail: true, Root: h.rootDir(), TmpBytes: tmpBytes}
	if h.root {
		o.ID = h.insideID(flags)
	}
	if _, err := e.order.Write(framed(o)); err != nil {
		return err
	}
	var s status
	_ = e.status.SetReadDeadline(time.Now().Add(startPatience))
	if err := readFramed(e.status, &s); err != nil {
		return fmt.Errorf("no status: %w", err)
	}
	if s.Error != "" {
		return errors.New(s.Error)
	}
	return nil
}

// insideID is the user that a plugin becomes, as it is called in its namespaces; 0 where
// the agent is no root, whose plugins stay what it is.
func (h *Host) insideID(flags uintptr) int {
	switch {
	case !h.root:
		return 0
	case flags&unix.CLONE_NEWUSER != 0:
		return insideID
	default:
		return outsideID
	}
}

// Close ends all plugins and removes what was unpacked.
func (h *Host) Close(ctx context.Context) error {
	h.mu.Lock()
	again := h.closed
	h.closed = true
	var open []*wasmhost.Plugin
	for p := range h.plugins {
		open = append(open, p)
	}
	h.mu.Unlock()
	if again {
		return nil
	}
	for _, p := range open {
		p.Close(ctx)
	}
	close(h.starts)
	return os.RemoveAll(h.cfg.Dir)
}

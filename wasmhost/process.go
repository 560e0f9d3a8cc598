package wasmhost

import (
	"context"
	"crypto/rand"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/stavily/stavily/protocol"
)

// The bounds of process.run.
const (
	argvMax        = 64       // words
	argvBytesMax   = 32 << 10 // of all words
	stdinMax       = 32 << 10
	outputDefault  = 8 << 10 // of stdout, and of stderr
	outputMax      = 32 << 10
	processDefault = 5 * time.Second

	// processPatience is how long a process that has ended is waited for when something
	// that it started still holds its output.
	processPatience = 200 * time.Millisecond

	// processFilesMin and processMemoryMin are what a program gets at least of descriptors
	// and of memory, in bytes: a plugin's own limits are tighter than what ordinary programs
	// need to start.
	processFilesMin  = 64
	processMemoryMin = 256 << 20

	// markName is the variable by which all that a program starts is known.
	markName = "STAVILY_CALL"

	// processPath is where programs are looked for by name, and all the PATH that they
	// get. The host's own environment does not reach them.
	processPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
)

type processArgs struct {
	Argv      []string `cbor:"argv"`
	Stdin     string   `cbor:"stdin"`
	OutputMax int64    `cbor:"output_max"`
	TimeoutMS int64    `cbor:"timeout_ms"`
}

// callProcess runs one program that the scopes allow: no shell, no environment, in the
// plugin's own directory, in a process group that ends with the call.
func callProcess(r *request, args protocol.Raw) (any, error) {
	var in processArgs
	if err := readArgs(args, &in); err != nil {
		return nil, err
	}
	if err := in.check(); err != nil {
		return nil, err
	}
	grants, _ := r.p.use("", "")
	scopes, _ := grants.Scopes(protocol.CapProcess)
	scope, ok := allowed(in.Argv[0], scopes)
	if !ok {
		return nil, r.refuse(protocol.CapProcess, in.Argv[0])
	}
	program, err := lookUp(scope)
	if err != nil {
		return nil, err
	}
	dir, err := r.p.workDir()
	if err != nil {
		return nil, err
	}
	ctx, clock := r.bounded(), r.p.host.cfg.Clock
	return in.run(ctx, clock, launch{program: program, dir: dir, limits: r.p.processLimits(in.TimeoutMS)})
}

// processLimits is what one program may use, besides its time and its output.
type processLimits struct {
	files, memoryB, seconds, fileB uint64
}

// processLimits returns the limits of a program. The number of processes is not among them:
// the kernel counts all of a user's, so it would bound the agent itself.
func (p *Plugin) processLimits(timeoutMS int64) processLimits {
	return processLimits{
		files:   max(processFilesMin, uint64(p.limits.Files)),
		memoryB: max(processMemoryMin, uint64(p.limits.MemoryMB)<<20),
		seconds: uint64(timeoutMS/1000) + 1, // of CPU, should its end fail
		fileB:   FileBytesMax,
	}
}

// launch is how a program is started.
type launch struct {
	program, dir string
	limits       processLimits
}

func (in *processArgs) check() error {
	total := 0
	for _, word := range in.Argv {
		total += len(word)
		if strings.ContainsRune(word, 0) {
			return protocol.Errorf(protocol.CodeBadInput, "argv %q: has a NUL", clip(word, 64))
		}
	}
	switch {
	case len(in.Argv) == 0 || len(in.Argv) > argvMax || total > argvBytesMax:
		return protocol.Errorf(protocol.CodeLimit, "argv: %d words, %d bytes; want 1 to %d words, at most %d bytes",
			len(in.Argv), total, argvMax, argvBytesMax)
	case len(in.Stdin) > stdinMax:
		return protocol.Errorf(protocol.CodeLimit, "stdin: %d bytes, limit %d", len(in.Stdin), stdinMax)
	}
	if in.OutputMax <= 0 {
		in.OutputMax = outputDefault
	}
	in.OutputMax = min(in.OutputMax, outputMax)
	if in.TimeoutMS <= 0 || in.TimeoutMS > int64(24*time.Hour/time.Millisecond) {
		in.TimeoutMS = processDefault.Milliseconds()
	}
	return nil
}

// allowed returns the scope that lets a program run. A path is allowed only by itself;
// a name by itself, or by the path of a program of that name.
func allowed(program string, scopes []string) (string, bool) {
	for _, s := range scopes {
		if s == program && (filepath.IsAbs(s) || !strings.ContainsRune(s, '/')) {
			return s, true
		}
	}
	i := slices.IndexFunc(scopes, func(s string) bool {
		return filepath.IsAbs(s) && filepath.Base(s) == program
	})
	if i < 0 {
		return "", false
	}
	return scopes[i], true
}

// lookUp finds a program by its path, or by its name in processPath.
func lookUp(program string) (string, error) {
	if filepath.IsAbs(program) {
		return program, nil
	}
	for _, dir := range filepath.SplitList(processPath) {
		at := filepath.Join(dir, program)
		if info, err := os.Stat(at); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			return at, nil
		}
	}
	return "", protocol.Errorf(protocol.CodeNotFound, "program %q: not in %s", program, processPath)
}

// workDir returns the plugin's own directory, made if need be, or the root where this
// host keeps no files.
func (p *Plugin) workDir() (string, error) {
	if p.files.dir == "" {
		return string(filepath.Separator), nil
	}
	p.files.mu.Lock()
	defer p.files.mu.Unlock()
	return p.files.dir, p.files.open()
}

func (in *processArgs) run(ctx context.Context, clock func() time.Time, l launch) (any, error) {
	limit := time.Duration(in.TimeoutMS) * time.Millisecond
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, l.program, in.Argv[1:]...)
	cmd.Args[0] = in.Argv[0]
	cmd.Dir = l.dir
	mark := markName + "=" + rand.Text()
	cmd.Env = []string{"PATH=" + processPath, "LANG=C.UTF-8", mark}
	cmd.Stdin = strings.NewReader(in.Stdin)
	stdout, stderr := &output{left: int(in.OutputMax)}, &output{left: int(in.OutputMax)}
	cmd.Stdout, cmd.Stderr = stdout, stderr
	cmd.WaitDelay = processPatience
	if err := confine(cmd); err != nil {
		return nil, protocol.Errorf(protocol.CodeUnavailable, "process.run: %w", err)
	}
	// The process dies with the thread that started it, so that thread must stay.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	began := clock()
	err := l.do(cmd, mark)
	took := clock().Sub(began)
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return nil, protocol.Errorf(protocol.CodeDeadline, "program %q: took longer than %d ms",
			in.Argv[0], in.TimeoutMS)
	case err != nil && !errors.As(err, &exit) && !errors.Is(err, exec.ErrWaitDelay):
		return nil, protocol.Errorf(protocol.CodeUnavailable, "program %q: %w", in.Argv[0], err)
	}
	code := cmd.ProcessState.ExitCode()
	if s := signalOf(cmd); s > 0 {
		code = 128 + s
	}
	return map[string]any{
		"exit": code, "stdout": stdout.text(), "stderr": stderr.text(),
		"truncated": stdout.full() || stderr.full(), "took_ms": took.Milliseconds(),
	}, nil
}

// do starts a program, waits for its end and ends all that it has started.
func (l *launch) do(cmd *exec.Cmd, mark string) error {
	if err := cmd.Start(); err != nil {
		return err
	}
	since := startOf(cmd.Process.Pid)
	limited := restrict(cmd.Process.Pid, l.limits)
	if limited != nil && !errors.Is(limited, syscall.ESRCH) { // it may have ended already
		_ = endGroup(cmd)
	}
	err := cmd.Wait()
	_ = endGroup(cmd)
	sweep(mark, since)
	if limited != nil && !errors.Is(limited, syscall.ESRCH) {
		return limited
	}
	return err
}

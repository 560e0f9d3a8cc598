package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	platform "github.com/stavily/stavily/firmware-targets"
)

// partCommand makes this program be a part: a process that a row measures apart.
const partCommand = "part"

// endMax is how long a process may take to end before it is killed.
const endMax = 10 * time.Second

// bench is what a row measures in: a folder of its own and the processes it started.
type bench struct {
	ctx     context.Context
	dir     string
	started []*process
}

// close ends every process of the row, the last one first.
func (b *bench) close() {
	for i := len(b.started) - 1; i >= 0; i-- {
		b.started[i].end()
	}
}

func (b *bench) path(name string) string { return filepath.Join(b.dir, name) }

// process is a program that runs beside this one.
type process struct {
	cmd  *exec.Cmd
	in   io.WriteCloser
	out  *bufio.Reader
	log  string
	done chan struct{} // closed when it has ended
}

// start runs a program; its stderr goes to a file that errors quote.
func (b *bench) start(args ...string) (*process, error) {
	log, err := os.Create(b.path(fmt.Sprintf("process-%d.log", len(b.started))))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	p := &process{log: log.Name(), done: make(chan struct{})}
	p.cmd = exec.CommandContext(b.ctx, args[0], args[1:]...)
	p.cmd.Stderr = log
	p.cmd.SysProcAttr = endsWithUs()
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, in, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer in.Close()
	p.cmd.Stdout = in
	p.out = bufio.NewReader(out)
	if err := p.cmd.Start(); err != nil {
		return nil, errors.Join(err, out.Close())
	}
	go func() {
		_ = p.cmd.Wait()
		close(p.done)
	}()
	b.started = append(b.started, p)
	return p, nil
}

// startPart runs a part of this program in a process of its own.
func (b *bench) startPart(name string, args ...string) (*process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	return b.start(append([]string{self, partCommand, name}, args...)...)
}

// hear returns the next line that the process says.
func (p *process) hear() (string, error) {
	text, err := p.out.ReadString('\n')
	if err != nil {
		return "", fmt.Errorf("%s ended: %w\n%s", filepath.Base(p.cmd.Path), err, p.tail())
	}
	return strings.TrimSuffix(text, "\n"), nil
}

// ask says a line to the process and waits for its answer.
func (p *process) ask(text string) error {
	if _, err := fmt.Fprintln(p.in, text); err != nil {
		return fmt.Errorf("%s: %w\n%s", filepath.Base(p.cmd.Path), err, p.tail())
	}
	_, err := p.hear()
	return err
}

// end asks the process to end, and ends it when it does not.
func (p *process) end() {
	_ = p.in.Close()
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	timer := time.NewTimer(endMax)
	defer timer.Stop()
	select {
	case <-p.done:
	case <-timer.C:
		_ = p.cmd.Process.Kill()
		<-p.done
	}
}

// tail returns the end of what the process logged.
func (p *process) tail() string {
	text, _ := os.ReadFile(p.log)
	return string(text[max(0, len(text)-2000):])
}

// resident returns the process's resident bytes, those of its program's file included.
func (p *process) resident() (float64, error) { return residentOf(p.cmd.Process.Pid) }

func residentOf(pid int) (float64, error) {
	path := fmt.Sprintf("/proc/%d/smaps_rollup", pid)
	text, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	for l := range strings.Lines(string(text)) {
		field := strings.Fields(l)
		if len(field) == 3 && field[0] == "Rss:" {
			kib, err := strconv.Atoi(field[1])
			return float64(kib) * 1024, err
		}
	}
	return 0, fmt.Errorf("%s: no Rss in it", path)
}

// cpu returns the CPU time of the process so far, in steps of the kernel's clock.
func (p *process) cpu() (time.Duration, error) {
	const perSecond = 100 // USER_HZ, the same on all of Linux
	path := fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid)
	text, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(string(text), ") ") // the program's name may hold spaces
	field := strings.Fields(rest)
	if len(field) < 13 {
		return 0, fmt.Errorf("%s: %d fields, want 13 or more", path, len(field))
	}
	user, errUser := strconv.ParseInt(field[11], 10, 64)
	system, errSystem := strconv.ParseInt(field[12], 10, 64)
	return time.Duration(user+system) * time.Second / perSecond, errors.Join(errUser, errSystem)
}

// pause waits for d, or for the end of the row.
func (b *bench) pause(d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-b.ctx.Done():
		return b.ctx.Err()
	}
}

// until waits for what done says has come.
func (b *bench) until(what string, done func() (bool, error)) error {
	const most = 2 * time.Minute
	for end := time.Now().Add(most); time.Now().Before(end); {
		ok, err := done()
		if ok || err != nil {
			return err
		}
		if err := b.pause(50 * time.Millisecond); err != nil {
			return err
		}
	}
	return fmt.Errorf("waited %s for %s", most, what)
}

// build makes a program of a package of this module and returns its file. env are
// settings of the toolchain beside those of a static program.
func (b *bench) build(pkg string, env ...string) (string, error) {
	out := b.path(fmt.Sprintf("%s-%x", filepath.Base(pkg), strings.Join(env, "-")))
	return out, b.goBuild(".", out, pkg, env...)
}

// hello makes the smallest Go program that waits until it is ended.
func (b *bench) hello(env ...string) (string, error) {
	const source = "package main\n\nimport (\n\t\"fmt\"\n\t\"io\"\n\t\"os\"\n)\n\n" +
		"func main() {\n\tfmt.Println(\"hello\")\n\t_, _ = io.Copy(io.Discard, os.Stdin)\n}\n"
	dir := b.path("hello")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	for name, text := range map[string]string{"main.go": source, "go.mod": "module hello\n\ngo 1.26\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			return "", err
		}
	}
	out := b.path(fmt.Sprintf("hello-%x", strings.Join(env, "-")))
	return out, b.goBuild(dir, out, ".", append(env, "GOWORK=off")...)
}

// edgePackage is the agent, which is measured as it is shipped.
const edgePackage = "./edge/stavily-edge"

func (b *bench) goBuild(dir, out, pkg string, env ...string) error {
	args := []string{"build", "-trimpath"}
	if pkg == edgePackage {
		args = append([]string{"build"}, platform.BuildFlags(platform.EngineCompiler)...)
	}
	cmd := exec.CommandContext(b.ctx, "go", append(args, "-ldflags=-s -w -buildid=", "-o", out, pkg)...)
	cmd.Dir = dir
	cmd.Env = append(append(os.Environ(), "CGO_ENABLED=0"), env...)
	if text, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build %s: %w\n%s", pkg, err, text)
	}
	return nil
}

// runPart is this program as a part of a row.
func runPart(args []string, out, errs io.Writer) int {
	do, ok := parts()[args[0]]
	err := fmt.Errorf("part %q: not known", args[0])
	if ok {
		err = do(args[1:], os.Stdin, out)
	}
	if err != nil {
		fmt.Fprintf(errs, "bench: part %s: %v\n", args[0], err)
		return 1
	}
	return 0
}

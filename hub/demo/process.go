package demo

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/stavily/stavily/protocol"
)

const modulePath = "github.com/stavily/stavily"

// checkout returns the root of the checkout that the demonstration runs in: the
// plugins and the agent are built from it.
func checkout() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("demo: %w", err)
	}
	for at := dir; ; at = filepath.Dir(at) {
		text, err := os.ReadFile(filepath.Join(at, "go.mod"))
		if err == nil && strings.HasPrefix(string(text), "module "+modulePath+"\n") {
			return at, nil
		}
		if at == filepath.Dir(at) {
			return "", protocol.Errorf(protocol.CodeBadInput,
				"demo: %s is not in a checkout of %s; go there and run it again", dir, modulePath)
		}
	}
}

func goBuild(ctx context.Context, dir, out, pkg string) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-ldflags=-s -w", "-o", out, pkg)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if text, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("demo: go build %s: %w\n%s", pkg, err, text)
	}
	return nil
}

// process is one program of the demonstration. Its log lies beside its data.
type process struct {
	name  string
	cmd   *exec.Cmd
	log   string
	lines chan string   // of stdout; closed at its end
	done  chan struct{} // closed when it has ended
	err   error         // how; set before done is closed
}

// start starts a program. It ends with the demonstration at the latest.
func (s *stage) start(name, program string, args ...string) (*process, error) {
	p := &process{
		name: name, cmd: exec.Command(program, args...), log: s.path(name + ".log"),
		lines: make(chan string, 16), done: make(chan struct{}),
	}
	log, err := os.Create(p.log)
	if err != nil {
		return nil, fmt.Errorf("demo: %w", err)
	}
	defer log.Close()
	p.cmd.Stderr = log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("demo: %w", err)
	}
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("demo: start %s: %w", name, err)
	}
	s.parts = append(s.parts, p)
	go func() {
		defer close(p.done)
		defer close(p.lines)
		for in := bufio.NewScanner(out); in.Scan(); {
			select {
			case p.lines <- in.Text():
			default: // nobody waits for more lines
			}
		}
		p.err = p.cmd.Wait()
	}()
	return p, nil
}

// await returns the first line of stdout that begins with prefix.
func (p *process) await(ctx context.Context, prefix string) (string, error) {
	for {
		select {
		case line, ok := <-p.lines:
			if !ok {
				return "", p.died()
			}
			if strings.HasPrefix(line, prefix) {
				return line, nil
			}
		case <-ctx.Done():
			return "", fmt.Errorf("demo: %s: no line %q: %w\n%s", p.name, prefix, ctx.Err(), p.tail())
		}
	}
}

func (p *process) died() error {
	<-p.done
	if p.err == nil {
		return fmt.Errorf("demo: %s ended by itself\n%s", p.name, p.tail())
	}
	return fmt.Errorf("demo: %s ended: %w\n%s", p.name, p.err, p.tail())
}

const tailBytes = 3000

func (p *process) tail() string {
	text, _ := os.ReadFile(p.log)
	if len(text) > tailBytes {
		text = text[len(text)-tailBytes:]
	}
	return strings.TrimSpace(string(text))
}

const pollEvery = 100 * time.Millisecond

// poll asks until done, an error, the end of ctx, or the end of a process.
func (s *stage) poll(ctx context.Context, what string, ask func() (bool, error)) error {
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		done, err := ask()
		if done || err != nil {
			return err
		}
		for _, p := range s.parts {
			select {
			case <-p.done:
				return p.died()
			default:
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("demo: waiting for %s: %w\n%s", what, ctx.Err(), s.tails())
		}
	}
}

func (s *stage) tails() string {
	var b strings.Builder
	for _, p := range s.parts {
		fmt.Fprintf(&b, "--- %s\n%s\n", p.name, p.tail())
	}
	return b.String()
}

const stopPatience = 10 * time.Second

// stop ends all processes, the agents first.
func (s *stage) stop(failed error) error {
	var errs []error
	for i := len(s.parts) - 1; i >= 0; i-- {
		p := s.parts[i]
		_ = p.cmd.Process.Signal(syscall.SIGTERM)
		patience := time.NewTimer(stopPatience)
		select {
		case <-p.done:
		case <-patience.C:
			errs = append(errs, fmt.Errorf("demo: %s did not stop within %v", p.name, stopPatience),
				p.cmd.Process.Kill())
		}
		patience.Stop()
		if p.err != nil && failed == nil {
			errs = append(errs, fmt.Errorf("demo: %s ended: %w\n%s", p.name, p.err, p.tail()))
		}
	}
	return errors.Join(errs...)
}

// whereToLook says where everything lies and, while it runs, how to ask about it.
func (s *stage) whereToLook(keep bool) {
	fmt.Fprintf(s.out, `
The data lies in %[1]s:
  repositories/             Git repositories with signed tags
  hub/                      books.db, files by digest, keys
  gateway-1/, gateway-2/    what each agent keeps; data/append-file/runs.jsonl is the output
  *.log                     what the programs logged
`, s.dir)
	if !keep {
		fmt.Fprintf(s.out, "Nothing runs any more. Remove it with: rm -r %s\n", s.dir)
		return
	}
	fmt.Fprintf(s.out, `
Hub and agents go on until this is interrupted. In another terminal, here:
  export STAVILY_HOME=%[1]s/hub
  go run . plugin show system-health
  go run . workflow list
  go run . agent list
  go run . run list
  tail -f %[1]s/gateway-1/data/append-file/runs.jsonl
`, s.dir)
}

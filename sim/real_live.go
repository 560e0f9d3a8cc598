package sim

import (
	"bufio"
	"bytes"
	"context"
	"encoding/gob"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/stavily/stavily/hub"
	"github.com/stavily/stavily/hub/api"
	"github.com/stavily/stavily/protocol"
	"github.com/stavily/stavily/sim/swarm"
)

// hubEndMax is how long a hub may take to end when it is asked to.
const hubEndMax = 30 * time.Second

// process is a hub in a process of its own, on loopback: what level live has. A crash kills
// it.
type process struct {
	home    string
	admit   []hub.Built
	command []string // starts it; the home follows
	refused func()   // is told of each message that the hub refuses

	child *exec.Cmd // both are the keeper's
	in    io.Closer
	addr  atomic.Pointer[string] // of the newest hub
	pumps pumps
}

func newProcess(admit []hub.Built, command []string, refused func()) (*process, error) {
	home, err := os.MkdirTemp("", "stavily-sim-")
	return &process{home: home, admit: admit, command: command, refused: refused}, err
}

func (s *process) hubHome() string { return filepath.Join(s.home, "h") }

func (s *process) start(ctx context.Context) error {
	words := append(append([]string{}, s.command[1:]...), s.hubHome())
	s.child = exec.Command(s.command[0], words...)
	in, err := s.child.StdinPipe()
	if err != nil {
		return err
	}
	out, err := s.child.StdoutPipe()
	if err != nil {
		return err
	}
	var log io.ReadCloser
	if log, err = s.child.StderrPipe(); err != nil {
		return err
	}
	s.in = in
	if err := s.child.Start(); err != nil {
		return fmt.Errorf("hub: %w", err)
	}
	defer context.AfterFunc(ctx, func() { _ = s.child.Process.Kill() })()
	tail := make(chan string, 1)
	go func() { tail <- s.listen(log) }()
	if err := giveBuilt(in, s.admit); err != nil {
		return fmt.Errorf("hub: %w", err)
	}
	var up hub.Bound
	if err := json.NewDecoder(out).Decode(&up); err != nil {
		_ = s.child.Wait()
		return fmt.Errorf("hub: did not start: %s", <-tail)
	}
	s.addr.Store(&up.Link)
	return nil
}

// listen follows the hub's log to its end and returns its last line.
func (s *process) listen(log io.Reader) (last string) {
	lines := bufio.NewScanner(log)
	for lines.Scan() {
		last = lines.Text()
		if bytes.Contains(lines.Bytes(), []byte(`"msg":"message refused"`)) {
			s.refused()
		}
	}
	return last
}

// stop ends the hub: its standard input ends, or it is killed.
func (s *process) stop(crash bool) error {
	if crash {
		_ = s.child.Process.Kill() // perhaps it has ended
		_ = s.child.Wait()
		return nil
	}
	late := time.AfterFunc(hubEndMax, func() { _ = s.child.Process.Kill() })
	defer late.Stop()
	_ = s.in.Close()
	if err := s.child.Wait(); err != nil {
		return fmt.Errorf("hub: %w", err)
	}
	return nil
}

func (s *process) take(ctx context.Context, far net.Conn) error {
	return s.pumps.take(ctx, far, *s.addr.Load())
}

func (s *process) books() string { return filepath.Join(s.hubHome(), "books.db") }

func (s *process) entrance() (*entrance, error) { return s.pumps.outdoors() }

func (s *process) dial(ctx context.Context) (net.Conn, error) { return swarm.Dial(ctx, *s.addr.Load()) }

func (s *process) api() *api.Client { return api.OnSocket(api.SocketPath(s.hubHome())) }

func (s *process) close() error {
	s.pumps.all.Wait()
	return os.RemoveAll(s.home)
}

// foreign is a hub that somebody else runs. Nobody here is its operator.
type foreign struct {
	addr  string
	pumps pumps
}

func (s *foreign) start(context.Context) error { return nil }

func (s *foreign) stop(bool) error { return nil }

func (s *foreign) take(ctx context.Context, far net.Conn) error {
	return s.pumps.take(ctx, far, s.addr)
}

func (*foreign) books() string { return "" }

func (s *foreign) entrance() (*entrance, error) { return s.pumps.outdoors() }

func (s *foreign) dial(ctx context.Context) (net.Conn, error) { return swarm.Dial(ctx, s.addr) }

func (s *foreign) api() *api.Client { return nil }

func (s *foreign) close() error {
	s.pumps.all.Wait()
	return nil
}

// pumps carry bytes between lines and sockets.
type pumps struct{ all sync.WaitGroup }

// take brings the far end of a line to a TCP address. When either end closes, so does the other.
func (p *pumps) take(ctx context.Context, far net.Conn, addr string) error {
	conn, err := swarm.Dial(ctx, addr)
	if err != nil {
		return errors.Join(err, far.Close())
	}
	pump := func(to, from net.Conn) {
		_, _ = io.Copy(to, from)
		_, _ = to.Close(), from.Close()
	}
	p.all.Go(func() { pump(conn, far) })
	p.all.Go(func() { pump(far, conn) })
	return nil
}

// ServeHub is a hub for level live, in the process that Run starts for it: it lives at home
// until in ends, with the releases that come from in, and says on out where it listens.
func ServeHub(ctx context.Context, home string, in io.Reader, out, log io.Writer) error {
	admit, err := takeBuilt(in)
	if err != nil {
		return fmt.Errorf("hub: releases: %w", err)
	}
	ctx, end := context.WithCancel(ctx)
	defer end()
	go func() {
		_, _ = io.Copy(io.Discard, in)
		end()
	}()
	c := hub.DefaultConfig(home)
	c.Listen, c.RunsKept, c.Admit = "127.0.0.1:0", runsKept, admit
	options := &slog.HandlerOptions{Level: slog.LevelWarn}
	return hub.Serve(ctx, c, slog.New(slog.NewJSONHandler(log, options)), func(at hub.Bound) {
		_ = json.NewEncoder(out).Encode(at) // nobody waits for it: they will see that we end
	})
}

// built is a hub.Built on its way to another process.
type built struct{ Manifest, Module, Schema []byte }

func giveBuilt(to io.Writer, all []hub.Built) error {
	out := make([]built, len(all))
	for i := range all {
		out[i] = built{protocol.MustMarshal(all[i].Manifest), all[i].Module, all[i].Schema}
	}
	return gob.NewEncoder(to).Encode(out)
}

func takeBuilt(from io.Reader) ([]hub.Built, error) {
	var in []built
	if err := gob.NewDecoder(from).Decode(&in); err != nil {
		return nil, err
	}
	out := make([]hub.Built, len(in))
	for i := range in {
		out[i].Module, out[i].Schema = in[i].Module, in[i].Schema
		if err := protocol.Unmarshal(in[i].Manifest, &out[i].Manifest); err != nil {
			return nil, err
		}
	}
	return out, nil
}

var (
	_ site = (*process)(nil)
	_ site = (*foreign)(nil)
)

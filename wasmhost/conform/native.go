package conform

import (
	"context"
	"io"
	"os/exec"
	"strings"
	"sync"
	"time"

	"github.com/stavily/stavily/protocol"
)

const (
	// inboxMax bounds what a process has said and nobody has read.
	inboxMax = 256 << 10
	// quiet is how long a process is listened to when it should have no more to say:
	// over pipes nobody sees that it waits for input.
	quiet = 20 * time.Millisecond
	// stderrMax bounds the bytes of stderr that are looked at.
	stderrMax = 64 << 10
)

// nativeRoom runs a program with the rights of whoever runs the suite.
type nativeRoom struct{ command []string }

func (r *nativeRoom) close(context.Context) {}

func (r *nativeRoom) start(stderr func(text string)) (guest, error) {
	ctx, cancel := context.WithCancel(context.Background())
	p := &process{inbox: newInbox(), cancel: cancel, done: make(chan struct{})}
	cmd := exec.CommandContext(ctx, r.command[0], r.command[1:]...)
	cmd.Env = []string{}
	cmd.WaitDelay = time.Second
	cmd.Stdout, cmd.Stderr = p.inbox, &lines{put: stderr, left: stderrMax}
	var err error
	if p.stdin, err = cmd.StdinPipe(); err == nil {
		err = cmd.Start()
	}
	if err != nil {
		cancel()
		return nil, protocol.Errorf(protocol.CodeUnavailable, "start: %w", err)
	}
	go func() {
		p.exit = cmd.Wait()
		cancel()
		p.close()
		close(p.done)
	}()
	return p, nil
}

// process is a native guest.
type process struct {
	*inbox
	stdin  io.WriteCloser
	cancel context.CancelFunc
	done   chan struct{} // closed when it has ended
	exit   error         // how; set before done is closed

	mu    sync.Mutex // guards the field below
	cause error      // why the suite ended it
}

// Write gives p to the process.
func (p *process) Write(b []byte) (int, error) { return p.stdin.Write(b) }

// Settle listens for a moment.
func (p *process) Settle() bool { return p.silent(quiet) }

// Finish ends stdin.
func (p *process) Finish() { _ = p.stdin.Close() }

// End kills the process.
func (p *process) End(cause error) {
	p.mu.Lock()
	if p.cause == nil {
		p.cause = cause
	}
	p.mu.Unlock()
	p.close()
	p.cancel()
}

// Wait waits for the end.
func (p *process) Wait(ctx context.Context) error {
	select {
	case <-p.done:
	case <-ctx.Done():
		return protocol.Errorf(protocol.CodeDeadline, "does not end: %w", ctx.Err())
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cause != nil || p.exit == nil {
		return p.cause
	}
	return protocol.Errorf(protocol.CodePlugin, "%w", p.exit)
}

// inbox is what a process says, until it is read.
type inbox struct {
	mu     sync.Mutex // guards the fields below
	cond   sync.Cond
	b      []byte
	closed bool
}

func newInbox() *inbox {
	i := &inbox{}
	i.cond.L = &i.mu
	return i
}

// Write waits while there is no room.
func (i *inbox) Write(b []byte) (int, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	for len(i.b) > inboxMax && !i.closed {
		i.cond.Wait()
	}
	if i.closed {
		return 0, io.ErrClosedPipe
	}
	i.b = append(i.b, b...)
	i.cond.Broadcast()
	return len(b), nil
}

// Read waits until there is something, and gives io.EOF after the end.
func (i *inbox) Read(b []byte) (int, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	for len(i.b) == 0 {
		if i.closed {
			return 0, io.EOF
		}
		i.cond.Wait()
	}
	n := copy(b, i.b)
	i.b = i.b[n:]
	i.cond.Broadcast()
	return n, nil
}

func (i *inbox) close() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.closed = true
	i.cond.Broadcast()
}

// silent waits at most d for more, and reports whether there was none.
func (i *inbox) silent(d time.Duration) bool {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	defer context.AfterFunc(ctx, func() {
		i.mu.Lock()
		defer i.mu.Unlock()
		i.cond.Broadcast()
	})()
	i.mu.Lock()
	defer i.mu.Unlock()
	for len(i.b) == 0 && !i.closed && ctx.Err() == nil {
		i.cond.Wait()
	}
	return len(i.b) == 0
}

// lines hands on what is written line by line, the first bytes only.
type lines struct {
	put  func(text string)
	part strings.Builder
	left int
}

// Write never fails.
func (l *lines) Write(p []byte) (int, error) {
	keep := p[:min(len(p), l.left)]
	l.left -= len(keep)
	for line := range strings.Lines(string(keep)) {
		l.part.WriteString(strings.TrimSuffix(line, "\n"))
		if strings.HasSuffix(line, "\n") {
			l.put(l.part.String())
			l.part.Reset()
		}
	}
	return len(p), nil
}

var (
	_ guest = (*process)(nil)
	_ room  = (*nativeRoom)(nil)
)

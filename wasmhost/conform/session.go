package conform

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/stavily/stavily/protocol"
	"github.com/stavily/stavily/wasmhost"
)

// fault is a promise that was broken, by the name of its check.
type fault struct {
	check string
	err   error
}

// session is one guest from its start to its end.
type session struct {
	guest   guest
	talk    *wasmhost.Conversation
	desk    *desk
	timeout time.Duration
	hello   wasmhost.Hello
	id      int64  // of the newest request
	said    []byte // all that the guest said
	heard   string // kind and id of the message that came since the host last spoke, kind "" for none
	heardID int64
	broke   error // what the carrier said when it gave nothing more
	widened bool  // what is said has keys that nobody knows
	late    bool  // it was ended because it took too long

	mu     sync.Mutex // guards the field below
	stderr []string
}

// Read listens to what the guest says.
func (s *session) Read(p []byte) (int, error) {
	n, err := s.guest.Read(p)
	if n == 0 && err != nil {
		s.broke = err
	}
	s.said = append(s.said, p[:n]...)
	return n, err
}

// Write gives to the guest.
func (s *session) Write(p []byte) (int, error) {
	n, err := s.guest.Write(p)
	if err != nil {
		s.broke = err
	}
	return n, err
}

// opening says how a session begins.
type opening struct {
	room    room
	setup   wasmhost.Setup
	desk    *desk
	edit    func(protocol.Raw) protocol.Raw // of all that is said, nil for none
	timeout time.Duration
	fits    func(wasmhost.Hello) error // nil takes every hello
}

// open starts a guest and brings it to where it can be asked. A guest that refuses its
// configuration has a fault of "ready" with CodePlugin or CodeRetryable. The session is
// there whenever a guest was started, and must be closed.
func open(ctx context.Context, o opening) (*session, *fault) {
	s := &session{desk: o.desk, timeout: o.timeout}
	g, err := o.room.start(s.log)
	if err != nil {
		return nil, &fault{"hello", err}
	}
	s.guest = g
	s.talk = wasmhost.NewConversation(s, wasmhost.Tap{
		Say: func(m protocol.Raw) protocol.Raw {
			s.heard, s.heardID = "", 0
			switch {
			case o.edit != nil:
				return o.edit(m)
			case s.widened:
				return widen(m, "new")
			}
			return m
		},
		Heard: func(kind string, id int64) { s.heard, s.heardID = kind, id },
	})
	var f *fault
	s.within(ctx, func() { f = s.begin(ctx, o) })
	return s, f
}

func (s *session) begin(ctx context.Context, o opening) *fault {
	var err error
	if s.hello, err = s.talk.Hello(); err != nil {
		return s.blame(ctx, "hello", err)
	}
	if o.fits != nil {
		if err := o.fits(s.hello); err != nil {
			return &fault{"hello", err}
		}
	}
	switch err := s.talk.SetUp(o.setup); {
	case isOwn(err):
		return &fault{"ready", err}
	case err != nil:
		return s.blame(ctx, "ready", err)
	}
	return s.settled("speaks before it is asked")
}

// settled wants that nothing more is said.
func (s *session) settled(otherwise string) *fault {
	if s.guest.Settle() && !s.talk.Unread() {
		return nil
	}
	return &fault{"order", errors.New(otherwise)}
}

// isOwn reports whether err is one that a plugin said itself.
func isOwn(err error) bool {
	code := protocol.CodeOf(err)
	return code == protocol.CodePlugin || code == protocol.CodeRetryable
}

// ask puts a request. The answer's Error is the plugin's own, or CodeLimit for an answer
// beyond a bound that costs the request only. stage is the check to blame for no answer.
func (s *session) ask(ctx context.Context, stage string, r wasmhost.Request) (a wasmhost.Answer, f *fault) {
	s.id++
	r.TimeoutMS = deadlineMS
	s.within(ctx, func() {
		var err error
		a, err = s.talk.Ask(r, s.desk.call)
		switch {
		case isOwn(err) || protocol.CodeOf(err) == protocol.CodeLimit:
			a.Error = protocol.AsError(err)
		case err != nil:
			f = s.blame(ctx, stage, err)
			return
		}
		f = s.settled("says more than was asked")
	})
	if f == nil && s.late {
		err := protocol.Errorf(protocol.CodeDeadline, "went on after its answer until its time was over")
		f = &fault{stage, err}
	}
	return a, f
}

// blame finds the promise that was broken when err ended the conversation at stage.
func (s *session) blame(ctx context.Context, stage string, err error) *fault {
	answered := s.heard == "answer" || s.heard == "error"
	switch {
	case s.broke != nil:
		return &fault{stage, s.gone(ctx)}
	case s.heard == "":
		return &fault{"messages", err}
	case s.id > 0 && answered && s.heardID != s.id:
		return &fault{"id", err}
	case s.heard == "call":
		return &fault{"calls", err}
	}
	return &fault{stage, err}
}

// gone says why nothing more came.
func (s *session) gone(ctx context.Context) error {
	if protocol.CodeOf(s.broke) == protocol.CodeContract {
		return s.broke // it waits for input
	}
	if !errors.Is(s.broke, io.EOF) && !errors.Is(s.broke, io.ErrClosedPipe) {
		s.guest.End(s.broke)
	}
	ctx, stop := context.WithTimeout(ctx, s.timeout)
	defer stop()
	how := s.guest.Wait(ctx)
	if protocol.CodeOf(how) == protocol.CodeDeadline {
		s.late = true
		return how
	}
	text := "exit 0"
	if how != nil {
		text = how.Error()
	}
	if first := s.log1(); first != "" {
		text += ": " + first
	}
	return protocol.Errorf(protocol.CodeContract, "ended: %s", text)
}

// within runs do and ends the guest when that takes too long.
func (s *session) within(ctx context.Context, do func()) {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	stop := context.AfterFunc(ctx, func() {
		s.guest.End(protocol.Errorf(protocol.CodeDeadline, "took longer than %d ms", s.timeout.Milliseconds()))
	})
	do()
	if !stop() {
		s.late = true
	}
}

// finish ends the guest's stdin and says how it ended, nil for exit 0.
func (s *session) finish(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, min(s.timeout, endPatience))
	defer cancel()
	s.guest.Finish()
	return s.guest.Wait(ctx)
}

// deadlineMS is what plugins are told that a request may take.
const deadlineMS = 10_000

// endPatience bounds how long a guest may take to end after its stdin has.
const endPatience = 2 * time.Second

// close ends the guest and waits for it. It may be called on no session.
func (s *session) close(ctx context.Context) {
	if s == nil {
		return
	}
	s.guest.Finish()
	s.guest.End(errors.New("the suite has seen enough"))
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), endPatience)
	defer cancel()
	_ = s.guest.Wait(ctx)
}

// log keeps a line of stderr.
func (s *session) log(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.stderr) < 256 {
		s.stderr = append(s.stderr, text)
	}
}

// logged returns how many lines of stderr were kept.
func (s *session) logged() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.stderr)
}

// log1 returns the first line of stderr.
func (s *session) log1() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.stderr) == 0 {
		return ""
	}
	return fmt.Sprintf("%.200s", s.stderr[0])
}

var _ io.ReadWriter = (*session)(nil)

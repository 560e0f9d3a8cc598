package main

import (
	"context"
	"hash/maphash"
	"log/slog"
	"sync"
	"time"
)

const (
	// logBurst lines may come at once, and logRate in a second from then on: what fails
	// again and again must not fill a flash.
	logBurst = 500
	logRate  = 10
	// logRepeat is how long a line that is the same as the one before is only counted.
	logRepeat = time.Minute
)

// thrift is a slog.Handler that bounds a log: a line that says the same as the one before is
// counted instead of written, for a minute at most, and above a rate lines are left out and
// counted, errors too.
type thrift struct {
	inner slog.Handler
	said  *said
	given string // what WithAttrs and WithGroup gave it: other loggers say other lines
}

// said is what all handlers of one log have in common.
type said struct {
	seed maphash.Seed

	mu       sync.Mutex // guards the fields below
	last     uint64     // of the line written last
	at       time.Time  // when it was
	repeated uint64     // lines since that said the same
	tokens   float64
	filled   time.Time // when tokens was counted
	lost     uint64    // lines left out since one was written
}

func newThrift(inner slog.Handler) *thrift {
	return &thrift{inner: inner, said: &said{seed: maphash.MakeSeed(), tokens: logBurst}}
}

// Enabled is the inner handler's.
func (h *thrift) Enabled(ctx context.Context, l slog.Level) bool { return h.inner.Enabled(ctx, l) }

// WithAttrs is the inner handler's, within the same bounds.
func (h *thrift) WithAttrs(attrs []slog.Attr) slog.Handler {
	given := h.given
	for _, a := range attrs {
		given += "\x00" + a.String()
	}
	return &thrift{h.inner.WithAttrs(attrs), h.said, given}
}

// WithGroup is the inner handler's, within the same bounds.
func (h *thrift) WithGroup(name string) slog.Handler {
	return &thrift{h.inner.WithGroup(name), h.said, h.given + "\x00" + name}
}

// Handle writes the record, or counts it.
func (h *thrift) Handle(ctx context.Context, r slog.Record) error {
	repeated, lost, write := h.said.take(h.said.sum(h.given, r), r.Time)
	if !write {
		return nil
	}
	if repeated > 0 {
		r.AddAttrs(slog.Uint64("line_before_said_again", repeated))
	}
	if lost > 0 {
		r.AddAttrs(slog.Uint64("lines_left_out", lost))
	}
	return h.inner.Handle(ctx, r)
}

// sum is the same for records that say the same, by loggers that were given the same.
func (s *said) sum(given string, r slog.Record) uint64 {
	var h maphash.Hash
	h.SetSeed(s.seed)
	_, _ = h.WriteString(given + "\x00" + r.Level.String() + "\x00" + r.Message)
	r.Attrs(func(a slog.Attr) bool {
		_, _ = h.WriteString("\x00" + a.String())
		return true
	})
	return h.Sum64()
}

// take decides on a line, and returns what the log is to say of those that were not written.
func (s *said) take(sum uint64, now time.Time) (repeated, lost uint64, write bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if sum == s.last && !s.at.IsZero() && now.Sub(s.at) < logRepeat && !now.Before(s.at) {
		s.repeated++
		return 0, 0, false
	}
	if past := now.Sub(s.filled); !s.filled.IsZero() && past > 0 {
		s.tokens = min(logBurst, s.tokens+past.Seconds()*logRate)
	}
	s.filled = now
	if s.tokens < 1 {
		s.lost++
		return 0, 0, false
	}
	s.tokens--
	repeated, lost = s.repeated, s.lost
	s.last, s.at, s.repeated, s.lost = sum, now, 0, 0
	return repeated, lost, true
}

var _ slog.Handler = (*thrift)(nil)

package main

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"
)

// speech is a log and what was written into it, without times.
type speech struct {
	said bytes.Buffer
	log  slog.Handler
}

func newSpeech() *speech {
	s := &speech{}
	s.log = newThrift(slog.NewTextHandler(&s.said, &slog.HandlerOptions{
		ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		},
	}))
	return s
}

func (s *speech) say(t *testing.T, after time.Duration, text string, attrs ...slog.Attr) {
	t.Helper()
	r := slog.NewRecord(time.Unix(1_800_000_000, 0).Add(after), slog.LevelError, text, 0)
	r.AddAttrs(attrs...)
	if err := s.log.Handle(context.Background(), r); err != nil {
		t.Fatal(err)
	}
}

func TestLogCountsRepeats(t *testing.T) {
	s := newSpeech()
	for i := range 70 {
		s.say(t, time.Duration(i)*time.Second, "disk refuses", slog.String("error", "full"))
	}
	s.say(t, 71*time.Second, "disk refuses", slog.String("error", "other"))
	s.say(t, 72*time.Second, "disk refuses", slog.String("error", "full"))
	const want = `level=ERROR msg="disk refuses" error=full
level=ERROR msg="disk refuses" error=full line_before_said_again=59
level=ERROR msg="disk refuses" error=other line_before_said_again=9
level=ERROR msg="disk refuses" error=full
`
	if got := s.said.String(); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

func TestLogIsBoundedByRate(t *testing.T) {
	s := newSpeech()
	for i := range 10_000 { // in one second
		s.say(t, time.Duration(i)*100*time.Microsecond, fmt.Sprint("line ", i))
	}
	if n := strings.Count(s.said.String(), "\n"); n < logBurst || n > logBurst+logRate {
		t.Errorf("%d lines of a second, want some %d", n, logBurst)
	}
	s.said.Reset()
	s.say(t, 2*time.Second, "calm again")
	if got := s.said.String(); !strings.Contains(got, `msg="calm again" lines_left_out=`) {
		t.Errorf("got %s", got)
	}
	s.said.Reset()
	for i := range 2000 { // a day behind a clock that was set back
		s.say(t, -24*time.Hour, fmt.Sprint("back ", i))
	}
	if n := strings.Count(s.said.String(), "\n"); n > logRate {
		t.Errorf("%d lines after the clock was set back", n)
	}
}

// All loggers that are made of one share its bounds, and keep what they were given.
func TestLogSharesItsBounds(t *testing.T) {
	s := newSpeech()
	log := slog.New(s.log)
	for i := range logBurst { // lines that differ in what their logger was given only
		log.With(slog.Int("of", i)).WithGroup("g").Error("line", slog.Int("n", 7))
	}
	log.Error("one more, within the second")
	if got := s.said.String(); strings.Count(got, "\n") < logBurst || strings.Count(got, "\n") > logBurst+logRate || !strings.Contains(got, "of=7 g.n=7") {
		t.Errorf("%d lines", strings.Count(got, "\n"))
	}
}

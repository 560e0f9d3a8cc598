package sim

import (
	"bufio"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/stavily/stavily/sim/scenario"
)

const stepHelp = `enter  the next thing that happens to the agent
N      the next N of them, such as 20
+TIME  so long on, such as +5m
s      show the agent
a NAME go on with another agent
h      this
q      the end
`

// stepper lets a replay go on step by step, as somebody asks.
type stepper struct {
	w    *World
	d    *device
	tail *tail
	end  int64
	in   *bufio.Scanner
	out  io.Writer
}

// run reads one word after the other until there is none, or the scenario ends.
func (s *stepper) run() error {
	fmt.Fprint(s.out, "step by step; h tells how\n")
	for s.w.now < s.end {
		fmt.Fprintf(s.out, "+%s %s> ", time.Duration(s.w.now), s.d.stats.Name)
		if !s.in.Scan() {
			fmt.Fprintln(s.out)
			return s.in.Err()
		}
		done, err := s.do(strings.TrimSpace(s.in.Text()))
		if done || err != nil {
			return err
		}
	}
	fmt.Fprintf(s.out, "+%s the end\n", time.Duration(s.w.now))
	return nil
}

func (s *stepper) do(word string) (done bool, err error) {
	name, named := strings.CutPrefix(word, "a ")
	n, numberErr := strconv.Atoi(word)
	switch {
	case word == "q":
		return true, nil
	case word == "h":
		fmt.Fprint(s.out, stepHelp)
	case word == "s":
		return false, s.d.show(s.out, false, s.tail)
	case word == "":
		return false, s.step(1)
	case numberErr == nil && n > 0:
		return false, s.step(n)
	case strings.HasPrefix(word, "+"):
		if d, wrong := scenario.ParseDuration(word[1:]); wrong == nil && d > 0 {
			return false, s.until(min(s.end, s.w.now+int64(d)), -1)
		}
		fmt.Fprintf(s.out, "%q: want a time such as +5m\n", word)
	case named && s.w.byName[name] != nil:
		s.d = s.w.byName[name]
		s.w.watch(s.d, s.tail)
	case named:
		fmt.Fprintf(s.out, "no agent %q\n", name)
	default:
		fmt.Fprintf(s.out, "%q: h tells what there is\n", word)
	}
	return false, nil
}

// step lets n more things happen to the agent.
func (s *stepper) step(n int) error { return s.until(s.end, s.tail.seen+n) }

// until lets the world go on up to a moment, or until so many lines have told of the agent.
func (s *stepper) until(end int64, seen int) error {
	s.tail.tee = s.out
	s.w.watched.told = func(m *message) {
		fmt.Fprintf(s.out, "  +%s %s %s\n", time.Duration(s.w.now), m.Kind, clean(said(m.Body)))
	}
	defer func() { s.tail.tee, s.w.watched.told = nil, nil }()
	for s.tail.seen < seen || seen < 0 {
		at, some := s.w.queue.next()
		if !some || at > end {
			return s.w.runTo(end)
		}
		if err := s.w.runItem(); err != nil {
			return err
		}
	}
	return nil
}

// watch has a replay show d.
func (w *World) watch(d *device, t *tail) {
	t.word = " " + d.addr.String() + " "
	t.lines, w.watched.messages = nil, nil
	w.watched.d, w.watched.keep = d, t.keep
}

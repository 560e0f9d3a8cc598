package main

import (
	"fmt"
	"time"
)

const startRounds = 7

// startUp is N3: from the start of a process to its first event out, on an agent that
// has compiled its three plugins before. Beside it the start of a program that says
// hello.
func startUp(b *bench) ([]line, error) {
	program, err := b.hello()
	if err != nil {
		return nil, err
	}
	starts := b.path("agent")
	if err := b.goBuild(".", starts, "./internal/bench/agent"); err != nil {
		return nil, err
	}
	var out []line
	for _, v := range []struct {
		language, what string
		most           float64
	}{
		{inRust, "three Rust plugins of 0.1 MB", 15},
		{inBoth, "a Go plugin of 3 MB between Rust ones", 70},
		{inGo, "three Go plugins of 3 MB", 70},
	} {
		c, err := b.newCourse(v.language, 1, 1000)
		if err != nil {
			return out, err
		}
		if _, err := c.agentRound(); err != nil { // fetches, compiles, and leaves all of it on disk
			return out, err
		}
		agent := func() (float64, error) {
			return b.firstWord("out", func() (*process, error) { return b.start(starts, b.path(c.state)) })
		}
		hello := func() (float64, error) {
			return b.firstWord("hello", func() (*process, error) { return b.start(program) })
		}
		value, base, err := inTurn(startRounds, agent, hello)
		if err != nil {
			return out, err
		}
		out = append(out, line{
			"process start to first event out, " + v.what + " from cache", value, "ms",
			"hello program", base, atMost(v.most),
		})
	}
	return out, nil
}

// firstWord returns the ms from the start of a process to what it says first.
func (b *bench) firstWord(want string, start func() (*process, error)) (float64, error) {
	began := time.Now()
	p, err := start()
	if err != nil {
		return 0, err
	}
	defer p.end()
	got, err := p.hear()
	if err == nil && got != want {
		err = fmt.Errorf("process says %q, want %q", got, want)
	}
	return time.Since(began).Seconds() * 1000, err
}

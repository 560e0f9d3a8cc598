package main

import (
	"errors"
	"time"

	"github.com/stavily/stavily/wasmhost"
)

const coldRounds = 5

// coldStart is L2: the CPU time from nothing in memory to the first answer of an action in
// each language, whose compiled code lies on disk; the interpreter keeps none. Beside it the
// same in Go as a process of its own, from its start to its end.
func coldStart(b *bench) ([]line, error) {
	program, err := b.nativeProgram()
	if err != nil {
		return nil, err
	}
	native := func() (float64, error) {
		p, err := b.nativeStart(program)
		if err != nil {
			return 0, err
		}
		p.end()
		return inMS(p.cmd.ProcessState.UserTime() + p.cmd.ProcessState.SystemTime()), nil
	}
	most := map[string]bound{
		inGo: {100, 500}, inRust: {15, 60}, inJavaScript: {50, 250}, inPython: {250, 5000},
	}
	var out []line
	err = b.eachLanguage(&out, "cold start of an action", func(s *sample) error {
		for _, interpreted := range []bool{false, true} {
			cold := func() (float64, error) { return b.coldCall(s, interpreted) }
			if _, err := cold(); err != nil { // leaves its code on disk
				return err
			}
			value, base, err := calmInTurn(coldRounds, cold, native)
			if err != nil {
				return err
			}
			out = append(out, line{
				"CPU of a cold start of an action in " + s.language + ", " + engineOf(interpreted), value, "ms",
				"Go process", base, most[s.language].of(interpreted),
			})
		}
		return nil
	})
	return out, err
}

// coldCall returns the ms of CPU of a load with its first answer.
func (b *bench) coldCall(s *sample, interpreted bool) (float64, error) {
	began, err := cpuTime()
	if err != nil {
		return 0, err
	}
	host, p, err := b.warmed(s, interpreted)
	if err != nil {
		return 0, err
	}
	ended, err := cpuTime()
	p.Close(b.ctx)
	return inMS(ended - began), errors.Join(err, host.Close(b.ctx))
}

// warmed is a host with an instance of the sample that has answered once.
func (b *bench) warmed(s *sample, interpreted bool) (*wasmhost.Host, *wasmhost.Plugin, error) {
	host, err := b.sampleHost(interpreted)
	if err != nil {
		return nil, nil, err
	}
	p, err := s.load(b, host)
	if err == nil {
		err = b.call(p)
	}
	if err != nil {
		_ = host.Close(b.ctx)
		return nil, nil, err
	}
	return host, p, nil
}

func inMS(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

package main

import (
	"errors"
	"time"
)

const (
	languageRounds = 5
	languageTime   = 100 * time.Millisecond // of CPU, of the guest in each round
	nativeCalls    = 3000                   // the kernel counts a process in steps of 10 ms
)

// languageCall is L4: the CPU time of a warm call of an action in each language with an event
// of 200 bytes, which makes two host calls. Beside it the same in Go as a process, over pipes.
func languageCall(b *bench) ([]line, error) {
	program, err := b.nativeProgram()
	if err != nil {
		return nil, err
	}
	base, err := b.nativeWarm(program)
	if err != nil {
		return nil, err
	}
	most := map[string]bound{
		inGo: {150, 3000}, inRust: {20, 600}, inJavaScript: {150, 5000}, inPython: {200, 5000},
	}
	var out []line
	err = b.eachLanguage(&out, "CPU of a warm call of an action", func(s *sample) error {
		for _, interpreted := range []bool{false, true} {
			value, err := b.timeCalls(s, interpreted)
			if err != nil {
				return err
			}
			out = append(out, line{
				"CPU of a warm call of an action in " + s.language + ", " + engineOf(interpreted), value, "µs",
				"Go process", base, most[s.language].of(interpreted),
			})
		}
		return nil
	})
	return out, err
}

// timeCalls returns the µs of CPU of a warm call of the sample, in the calmest round.
func (b *bench) timeCalls(s *sample, interpreted bool) (float64, error) {
	host, p, err := b.warmed(s, interpreted)
	if err != nil {
		return 0, err
	}
	defer host.Close(b.ctx)
	var rounds []float64
	for range languageRounds {
		took, calls := time.Duration(0), 0
		for began, err := cpuTime(); took < languageTime; calls++ {
			if err = errors.Join(err, b.call(p)); err != nil {
				return 0, err
			}
			now, err := cpuTime()
			if err != nil {
				return 0, err
			}
			took = now - began
		}
		rounds = append(rounds, inMS(took)*1000/float64(calls))
	}
	return quantile(rounds, calmest), nil
}

// nativeWarm returns the µs of CPU of a call of the sample as a process of its own.
func (b *bench) nativeWarm(program string) (float64, error) {
	p, err := b.nativeStart(program)
	if err != nil {
		return 0, err
	}
	began, err := p.cpu()
	if err != nil {
		return 0, err
	}
	for i := range nativeCalls {
		if err := p.nativeCall(i + 2); err != nil {
			return 0, err
		}
	}
	ended, err := p.cpu()
	return inMS(ended-began) * 1000 / nativeCalls, err
}

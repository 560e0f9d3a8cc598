package main

import "time"

// languageRounds are fewer than warmRounds: a call takes milliseconds in the interpreter.
const languageRounds = 40

// languageCall is L4: a warm call of an action in each language with an event of 200 bytes,
// which makes two host calls. Beside it the same in Go as a process, over pipes.
func languageCall(b *bench) ([]line, error) {
	program, err := b.nativeProgram()
	if err != nil {
		return nil, err
	}
	native, err := b.nativeStart(program)
	if err != nil {
		return nil, err
	}
	most := map[string]bound{
		inGo: {150, 3000}, inRust: {20, 600}, inJavaScript: {150, 5000}, inPython: {200, 5000},
	}
	var out []line
	err = b.eachLanguage(&out, "warm call of an action", func(s *sample) error {
		for _, interpreted := range []bool{false, true} {
			value, base, err := b.timeCalls(s, interpreted, native)
			if err != nil {
				return err
			}
			out = append(out, line{
				"warm call of an action in " + s.language + ", " + engineOf(interpreted), value / 1000, "µs",
				"Go process", base / 1000, most[s.language].of(interpreted),
			})
		}
		return nil
	})
	return out, err
}

// timeCalls returns the ns of a warm call of the sample, and of the same of a process.
func (b *bench) timeCalls(s *sample, interpreted bool, native *process) (guest, process float64, err error) {
	host, p, err := b.warmed(s, interpreted)
	if err != nil {
		return 0, 0, err
	}
	defer host.Close(b.ctx)
	warm := func() (float64, error) {
		began, calls := time.Now(), 0
		for ; time.Since(began) < warmTime; calls++ {
			if err := b.call(p); err != nil {
				return 0, err
			}
		}
		return float64(time.Since(began).Nanoseconds()) / float64(calls), nil
	}
	return calmInTurn(languageRounds, warm, native.nativeCalls)
}

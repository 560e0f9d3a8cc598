package main

import "github.com/stavily/stavily/wasmhost"

// warmMemory is L3: the memory of one more warm instance of an action in each language, and
// what its code takes once for all of them. Beside both the same in Go as a process.
func warmMemory(b *bench) ([]line, error) {
	program, err := b.nativeProgram()
	if err != nil {
		return nil, err
	}
	p, err := b.nativeStart(program)
	if err != nil {
		return nil, err
	}
	base, err := p.resident()
	if err != nil {
		return nil, err
	}
	base /= 1 << 20
	instance := map[string]bound{inGo: {8, 8}, inRust: {2, 2}, inJavaScript: {3, 3}, inPython: {16, 16}}
	code := map[string]bound{inGo: {80, 120}, inRust: {10, 15}, inJavaScript: {15, 30}, inPython: {80, 200}}
	var out []line
	err = b.eachLanguage(&out, "memory of an action", func(s *sample) error {
		for _, interpreted := range []bool{false, true} {
			one, shared, err := b.weighSample(s, interpreted)
			if err != nil {
				return err
			}
			of := " of an action in " + s.language + ", " + engineOf(interpreted)
			out = append(out,
				line{"warm instance" + of, one, "MiB", "Go process", base, instance[s.language].of(interpreted)},
				line{"code" + of, shared, "MiB", "Go process", base, code[s.language].of(interpreted)})
		}
		return nil
	})
	return out, err
}

// weighSample returns the MiB of one more instance and of the code that all share.
func (b *bench) weighSample(s *sample, interpreted bool) (instance, code float64, err error) {
	const more = 4
	empty, err := weight()
	if err != nil {
		return 0, 0, err
	}
	host, first, err := b.warmed(s, interpreted)
	if err != nil {
		return 0, 0, err
	}
	defer host.Close(b.ctx)
	all := []*wasmhost.Plugin{first}
	one, err := weight()
	for range more {
		if err != nil {
			return 0, 0, err
		}
		var p *wasmhost.Plugin
		if p, err = s.load(b, host); err == nil {
			err = b.call(p)
		}
		all = append(all, p)
	}
	if err != nil {
		return 0, 0, err
	}
	full, err := weight()
	for _, p := range all {
		p.Close(b.ctx)
	}
	instance = (full - one) / more
	return instance, one - empty - instance, err
}

package main

import (
	"errors"
	"math"
)

// artifactBytes is L1: what an agent fetches of one action in each language, and once for
// all plugins of a language that needs an engine. Beside it the module of Go.
func artifactBytes(b *bench) ([]line, error) {
	var out []line
	var base float64
	err := b.eachLanguage(&out, "bytes of an action", func(s *sample) error {
		bytes, engine := float64(len(s.module)), 0.0
		if s.script != nil {
			bytes, engine = float64(len(s.script)), float64(len(s.module)+s.library)
		}
		if s.language == inGo {
			base = bytes
		}
		most := map[string]float64{inGo: 4500, inRust: 200, inJavaScript: 20, inPython: 50}[s.language]
		what := "bytes of an action in " + s.language
		out = append(out, line{what, bytes / 1000, "kB", "Go", base / 1000, atMost(most)})
		if engine > 0 {
			most := map[string]float64{inJavaScript: 700, inPython: 11_000}[s.language]
			out = append(out, line{
				"bytes of the engine of " + s.language + ", once", engine / 1000, "kB", "Go", base / 1000, atMost(most),
			})
		}
		return nil
	})
	return out, err
}

// eachLanguage builds the sample in every language and measures it. A language without its
// engine gets a line without a number, which says so.
func (b *bench) eachLanguage(out *[]line, what string, measure func(*sample) error) error {
	for _, language := range languages {
		s, err := b.sample(language)
		if errors.Is(err, errNoEngine) {
			missing := line{metric: what + " in " + language + ": " + errNoEngine.Error(), baseline: "Go"}
			missing.value, missing.base = math.NaN(), math.NaN()
			*out = append(*out, missing)
			continue
		}
		if err == nil {
			err = measure(s)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// engineOf names an engine.
func engineOf(interpreted bool) string {
	if interpreted {
		return "interpreted"
	}
	return "compiled"
}

// bound is the most that a number of a language may be, compiled and interpreted.
type bound struct{ compiled, interpreted float64 }

func (b bound) of(interpreted bool) target {
	if interpreted {
		return atMost(b.interpreted)
	}
	return atMost(b.compiled)
}

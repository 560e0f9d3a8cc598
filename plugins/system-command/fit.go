package main

import (
	"encoding/json"
	"unicode/utf8"

	"github.com/stavily/stavily/plugins/sdk/go"
)

// dataMax bounds the result as JSON in bytes: what a step's data may have.
const dataMax = 24 << 10

// fit shortens the longer output until the whole fits a result: control characters take
// six bytes each in JSON, and both streams count.
func fit(exit stavily.Exit) stavily.Exit {
	for size(exit) > dataMax {
		longer := &exit.Stdout
		if len(exit.Stderr) > len(exit.Stdout) {
			longer = &exit.Stderr
		}
		*longer = cut(*longer, len(*longer)*3/4)
		exit.Truncated = true
	}
	return exit
}

func size(exit stavily.Exit) int {
	b, err := json.Marshal(exit)
	if err != nil { // strings and numbers always marshal
		return 0
	}
	return len(b)
}

// cut returns the first n bytes of a text, or a few less so as to cut no character.
func cut(text string, n int) string {
	for n > 0 && n < len(text) && !utf8.RuneStart(text[n]) {
		n--
	}
	return text[:n]
}

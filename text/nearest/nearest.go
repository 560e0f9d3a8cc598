// Package nearest finds the word that somebody meant.
package nearest

import (
	"fmt"
	"slices"
	"strings"
)

// Suggest names the known word nearest to the one written, or all when none is near. What
// follows a parenthesis in a known word does not count. It begins with a semicolon.
func Suggest(word string, known []string) string {
	if best := Word(word, known); best != "" {
		return fmt.Sprintf("; did you mean %q?", best)
	}
	known = slices.Clone(known)
	slices.Sort(known)
	return "; known are " + strings.Join(known, ", ")
}

// Word returns the known word nearest to the one written, by less than three letters; empty
// for none.
func Word(word string, known []string) (best string) {
	near := 3
	for _, k := range known {
		bare, _, _ := strings.Cut(k, "(")
		if d := distance(word, bare); d < near && d < len(word) {
			best, near = k, d
		}
	}
	return best
}

// distance is the edit distance of Levenshtein.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost = 1 + min(diagonal, row[j], row[j+1])
			}
			diagonal, row[j+1] = row[j+1], cost
		}
	}
	return row[len(b)]
}

package source

import "strings"

// inList holds name against a comma list of patterns: 1 for a match, -1 when a negated pattern matches,
// else 0. A negated pattern wins wherever it stands.
func inList(name, list string) int {
	found := 0
	for _, written := range strings.Split(list, ",") {
		p, negated := strings.CutPrefix(written, "!")
		if !matches(name, p) {
			continue
		}
		if negated {
			return -1
		}
		found = 1
	}
	return found
}

// matches holds name against one pattern, where * is any text and ? is any one byte. It goes back to the
// latest star only, so its time is at most the product of the two lengths.
func matches(name, pattern string) bool {
	n, p := 0, 0
	star, from := -1, 0
	for n < len(name) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, from = p, n
			p++
		case p < len(pattern) && (pattern[p] == '?' || pattern[p] == name[n]):
			n++
			p++
		case star >= 0:
			from++
			n, p = from, star+1
		default:
			return false
		}
	}
	return strings.Trim(pattern[p:], "*") == ""
}

// firstName is the first pattern of a list that excludes nobody: what the file calls the key's owner.
func firstName(list string) string {
	for _, p := range strings.Split(list, ",") {
		if !strings.HasPrefix(p, "!") {
			return p
		}
	}
	return ""
}

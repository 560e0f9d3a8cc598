package nearest

import "testing"

func TestSuggest(t *testing.T) {
	known := []string{"count", "every", "fleet.active(workflow)"}
	for word, want := range map[string]string{
		"cuont":       `; did you mean "count"?`,
		"fleet.activ": `; did you mean "fleet.active(workflow)"?`,
		"x":           `; known are count, every, fleet.active(workflow)`, // as near to anything of one letter
		"zzzzzz":      `; known are count, every, fleet.active(workflow)`,
		"":            `; known are count, every, fleet.active(workflow)`,
	} {
		if got := Suggest(word, known); got != want {
			t.Errorf("%q: got %s, want %s", word, got, want)
		}
	}
}

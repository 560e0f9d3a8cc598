package cli

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stavily/stavily/hub/api"
	"github.com/stavily/stavily/hub/document"
)

// Below each line that tells of a mistake stands the line at fault with a caret, however many
// there are and whoever told of them.
func TestEveryMistakeHasItsCaret(t *testing.T) {
	one := &document.Error{File: "w.yaml", Line: 2, Column: 3, Path: "a", Text: "is wrong", Source: "  a: 1"}
	two := &document.Error{File: "w.yaml", Line: 9, Column: 4, Path: "b.c", Text: "is worse", Source: "   c: 2"}
	all := document.Errors{one, two}
	const first, second = "w.yaml:2:3: a: is wrong\n    2 |   a: 1\n      |   ^\n", "w.yaml:9:4: b.c: is worse\n    9 |    c: 2\n      |    ^\n"
	for _, c := range []struct {
		name string
		err  error
		want string
	}{
		{"one", one, "stavily: " + first},
		{"two", all, "stavily: " + first + second},
		{"one, wrapped", fmt.Errorf("rehearse: %w", one), "stavily: rehearse: " + first},
		{"of the hub", &api.Error{Text: one.Error(), Place: one}, "stavily: " + first},
		{"two of the hub", &api.Error{Text: all.Error(), Place: one, Places: all}, "stavily: " + first + second},
		{"without a place", &api.Error{Text: "no"}, "stavily: no\n"},
	} {
		var b strings.Builder
		if report(&b, c.err); b.String() != c.want {
			t.Errorf("%s:\n%s\nwant\n%s", c.name, b.String(), c.want)
		}
	}
}

package source

import (
	"errors"
	"fmt"
	"testing"
)

// O-08: a repository of 100,000 files is refused by the limit that it breaks, in one folder
// and over many, and nobody has to say so beforehand.
func TestHundredThousandFiles(t *testing.T) {
	l := newLab(t)
	blob := l.object("blob", []byte("x"))
	files := func(n int) string {
		rows := make([]row, n)
		for i := range rows {
			rows[i] = row{modeFile, fmt.Sprintf("f%06d", i), blob}
		}
		return l.tree(rows...)
	}
	l.version("v1.0.0", files(100_000))
	thousand, folders := files(1000), []row{}
	for i := range 100 {
		folders = append(folders, row{modeFolder, fmt.Sprintf("d%03d", i), thousand})
	}
	l.version("v1.0.1", l.tree(folders...))
	for _, tag := range []string{"v1.0.0", "v1.0.1"} {
		_, err := fetchTag(t, l.dir, tag)
		var limit *LimitError
		if !errors.As(err, &limit) || limit.Limit != int64(DefaultLimits().Files) {
			t.Errorf("%s: got %v, want the limit of %d files", tag, err, DefaultLimits().Files)
		}
	}
}

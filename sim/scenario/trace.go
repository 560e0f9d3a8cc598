package scenario

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/stavily/stavily/text/strict"
)

const (
	tracePointsMax = 1 << 20
	// A step this many times the usual one, in a trace of even steps, is a hole.
	holeFactor = 1.5
)

// readTrace reads the CSV of a replayed signal. What is wrong with it is told by row and
// column of the CSV.
func readTrace(v value, s *Signal) {
	path, ok := v.scalar("a CSV file")
	if !ok {
		return
	}
	if v.r.files == nil {
		v.errorf("%s: no files can be read here", path)
		return
	}
	text, err := v.r.files.ReadFile(path)
	if err != nil {
		v.errorf("%v", err)
		return
	}
	t := traceReader{file: path, rows: csv.NewReader(bytes.NewReader(text))}
	t.column, t.hold = s.column, s.hold
	trace, err := t.read()
	var wrong *Error
	if errors.As(err, &wrong) {
		wrong.Text += fmt.Sprintf(" (replayed on line %d of %s)", v.node.Line, v.r.Name())
		wrong.From = [2]int{v.node.Line, v.node.Column}
		v.r.Add(wrong)
		return
	}
	s.Trace = trace
}

// A traceReader reads one CSV: a head, then rows of a time and values. Times are RFC
// 3339, durations, or numbers of seconds.
type traceReader struct {
	file   string
	column string // of the value, by its head; empty for the second
	hold   bool
	rows   *csv.Reader
	width  int
	value  int
	first  time.Time
	points []Point
	lines  []int // of the points
}

func (t *traceReader) read() (*Trace, error) {
	t.rows.FieldsPerRecord = -1
	t.rows.ReuseRecord = true
	head, err := t.rows.Read()
	if err != nil {
		return nil, t.broken(err)
	}
	if err := t.head(head); err != nil {
		return nil, err
	}
	for {
		row, err := t.rows.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, t.broken(err)
		}
		if err := t.row(row); err != nil {
			return nil, err
		}
	}
	return t.whole()
}

func (t *traceReader) head(head []string) error {
	t.width, t.value = len(head), 1
	if t.width < 2 {
		return t.errorf(0, "%d columns, want a time and a value at least", t.width)
	}
	if _, err := parseNumber(strings.TrimSpace(head[1])); err == nil {
		return t.errorf(0, "the first row is data, want the columns' names such as time,value")
	}
	if t.column == "" {
		return nil
	}
	if t.value = slices.Index(head, t.column); t.value < 1 {
		return t.errorf(0, "no column %q; there are %s", t.column, strings.Join(head[1:], ", "))
	}
	return nil
}

func (t *traceReader) row(row []string) error {
	if len(row) != t.width {
		return t.errorf(min(len(row), t.width)-1, "%d cells, the head has %d", len(row), t.width)
	}
	at, err := t.time(strings.TrimSpace(row[0]))
	if err != nil {
		return t.errorf(0, "%v", err)
	}
	cell := strings.TrimSpace(row[t.value])
	number, err := parseNumber(cell)
	switch {
	case cell == "":
		return t.errorf(t.value, "a hole: the cell is empty")
	case err != nil:
		return t.errorf(t.value, "a hole: %q is no number", strict.Clip(cell))
	case len(t.points) > 0 && at <= t.points[len(t.points)-1].At:
		return t.errorf(0, "time %s is not after the row before", strict.Clip(row[0]))
	case len(t.points) >= tracePointsMax:
		return t.errorf(0, "more than %d rows", tracePointsMax)
	}
	line, _ := t.rows.FieldPos(0)
	t.points = append(t.points, Point{At: at, Value: number})
	t.lines = append(t.lines, line)
	return nil
}

// time reads the first cell of a row, and counts from the first row.
func (t *traceReader) time(cell string) (time.Duration, error) {
	moment, err := time.Parse(time.RFC3339Nano, cell)
	if err != nil {
		d, durationErr := parseDuration(cell)
		if seconds, numberErr := parseNumber(cell); numberErr == nil && seconds >= -1e10 && seconds <= 1e10 {
			d, durationErr = time.Duration(seconds*float64(time.Second)), nil
		}
		if durationErr != nil {
			return 0, fmt.Errorf("a hole: %q is no time; want RFC 3339, a duration or seconds", strict.Clip(cell))
		}
		moment = time.Unix(0, 0).Add(d)
	}
	if len(t.points) == 0 {
		t.first = moment
	}
	return moment.Sub(t.first), nil
}

// whole looks at the trace as a whole: a trace of even steps has no step left out.
func (t *traceReader) whole() (*Trace, error) {
	n := len(t.points)
	if n < 2 {
		return nil, &Error{File: t.file, Text: fmt.Sprintf("%d rows of data, want two at least", n)}
	}
	steps := make([]time.Duration, n-1)
	for i := range steps {
		steps[i] = t.points[i+1].At - t.points[i].At
	}
	sorted := slices.Sorted(slices.Values(steps))
	usual := sorted[len(sorted)/2]
	even := len(slices.DeleteFunc(sorted, func(d time.Duration) bool {
		return float64(d) < float64(usual)/holeFactor || float64(d) > float64(usual)*holeFactor
	}))
	for i, d := range steps {
		if !t.hold && even*10 >= len(steps)*9 && float64(d) > float64(usual)*holeFactor {
			return nil, &Error{File: t.file, Line: t.lines[i+1], Column: 1, Text: fmt.Sprintf(
				"a hole: %s since the row before, where rows come each %s; "+
					"say gaps: hold to let the value stand, or gaps: line",
				formatDuration(d), formatDuration(usual))}
		}
	}
	return &Trace{File: t.file, Length: t.points[n-1].At + usual, Points: t.points}, nil
}

// errorf returns an error at a cell of the row read last.
func (t *traceReader) errorf(cell int, format string, args ...any) error {
	line, column := t.rows.FieldPos(max(0, cell))
	return &Error{File: t.file, Line: line, Column: column, Text: fmt.Sprintf(format, args...)}
}

func (t *traceReader) broken(err error) error {
	if errors.Is(err, io.EOF) {
		return &Error{File: t.file, Text: "empty"}
	}
	var at *csv.ParseError
	if errors.As(err, &at) {
		return &Error{File: t.file, Line: at.Line, Column: at.Column, Text: at.Err.Error()}
	}
	return &Error{File: t.file, Text: err.Error()}
}

package runs

import (
	"slices"
	"strings"

	"github.com/stavily/stavily/hub/store"
	"github.com/stavily/stavily/protocol"
)

// bulkSizes are how many rows one statement writes or asks for, the largest first: few
// texts, so that each is prepared once.
var bulkSizes = [...]int{64, 8, 1}

// inRowMax and inRowBytes bound the steps that stand in the row of their run. A run that
// comes with more has them in rows of their own, as has each step that comes after its
// run's row.
const (
	inRowMax   = 64
	inRowBytes = 64 << 10
)

// bulk is a statement over many equal rows: a text for each size.
type bulk [len(bulkSizes)]string

func newBulk(before, row, after string) (b bulk) {
	for i, n := range bulkSizes {
		b[i] = before + row + strings.Repeat(", "+row, n-1) + after
	}
	return b
}

// parts yields all in parts of which each has one of the bulkSizes.
func parts[T any](all []T, yield func(size int, part []T) error) error {
	for size, n := range bulkSizes {
		for len(all) >= n {
			if err := yield(size, all[:n]); err != nil {
				return err
			}
			all = all[n:]
		}
	}
	return nil
}

// rower is what a bulk writes: it appends the values of its row.
type rower interface{ row(args []any) []any }

func writeAll[T rower](tx *store.Tx, b *bulk, all []T) error {
	var args []any
	return parts(all, func(size int, part []T) error {
		args = args[:0]
		for _, one := range part {
			args = one.row(args)
		}
		_, err := tx.Exec(b[size], args...)
		return err
	})
}

var (
	// A statement that skips a row needs no undoing in its middle, as one that fails does.
	insertRuns = newBulk("INSERT INTO run (id, workflow, agent, revision, started, started_quality, received, "+
		"worst, ended, data, steps, happened) VALUES ", "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
		" ON CONFLICT (id) DO NOTHING")
	findRuns = newBulk("SELECT id, n, agent, steps FROM run WHERE id IN (", "?", ")")
)

func (p *pending) row(args []any) []any {
	e, agent, happened := protocol.Event{}, protocol.AgentName(""), int64(0)
	if p.fired != nil {
		e, agent, happened = p.fired.Event, p.fired.lane.agent, p.fired.happened
	}
	var inRow []byte
	worst, ended := 0, false
	if !p.wide() {
		worst, ended = sum(p.steps)
		if len(p.steps) > 0 {
			inRow = encodeSteps(p.steps)
		}
	}
	return append(args, p.id[:], string(p.workflow), string(agent), store.Signed(e.Revision), e.Time.UnixMS,
		int64(e.Time.Quality), p.received, worst, ended, []byte(e.Data), inRow, happened)
}

func (p *pending) wide() bool {
	size := 0
	for i := range p.steps {
		size += len(p.steps[i].Body)
	}
	return len(p.steps) > inRowMax || size > inRowBytes
}

// found is what the books have of a run.
type found struct {
	id    []byte
	n     int64
	agent protocol.AgentName
	inRow []byte
}

func find(tx *store.Tx, size int, part []*pending) ([]found, error) {
	args := make([]any, 0, len(part))
	for _, p := range part {
		args = append(args, p.id[:])
	}
	rows, err := tx.Query(findRuns[size], args...)
	return store.Collect(rows, err, func(row store.Scanner) (f found, err error) {
		return f, row.Scan(&f.id, &f.n, &f.agent, &f.inRow)
	})
}

// write puts a layer into the books. It returns the runs whose event is refused, since the books
// have the run as another agent's: that is for the caller to count.
func (y *layer) write(tx *store.Tx) (strays []*pending, err error) {
	if strays, err = writeRuns(tx, y.runs); err != nil {
		return nil, err
	}
	if err := bury(tx, y.runs); err != nil {
		return nil, err
	}
	for _, row := range y.rows {
		if _, err := tx.Exec(row.query, row.args...); err != nil {
			return nil, err
		}
	}
	return strays, nil
}

// writeRuns puts what is known of runs, of each once, into the books. Nearly all are new to
// them: only when some are not, the books are asked which.
func writeRuns(tx *store.Tx, all []*pending) (strays []*pending, err error) {
	if len(all) == 0 {
		return nil, nil
	}
	var last int64 // the runs above it are written here
	if err := tx.QueryRow("SELECT coalesce(max(n), 0) FROM run").Scan(&last); err != nil {
		return nil, err
	}
	var args []any
	err = parts(all, func(size int, part []*pending) error {
		args = args[:0]
		for _, p := range part {
			args = p.row(args)
		}
		fresh, err := store.Changed(tx.Exec(insertRuns[size], args...))
		if err != nil {
			return err
		}
		var known []found
		if int(fresh) < len(part) {
			if known, err = find(tx, size, part); err != nil {
				return err
			}
			known = slices.DeleteFunc(known, func(f found) bool { return f.n > last })
		}
		for _, p := range part {
			stray, err := complete(tx, of(p, known), p)
			if err != nil {
				return err
			}
			if stray {
				strays = append(strays, p)
			}
		}
		return nil
	})
	return strays, err
}

// of returns the one of known that is p's, nil for none.
func of(p *pending, known []found) *found {
	for i := range known {
		if string(known[i].id) == string(p.id[:]) {
			return &known[i]
		}
	}
	return nil
}

// complete adds p to the run that the books had before, if they had it; and to a new
// one what did not fit its row. It reports whether the event is a stray: of a run that is
// another agent's.
func complete(tx *store.Tx, known *found, p *pending) (stray bool, err error) {
	if known == nil && p.wide() {
		rows, err := find(tx, len(bulkSizes)-1, []*pending{p})
		if err != nil {
			return false, err
		}
		return false, addSteps(tx, &rows[0], p.steps)
	}
	if known == nil {
		return false, nil
	}
	if stray = p.fired != nil && known.agent != "" && known.agent != p.fired.lane.agent; !stray {
		err = addEvent(tx, known, p.fired)
	}
	if err == nil && len(p.steps) > 0 {
		err = addSteps(tx, known, p.steps)
	}
	return stray, err
}

func addEvent(tx *store.Tx, known *found, f *fired) error {
	if f == nil {
		return nil
	}
	_, err := tx.Exec("UPDATE run SET workflow = ?, agent = ?, revision = ?, started = ?, started_quality = ?, "+
		"data = ?, happened = ? WHERE n = ?", string(f.Workflow), string(f.lane.agent), store.Signed(f.Revision),
		f.Time.UnixMS, int64(f.Time.Quality), []byte(f.Data), f.happened, known.n)
	return err
}

// addSteps adds the results of steps to a run in the books.
func addSteps(tx *store.Tx, run *found, steps []step) error {
	inRow, err := readSteps(run.inRow)
	if err != nil {
		return err
	}
	again := false
	for i := range steps {
		s := &steps[i]
		twice := slices.ContainsFunc(inRow, func(o step) bool { return s.same(&o) })
		kept, err := insertStep(tx, run.n, s)
		if err == nil && !kept {
			err = replaceStep(tx, run.n, s)
		}
		if err != nil {
			return err
		}
		again = again || twice || !kept
	}
	worst, ended := sum(steps)
	if !again {
		_, err := tx.Exec("UPDATE run SET worst = max(worst, ?), ended = max(ended, ?) WHERE n = ?", worst, ended,
			run.n)
		return err
	}
	all, err := stepsOf(tx, run.n, run.inRow)
	if err != nil {
		return err
	}
	worst, ended = sum(all)
	_, err = tx.Exec("UPDATE run SET worst = ?, ended = ? WHERE n = ?", worst, ended, run.n)
	if err == nil && worst <= worstOK {
		err = rise(tx, run.id)
	}
	return err
}

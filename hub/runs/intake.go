package runs

import (
	"github.com/stavily/stavily/hub/store"
	"github.com/stavily/stavily/protocol"
)

const (
	// lanesMax bounds the lanes whose marks are remembered: three of 30,000 agents.
	lanesMax = 100_000
	// spillMax bounds the runs and rows that wait for Write.
	spillMax = 4096
)

// Intake takes records in memory, so that the books are written once for many batches:
// a run whose event and results came together is one row. It remembers how far the lanes
// came; whoever changes them or the runs behind its back calls Reset. One caller at a
// time.
type Intake struct {
	lanes   map[laneKey]*lane
	fresh   layer
	held    layer
	touched []*lane // since Hold
	unsaved []*lane // in the order in which they were held
	spilled bool    // something that is not kept yet is in the transaction
	aside   *aside  // is being written; nil: nothing is
}

// layer is what was taken and is not in the books yet, in the order in which it came.
type layer struct {
	runs []*pending
	byID map[protocol.RunID]*pending // of runs; never walked through
	rows []statement
}

// statement is a row for one of the other books.
type statement struct {
	query string
	args  []any
}

// Begin gives the transaction under way.
type Begin func() (*store.Tx, error)

// NewIntake returns an intake that remembers nothing.
func NewIntake() *Intake { return &Intake{lanes: map[laneKey]*lane{}} }

// lane returns a lane, as the books have it or further.
func (in *Intake) lane(begin Begin, of laneKey) (*lane, error) {
	if l := in.lanes[of]; l != nil {
		return l, nil
	}
	tx, err := begin()
	if err != nil {
		return nil, err
	}
	l, err := laneOf(tx, of)
	if err != nil {
		return nil, err
	}
	if len(in.lanes) >= lanesMax && len(in.touched) == 0 && len(in.unsaved) == 0 {
		in.lanes = map[laneKey]*lane{}
	}
	in.lanes[of] = &l
	return &l, nil
}

// touch notes that a lane moves on.
func (in *Intake) touch(l *lane) {
	if !l.touched {
		l.touched, l.kept = true, l.count
		in.touched = append(in.touched, l)
	}
}

func (in *Intake) later(row statement) { in.fresh.rows = append(in.fresh.rows, row) }

// spill writes what was taken when it has become too much to wait in memory.
func (in *Intake) spill(begin Begin) error {
	if in.fresh.size() < spillMax || in.held.size() > 0 || len(in.unsaved) > 0 {
		return nil // what is held must not be lost with the transaction
	}
	tx, err := begin()
	if err != nil {
		return err
	}
	in.spilled = true
	return in.Write(tx)
}

// Waiting returns how much waits for Write: runs and rows, and one for the marks of lanes,
// of which there are no more than there are lanes.
func (in *Intake) Waiting() int {
	return in.fresh.size() + in.held.size() + min(1, len(in.touched)+len(in.unsaved))
}

// Hold makes what was taken as good as kept, although it is not in the books: for a hub
// whose books are in memory, where Write is no safer than this.
func (in *Intake) Hold() {
	for _, p := range in.fresh.runs {
		in.held.add(p)
	}
	in.held.rows = append(in.held.rows, in.fresh.rows...)
	in.fresh.clear()
	for _, l := range in.touched {
		if l.touched = false; !l.unsaved {
			l.unsaved = true
			in.unsaved = append(in.unsaved, l)
		}
	}
	in.touched = in.touched[:0]
}

// Write puts all that was taken into the books. It is kept when the caller has committed;
// when that or Write goes wrong, the caller calls Reset.
func (in *Intake) Write(tx *store.Tx) error {
	if err := in.WriteRows(tx); err != nil {
		return err
	}
	if err := writeAll(tx, &saveLanes, in.unsaved); err != nil {
		return err
	}
	for _, l := range in.unsaved {
		l.unsaved = false
	}
	in.unsaved = in.unsaved[:0]
	return nil
}

// WriteRows is Write without the marks of the lanes, which are held: for a hub whose books
// are in memory. A mark moves with every batch, and is read from the books only after Reset.
func (in *Intake) WriteRows(tx *store.Tx) error {
	in.Hold()
	strays, err := in.held.write(tx)
	if err != nil {
		return err
	}
	for _, p := range strays {
		row := p.fired.refuse(p.received)
		if _, err := tx.Exec(row.query, row.args...); err != nil {
			return err
		}
	}
	in.held.clear()
	return nil
}

// Kept says that the transaction of the last Write has been committed.
func (in *Intake) Kept() { in.spilled = false }

// Drop forgets what was taken since it was last kept or held.
func (in *Intake) Drop() {
	if in.spilled {
		in.Reset()
		return
	}
	for _, l := range in.touched {
		l.touched, l.count = false, l.kept
	}
	in.touched = in.touched[:0]
	in.fresh.clear()
}

// Reset forgets everything: what is in the books holds.
func (in *Intake) Reset() { *in = *NewIntake() }

func (y *layer) size() int { return len(y.runs) + len(y.rows) }

// add adds what is known of a run to what was known before.
func (y *layer) add(p *pending) {
	if was := y.byID[p.id]; was != nil {
		if refused := was.absorb(p); refused != nil {
			y.rows = append(y.rows, *refused)
		}
		return
	}
	if y.byID == nil {
		y.byID = map[protocol.RunID]*pending{}
	}
	y.byID[p.id] = p
	y.runs = append(y.runs, p)
}

func (y *layer) clear() {
	clear(y.runs)
	clear(y.rows)
	clear(y.byID)
	y.runs, y.rows = y.runs[:0], y.rows[:0]
}

package runs

import (
	"fmt"
	"slices"
	"time"

	"github.com/stavily/stavily/hub/store"
	"github.com/stavily/stavily/protocol"
)

const (
	// DeadMax bounds the dead letters. The oldest give way, counted.
	DeadMax = 10_000
	// DeadBytesMax bounds what their runs hold, in bytes, in the same way.
	DeadBytesMax = 64 << 20
)

// DeadState is how far a dead letter is.
type DeadState string

// The states.
const (
	DeadWaiting DeadState = "waiting" // for an operator
	DeadOrdered DeadState = "ordered" // its agent is to run it again
	DeadTaken   DeadState = "taken"   // its agent runs it again, or has
	DeadRefused DeadState = "refused" // its agent would not, or did not in time
)

var deadStates = []DeadState{DeadWaiting, DeadOrdered, DeadTaken, DeadRefused}

// Dead is a dead letter: a run of which an action or output did not end well for good.
type Dead struct {
	Run      string                `json:"run"`
	Workflow protocol.WorkflowName `json:"workflow"`
	Agent    protocol.AgentName    `json:"agent"`
	Step     protocol.StepName     `json:"step"` // that failed last
	Error    protocol.Error        `json:"error"`
	Received time.Time             `json:"received"`
	State    DeadState             `json:"state"`
	Order    uint64                `json:"order,omitempty"`
	Expires  time.Time             `json:"expires,omitzero"` // of the order
	Reason   string                `json:"reason,omitempty"` // why it was refused
	id       []byte
}

// DeadLost counts the dead letters that gave way to newer ones.
type DeadLost struct {
	Runs  uint64 `json:"runs"`
	Bytes uint64 `json:"bytes"`
}

// fault returns the last result of p that is for good and not well, nil for none.
func (p *pending) fault() (out *protocol.Result) {
	for i := range p.steps {
		if r := &p.steps[i].result; r.Status == protocol.StatusError || r.Status == protocol.StatusDropped {
			out = r
		}
	}
	return out
}

// bury lists the runs of which a step did not end well.
func bury(tx *store.Tx, all []*pending) error {
	buried := false
	for _, p := range all {
		r := p.fault()
		if r == nil {
			continue
		}
		buried = true
		var e protocol.Error
		if r.Error != nil {
			e = *r.Error
		}
		size := 0
		if p.fired != nil {
			size = len(p.fired.Data)
		}
		for i := range p.steps {
			size += len(p.steps[i].Body)
		}
		_, err := tx.Exec("INSERT OR REPLACE INTO dead_letter (run, step, code, text, received, bytes, state, "+
			"ordered, expires, reason) VALUES (?, ?, ?, ?, ?, ?, 0, 0, 0, '')",
			p.id[:], string(r.Step), int64(e.Code), clip(e.Text), p.received, size)
		if err != nil {
			return err
		}
	}
	if !buried {
		return nil
	}
	return boundDead(tx)
}

// rise takes a run off the list that ended well after all.
func rise(tx *store.Tx, id []byte) error {
	_, err := tx.Exec("DELETE FROM dead_letter WHERE run = ?", id)
	return err
}

const (
	bookDead = "dead-letter"
	keyLost  = "lost"
)

// boundDead lets the oldest give way when there are too many.
func boundDead(tx *store.Tx) error {
	var n, size int64
	err := tx.QueryRow("SELECT count(*), coalesce(sum(bytes), 0) FROM dead_letter").Scan(&n, &size)
	if err != nil || n <= DeadMax && size <= DeadBytesMax {
		return err
	}
	type oldest struct {
		id    []byte
		bytes int64
	}
	rows, err := tx.Query("SELECT run, bytes FROM dead_letter ORDER BY received, run")
	all, err := store.Collect(rows, err, func(row store.Scanner) (o oldest, err error) {
		return o, row.Scan(&o.id, &o.bytes)
	})
	if err != nil {
		return err
	}
	lost := DeadGone(tx)
	for _, o := range all {
		if n <= DeadMax && size <= DeadBytesMax {
			break
		}
		if err := rise(tx, o.id); err != nil {
			return err
		}
		n, size = n-1, size-o.bytes
		lost.Runs, lost.Bytes = lost.Runs+1, lost.Bytes+store.Unsigned(o.bytes)
	}
	return tx.PutEntry(store.Entry{Book: bookDead, Key: keyLost, Value: protocol.MustMarshal(lost)})
}

// DeadGone returns how many dead letters gave way to newer ones, ever.
func DeadGone(tx *store.Tx) (lost DeadLost) {
	if value, err := tx.Entry(bookDead, keyLost); err == nil {
		_ = protocol.Unmarshal(value, &lost) // written here
	}
	return lost
}

const deadColumns = "SELECT d.run, r.workflow, r.agent, d.step, d.code, d.text, d.received, d.state, " +
	"d.ordered, d.expires, d.reason FROM dead_letter d JOIN run r ON r.id = d.run"

// DeadLetters returns those that f chooses, by workflow, agent and limit, the newest first.
func DeadLetters(tx *store.Tx, f Filter) ([]Dead, error) {
	where, args := "", []any{}
	if f.Workflow != "" {
		where, args = where+" AND r.workflow = ?", append(args, string(f.Workflow))
	}
	if f.Agent != "" {
		where, args = where+" AND r.agent = ?", append(args, string(f.Agent))
	}
	if f.Limit <= 0 {
		f.Limit = listDefault
	}
	rows, err := tx.Query(deadColumns+" WHERE 1 = 1"+where+" ORDER BY d.received DESC, d.run LIMIT ?",
		append(args, min(f.Limit, ListMax))...)
	return store.Collect(rows, err, scanDead)
}

// Ordered returns the dead letters of an agent that it was ordered to run again and has not
// answered; of all agents for an empty name.
func Ordered(tx *store.Tx, agent protocol.AgentName) ([]Dead, error) {
	rows,
		err := tx.Query(deadColumns+" WHERE d.state = 1 AND (r.agent = ? OR ? = '') ORDER BY d.ordered LIMIT ?",
		string(agent), string(agent), ListMax)
	return store.Collect(rows, err, scanDead)
}

func scanDead(row store.Scanner) (d Dead, err error) {
	var received, state, order, expires int64
	err = row.Scan(&d.id, &d.Workflow, &d.Agent, &d.Step, &d.Error.Code, &d.Error.Text, &received, &state,
		&order,
		&expires, &d.Reason)
	d.Run, d.Received, d.Order = fmt.Sprintf("%x", d.id), store.Time(received), store.Unsigned(order)
	d.State = deadStates[min(max(state, 0), int64(len(deadStates)-1))]
	if expires > 0 {
		d.Expires = store.Time(expires)
	}
	return d, err
}

// GetDead returns the dead letter of the run whose id begins with prefix. Errors are those of
// Get.
func GetDead(tx *store.Tx, prefix string) (Dead, error) {
	low, high, err := prefixRange(prefix)
	if err != nil {
		return Dead{}, err
	}
	rows, err := tx.Query(deadColumns+" WHERE d.run BETWEEN ? AND ? LIMIT 2", low, high)
	found, err := store.Collect(rows, err, scanDead)
	switch {
	case err != nil:
		return Dead{}, err
	case len(found) == 0:
		return Dead{}, protocol.Errorf(protocol.CodeNotFound, "dead letter %s: not found", prefix)
	case len(found) > 1:
		return Dead{}, protocol.Errorf(protocol.CodeBadInput,
			"dead letter %s: more than one begins so; give more digits",
			prefix)
	}
	return found[0], nil
}

// SetDead keeps state, order, expiry and reason of d.
func SetDead(tx *store.Tx, d *Dead) error {
	var expires int64
	if !d.Expires.IsZero() {
		expires = store.Millis(d.Expires)
	}
	_, err := tx.Exec("UPDATE dead_letter SET state = ?, ordered = ?, expires = ?, reason = ? WHERE run = ?",
		int64(slices.Index(deadStates, d.State)), store.Signed(d.Order), expires, clip(d.Reason), d.id)
	return err
}

// DropDead takes d off the list.
func DropDead(tx *store.Tx, d *Dead) error { return rise(tx, d.id) }

// Replay returns the order to run d again, without what only its sender knows: epoch, ID and
// expiry.
func (d *Dead) Replay(tx *store.Tx) (o protocol.ReplayOrder, err error) {
	var n, revision int64
	var data, inRow []byte
	e := &o.Event
	err = tx.QueryRow("SELECT n, workflow, revision, started, started_quality, data, steps FROM run "+
		"WHERE id = ?", d.id).Scan(&n, &e.Workflow, &revision, &e.Time.UnixMS, &e.Time.Quality, &data, &inRow)
	if err != nil {
		return o, err
	}
	copy(e.Run[:], d.id)
	e.Revision, e.Data = store.Unsigned(revision), data
	steps, err := stepsOf(tx, n, inRow)
	for i := range steps {
		r := &steps[i].result
		o.Steps = append(o.Steps, r.Step)
		if r.Status != protocol.StatusOK {
			continue
		}
		o.Done = append(o.Done, r.Step)
		if r.Type == protocol.Action {
			o.Results = append(o.Results, *r)
		}
	}
	return o, err
}

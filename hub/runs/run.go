package runs

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/stavily/stavily/hub/store"
	"github.com/stavily/stavily/protocol"
)

// Status is what a run is by all that is known of it.
type Status string

// The statuses.
const (
	Running Status = "running" // the last step's result is not here
	OK      Status = "ok"
	Error   Status = "error"   // a step ended in an error
	Dropped Status = "dropped" // a step was given up or never begun, and none ended in an error
)

// Run is all that one firing caused, as far as it is known.
type Run struct {
	ID       string                `json:"id"`
	Workflow protocol.WorkflowName `json:"workflow"`
	Agent    protocol.AgentName    `json:"agent"` // that fired; empty while its event is not here
	Revision uint64                `json:"revision"`
	Started  protocol.Stamp        `json:"started"`  // by the agent's clock
	Received time.Time             `json:"received"` // when the hub heard of it first
	// Happened is when it started by the hub's clock, as far as the agent counted the time until
	// it told; zero: not known. Late: it was told more than LateAfter afterwards.
	Happened time.Time       `json:"happened,omitzero"`
	Late     bool            `json:"late,omitempty"`
	Status   Status          `json:"status"`
	Steps    []Step          `json:"steps,omitempty"` // in the order in which they ended; Get only
	Data     json.RawMessage `json:"data,omitempty"`  // the event's, for people; Get only
}

// Step is how one step of a run ended.
type Step struct {
	Name   protocol.StepName   `json:"name"`
	Agent  protocol.AgentName  `json:"agent"`
	Type   protocol.PluginType `json:"type"`
	Status protocol.Status     `json:"status"`
	Error  *protocol.Error     `json:"error,omitempty"`
	Ended  protocol.Stamp      `json:"ended"`
	TookUS int64               `json:"took_us"`
	Tries  uint32              `json:"tries"`
	Data   json.RawMessage     `json:"data,omitempty"`
}

// Filter chooses runs; a zero field leaves open what it is about.
type Filter struct {
	Workflow protocol.WorkflowName
	Agent    protocol.AgentName
	Status   Status
	Since    time.Time // received at or after
	Limit    int       // 1 to ListMax; 0 for 50
}

const (
	// ListMax bounds the runs of one List.
	ListMax     = 1000
	listDefault = 50
	// prefixMin is how much of a run's id Get wants.
	prefixMin = 4
)

// LateAfter is how long what happened may take to the hub before it is late.
const LateAfter = time.Minute

// since returns what an arrival is to people.
func (a arrival) since() (happened time.Time, late bool) {
	if a.happened == 0 {
		return happened, false
	}
	return store.Time(a.happened), a.received-a.happened > LateAfter.Milliseconds()
}

const runColumns = "id, workflow, agent, revision, started, started_quality, received, worst, ended, happened"

// Get returns the run whose id begins with prefix, which has at least 4 hexadecimal
// digits. The error has CodeNotFound, or CodeBadInput for a prefix that is none or that
// two runs share.
func Get(tx *store.Tx, prefix string) (Run, error) {
	low, high, err := prefixRange(prefix)
	if err != nil {
		return Run{}, err
	}
	rows, err := tx.Query("SELECT "+runColumns+", n, data, steps FROM run WHERE id BETWEEN ? AND ? LIMIT 2",
		low, high)
	var n int64
	var data, inRow []byte
	found, err := store.Collect(rows, err, func(row store.Scanner) (Run, error) {
		return scanRun(row, &n, &data, &inRow)
	})
	switch {
	case err != nil:
		return Run{}, err
	case len(found) == 0:
		return Run{}, protocol.Errorf(protocol.CodeNotFound, "run %s: not found", prefix)
	case len(found) > 1:
		return Run{}, protocol.Errorf(protocol.CodeBadInput,
			"run %s: more than one begins so; give more digits", prefix)
	}
	r := found[0]
	r.Data = JSON(data)
	steps, err := stepsOf(tx, n, inRow)
	for i := range steps {
		r.Steps = append(r.Steps, steps[i].shown())
	}
	return r, err
}

// prefixRange returns the lowest and highest id that begin with prefix.
func prefixRange(prefix string) (low, high []byte, err error) {
	const digits = 2 * len(protocol.RunID{})
	if len(prefix) < prefixMin || len(prefix) > digits {
		return nil, nil, protocol.Errorf(protocol.CodeBadInput, "run %.40q: want %d to %d hexadecimal digits",
			prefix,
			prefixMin, digits)
	}
	missing := digits - len(prefix)
	first, err := protocol.ParseRunID(prefix + strings.Repeat("0", missing))
	if err != nil {
		return nil, nil, protocol.Errorf(protocol.CodeBadInput, "run %q: want hexadecimal digits", prefix)
	}
	last, err := protocol.ParseRunID(prefix + strings.Repeat("f", missing))
	if err != nil {
		return nil, nil, protocol.Errorf(protocol.CodeBadInput, "run %q: want hexadecimal digits", prefix)
	}
	return first[:], last[:], nil
}

// List returns the runs that f chooses, the newest to arrive first, without steps and
// data.
func List(tx *store.Tx, f Filter) ([]Run, error) {
	where, args, err := f.where()
	if err != nil {
		return nil, err
	}
	if f.Limit <= 0 {
		f.Limit = listDefault
	}
	rows, err := tx.Query("SELECT "+runColumns+" FROM run"+where+" ORDER BY n DESC LIMIT ?",
		append(args, min(f.Limit, ListMax))...)
	return store.Collect(rows, err, func(row store.Scanner) (Run, error) { return scanRun(row) })
}

// where returns the condition of f: one of few texts, so that each is prepared once.
func (f *Filter) where() (text string, args []any, err error) {
	var all []string
	add := func(condition string, arg ...any) {
		all = append(all, condition)
		args = append(args, arg...)
	}
	if f.Workflow != "" {
		add("workflow = ?", string(f.Workflow))
	}
	if f.Agent != "" {
		add("agent = ?", string(f.Agent))
	}
	if !f.Since.IsZero() {
		add("received >= ?", store.Millis(f.Since))
	}
	switch f.Status {
	case "":
	case Running:
		add("ended = 0")
	case OK:
		add("ended = 1 AND worst <= ?", worstOK)
	case Dropped:
		add("ended = 1 AND worst = ?", worstDropped)
	case Error:
		add("ended = 1 AND worst = ?", worstError)
	default:
		return "", nil, protocol.Errorf(protocol.CodeBadInput, "status %q: want running, ok, error or dropped",
			f.Status)
	}
	if len(all) == 0 {
		return "", nil, nil
	}
	return " WHERE " + strings.Join(all, " AND "), args, nil
}

func scanRun(row store.Scanner, more ...any) (Run, error) {
	var r Run
	var id []byte
	var revision int64
	var at arrival
	var worst int
	var ended bool
	err := row.Scan(append([]any{
		&id, &r.Workflow, &r.Agent, &revision, &r.Started.UnixMS, &r.Started.Quality, &at.received, &worst, &ended,
		&at.happened,
	}, more...)...)
	r.ID, r.Revision, r.Received = fmt.Sprintf("%x", id), store.Unsigned(revision), store.Time(at.received)
	r.Happened, r.Late = at.since()
	switch {
	case !ended:
		r.Status = Running
	case worst == worstError:
		r.Status = Error
	case worst == worstDropped:
		r.Status = Dropped
	default:
		r.Status = OK
	}
	return r, err
}

// Count returns how many runs there are.
func Count(tx *store.Tx) (n int64, err error) {
	err = tx.QueryRow("SELECT count(*) FROM run").Scan(&n)
	return n, err
}

// pruneMax bounds the rows of each book that one Prune takes away, so that it never
// holds up the records of agents for long.
const pruneMax = 2000

// Prune forgets runs and audit rows that arrived before then, the oldest first, some
// thousands at most, and returns how many. The caller calls again, later, while there
// are some.
func Prune(tx *store.Tx, then time.Time) (int64, error) {
	var all int64
	for _, book := range []string{"run", "audit"} {
		// Only the lowest rows are looked at: n rises with arrival.
		kept := ""
		if book == "run" {
			kept = " WHERE NOT EXISTS (SELECT 1 FROM dead_letter WHERE dead_letter.run = run.id)"
		}
		n, err := store.Changed(tx.Exec("DELETE FROM "+book+
			" WHERE n IN (SELECT n FROM (SELECT n, received FROM "+book+kept+
			" ORDER BY n LIMIT ?) AS oldest WHERE received < ?)", pruneMax, store.Millis(then)))
		if err != nil {
			return all, err
		}
		all += n
	}
	return all, nil
}

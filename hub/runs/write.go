package runs

import (
	"github.com/stavily/stavily/hub/store"
	"github.com/stavily/stavily/protocol"
)

// The order in which a run's steps decide what the run is: one error outweighs any
// drop, one drop any success. A step that was skipped decides nothing.
const (
	worstNone    = 0
	worstOK      = 1
	worstDropped = 2
	worstError   = 3
)

func weight(s protocol.Status) int {
	switch s {
	case protocol.StatusOK:
		return worstOK
	case protocol.StatusDropped:
		return worstDropped
	case protocol.StatusError:
		return worstError
	default:
		return worstNone
	}
}

// event begins a run, or completes one that a result began.
func (in *intake) event(r *protocol.Record) error {
	var e protocol.Event
	if err := protocol.Unmarshal(r.Body, &e); err != nil {
		return err
	}
	if err := checkRun(e.Run, e.Workflow, e.Data); err != nil {
		return err
	}
	// A run belongs to the agent whose event was first: no other may take it over.
	n, err := store.Changed(in.tx.Exec(`INSERT INTO run (id, workflow, agent, revision, started, started_quality,
		received, worst, ended, data) VALUES (?, ?, ?, ?, ?, ?, ?, 0, 0, ?) ON CONFLICT (id) DO UPDATE SET
		workflow = excluded.workflow, agent = excluded.agent, revision = excluded.revision, started =
			excluded.started,
		started_quality = excluded.started_quality, data = excluded.data WHERE run.agent IN ('', excluded.agent)`,
		e.Run[:], string(e.Workflow), string(in.agent), store.Signed(e.Revision), e.Time.UnixMS,
		int64(e.Time.Quality),
		in.received, []byte(e.Data)))
	if err == nil && n == 0 {
		return protocol.Errorf(protocol.CodeNotMine, "event: run %s belongs to another agent", e.Run)
	}
	return err
}

// pending is what the results of one run, read one after the other, add to its row.
type pending struct {
	id    protocol.RunID
	n     int64 // its row; 0 for no run
	worst int
	ended bool
	again bool // a step was replaced: only the steps themselves can tell
}

// result keeps how one step of a run ended.
func (in *intake) result(r *protocol.Record) error {
	var res protocol.Result
	if err := protocol.Unmarshal(r.Body, &res); err != nil {
		return err
	}
	if err := checkResult(&res); err != nil {
		return err
	}
	if err := in.openRun(&res); err != nil {
		return err
	}
	kept, err := in.insertStep(r.Mark, &res)
	if err != nil {
		return err
	}
	if !kept {
		in.open.again = true
		return in.replaceStep(r.Mark, &res)
	}
	in.open.worst = max(in.open.worst, weight(res.Status))
	in.open.ended = in.open.ended || res.Last
	return nil
}

// openRun finds the row of the result's run, or makes one that waits for its event.
func (in *intake) openRun(res *protocol.Result) error {
	if in.open.n != 0 && in.open.id == res.Run {
		return nil
	}
	if err := in.flush(); err != nil {
		return err
	}
	n, err := in.findRun(res.Run)
	if store.None(err) {
		_, err = in.tx.Exec(`INSERT INTO run (id, workflow, agent, revision, started, started_quality,
			received, worst,
			ended) VALUES (?, ?, '', 0, 0, 0, ?, 0, 0)`, res.Run[:], string(res.Workflow), in.received)
		if err == nil {
			n, err = in.findRun(res.Run)
		}
	}
	in.open = pending{id: res.Run, n: n}
	return err
}

func (in *intake) findRun(id protocol.RunID) (n int64, err error) {
	err = in.tx.QueryRow("SELECT n FROM run WHERE id = ?", id[:]).Scan(&n)
	return n, err
}

// flush writes what the results of the open run add to its row.
func (in *intake) flush() error {
	p := in.open
	in.open = pending{}
	if p.n == 0 {
		return nil
	}
	if p.again {
		return in.recount(p.n)
	}
	_, err := in.tx.Exec("UPDATE run SET worst = max(worst, ?), ended = max(ended, ?) WHERE n = ?", p.worst,
		p.ended, p.n)
	return err
}

// recount tells from the steps of a run what the run is.
func (in *intake) recount(run int64) error {
	rows, err := in.tx.Query("SELECT status, last FROM run_step WHERE run = ?", run)
	p := pending{}
	_, err = store.Collect(rows, err, func(row store.Scanner) (none struct{}, err error) {
		var status protocol.Status
		var last bool
		err = row.Scan(&status, &last)
		p.worst, p.ended = max(p.worst, weight(status)), p.ended || last
		return none, err
	})
	if err != nil {
		return err
	}
	_, err = in.tx.Exec("UPDATE run SET worst = ?, ended = ? WHERE n = ?", p.worst, p.ended, run)
	return err
}

const insertStep = `INSERT INTO run_step (run, agent, step, boot, sequence, type, status, code, text, ended,
	ended_quality, took_us, tries, last, data) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`

// insertStep reports false when the step has a result already.
func (in *intake) insertStep(m protocol.Mark, res *protocol.Result) (bool, error) {
	n, err := store.Changed(in.tx.Exec(insertStep+" ON CONFLICT (run, agent, step) DO NOTHING",
		in.stepRow(m, res)...))
	return n == 1, err
}

// replaceStep keeps the later of two results of one step.
func (in *intake) replaceStep(m protocol.Mark, res *protocol.Result) error {
	var boot, sequence int64
	err := in.tx.QueryRow("SELECT boot, sequence FROM run_step WHERE run = ? AND agent = ? AND step = ?",
		in.open.n,
		string(in.agent), string(res.Step)).Scan(&boot, &sequence)
	if err != nil {
		return err
	}
	held := protocol.Mark{Boot: store.Unsigned(boot), Sequence: store.Unsigned(sequence)}
	if !m.After(held) {
		return nil
	}
	_, err = in.tx.Exec("DELETE FROM run_step WHERE run = ? AND agent = ? AND step = ?", in.open.n,
		string(in.agent),
		string(res.Step))
	if err != nil {
		return err
	}
	_, err = in.tx.Exec(insertStep, in.stepRow(m, res)...)
	return err
}

func (in *intake) stepRow(m protocol.Mark, res *protocol.Result) []any {
	var code protocol.Code
	var text string
	if res.Error != nil {
		code, text = res.Error.Code, clip(res.Error.Text)
	}
	return []any{
		in.open.n, string(in.agent), string(res.Step), store.Signed(m.Boot), store.Signed(m.Sequence),
		string(res.Type),
		int64(res.Status), int64(code), text, res.Time.UnixMS, int64(res.Time.Quality), res.TookUS,
		int64(res.Tries),
		res.Last, []byte(res.Data),
	}
}

func checkRun(id protocol.RunID, workflow protocol.WorkflowName, data protocol.Raw) error {
	if id.IsZero() {
		return protocol.Errorf(protocol.CodeBadMessage, "run id: want one, got zeros")
	}
	if len(data) > protocol.DataMax {
		return protocol.Errorf(protocol.CodeLimit, "run %s: data of %d bytes, limit %d", id, len(data),
			protocol.DataMax)
	}
	return workflow.Check()
}

func checkResult(res *protocol.Result) error {
	if err := checkRun(res.Run, res.Workflow, res.Data); err != nil {
		return err
	}
	if err := res.Step.Check(); err != nil {
		return err
	}
	return res.Type.Check()
}

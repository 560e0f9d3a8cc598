package runs

import (
	"cmp"
	"slices"
	"strings"

	"github.com/stavily/stavily/hub/store"
	"github.com/stavily/stavily/protocol"
)

const insertStepRow = `INSERT INTO run_step (run, agent, step, boot, sequence, type, status, code, text,
	ended, ended_quality, took_us, tries, last, data) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`

// insertStep reports false when the step has a row already.
func insertStep(tx *store.Tx, run int64, s *step) (bool, error) {
	n, err := store.Changed(tx.Exec(insertStepRow+" ON CONFLICT (run, agent, step) DO NOTHING",
		s.row(run)...))
	return n == 1, err
}

// replaceStep keeps the later of two results of one step.
func replaceStep(tx *store.Tx, run int64, s *step) error {
	var boot, sequence int64
	key := []any{run, string(s.Agent), string(s.result.Step)}
	err := tx.QueryRow("SELECT boot, sequence FROM run_step WHERE run = ? AND agent = ? AND step = ?",
		key...).Scan(&boot, &sequence)
	if err != nil {
		return err
	}
	held := protocol.Mark{Boot: store.Unsigned(boot), Sequence: store.Unsigned(sequence)}
	if !s.Mark.After(held) {
		return nil
	}
	if _, err = tx.Exec("DELETE FROM run_step WHERE run = ? AND agent = ? AND step = ?", key...); err != nil {
		return err
	}
	_, err = tx.Exec(insertStepRow, s.row(run)...)
	return err
}

func (s *step) row(run int64) []any {
	r := &s.result
	var code protocol.Code
	var text string
	if r.Error != nil {
		code, text = r.Error.Code, clip(r.Error.Text)
	}
	return []any{
		run, string(s.Agent), string(r.Step), store.Signed(s.Mark.Boot), store.Signed(s.Mark.Sequence),
		string(r.Type), int64(r.Status), int64(code), text, r.Time.UnixMS, int64(r.Time.Quality), r.TookUS,
		int64(r.Tries), r.Last, []byte(r.Data),
	}
}

// encodeSteps returns what Marshal returns for steps.
func encodeSteps(all []step) []byte {
	size := 0
	for i := range all {
		size += len(all[i].Body) + len(all[i].Agent) + 32
	}
	b := protocol.AppendArray(make([]byte, 0, size), len(all))
	for i := range all {
		s := &all[i]
		b = protocol.AppendText(protocol.AppendArray(b, 3), string(s.Agent))
		b = protocol.AppendBytes(s.Mark.AppendCBOR(b), s.Body)
	}
	return b
}

// readSteps returns the steps that stand in the row of their run.
func readSteps(inRow []byte) (all []step, err error) {
	if len(inRow) == 0 {
		return nil, nil
	}
	err = protocol.Unmarshal(inRow, &all)
	for i := range all {
		if err == nil {
			all[i].result, err = protocol.DecodeResult(all[i].Body)
		}
	}
	if err != nil {
		return nil, protocol.Errorf(protocol.CodeStorage, "steps of a run: %w", err)
	}
	return all, nil
}

// stepsOf returns the steps of a run, of each the latest result, in the order in which
// they ended.
func stepsOf(tx *store.Tx, run int64, inRow []byte) ([]step, error) {
	all, err := readSteps(inRow)
	if err != nil {
		return nil, err
	}
	rows, err := tx.Query(`SELECT step, agent, boot, sequence, type, status, code, text, ended, ended_quality,
		took_us, tries, last, data FROM run_step WHERE run = ?`, run)
	later, err := store.Collect(rows, err, scanStep)
	p := pending{steps: all}
	for _, s := range later {
		p.add(s)
	}
	slices.SortFunc(p.steps, func(a, b step) int {
		return cmp.Or(cmp.Compare(a.Mark.Boot, b.Mark.Boot), cmp.Compare(a.Mark.Sequence, b.Mark.Sequence),
			strings.Compare(string(a.Agent), string(b.Agent)),
			strings.Compare(string(a.result.Step), string(b.result.Step)))
	})
	return p.steps, err
}

func scanStep(row store.Scanner) (s step, err error) {
	r := &s.result
	var boot, sequence int64
	var failed protocol.Error
	var data []byte
	err = row.Scan(&r.Step, &s.Agent, &boot, &sequence, &r.Type, &r.Status, &failed.Code, &failed.Text,
		&r.Time.UnixMS, &r.Time.Quality, &r.TookUS, &r.Tries, &r.Last, &data)
	s.Mark = protocol.Mark{Boot: store.Unsigned(boot), Sequence: store.Unsigned(sequence)}
	if failed.Code != protocol.CodeOK || failed.Text != "" {
		r.Error = &failed
	}
	r.Data = data
	return s, err
}

// shown returns the step for people.
func (s *step) shown() Step {
	r := &s.result
	out := Step{
		Name: r.Step, Agent: s.Agent, Type: r.Type, Status: r.Status, Ended: r.Time, TookUS: r.TookUS,
		Tries: r.Tries, Data: JSON(r.Data),
	}
	if r.Error != nil {
		out.Error = &protocol.Error{Code: r.Error.Code, Text: clip(r.Error.Text)}
	}
	return out
}

package runs

import (
	"github.com/stavily/stavily/hub/store"
	"github.com/stavily/stavily/protocol"
)

// laneKey names one lane of one enrolment of an agent.
type laneKey struct {
	agent protocol.AgentName
	epoch uint64
	lane  protocol.Lane
}

// lane is how far one lane of one enrolment of an agent came.
type lane struct {
	laneKey
	count
	kept    count // as it was when the intake was last kept
	touched bool  // since then
	unsaved bool  // the books are behind
}

// count is what the books hold of a lane.
type count struct {
	mark    protocol.Mark
	stored  int64
	refused int64
	missed  uint64
}

// Lane is how far one lane of one enrolment of an agent came, for people.
type Lane struct {
	Agent   protocol.AgentName `json:"agent"`
	Epoch   uint64             `json:"epoch"`
	Lane    protocol.Lane      `json:"-"`
	Name    string             `json:"lane"`
	Mark    protocol.Mark      `json:"mark"`
	Stored  int64              `json:"stored"`  // records kept
	Refused int64              `json:"refused"` // records put into quarantine
	// Missed counts records that never came: the agent had to let them go, and said so by gaps,
	// or left a hole within a boot. Reported.Dropped is how many it let go.
	Missed uint64 `json:"missed"`
}

const laneColumns = "boot, sequence, stored, refused, missed"

func laneOf(tx *store.Tx, of laneKey) (lane, error) {
	l := lane{laneKey: of}
	err := l.scan(tx.QueryRow("SELECT "+laneColumns+" FROM lane_mark WHERE agent = ? AND epoch = ? AND lane = ?",
		string(of.agent), store.Signed(of.epoch), int64(of.lane)))
	if store.None(err) {
		return l, nil
	}
	return l, err
}

func (l *lane) scan(row store.Scanner, before ...any) error {
	var boot, sequence, missed int64
	err := row.Scan(append(before, &boot, &sequence, &l.stored, &l.refused, &missed)...)
	l.mark = protocol.Mark{Boot: store.Unsigned(boot), Sequence: store.Unsigned(sequence)}
	l.missed = store.Unsigned(missed)
	return err
}

// moveTo moves the mark forward and counts what was passed over. How much of an older
// boot never came cannot be known from marks.
func (l *lane) moveTo(m protocol.Mark) {
	expected := uint64(1)
	if m.Boot == l.mark.Boot {
		expected = l.mark.Sequence + 1
	}
	if m.Sequence > expected {
		l.missed += m.Sequence - expected
	}
	l.mark = m
}

var saveLanes = newBulk("INSERT INTO lane_mark (agent, epoch, lane, "+laneColumns+") VALUES ",
	"(?, ?, ?, ?, ?, ?, ?, ?)", ` ON CONFLICT (agent, epoch, lane) DO UPDATE SET boot = excluded.boot,
	sequence = excluded.sequence, stored = excluded.stored, refused = excluded.refused,
	missed = excluded.missed`)

func (l *lane) row(args []any) []any {
	return append(args, string(l.agent), store.Signed(l.epoch), int64(l.lane), store.Signed(l.mark.Boot),
		store.Signed(l.mark.Sequence), l.stored, l.refused, store.Signed(l.missed))
}

// Mark returns up to where the store holds a lane; the zero mark for one never heard.
func Mark(tx *store.Tx, agent protocol.AgentName, epoch uint64, of protocol.Lane) (protocol.Mark, error) {
	l, err := laneOf(tx, laneKey{agent, epoch, of})
	return l.mark, err
}

// SetMark moves a lane's mark, forward or back, without any record, as when books are
// put back from a backup.
func SetMark(tx *store.Tx, agent protocol.AgentName, to protocol.LaneAck) error {
	l, err := laneOf(tx, laneKey{agent, to.Epoch, to.Lane})
	if err != nil {
		return err
	}
	l.mark = to.Mark
	return writeAll(tx, &saveLanes, []*lane{&l})
}

// Lanes returns every lane of an agent, all agents for an empty name, by name, epoch
// and lane.
func Lanes(tx *store.Tx, agent protocol.AgentName) ([]Lane, error) {
	rows, err := tx.Query("SELECT agent, epoch, lane, "+laneColumns+` FROM lane_mark WHERE agent = ? OR ? = ''
		ORDER BY agent, epoch, lane`, agent, agent)
	return store.Collect(rows, err, func(row store.Scanner) (Lane, error) {
		var l lane
		var epoch int64
		err := l.scan(row, &l.agent, &epoch, &l.lane)
		return Lane{
			Agent: l.agent, Epoch: store.Unsigned(epoch), Lane: l.lane, Name: l.lane.String(), Mark: l.mark,
			Stored: l.stored, Refused: l.refused, Missed: l.missed,
		}, err
	})
}

// Forget drops what is kept of an agent that was removed: marks, metrics, log lines and
// quarantine. Runs and audit rows stay until Prune takes them, for they are history.
func Forget(tx *store.Tx, agent protocol.AgentName) error {
	for _, book := range []string{"lane_mark", "lane_gap", "metric", "log_line", "quarantine"} {
		if _, err := tx.Exec("DELETE FROM "+book+" WHERE agent = ?", agent); err != nil {
			return err
		}
	}
	return nil
}

package runs

import (
	"github.com/stavily/stavily/hub/store"
	"github.com/stavily/stavily/protocol"
)

// GapsMax bounds the gaps that are kept of one agent; the oldest give way.
const GapsMax = 1024

// Gap is what an agent let go of before this hub had it.
type Gap struct {
	Lane     string `json:"lane"`
	Received int64  `json:"received"` // ms since 1970
	protocol.Gap
}

func checkGaps(from protocol.Address, all []protocol.Gap) error {
	if len(all) > protocol.GapsMax {
		return protocol.Errorf(protocol.CodeLimit, "records of %s: %d gaps in a batch, limit %d", from, len(all),
			protocol.GapsMax)
	}
	for i := range all {
		if err := all[i].Check(); err != nil {
			return protocol.Errorf(protocol.CodeBadMessage, "records of %s: %w", from, err)
		}
	}
	return nil
}

// gap moves a lane past records that never come. What came of them before came.
func (in *Intake) gap(l *lane, g protocol.Gap, received int64) {
	if g = g.After(l.mark); g.Count == 0 {
		return
	}
	in.touch(l)
	l.moveTo(g.From)
	l.mark, l.missed = g.To, l.missed+g.Count
	in.later(statement{`INSERT INTO lane_gap (agent, epoch, lane, boot, sequence, to_boot, to_sequence, count,
		why, received) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`, []any{
		string(l.agent), store.Signed(l.epoch), int64(l.lane), store.Signed(g.From.Boot),
		store.Signed(g.From.Sequence), store.Signed(g.To.Boot), store.Signed(g.To.Sequence), store.Signed(g.Count),
		int64(g.Why), received,
	}})
	in.later(statement{`DELETE FROM lane_gap WHERE agent = ? AND n <= (SELECT n FROM lane_gap WHERE agent = ?
		ORDER BY n DESC LIMIT 1 OFFSET ?)`, []any{string(l.agent), string(l.agent), GapsMax}})
}

// Gaps returns the newest gaps of an agent, the newest first: at most limit.
func Gaps(tx *store.Tx, agent protocol.AgentName, limit int) ([]Gap, error) {
	rows, err := tx.Query(`SELECT lane, boot, sequence, to_boot, to_sequence, count, why, received FROM lane_gap
		WHERE agent = ? ORDER BY n DESC LIMIT ?`, agent, limit)
	return store.Collect(rows, err, func(row store.Scanner) (Gap, error) {
		var g Gap
		var of protocol.Lane
		var from, first, to, last, count int64
		err := row.Scan(&of, &from, &first, &to, &last, &count, &g.Why, &g.Received)
		g.Lane, g.Count = of.String(), store.Unsigned(count)
		g.From = protocol.Mark{Boot: store.Unsigned(from), Sequence: store.Unsigned(first)}
		g.To = protocol.Mark{Boot: store.Unsigned(to), Sequence: store.Unsigned(last)}
		return g, err
	})
}

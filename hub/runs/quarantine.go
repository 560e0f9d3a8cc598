package runs

import (
	"github.com/stavily/stavily/hub/store"
	"github.com/stavily/stavily/protocol"
)

const (
	// quarantineMax bounds the refused records that are kept of one lane of one agent;
	// the oldest give way.
	quarantineMax = 64
	// quarantineBodyMax bounds the bytes that are kept of each.
	quarantineBodyMax = 512
)

// Refused is a record that could not be kept, and why.
type Refused struct {
	Agent    protocol.AgentName `json:"agent"`
	Lane     string             `json:"lane"`
	Mark     protocol.Mark      `json:"mark"`
	Received int64              `json:"received"` // ms since 1970
	Reason   string             `json:"reason"`
	Body     []byte             `json:"body"` // the first quarantineBodyMax bytes
}

// quarantine returns what keeps a record that was refused, and counts it.
func (l *lane) quarantine(r *protocol.Record, received int64, why error) statement {
	slot := l.refused % quarantineMax
	l.refused++
	return statement{`INSERT OR REPLACE INTO quarantine (agent, lane, slot, epoch, boot, sequence,
		received, reason, body) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`, []any{
		string(l.agent), int64(l.lane), slot, store.Signed(l.epoch),
		store.Signed(r.Mark.Boot), store.Signed(r.Mark.Sequence), received, clip(why.Error()),
		append([]byte{}, r.Body[:min(len(r.Body), quarantineBodyMax)]...),
	}}
}

// Quarantine returns the newest refused records of an agent, all agents for an empty
// name: at most limit.
func Quarantine(tx *store.Tx, agent protocol.AgentName, limit int) ([]Refused, error) {
	rows, err := tx.Query(`SELECT agent, lane, boot, sequence, received, reason, body FROM quarantine
		WHERE agent = ? OR ? = '' ORDER BY received DESC, agent, lane, boot DESC, sequence DESC LIMIT ?`,
		agent, agent,
		limit)
	return store.Collect(rows, err, func(row store.Scanner) (Refused, error) {
		var r Refused
		var of protocol.Lane
		var boot, sequence int64
		err := row.Scan(&r.Agent, &of, &boot, &sequence, &r.Received, &r.Reason, &r.Body)
		r.Lane, r.Mark = of.String(), protocol.Mark{Boot: store.Unsigned(boot), Sequence: store.Unsigned(sequence)}
		return r, err
	})
}

// clip cuts a text to TextMax bytes, between characters.
func clip(s string) string {
	if len(s) <= protocol.TextMax {
		return s
	}
	end := protocol.TextMax - len("...")
	for end > 0 && s[end]&0xC0 == 0x80 {
		end--
	}
	return s[:end] + "..."
}

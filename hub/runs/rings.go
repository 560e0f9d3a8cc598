package runs

import (
	"encoding/json"

	"github.com/stavily/stavily/hub/store"
	"github.com/stavily/stavily/protocol"
)

const (
	// MetricsMax bounds the reports of metrics that are kept of one agent: a day of one
	// a minute. The oldest give way.
	MetricsMax = 1440
	// LogLinesMax bounds the log lines that are kept of one agent.
	LogLinesMax = 2048
)

// Metrics is one report of an agent's metrics.
type Metrics struct {
	Mark     protocol.Mark   `json:"mark"`
	Time     protocol.Stamp  `json:"time"`               // by the agent's clock
	Received int64           `json:"received"`           // ms since 1970, by the hub's
	Happened int64           `json:"happened,omitempty"` // as Run.Happened, ms since 1970
	Body     protocol.Raw    `json:"-"`                  // as it came
	Data     json.RawMessage `json:"data"`               // the same for people
}

// LogLine is a line that an agent or a plugin on it logged.
type LogLine struct {
	Mark     protocol.Mark         `json:"mark"`
	Time     protocol.Stamp        `json:"time"`
	Received int64                 `json:"received"`
	Happened int64                 `json:"happened,omitempty"`
	Plugin   protocol.PluginName   `json:"plugin,omitempty"`
	Workflow protocol.WorkflowName `json:"workflow,omitempty"`
	Level    int8                  `json:"level"` // as in log/slog
	Text     string                `json:"text"`
}

// Audit is one use or denial of a grant, as an agent counted it.
type Audit struct {
	Agent    protocol.AgentName `json:"agent"`
	Mark     protocol.Mark      `json:"mark"`
	Time     protocol.Stamp     `json:"time"`
	Received int64              `json:"received"`
	Happened int64              `json:"happened,omitempty"`
	protocol.Audit
}

// metric takes any CBOR item: what a report of metrics holds is between agents and
// those who read them.
func (l *lane) metric(r *protocol.Record, at arrival) (row statement, err error) {
	var body protocol.Raw
	if err := protocol.Unmarshal(r.Body, &body); err != nil {
		return row, err
	}
	return statement{`INSERT OR REPLACE INTO metric (agent, slot, epoch, boot, sequence, time, quality,
		received, happened, body) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`, []any{
		string(l.agent), l.stored % MetricsMax, store.Signed(l.epoch), store.Signed(r.Mark.Boot),
		store.Signed(r.Mark.Sequence), r.Time.UnixMS, int64(r.Time.Quality), at.received,
		at.happened, []byte(body),
	}}, nil
}

func (l *lane) logLine(r *protocol.Record, at arrival) (row statement, err error) {
	var line protocol.LogLine
	if err := protocol.Unmarshal(r.Body, &line); err != nil {
		return row, err
	}
	return statement{`INSERT OR REPLACE INTO log_line (agent, slot, epoch, boot, sequence, time,
		quality, received, happened, plugin, workflow, level, text)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`, []any{
		string(l.agent), l.stored % LogLinesMax, store.Signed(l.epoch), store.Signed(r.Mark.Boot),
		store.Signed(r.Mark.Sequence), r.Time.UnixMS, int64(r.Time.Quality), at.received, at.happened,
		clip(string(line.Plugin)), clip(string(line.Of)), int64(line.Level), clip(line.Text),
	}}, nil
}

func (l *lane) audit(r *protocol.Record, at arrival) (row statement, err error) {
	var a protocol.Audit
	if err := protocol.Unmarshal(r.Body, &a); err != nil {
		return row, err
	}
	return statement{`INSERT INTO audit (agent, epoch, boot, sequence, time, quality, received, happened, plugin,
		workflow, capability, allowed, denied, subject)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`, []any{
		string(l.agent), store.Signed(l.epoch), store.Signed(r.Mark.Boot), store.Signed(r.Mark.Sequence),
		r.Time.UnixMS, int64(r.Time.Quality), at.received, at.happened, clip(string(a.Plugin)),
		clip(string(a.Workflow)),
		clip(a.Capability), store.Signed(a.Allowed), store.Signed(a.Denied), clip(a.Subject),
	}}, nil
}

// LatestMetrics returns the newest report of an agent; CodeNotFound when there is none.
func LatestMetrics(tx *store.Tx, agent protocol.AgentName) (Metrics, error) {
	all, err := MetricsOf(tx, agent, 1)
	if err == nil && len(all) == 0 {
		return Metrics{}, protocol.Errorf(protocol.CodeNotFound, "metrics of agent %q: none yet", agent)
	}
	if err != nil {
		return Metrics{}, err
	}
	return all[0], nil
}

// MetricsOf returns the newest reports of an agent, the newest first: at most limit.
func MetricsOf(tx *store.Tx, agent protocol.AgentName, limit int) ([]Metrics, error) {
	rows, err := tx.Query(`SELECT boot, sequence, time, quality, received, happened, body FROM metric
		WHERE agent = ? ORDER BY epoch DESC, boot DESC, sequence DESC LIMIT ?`, agent, limit)
	return store.Collect(rows, err, func(row store.Scanner) (Metrics, error) {
		var m Metrics
		var boot, sequence int64
		var body []byte
		err := row.Scan(&boot, &sequence, &m.Time.UnixMS, &m.Time.Quality, &m.Received, &m.Happened, &body)
		m.Mark = protocol.Mark{Boot: store.Unsigned(boot), Sequence: store.Unsigned(sequence)}
		m.Body, m.Data = body, JSON(body)
		return m, err
	})
}

// LogLines returns the newest log lines of an agent at or above a level of log/slog,
// the newest first: at most limit.
func LogLines(tx *store.Tx, agent protocol.AgentName, level, limit int) ([]LogLine, error) {
	rows, err := tx.Query(`SELECT boot, sequence, time, quality, received, happened, plugin, workflow, level,
		text
		FROM log_line
		WHERE agent = ? AND level >= ? ORDER BY epoch DESC, boot DESC, sequence DESC LIMIT ?`, agent, level, limit)
	return store.Collect(rows, err, func(row store.Scanner) (LogLine, error) {
		var l LogLine
		var boot, sequence int64
		err := row.Scan(&boot, &sequence, &l.Time.UnixMS, &l.Time.Quality, &l.Received, &l.Happened,
			&l.Plugin, &l.Workflow, &l.Level, &l.Text)
		l.Mark = protocol.Mark{Boot: store.Unsigned(boot), Sequence: store.Unsigned(sequence)}
		return l, err
	})
}

// Audits returns the newest audit rows of an agent, all agents for an empty name, in
// the order of their arrival, the newest first: at most limit.
func Audits(tx *store.Tx, agent protocol.AgentName, limit int) ([]Audit, error) {
	rows, err := tx.Query(`SELECT agent, boot, sequence, time, quality, received, happened, plugin, workflow,
		capability, allowed,
		denied, subject FROM audit WHERE agent = ? OR ? = '' ORDER BY n DESC LIMIT ?`, agent, agent, limit)
	return store.Collect(rows, err, func(row store.Scanner) (Audit, error) {
		var a Audit
		var boot, sequence, allowed, denied int64
		err := row.Scan(&a.Agent, &boot, &sequence, &a.Time.UnixMS, &a.Time.Quality, &a.Received, &a.Happened,
			&a.Plugin, &a.Workflow, &a.Capability, &allowed, &denied, &a.Subject)
		a.Mark = protocol.Mark{Boot: store.Unsigned(boot), Sequence: store.Unsigned(sequence)}
		a.Allowed, a.Denied = store.Unsigned(allowed), store.Unsigned(denied)
		return a, err
	})
}

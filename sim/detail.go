package sim

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/stavily/stavily/edge"
	"github.com/stavily/stavily/protocol"
	"github.com/stavily/stavily/sim/report"
	"github.com/stavily/stavily/wasmhost"
)

const (
	// shownMax bounds the runs, and the records of each lane, that a replay shows.
	shownMax = 10
	// textMax bounds one of them, and one message, in bytes of text.
	textMax = 600
)

// detail is one agent at one moment.
type detail struct {
	Agent     report.Agent      `json:"agent"`
	AtMS      int64             `json:"at_ms"`
	Power     bool              `json:"power"`
	Line      bool              `json:"line"`
	DiskBytes int64             `json:"disk_bytes"`
	OpenRuns  []openDetail      `json:"open_runs"`
	Status    *edge.Status      `json:"status"`  // null without power
	Desired   *protocol.Desired `json:"desired"` // as sealed on the disk; null for none
	Steps     []stepDetail      `json:"steps"`   // of Desired, with their plugins
	Records   []laneDetail      `json:"records"` // that wait on the disk
	Messages  []message         `json:"messages"`
	Last      []string          `json:"last"`
}

// openDetail is a run that has not ended.
type openDetail struct {
	Run     string              `json:"run"`
	FiredMS int64               `json:"fired_ms"`
	Done    []protocol.StepName `json:"done"` // steps whose results are on the disk
	Failed  bool                `json:"failed"`
}

// stepDetail is a step of the desired document.
type stepDetail struct {
	Workflow protocol.WorkflowName `json:"workflow"`
	Step     protocol.StepName     `json:"step"`
	Plugin   string                `json:"plugin"` // name@version
	Config   json.RawMessage       `json:"config"`
}

// laneDetail is what waits in a lane.
type laneDetail struct {
	Lane  string         `json:"lane"`
	Count int            `json:"count"`
	First []recordDetail `json:"first"` // the oldest
}

// recordDetail is one record, decoded.
type recordDetail struct {
	Mark protocol.Mark   `json:"mark"`
	Time protocol.Stamp  `json:"time"`
	Body any             `json:"body"`
	Data json.RawMessage `json:"data,omitempty"` // the plugin's own
}

// eventDetail and resultDetail name their run as people read it.
type (
	eventDetail struct {
		Run string `json:"run"`
		protocol.Event
	}
	resultDetail struct {
		Run string `json:"run"`
		protocol.Result
	}
)

// message is one that went over the agent's line, decoded.
type message struct {
	AtMS  int64         `json:"at_ms"`
	Kind  protocol.Kind `json:"kind"`
	Bytes int           `json:"bytes"`
	Body  any           `json:"body"` // null for what cannot be decoded
}

// details returns what d is and holds.
func (d *device) details(last []string) *detail {
	out := &detail{
		Agent: d.stats, AtMS: d.w.now / 1e6, Power: d.agent != nil, Line: d.line.up, DiskBytes: d.disk.bytes,
		OpenRuns: []openDetail{}, Last: last, Messages: d.w.watched.last(),
	}
	out.Agent.Name, out.Agent.Site, out.Agent.Group = string(d.addr.Agent), string(d.addr.Site), d.group.Name
	out.Agent.Platform = d.of.Class.Platform
	for i := range d.open {
		r := &d.open[i]
		out.OpenRuns = append(out.OpenRuns, openDetail{r.id.String(), r.fired / 1e6, r.done, r.failed})
	}
	if d.agent != nil {
		status := d.status()
		out.Status = &status
	}
	out.Desired = d.desired()
	out.Steps = stepsOf(out.Desired)
	for lane := protocol.LaneEvent; lane < protocol.LaneEnd; lane++ {
		if of := d.waiting(lane); of.Count > 0 {
			out.Records = append(out.Records, of)
		}
	}
	return out
}

// desired opens the document that the disk says is held; nil when there is none.
func (d *device) desired() *protocol.Desired {
	var digest protocol.Digest
	if value := d.disk.peek("gen/current"); value == nil || protocol.Unmarshal(value, &digest) != nil {
		return nil
	}
	sealed, err := d.disk.ReadFile(digest)
	if err != nil {
		return nil
	}
	payload, err := protocol.Open(protocol.ContextDesired, d.w.ring, sealed)
	var doc protocol.Desired
	if err != nil || protocol.UnmarshalExact(payload, &doc) != nil {
		return nil
	}
	return &doc
}

// stepsOf lists the steps of a document with their plugins.
func stepsOf(doc *protocol.Desired) (all []stepDetail) {
	if doc == nil {
		return nil
	}
	plugins := map[protocol.Digest]string{}
	for _, r := range doc.Releases {
		plugins[r.Digest] = string(r.Plugin) + "@" + r.Version
	}
	for i := range doc.Assignments {
		a := &doc.Assignments[i]
		steps := append([]protocol.Step{a.Trigger}, a.Actions...)
		for _, s := range append(steps, a.Outputs...) {
			all = append(all, stepDetail{a.Workflow, s.Name, plugins[s.Release], rawJSON(s.Config)})
		}
	}
	return all
}

func rawJSON(raw protocol.Raw) json.RawMessage {
	if len(raw) == 0 {
		return nil
	}
	if text := wasmhost.ToJSON(raw); json.Valid(text) {
		return text
	}
	return nil
}

// waiting returns what waits in a lane on the disk.
func (d *device) waiting(lane protocol.Lane) laneDetail {
	out := laneDetail{Lane: lane.String()}
	_ = d.disk.Scan(fmt.Sprintf("out/%d/", lane), "", func(_ string, value []byte) bool { // a dead disk has none
		if out.Count++; out.Count <= shownMax {
			var rec protocol.Record
			if protocol.Unmarshal(value, &rec) == nil {
				out.First = append(out.First, recordOf(lane, &rec))
			}
		}
		return true
	})
	return out
}

// recordOf decodes the body of a record as its lane says.
func recordOf(lane protocol.Lane, rec *protocol.Record) recordDetail {
	out := recordDetail{Mark: rec.Mark, Time: rec.Time}
	switch lane.Holds(rec.Body) {
	case protocol.LaneEvent:
		e := decoded[protocol.Event](rec.Body)
		if e != nil {
			out.Body, out.Data = eventDetail{e.Run.String(), *e}, rawJSON(e.Data)
		}
	case protocol.LaneResult:
		r := decoded[protocol.Result](rec.Body)
		if r != nil {
			out.Body, out.Data = resultDetail{r.Run.String(), *r}, rawJSON(r.Data)
		}
	case protocol.LaneAudit:
		out.Body = decoded[protocol.Audit](rec.Body)
	case protocol.LaneMetric:
		if m := decoded[protocol.Metrics](rec.Body); m != nil {
			if values, err := m.Map(); err == nil {
				out.Body = values
			}
		}
	case protocol.LaneLog:
		out.Body = decoded[protocol.LogLine](rec.Body)
	default:
	}
	return out
}

// decoded returns nil for what is not a T.
func decoded[T any](b []byte) *T {
	v := new(T)
	if protocol.Unmarshal(b, v) != nil {
		return nil
	}
	return v
}

// watched are the newest messages of the one agent that is watched.
type watched struct {
	d        *device // nil: nobody is
	keep     int
	messages []message
	told     func(*message) // of each; nil: nobody waits for them
}

// last returns the messages that are shown.
func (w *watched) last() []message { return w.messages[max(0, len(w.messages)-w.keep):] }

// saw keeps a message of the agent that is watched.
func (w *World) saw(d *device, m *protocol.Message) {
	of := &w.watched
	if of.d == nil || of.d != d || of.keep <= 0 {
		return
	}
	_, k, err := protocol.ParseTopic(m.Topic)
	if err != nil {
		return
	}
	if len(of.messages) >= 2*of.keep {
		of.messages = append(of.messages[:0], of.messages[len(of.messages)-of.keep+1:]...)
	}
	one := message{w.now / 1e6, k, len(m.Payload), bodyOf(k, m.Payload)}
	if of.messages = append(of.messages, one); of.told != nil {
		of.told(&one)
	}
}

// bodyOf decodes a message by its kind; nil for what is none.
func bodyOf(k protocol.Kind, payload []byte) any {
	switch k {
	case protocol.UpPresence:
		return decoded[protocol.Presence](payload)
	case protocol.UpReported:
		return decoded[protocol.Reported](payload)
	case protocol.UpRecords:
		return batchOf(payload)
	case protocol.UpFetch:
		return decoded[protocol.FetchRequest](payload)
	case protocol.DownHint:
		return decoded[protocol.Hint](payload)
	case protocol.DownAck:
		all, err := protocol.DecodeLaneAcks(payload)
		if err != nil {
			return nil
		}
		return all
	case protocol.DownChunk:
		c := decoded[protocol.Chunk](payload)
		if c != nil {
			c.Data = nil // bytes of a file say nothing here
		}
		return c
	default:
		return nil
	}
}

// batchDetail is a batch with its records decoded.
type batchDetail struct {
	Lane    string         `json:"lane"`
	Records []recordDetail `json:"records"`
}

func batchOf(payload []byte) any {
	b := decoded[protocol.Batch](payload)
	if b == nil {
		return nil
	}
	out := batchDetail{Lane: b.Lane.String()}
	for i := range b.Records {
		out.Records = append(out.Records, recordOf(b.Lane, &b.Records[i]))
	}
	return out
}

// said writes one decoded thing in a line.
func said(v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	if len(text) > textMax {
		return strings.ToValidUTF8(string(text[:textMax]), "") + "..."
	}
	return string(text)
}

// at writes a moment of the run.
func at(ms int64) string { return "+" + (time.Duration(ms) * time.Millisecond).String() }

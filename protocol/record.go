package protocol

// Lane is one class of outgoing records, with its own sequence, byte budget and drop
// policy. Its number says nothing of its importance: see Lanes.
type Lane uint8

// The lanes.
const (
	LaneEvent  Lane = 1 // body: Event
	LaneResult Lane = 2 // body: Result
	LaneAudit  Lane = 3 // body: Audit
	LaneMetric Lane = 4 // body: Metrics
	LaneLog    Lane = 5 // body: LogLine
	// LaneAlarm has the events and results of urgent workflows: see Assignment.Urgent.
	LaneAlarm Lane = 6 // body: Event or Result
	// LaneControl has what the hub acts on because it did not happen: results with StatusDropped.
	LaneControl Lane = 7 // body: Result
	LaneEnd     Lane = 8
	// LaneAhead is added to the lane of a batch of copies of events or results that go before
	// their turn, past a backlog. They move no mark and are not acknowledged; each comes again in
	// its turn. A hub that does not know it refuses the batch, which is no loss.
	LaneAhead Lane = 16
)

var laneNames = [LaneEnd]string{"unknown", "event", "result", "audit", "metric", "log", "alarm", "control"}

// Lanes returns all lanes, the most important first: they leave in this order, and where there is
// no room they give way in the order from the last to the first.
func Lanes() [LaneEnd - 1]Lane {
	return [...]Lane{LaneControl, LaneAlarm, LaneResult, LaneAudit, LaneEvent, LaneMetric, LaneLog}
}

// Ahead reports whether a batch is of copies, and returns the lane of their records.
func (l Lane) Ahead() (Lane, bool) {
	of := l - LaneAhead
	return of, l >= LaneAhead && of.HasCopies()
}

// HasCopies reports whether copies of a lane's records go ahead: see LaneAhead.
func (l Lane) HasCopies() bool { return l == LaneEvent || l == LaneResult || l == LaneAlarm }

// Holds returns the lane whose bodies a record's body is like: l itself, but of alarm and control
// LaneEvent or LaneResult. A result has a text, the step, where an event has a number.
func (l Lane) Holds(body Raw) Lane {
	if l != LaneAlarm && l != LaneControl {
		return l
	}
	var of struct {
		Third Raw `cbor:"3,keyasint"`
	}
	if Unmarshal(body, &of) == nil && len(of.Third) > 0 && of.Third[0]&MajorMask == MajorText {
		return LaneResult
	}
	return LaneEvent
}

// String returns the lane's name.
func (l Lane) String() string {
	if l < LaneEnd {
		return laneNames[l]
	}
	return laneNames[0]
}

// Quality is how far a time can be believed.
type Quality uint8

// The qualities. Order never comes from a time, whatever its quality, but from
// (boot, sequence).
const (
	QualityUnknown Quality = 0 // no clock
	QualityFloor   Quality = 1 // at or after; the newest time proven by a signature
	QualityClock   Quality = 2 // the device's own clock, above the floor
)

// Stamp is a time with its quality.
type Stamp struct {
	UnixMS  int64   `cbor:"1,keyasint" json:"unix_ms"`
	Quality Quality `cbor:"2,keyasint" json:"quality"`
}

// Mark is a place in a lane: the boot in which a record was made, and its sequence
// in that boot's lane, from 1.
type Mark struct {
	Boot     uint64 `cbor:"1,keyasint" json:"boot"`
	Sequence uint64 `cbor:"2,keyasint" json:"sequence"`
}

// After reports whether m comes later than o.
func (m Mark) After(o Mark) bool {
	return m.Boot > o.Boot || m.Boot == o.Boot && m.Sequence > o.Sequence
}

// Record is one thing that an agent tells the hub and keeps until the hub's store has
// acknowledged it.
type Record struct {
	Mark Mark  `cbor:"1,keyasint" json:"mark"`
	Time Stamp `cbor:"2,keyasint" json:"time"`
	Body Raw   `cbor:"3,keyasint" json:"-"` // the type that the lane says
	// Steady is when it was made by the agent's steady clock, in tenths of a second; 0: not
	// said. That clock goes on over restarts and never jumps.
	Steady uint64 `cbor:"4,keyasint,omitempty" json:"steady,omitempty"`
}

// Encode returns the record as it stands in a Batch. The error has CodeLimit for a body
// over RecordMax, CodeContract for one that no receiver of the batch could decode: not one
// CBOR item, or nested too deep. One such record would block its lane for ever.
func (r *Record) Encode() ([]byte, error) {
	if len(r.Body) > RecordMax {
		return nil, Errorf(CodeLimit, "record: body of %d bytes, limit RecordMax %d", len(r.Body), RecordMax)
	}
	b, err := Marshal(r)
	if err == nil {
		err = inBatchMode.Wellformed(b)
	}
	if err != nil {
		return nil, Errorf(CodeContract, "record: %w", err)
	}
	return b, nil
}

// Batch is records of one lane in order, at most BatchMax. An agent has at most one
// batch of a lane under way: the next begins after the acknowledgement, and the
// same comes again when that stays away.
type Batch struct {
	Epoch   uint64   `cbor:"1,keyasint" json:"epoch"`
	Lane    Lane     `cbor:"2,keyasint" json:"lane"`
	Records []Record `cbor:"3,keyasint" json:"records"`
	// Steady is what the clock of Record.Steady showed when the batch was made; 0: not said.
	Steady uint64 `cbor:"4,keyasint,omitempty" json:"steady,omitempty"`
	// Gaps are records before, between or behind these that never come, in order, at most GapsMax.
	// A batch with gaps may have no record.
	Gaps []Gap `cbor:"5,keyasint,omitempty" json:"gaps,omitempty"`
	// Together says that the agent takes acknowledgements of several lanes as one message.
	Together bool `cbor:"6,keyasint,omitempty" json:"together,omitempty"`
}

// Age returns how long before b was made a record of it was, in milliseconds, as far as the agent counts:
// without a clock that can be believed, the time that it was off does not count. -1: not said.
func (b *Batch) Age(r *Record) int64 {
	if r.Steady == 0 || b.Steady < r.Steady {
		return -1
	}
	return int64(min(b.Steady-r.Steady, ageMax)) * 100
}

// ageMax is longer than any device lives, in tenths of a second.
const ageMax = 100 * 365 * 86400 * 10

// LaneAck says that every record of the lane up to and with Mark is in the hub's
// store. It also answers a batch that was all known before. To an agent whose batches say
// Together, several go as one message, an array of them, at most one of each lane.
type LaneAck struct {
	Epoch uint64 `cbor:"1,keyasint" json:"epoch"`
	Lane  Lane   `cbor:"2,keyasint" json:"lane"`
	Mark  Mark   `cbor:"3,keyasint" json:"mark"`
	// WaitMS is the hub's pace: the next batch of the lane is not sent before. At most an hour.
	WaitMS uint32 `cbor:"4,keyasint,omitempty" json:"wait_ms,omitempty"`
}

// LaneAcks are acknowledgements that go as one message: see LaneAck.
type LaneAcks []LaneAck

// Acks are acknowledgements that are carried by hand. They travel sealed with ContextAcks,
// since whoever carries them must not make an agent let go of what no hub has.
type Acks struct {
	Address Address   `cbor:"1,keyasint" json:"address"`
	Epoch   uint64    `cbor:"2,keyasint" json:"epoch"` // of every lane
	Lanes   []LaneAck `cbor:"3,keyasint" json:"lanes"` // each lane once
}

// Event is one fact on its way: a trigger fired. It is the beginning of a run.
type Event struct {
	Run      RunID        `cbor:"1,keyasint" json:"run"`
	Workflow WorkflowName `cbor:"2,keyasint" json:"workflow"`
	Revision uint64       `cbor:"3,keyasint" json:"revision"` // of the desired document
	Time     Stamp        `cbor:"4,keyasint" json:"time"`
	Data     Raw          `cbor:"5,keyasint,omitempty" json:"-"`
}

// Status is how a step of a run ended.
type Status uint8

// The statuses.
const (
	StatusOK      Status = 1
	StatusError   Status = 2
	StatusDropped Status = 3 // given up or never begun; Error says why
	StatusSkipped Status = 4 // an output whose When did not hold, a step after a failed one
)

var statusNames = [...]string{"unknown", "ok", "error", "dropped", "skipped"}

// String returns the status's name.
func (s Status) String() string {
	if int(s) < len(statusNames) {
		return statusNames[s]
	}
	return statusNames[0]
}

// MarshalText writes the status's name, for JSON.
func (s Status) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads what MarshalText writes; an unknown name is status 0.
func (s *Status) UnmarshalText(b []byte) error {
	*s = 0
	for i, name := range statusNames {
		if name == string(b) {
			*s = Status(i)
		}
	}
	return nil
}

// Result is how one step of one run ended. Last marks the one after which the run has
// no more.
type Result struct {
	Run      RunID        `cbor:"1,keyasint" json:"run"`
	Workflow WorkflowName `cbor:"2,keyasint" json:"workflow"`
	Step     StepName     `cbor:"3,keyasint" json:"step"`
	Type     PluginType   `cbor:"4,keyasint" json:"type"`
	Status   Status       `cbor:"5,keyasint" json:"status"`
	Error    *Error       `cbor:"6,keyasint,omitempty" json:"error,omitempty"`
	Time     Stamp        `cbor:"7,keyasint" json:"time"` // when it ended
	TookUS   int64        `cbor:"8,keyasint" json:"took_us"`
	Tries    uint32       `cbor:"9,keyasint" json:"tries"`
	Data     Raw          `cbor:"10,keyasint,omitempty" json:"-"`
	Last     bool         `cbor:"11,keyasint,omitempty" json:"last"`
	// By is who ran the step, when it was not the run's own agent.
	By Address `cbor:"12,keyasint,omitzero" json:"by,omitzero"`
}

// LogLine is a line that a plugin or the agent logged.
type LogLine struct {
	Plugin PluginName   `cbor:"1,keyasint,omitempty" json:"plugin"`
	Level  int8         `cbor:"2,keyasint" json:"level"` // as in log/slog
	Text   string       `cbor:"3,keyasint" json:"text"`
	Of     WorkflowName `cbor:"4,keyasint,omitempty" json:"workflow"`
}

// Audit is one use or denial of a grant, counted over a while.
type Audit struct {
	Plugin     PluginName   `cbor:"1,keyasint" json:"plugin"`
	Workflow   WorkflowName `cbor:"2,keyasint,omitempty" json:"workflow"`
	Capability string       `cbor:"3,keyasint" json:"capability"`
	Allowed    uint64       `cbor:"4,keyasint,omitempty" json:"allowed"`
	Denied     uint64       `cbor:"5,keyasint,omitempty" json:"denied"`
	Subject    string       `cbor:"6,keyasint,omitempty" json:"subject"` // of the newest denial
}

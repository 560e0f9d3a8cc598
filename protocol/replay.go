package protocol

// ReplaysMax is how many of the newest orders an agent remembers, so that one that comes twice
// is taken once.
const ReplaysMax = 256

// ReplayOrder asks an agent to run again what did not end well of one of its runs. It comes
// again until it is answered. The run keeps its ID, and with it its steps' idempotency keys.
type ReplayOrder struct {
	Epoch   uint64 `cbor:"1,keyasint" json:"epoch"`
	ID      uint64 `cbor:"2,keyasint" json:"id"`      // of the order; the agent says it back
	Expires int64  `cbor:"3,keyasint" json:"expires"` // ms since 1970: never begun after that
	Event   Event  `cbor:"4,keyasint" json:"event"`
	// Steps are all steps that the run had, and Done those that ended well: they are not run
	// again. Results are those of Done that later steps may look at.
	Steps   []StepName `cbor:"5,keyasint" json:"steps"`
	Done    []StepName `cbor:"6,keyasint,omitempty" json:"done"`
	Results []Result   `cbor:"7,keyasint,omitempty" json:"results"`
}

// ReplayAnswer says that an order was taken, or why it was not. How the steps end comes as
// results of the run.
type ReplayAnswer struct {
	Epoch uint64 `cbor:"1,keyasint" json:"epoch"`
	ID    uint64 `cbor:"2,keyasint" json:"id"`
	Error *Error `cbor:"3,keyasint,omitempty" json:"error,omitempty"`
}

// Check verifies the order by itself. Errors have CodeBadMessage, CodeLimit or CodeBadName.
func (o *ReplayOrder) Check() error {
	switch {
	case o.ID == 0 || o.Event.Run.IsZero():
		return Errorf(CodeBadMessage, "replay: an order without an ID, or of no run")
	case len(o.Event.Data) > DataMax:
		return Errorf(CodeLimit, "replay: event of %d bytes, limit DataMax %d", len(o.Event.Data), DataMax)
	case len(o.Steps) > 2*StepsMax || len(o.Done) > 2*StepsMax || len(o.Results) > StepsMax:
		return Errorf(CodeLimit, "replay: %d steps, %d done, %d results, limit StepsMax %d", len(o.Steps),
			len(o.Done), len(o.Results), StepsMax)
	}
	return o.Event.Workflow.Check()
}

package protocol

// The bounds of recordings that an agent makes when it is asked to.
const (
	// RecordCallsMax bounds the calls of one recording.
	RecordCallsMax = 256
	// RecordBytesMax bounds one recording in bytes: it is in the device's memory until the hub
	// has it.
	RecordBytesMax = 512 << 10
)

// RecordOrder asks an agent to record the next calls of a step, and says how much of a
// recording the hub has: Calls of 0 is no order but only that. A new order takes the place
// of an older one.
type RecordOrder struct {
	Epoch    uint64       `cbor:"1,keyasint" json:"epoch"`
	ID       uint64       `cbor:"2,keyasint" json:"id"` // of the order; the agent says it back
	Workflow WorkflowName `cbor:"3,keyasint,omitempty" json:"workflow,omitempty"`
	Step     StepName     `cbor:"4,keyasint,omitempty" json:"step,omitempty"`
	Calls    uint32       `cbor:"5,keyasint,omitempty" json:"calls,omitempty"`
	Bytes    uint32       `cbor:"6,keyasint,omitempty" json:"bytes,omitempty"` // at most; 0: RecordBytesMax
	// Have is how many parts of the recording the hub has, from the first.
	Have uint32 `cbor:"7,keyasint,omitempty" json:"have,omitempty"`
}

// RecordPart is ChunkSize bytes of a recording (fewer in its last part), or why there is
// none. The agent sends one, and the next when the hub says that it has it.
type RecordPart struct {
	Epoch uint64 `cbor:"1,keyasint" json:"epoch"`
	ID    uint64 `cbor:"2,keyasint" json:"id"`
	Index uint32 `cbor:"3,keyasint" json:"index"`
	Size  uint32 `cbor:"4,keyasint" json:"size"` // of the recording, bytes
	Data  []byte `cbor:"5,keyasint,omitempty" json:"-"`
	Error *Error `cbor:"6,keyasint,omitempty" json:"error,omitempty"`
}

// Check verifies the part by itself. Errors have CodeBadMessage or CodeLimit.
func (p *RecordPart) Check() error {
	if p.Error != nil {
		return nil //nolint:nilerr // it is what the part says
	}
	switch {
	case p.Size == 0 || p.Size > RecordBytesMax:
		return Errorf(CodeLimit, "recording %d: of %d bytes, limit RecordBytesMax %d", p.ID, p.Size, RecordBytesMax)
	case p.Index >= ChunkCount(int64(p.Size)):
		return Errorf(CodeBadMessage, "recording %d: part %d of %d", p.ID, p.Index, ChunkCount(int64(p.Size)))
	}
	want := min(int64(ChunkSize), int64(p.Size)-int64(p.Index)*ChunkSize)
	if int64(len(p.Data)) != want {
		return Errorf(CodeBadMessage, "recording %d: part %d of %d bytes, want %d",
			p.ID, p.Index, len(p.Data), want)
	}
	return nil
}

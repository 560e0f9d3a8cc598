package protocol

// Presence says whether an agent is connected. It is sent on connecting and, with
// Online false, left as the Will. Boot tells a late Will from a newer connection.
type Presence struct {
	Online  bool   `cbor:"1,keyasint" json:"online"`
	Boot    uint64 `cbor:"2,keyasint" json:"boot"`
	Session uint64 `cbor:"3,keyasint" json:"session"` // counts connections within a boot
}

// Reported is what an agent says of itself: the whole of it, whenever it changed and
// on every connection.
type Reported struct {
	Epoch       uint64             `cbor:"1,keyasint" json:"epoch"`
	Revision    uint64             `cbor:"2,keyasint" json:"revision"` // held, 0 for none
	Digest      Digest             `cbor:"3,keyasint" json:"digest"`   // of the desired document held
	Boot        uint64             `cbor:"4,keyasint" json:"boot"`
	Sequence    uint64             `cbor:"5,keyasint" json:"sequence"` // of reports within the boot
	Time        Stamp              `cbor:"6,keyasint" json:"time"`
	Device      Device             `cbor:"7,keyasint" json:"device"`
	Assignments []AssignmentStatus `cbor:"8,keyasint,omitempty" json:"assignments"`
	// Refused is the newest revision that the agent did not take, and why.
	Refused *Refusal `cbor:"9,keyasint,omitempty" json:"refused,omitempty"`
	// Pending counts records that wait in the outbox, over all lanes.
	Pending uint64 `cbor:"10,keyasint,omitempty" json:"pending"`
	// Dropped counts records that the outbox let go unacknowledged, since it was made.
	Dropped uint64 `cbor:"11,keyasint,omitempty" json:"dropped"`
	// Secrets names the sealed set of secrets held, zero for none.
	Secrets Digest `cbor:"12,keyasint,omitzero" json:"secrets,omitzero"`
	// Data is how much of the day's data budget is used; nil without one.
	Data *DataUse `cbor:"13,keyasint,omitempty" json:"data,omitempty"`
}

// DataUse is an agent's account of the bytes on its line.
type DataUse struct {
	Bytes   uint64 `cbor:"1,keyasint" json:"bytes"` // both ways, since the day began
	Limit   uint64 `cbor:"2,keyasint" json:"limit"` // a day
	Waiting bool   `cbor:"3,keyasint,omitempty" json:"waiting,omitempty"`
}

// Refusal is a revision not taken.
type Refusal struct {
	Revision uint64 `cbor:"1,keyasint" json:"revision"`
	Error    Error  `cbor:"2,keyasint" json:"error"`
}

// Device is what an agent runs on.
type Device struct {
	Platform string `cbor:"1,keyasint" json:"platform"` // as in firmware-targets: linux-arm64
	Engine   string `cbor:"2,keyasint" json:"engine"`   // compiler or interpreter
	Version  string `cbor:"3,keyasint" json:"version"`  // of the agent
	Kernel   string `cbor:"4,keyasint,omitempty" json:"kernel"`
	Cores    uint32 `cbor:"5,keyasint,omitempty" json:"cores"`
	MemoryMB uint32 `cbor:"6,keyasint,omitempty" json:"memory_mb"`
	// Labels are those that the device gives itself.
	Labels map[string]string `cbor:"7,keyasint,omitempty" json:"labels,omitempty"`
	// Native is what it has for native artifacts; nil when it runs none.
	Native *Native `cbor:"8,keyasint,omitempty" json:"native,omitempty"`
	// StorageMB is what its disk has for artifacts and for what plugins put by; 0: not known.
	StorageMB uint32 `cbor:"10,keyasint,omitempty" json:"storage_mb,omitempty"`
}

// Phase is how far an assignment is.
type Phase uint8

// The phases.
const (
	PhaseFetching Phase = 1 // its releases or artifacts are not all here
	PhaseLoading  Phase = 2 // its plugins are being verified and started
	PhaseRunning  Phase = 3 // its trigger is armed
	PhaseFailed   Phase = 4 // Error says why; the assignment is not running
)

var phaseNames = [...]string{"unknown", "fetching", "loading", "running", "failed"}

// String returns the phase's name.
func (p Phase) String() string {
	if int(p) < len(phaseNames) {
		return phaseNames[p]
	}
	return phaseNames[0]
}

// MarshalText writes the phase's name, for JSON.
func (p Phase) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText reads what MarshalText writes; an unknown name is phase 0.
func (p *Phase) UnmarshalText(b []byte) error {
	*p = 0
	for i, name := range phaseNames {
		if name == string(b) {
			*p = Phase(i)
		}
	}
	return nil
}

// AssignmentStatus is how one assignment fares on one agent.
type AssignmentStatus struct {
	Workflow WorkflowName `cbor:"1,keyasint" json:"workflow"`
	Phase    Phase        `cbor:"2,keyasint" json:"phase"`
	Error    *Error       `cbor:"3,keyasint,omitempty" json:"error,omitempty"`
	Fired    uint64       `cbor:"4,keyasint,omitempty" json:"fired"`  // runs begun since the boot
	Failed   uint64       `cbor:"5,keyasint,omitempty" json:"failed"` // of those, ended in an error
	// Filtered counts the events since the boot for which the workflow's condition did
	// not hold: they became no run.
	Filtered uint64 `cbor:"6,keyasint,omitempty" json:"filtered,omitempty"`
	Trial    Trial  `cbor:"7,keyasint,omitzero" json:"trial,omitzero"`
	// Limited counts the events that the workflow's limit let go by, and Repeated those that
	// meant what another had, since the workflow came to this agent: they became no run.
	Limited  uint64 `cbor:"8,keyasint,omitempty" json:"limited,omitempty"`
	Repeated uint64 `cbor:"9,keyasint,omitempty" json:"repeated,omitempty"`
	// Ending counts the runs under way that end on releases or hosts which the assignment had
	// before.
	Ending uint64 `cbor:"10,keyasint,omitempty" json:"ending,omitempty"`
}

// Trial is how an assignment fares since it last changed or the agent booted, by the
// device's own clock: a deployment in waves goes on, or back, by it.
type Trial struct {
	RunningS uint64 `cbor:"1,keyasint,omitempty" json:"running_s"` // seconds since all its plugins were loaded
	Ended    uint64 `cbor:"2,keyasint,omitempty" json:"ended"`     // runs that began since
	Failed   uint64 `cbor:"3,keyasint,omitempty" json:"failed"`    // of those, ended in an error
	// Troubles counts calls that met a limit or broke the contract, and wakes that failed.
	Troubles uint64 `cbor:"4,keyasint,omitempty" json:"troubles"`
}

package protocol

// Desired is all that one agent is to do: the hub's one document for it, whole, never
// a difference. It travels sealed with ContextDesired and is named by the digest of
// the sealed bytes. An agent takes it only when (Epoch, Revision) is above what it
// holds and the address is its own.
type Desired struct {
	Address     Address      `cbor:"1,keyasint" json:"address"`
	Epoch       uint64       `cbor:"2,keyasint" json:"epoch"`    // of the agent's enrolment; from 1
	Revision    uint64       `cbor:"3,keyasint" json:"revision"` // from 1; never reset within an epoch
	Issued      int64        `cbor:"4,keyasint" json:"issued"`   // ms since 1970, by the hub's clock
	Releases    []ReleaseRef `cbor:"5,keyasint,omitempty" json:"releases"`
	Assignments []Assignment `cbor:"6,keyasint,omitempty" json:"assignments"`
	Settings    Settings     `cbor:"7,keyasint" json:"settings"`
	// Hosts are the steps of others' runs that this agent runs.
	Hosts []Host `cbor:"8,keyasint,omitempty" json:"hosts,omitempty"`
	// Revoked are digests of sealed releases that no agent runs or keeps, ascending, at most
	// RevokedMax. They hold until a newer document is taken. A step may name one: then its
	// assignment stands and does not run.
	Revoked []Digest `cbor:"9,keyasint,omitempty" json:"revoked,omitempty"`
	// Gone are, for a gateway, the agents of its site that it lets in no more, ascending, at most
	// GoneMax. As the revoked releases they hold until a newer document is taken.
	Gone []Gone `cbor:"10,keyasint,omitempty" json:"gone,omitempty"`
}

// ReleaseRef names a sealed release.
type ReleaseRef struct {
	Plugin  PluginName `cbor:"1,keyasint" json:"plugin"`
	Version string     `cbor:"2,keyasint" json:"version"`
	Digest  Digest     `cbor:"3,keyasint" json:"digest"` // of the sealed release
	Size    int64      `cbor:"4,keyasint" json:"size"`   // of the sealed release, bytes
}

// Settings are an agent's own; zero means the agent's default.
type Settings struct {
	HeartbeatSeconds uint32 `cbor:"1,keyasint,omitempty" json:"heartbeat_seconds"`
	MetricsSeconds   uint32 `cbor:"2,keyasint,omitempty" json:"metrics_seconds"`
	// DataBytesPerDay bounds the bytes on the line to the hub, both ways; 0: none. What
	// controls the agent goes all the same.
	DataBytesPerDay uint64 `cbor:"3,keyasint,omitempty" json:"data_bytes_per_day,omitempty"`
	// Overcommit is by what the agent holds the sums of limits; nil is DefaultOvercommit.
	Overcommit *Overcommit `cbor:"4,keyasint,omitempty" json:"overcommit,omitempty"`
}

// Assignment is the part of one workflow that one agent does. Its digest (of its
// encoding) tells whether it changed: an equal assignment is never touched.
type Assignment struct {
	Workflow WorkflowName `cbor:"1,keyasint" json:"workflow"`
	Trigger  Step         `cbor:"2,keyasint" json:"trigger"`
	Actions  []Step       `cbor:"3,keyasint" json:"actions"`
	Outputs  []Step       `cbor:"4,keyasint" json:"outputs"`
	CatchUp  CatchUp      `cbor:"5,keyasint,omitempty" json:"catch_up"`
	// If is an encoded condition.Tree over the event: only an event for which it holds
	// becomes a run. None means every event.
	If Raw `cbor:"6,keyasint,omitempty" json:"-"`
	// Limit bounds how many events become runs; nil does not.
	Limit *RunLimit `cbor:"7,keyasint,omitempty" json:"limit,omitempty"`
	// Once has several events that mean the same make one run; nil does not.
	Once *Once `cbor:"8,keyasint,omitempty" json:"once,omitempty"`
	// Urgent has the events and results go in the lane for alarms: before others, and kept longer.
	Urgent bool `cbor:"9,keyasint,omitempty" json:"urgent,omitempty"`
}

// Step is one place in an assignment: which release runs, with what, and under which
// grants and limits.
type Step struct {
	Name    StepName `cbor:"1,keyasint" json:"name"`
	Release Digest   `cbor:"2,keyasint" json:"release"` // one of Desired.Releases
	Config  Raw      `cbor:"3,keyasint,omitempty" json:"-"`
	Grants  []Grant  `cbor:"4,keyasint,omitempty" json:"grants"`
	Limits  Limits   `cbor:"5,keyasint,omitzero" json:"limits"`
	Timeout int64    `cbor:"6,keyasint,omitempty" json:"timeout_ms"` // 0: the limit's seconds
	Retry   Retry    `cbor:"7,keyasint,omitzero" json:"retry"`
	When    When     `cbor:"8,keyasint,omitempty" json:"when"` // outputs only
	// If is an encoded condition.Tree over the event and the results of earlier actions: a
	// step for which it does not hold is skipped. Not for triggers.
	If Raw `cbor:"9,keyasint,omitempty" json:"-"`
	// Platform chooses the release's artifact that the agent loads, the same for all steps
	// of one release; empty is PlatformWASM.
	Platform string `cbor:"10,keyasint,omitempty" json:"platform,omitempty"`
	// Place says which other agents run the step; nil for this one. Then Release, Config,
	// Grants, Limits, Platform, Template and Schema are empty here: they stand in the Host of its members.
	// Timeout is above 0.
	Place *Place `cbor:"11,keyasint,omitempty" json:"place,omitempty"`
	// Template is an encoded condition.Template: what Config is filled with for each run. None
	// means that Config is whole.
	Template []byte `cbor:"12,keyasint,omitempty" json:"-"`
	// Schema is an encoded condition.Schema that Config is held to when it is whole. None means
	// that there is nothing to hold it to.
	Schema []byte `cbor:"13,keyasint,omitempty" json:"-"`
}

// Retry says how often a step is tried again after a retryable error.
type Retry struct {
	Times  uint32 `cbor:"1,keyasint" json:"times"`
	WaitMS int64  `cbor:"2,keyasint" json:"wait_ms"` // doubled each time, at most an hour
}

// When says after which runs an output delivers.
type When uint8

// The conditions.
const (
	Always  When = 0
	IfOK    When = 1
	IfError When = 2
)

// CatchUp says what a firing means that was missed while the agent was off.
type CatchUp uint8

// The ways to catch up.
const (
	CatchUpNone   CatchUp = 0
	CatchUpLatest CatchUp = 1
	CatchUpAll    CatchUp = 2
)

// Grant is a capability with its scopes, as allowed to one plugin on one agent. No
// scopes means whatever the capability covers on that agent by default, which for
// process.execute is nothing.
type Grant struct {
	Capability string   `cbor:"1,keyasint" json:"capability"`
	Scopes     []string `cbor:"2,keyasint,omitempty" json:"scopes"`
}

// Hint tells an agent which desired document is the newest for it. It is kept by the
// broker for agents that come back; the hub's store is the truth.
type Hint struct {
	Epoch    uint64 `cbor:"1,keyasint" json:"epoch"`
	Revision uint64 `cbor:"2,keyasint" json:"revision"`
	Digest   Digest `cbor:"3,keyasint" json:"digest"`
	Size     int64  `cbor:"4,keyasint" json:"size"`
	Time     int64  `cbor:"5,keyasint" json:"time"` // ms since 1970, by the hub's clock; anybody's word
	// Proof is a Moment, sealed with ContextMoment: the time that an agent without a clock
	// may believe. Empty: none.
	Proof []byte `cbor:"6,keyasint,omitempty" json:"proof,omitempty"`
}

// Moment is a time that has come. Since it is a lower bound and no more, an old one that
// somebody kept proves nothing wrong.
type Moment struct {
	Time int64 `cbor:"1,keyasint" json:"time"` // ms since 1970
}

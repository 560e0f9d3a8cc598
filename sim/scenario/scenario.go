// Package scenario reads what a simulation is to be: who is in the fleet, what happens
// to it and what must hold. A scenario is YAML, checked as a whole before anything
// runs: every error names file, line and column, and all errors come at once.
//
// What a scenario leaves out has its default here, so that whoever runs it finds every
// field filled. Nothing here is drawn at random: the same file gives the same fleet
// under every seed; what a seed decides is drawn by who runs it.
package scenario

import (
	"cmp"
	"time"

	"github.com/stavily/stavily/protocol"
	"github.com/stavily/stavily/sim/expr"
)

// Version is what a scenario's first key must say.
const Version = "sim/v1"

// Pos is a place in the file, both from 1. The zero Pos is the file as a whole.
type Pos struct{ Line, Column int }

// Scenario is one simulation. Times are since the start.
type Scenario struct {
	File     string // as given to Parse; paths in the scenario are relative to its folder
	Name     string
	Seed     uint64
	Start    time.Time // UTC
	Duration time.Duration
	Level    Level
	// Certificates is how long those of agents last; 0: the hub's default.
	Certificates time.Duration
	Settle       time.Duration // how long after the last fault all must have converged
	Sample       time.Duration // how often the fleet's figures are taken
	Fleet        []Group
	Plugins      []Plugin // in the order written
	Deploys      []Deploy // in order of time
	Faults       []Fault  // in the order written
	Expects      []Expect // in the order written
	Report       Report
	Pos          Pos

	text   []byte
	forced Level // replaces what the file says; empty: nothing does
	files  Files
	agents []Agent
}

// Level says how much of the house is real.
type Level string

// The levels.
const (
	LevelModel  Level = "model"  // one goroutine, virtual time, the links made up
	LevelBubble Level = "bubble" // broker and links too, in virtual time
	LevelLive   Level = "live"   // real sockets, real time
)

// Group is a number of agents of one kind.
type Group struct {
	Name    string
	Count   int
	Agent   Pattern // the agents' names
	Site    Pattern
	Behind  []string // groups whose agents are its agents' gateways, the first choice first; none: the hub
	Labels  []Label  // ascending by key
	Classes []Share  // at least one
	Link    Link
	Online  Online
	Clock   Clock
	Disk    Disk
	Budget  int64    // data budget, bytes a day that the hub allows each agent; 0: none
	Lanes   []Lane   // what is not as on any agent
	Signals []Signal // ascending by name
	Pos     Pos
}

// Lane is how much an agent keeps of a lane of records, and what it does without room.
type Lane struct {
	Of    protocol.Lane
	Bytes int64
	Drop  string // empty: as on any agent
}

// Label is one label, its value drawn from the agent's number.
type Label struct {
	Key   string
	Value Pattern
	Pos   Pos
}

// Share is a class and how many parts of the group have it.
type Share struct {
	Class Class
	Parts float64 // above 0; only the ratio to the others matters
	Pos   Pos
}

// Class is a kind of device: a platform with so much memory and flash.
type Class struct {
	Name      string // as written
	Platform  string // a folder of firmware-targets, such as linux-armv7
	Arch      string // a manifest's word: arm/v7
	Engine    string // compiler or interpreter
	MemoryMiB int
	FlashMiB  int
}

// Link is the line between an agent and its hub. Zero means none of it, and for
// Bandwidth, MTU and Cap no bound.
type Link struct {
	Profile   string // the name it was filled from, empty for none
	Latency   Spread // one way
	Loss      float64
	Duplicate float64
	Reorder   float64
	Bandwidth float64 // bytes a second
	MTU       int     // bytes
	Cap       Cap
	Pos       Pos
}

// Spread is a duration drawn evenly from Mean-By to Mean+By.
type Spread struct{ Mean, By time.Duration }

// Cap is a data plan: no more than Bytes in each Per, up and down together.
type Cap struct {
	Bytes int64
	Per   time.Duration
}

// Online says when the line exists. No windows: always.
type Online struct {
	Windows []Window      // of every day, in order; in UTC
	Jitter  time.Duration // each edge of each day moves by up to so much either way
	Pos     Pos
}

// Window is a part of the day. To may be before From: the window goes over midnight.
type Window struct{ From, To time.Duration }

// Clock is what a device knows of the time.
type Clock struct {
	None   bool          // no battery: every start begins at 1970
	Drift  float64       // seconds gained in each second; 50ppm is 0.00005
	Offset time.Duration // at the start
	Pos    Pos
}

// Disk is what an agent writes to.
type Disk struct {
	Size    int64 // bytes; 0: the class's flash
	Latency Spread
	Pos     Pos
}

// SignalKind is how a signal's value comes about.
type SignalKind string

// The kinds of signals.
const (
	Constant SignalKind = "constant" // Value
	Walk     SignalKind = "walk"     // from Value by up to Step each Every, in [Min, Max]
	Sine     SignalKind = "sine"     // Value + Amplitude*sin(2π(t+Phase)/Period)
	StepUp   SignalKind = "step"     // Value, and To from At on
	Poisson  SignalKind = "poisson"  // counts happenings, Rate a second
	Replay   SignalKind = "replay"   // Trace
)

// Signal is one figure of a device over time. Only the fields of its kind are set.
type Signal struct {
	Name      string
	Kind      SignalKind
	Every     time.Duration // walk: between two steps
	Value     float64
	Step      float64
	Min, Max  float64
	Amplitude float64
	Period    time.Duration
	Phase     time.Duration
	To        float64
	At        time.Duration
	Rate      float64 // a second
	Trace     *Trace
	Speed     float64       // replay: 25 plays 25 seconds of the trace in one
	Offset    time.Duration // replay: where in the trace to begin
	Random    bool          // replay: begin anywhere, drawn for each agent
	Line      bool          // replay: between two rows it goes straight from the one to the other
	Pos       Pos

	column string // replay: of the CSV
	hold   bool   // replay: gaps are meant
}

// Trace is a recorded signal, played again and again.
type Trace struct {
	File   string
	Length time.Duration // of the whole
	Points []Point       // in order, the first at 0, at least two
}

// Point is one value of a trace.
type Point struct {
	At    time.Duration
	Value float64
}

// Plugin binds a plugin's name, as workflows say it, to what answers for it. Exactly
// one of Model, Module and Folder is set.
type Plugin struct {
	Name    string
	Version string
	Model   Model  // a behaviour of the simulator's own
	Module  string // path of a WebAssembly module
	Folder  string // path of a plugin's source
	Takes   Spread // model: how long an answer takes
	Fails   float64
	Bytes   int   // model: size of what it answers
	Memory  int64 // model: what an instance holds, and its limit; 0: the default limit, and it holds nothing
	Pos     Pos
}

// Model is a made-up plugin. It has the configuration that the workflow gives it.
type Model string

// The models.
const (
	ModelTimer     Model = "timer"     // trigger: fires each with.every
	ModelThreshold Model = "threshold" // trigger: fires when with.signal crosses with.above or with.below
	ModelCounter   Model = "counter"   // trigger: fires for each happening of the poisson signal with.signal
	ModelPass      Model = "pass"      // action: answers what it was given
	ModelSink      Model = "sink"      // output: counted as delivered
)

// Deploy is one change of the operator's wish.
type Deploy struct {
	Index    int // in the file, from 0
	At       time.Duration
	File     string // where Workflow was read from; the scenario's own when inline
	Workflow []byte // its text; lines and columns are those of File. Nil when Remove is set
	Name     string // the workflow's
	Remove   bool   // the workflow is taken away
	// Labels are what agents are given instead, in ascending order of the keys; an empty value
	// takes one away. Where says who; nil is all.
	Labels []SetLabel
	Where  *expr.Expr
	Retire bool // the agents that Where matches are removed from the fleet instead
	Pos    Pos
}

// SetLabel is a label that the operator gives agents.
type SetLabel struct{ Key, Value string }

// FaultKind is what goes wrong.
type FaultKind string

// The faults. Those marked with a span last For; the others are a moment.
const (
	Partition      FaultKind = "partition"       // span: the agent's line is cut; Way says which direction
	PowerCut       FaultKind = "power-cut"       // the agent loses power; For is how long it stays off
	Crash          FaultKind = "crash"           // the agent's process ends and starts again
	SlowCPU        FaultKind = "slow-cpu"        // span: plugin calls take Factor times as long
	DiskFull       FaultKind = "disk-full"       // span: the agent's disk takes nothing more
	DiskSlow       FaultKind = "disk-slow"       // span: the disk takes Factor times as long
	ClockJump      FaultKind = "clock-jump"      // the agent's clock moves By
	CertificateEnd FaultKind = "certificate-end" // span: the agent is refused at the hub's door
	Hostile        FaultKind = "hostile"         // a neighbour sends the agent messages that nobody should
	Corrupt        FaultKind = "corrupt"         // span: bytes of fetched artifacts are changed on the way
	BadRelease     FaultKind = "bad-release"     // span: Plugin fails each call
	Storm          FaultKind = "reconnect-storm" // all lines drop at once and come back together
	HubRestart     FaultKind = "hub-restart"     // the hub stops in order; For is how long it is away
	HubCrash       FaultKind = "hub-crash"       // the hub ends in mid-step; For is how long it is away
	HubRestore     FaultKind = "hub-restore"     // the hub's books become those of By ago
)

// Fault is one thing that goes wrong: at a time, or again and again at a rate.
type Fault struct {
	Index  int // in the file, from 0
	What   FaultKind
	At     time.Duration // with a Rate: the beginning of the time in which it happens
	For    time.Duration
	Rate   float64       // a second and matching agent (or hub); 0: once, at At
	Until  time.Duration // with a Rate: the end
	Where  *expr.Expr    // nil: every agent
	Torn   bool          // power-cut: a write under way is left half done
	By     time.Duration // clock-jump: how far, may be negative; hub-restore: how old the backup is
	Factor float64       // slow-cpu, disk-slow: how many times slower
	Way    string        // partition: both, up or down
	Side   string        // partition: hub, or site for a gateway that its neighbours do not reach
	Plugin string        // bad-release: whose release
	Pos    Pos
}

// OfHub reports whether the fault befalls the hub and not agents.
func (f *Fault) OfHub() bool {
	return f.What == HubRestart || f.What == HubCrash || f.What == HubRestore || f.What == BadRelease
}

// ExpectKind is when a condition must be true.
type ExpectKind string

// The kinds of expectations.
const (
	Always      ExpectKind = "always"       // at every sample
	Never       ExpectKind = "never"        // at no sample
	Eventually  ExpectKind = "eventually"   // at some sample up to Within since the start
	AfterFaults ExpectKind = "after_faults" // from Within after the end of the last fault on, at the latest
	SLO         ExpectKind = "slo"          // quantiles of Metric over the whole run
)

// Expect is what must hold, besides what always must.
type Expect struct {
	Index     int // in the file, from 0
	Kind      ExpectKind
	Cond      *expr.Expr // nil for SLO
	Within    time.Duration
	Metric    string     // SLO: a name of Metrics
	Quantiles []Quantile // SLO: ascending
	Group     string     // SLO: only this group; empty for all
	Text      string     // as written, for reports
	Pos       Pos
}

// Quantile bounds one quantile of a metric from above.
type Quantile struct {
	Q   float64 // above 0, at most 1
	Max float64
}

// Report says where results go. Empty paths are not written.
type Report struct{ HTML, JUnit, JSON, Trace string }

// Or returns r with the empty paths filled from other.
func (r Report) Or(other Report) Report {
	return Report{
		HTML: cmp.Or(r.HTML, other.HTML), JUnit: cmp.Or(r.JUnit, other.JUnit),
		JSON: cmp.Or(r.JSON, other.JSON), Trace: cmp.Or(r.Trace, other.Trace),
	}
}

// Agent is one agent of the fleet, as the file alone decides it.
type Agent struct {
	Name   string
	Group  int // index into Fleet
	Number int // within the group, from 0
	Site   string
	Labels []Pair // ascending by key
	Class  Class
	// Gateways are its gateways by their index in the fleet, the first choice first. It reaches
	// the hub by them alone; without any, by its own line.
	Gateways []int
}

// Pair is a label.
type Pair struct{ Key, Value string }

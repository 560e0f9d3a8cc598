package edge

import (
	"github.com/stavily/stavily/protocol"
	"github.com/stavily/stavily/wasmhost"
)

// Plugins runs what an agent wants of its plugins, away from the agent's one loop, so
// that a slow plugin never holds up another workflow. Neither method waits. It is
// implemented over wasmhost (host.go) and by the simulator.
type Plugins interface {
	// Start begins a call. Its answer comes back as an input: Agent.Answered, once for
	// each Start. Calls of one instance run one at a time in the order started; calls
	// of different instances do not wait for each other.
	Start(Call)
	// Stop ends an instance and frees what it holds. Calls under way are answered with
	// CodeUnavailable.
	Stop(Instance)
}

// Instance names one plugin in one step of one workflow: its own memory, state and
// grants.
type Instance struct {
	Workflow protocol.WorkflowName
	Step     protocol.StepName
	// Turn tells two of one step apart while runs end on the release before: they share what
	// the plugin put by. It is 0 where there is one.
	Turn uint32
}

// CallID tells the calls of one agent apart; from 1, never used twice in a boot.
type CallID uint64

// Call is one thing that an agent asks of a plugin. Exactly one of Load and Request
// is set.
type Call struct {
	ID       CallID
	Instance Instance
	Load     *Load
	Request  *wasmhost.Request
	// Depth counts the local messages that led to the request.
	Depth uint8
}

// Load makes an instance ready: the artifact is read from the store by digest,
// checked against it and against the manifest again, and started with the step's
// configuration. A second Load of an instance replaces the first.
type Load struct {
	Manifest protocol.Manifest
	Artifact protocol.Artifact
	Step     protocol.Step
}

// Answered is how a call ended. A Load has only Answer.Error and Answer.Usage.
type Answered struct {
	ID       CallID
	Instance Instance
	Answer   wasmhost.Answer
	// Lost says that a plugin which rested could not be loaded again, for the reason in
	// Answer.Error: what it was to be asked was not asked.
	Lost bool
}

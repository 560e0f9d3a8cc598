// Package api is the operator's API of a hub: what is asked and answered, and a client
// for it. It is JSON over HTTP, on a socket in the hub's home and, when the operator
// wants it, on a TCP address with a token.
//
// Every error is an Error in {"error": ...}. Publishing answers with one JSON object a
// line, a Progress each, as the stages fall; the last one has the release or the error.
package api

import (
	"time"

	"github.com/stavily/stavily/hub/deploy"
	"github.com/stavily/stavily/hub/document"
	"github.com/stavily/stavily/hub/fleet"
	"github.com/stavily/stavily/hub/registry"
	"github.com/stavily/stavily/hub/rollout"
	"github.com/stavily/stavily/hub/runs"
	"github.com/stavily/stavily/protocol"
)

// The paths. {x} is a name.
const (
	PathStatus    = "/v1/status"                // GET: Status
	PathPlugins   = "/v1/plugins"               // GET: []registry.Plugin; POST AddPlugin: registry.Plugin
	PathPlugin    = "/v1/plugins/{x}"           // GET: Plugin; DELETE
	PathReleases  = "/v1/plugins/{x}/releases"  // POST Publish: Progress, a line each
	PathWorkflows = "/v1/workflows"             // GET: []Workflow; POST Deploy: Deployed
	PathWorkflow  = "/v1/workflows/{x}"         // GET: Workflow; DELETE: []AgentChange
	PathExplain   = "/v1/workflows/{x}/explain" // GET ?agent: Explained
	PathRollouts  = "/v1/rollouts"              // GET: []Rollout
	PathRollout   = "/v1/rollouts/{x}"          // GET: Rollout; POST Steer: Rollout
	PathAgents    = "/v1/agents"                // GET: []fleet.Agent
	PathAgent     = "/v1/agents/{x}"            // GET: AgentShown; PATCH Labels: fleet.Agent; DELETE
	PathGateway   = "/v1/agents/{x}/gateway"    // POST Gateway: fleet.Agent
	PathAdopt     = "/v1/adopt"                 // POST Adopt: []AgentChange
	PathTokens    = "/v1/tokens"                // POST NewToken: Token
	PathRuns      = "/v1/runs"                  // GET ?workflow&agent&status&limit: []runs.Run
	PathRun       = "/v1/runs/{x}"              // GET: runs.Run; x may be the beginning of an ID
)

// Status is how a hub is.
type Status struct {
	Version   string          `json:"version"`
	Home      string          `json:"home"`
	Listen    string          `json:"listen"` // the address of the link, as bound
	CA        protocol.Digest `json:"ca"`
	Connected int             `json:"connected"` // agents
	Started   time.Time       `json:"started"`
}

// AddPlugin registers a repository.
type AddPlugin struct {
	Repository     string `json:"repository"`
	AllowedSigners string `json:"allowed_signers"` // the text of an allowed_signers file
	// Credential names a folder under credentials/ in the hub's home, for private
	// repositories; its content never leaves the hub.
	Credential string `json:"credential,omitempty"`
}

// Plugin is a plugin with its releases, the newest first.
type Plugin struct {
	registry.Plugin
	Releases []Release `json:"releases"`
}

// Release is a release with the verdict of every stage.
type Release struct {
	registry.Release
	Stages []registry.Stage `json:"stages"`
}

// Publish asks for one version of a plugin.
type Publish struct {
	Version string `json:"version"`         // semver without "v"
	Older   bool   `json:"older,omitempty"` // a version below the highest is meant
	// Bundle is what was built elsewhere, as "plugin build --attest" writes it.
	Bundle []byte `json:"bundle,omitempty"`
}

// Progress is one line of a publishing.
type Progress struct {
	Stage   *registry.Stage   `json:"stage,omitempty"`
	Release *registry.Release `json:"release,omitempty"`
	Error   *Error            `json:"error,omitempty"`
}

// Deploy is a workflow as its writer has it.
type Deploy struct {
	File string `json:"file"` // stands in errors
	Text string `json:"text"`
	// DryRun asks what it would mean and changes nothing.
	DryRun bool `json:"dry_run,omitempty"`
	Moves
}

// Deployed is what a deployment did.
type Deployed struct {
	Workflow protocol.WorkflowName `json:"workflow"`
	At       time.Time             `json:"at"`
	Releases []string              `json:"releases"` // name@version of each step, in order
	Agents   []AgentChange         `json:"agents"`
	Rollout  *Rollout              `json:"rollout,omitempty"` // where it goes in waves
	Locked   []Locked              `json:"locked"`            // the same as Releases, with all that they are
	Moved    []Moved               `json:"moved,omitempty"`   // from what it was locked to before
	Warnings []string              `json:"warnings,omitempty"`
	Urgent   bool                  `json:"urgent,omitempty"` // its events and results go before others
}

// Rollout is how a workflow's change goes through the fleet.
type Rollout struct {
	Workflow protocol.WorkflowName `json:"workflow"`
	Releases []string              `json:"releases"` // name@version of each step of the change
	Waves    []string              `json:"waves"`    // in words; the rest follows
	rollout.State
	Progress rollout.Progress `json:"progress"`
}

// Steering is what an operator does to a rollout.
type Steering string

// The ways to steer.
const (
	Pause   Steering = "pause"   // nobody else gets the change
	Resume  Steering = "resume"  // go on with the wave
	Abort   Steering = "abort"   // take it back from everybody
	Promote Steering = "promote" // give it to everybody now
)

// Steer asks for it.
type Steer struct {
	Do Steering `json:"do"`
}

// AgentChange is what a deployment means for one agent.
type AgentChange struct {
	Agent    protocol.AgentName `json:"agent"`
	Revision uint64             `json:"revision"`
	Digest   protocol.Digest    `json:"digest"` // of the desired document
	Changed  bool               `json:"changed"`
	Assigned bool               `json:"assigned"`
	Excluded *protocol.Error    `json:"excluded,omitempty"`
	Cost     *Cost              `json:"cost,omitempty"` // of a dry run, where Changed
	// Loads are the artifacts that its steps would load; of a dry run, where Assigned.
	Loads []deploy.Load `json:"loads,omitempty"`
	// Configs are the configurations of its steps, filled as far as they are before a run; of a
	// dry run, where Assigned.
	Configs []deploy.StepConfig `json:"configs,omitempty"`
}

// Cost is what a new desired document asks of an agent.
type Cost struct {
	DownloadB int64  `json:"download_b"` // documents, releases and artifacts that it was not sent before
	MemoryMB  int64  `json:"memory_mb"`  // the limits of all its steps together
	DeviceMB  int64  `json:"device_mb"`  // the memory that it says it has; 0: not known
	Sums      string `json:"sums"`       // of memory, cores and storage, beside what it has
}

// Explained answers why an agent runs a workflow or does not. The last rule that is not
// ok is the reason.
type Explained struct {
	Workflow protocol.WorkflowName `json:"workflow"`
	Agent    protocol.AgentName    `json:"agent"`
	Placed   bool                  `json:"placed"`
	Rules    []deploy.Rule         `json:"rules"`
}

// Workflow is a deployed workflow.
type Workflow struct {
	Workflow protocol.WorkflowName `json:"workflow"`
	File     string                `json:"file"`
	Text     string                `json:"text"`
	Releases []string              `json:"releases"`
	Lock     []Locked              `json:"lock"`
	At       time.Time             `json:"at"`
	// Limited and Repeated are the events that became no run on its agents, as they reported:
	// over its limit, and for what another event had meant.
	Limited  uint64 `json:"limited,omitempty"`
	Repeated uint64 `json:"repeated,omitempty"`
}

// Adopt makes the hub's word hold for agents that hold what its books do not know, as after
// the books were put back from a backup.
type Adopt struct {
	Agents []protocol.AgentName `json:"agents"` // none: all of them
}

// Labels changes an agent's labels; an empty value removes one.
type Labels struct {
	Labels map[string]string `json:"labels"`
}

// Gateway says whether an agent may carry for its site.
type Gateway struct {
	On bool `json:"on"`
}

// NewToken asks for a join token.
type NewToken struct {
	Site  protocol.Site      `json:"site"`
	Agent protocol.AgentName `json:"agent,omitempty"` // empty: the agent says its name
	Count int                `json:"count"`           // agents that may join with it; 0 means 1
	TTL   time.Duration      `json:"ttl"`             // ns; 0 means an hour
	// Gateway makes who joins with it a gateway of the site.
	Gateway bool `json:"gateway,omitempty"`
}

// Token is a join token, shown once.
type Token struct {
	Token   string    `json:"token"`
	Hub     string    `json:"hub"` // host:port as the hub listens
	Expires time.Time `json:"expires"`
}

// GapsShown bounds the gaps of an AgentShown.
const GapsShown = 10

// AgentShown is an agent with the artifacts that the steps of its workflows load, and with what it
// let go of before the hub had it.
type AgentShown struct {
	fleet.Agent
	Loads []deploy.Load `json:"loads,omitempty"`
	Gaps  []runs.Gap    `json:"gaps,omitempty"` // the newest GapsShown, the newest first
}

type (
	// Registered is a plugin as the books have it.
	Registered = registry.Plugin
	// Published is a release as the books have it.
	Published = registry.Release
	// Stage is the verdict of one stage.
	Stage = registry.Stage
	// Agent is an agent as the books have it.
	Agent = fleet.Agent
	// Run is a run as the books have it.
	Run = runs.Run
)

// Error is what went wrong.
type Error struct {
	Code protocol.Code `json:"code"`
	Text string        `json:"text"`
	// Place is set when the mistake is in a document that the caller sent.
	Place *document.Error `json:"place,omitempty"`
	// Places are all mistakes, the first too, where there are several.
	Places document.Errors `json:"places,omitempty"`
}

// Error returns the text.
func (e *Error) Error() string { return e.Text }

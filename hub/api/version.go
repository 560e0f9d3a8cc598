package api

import (
	"time"

	"github.com/stavily/stavily/hub/registry"
	"github.com/stavily/stavily/protocol"
)

// The paths of versions. {x} is a name.
const (
	PathUpdate   = "/v1/workflows/{x}/update" // POST Update: Deployed
	PathWithdraw = "/v1/plugins/{x}/withdraw" // POST Withdraw: Withdrawn
	PathFollow   = "/v1/plugins/{x}/follow"   // POST Follow: Followed; DELETE
	PathFollows  = "/v1/follows"              // GET: []Followed
	PathNotices  = "/v1/notices"              // GET ?limit: []Notice, the newest first
)

// Moves says how a deployment may leave the releases that it is locked to.
type Moves struct {
	// Update chooses afresh: the newest that each range takes.
	Update bool `json:"update,omitempty"`
	// Downgrade says that a version below the held one is meant.
	Downgrade bool `json:"downgrade,omitempty"`
}

// Locked is the release that a step is held to, until somebody moves it.
type Locked struct {
	Step    protocol.StepName   `json:"step"`
	Plugin  protocol.PluginName `json:"plugin"`
	Range   string              `json:"range,omitempty"` // as the workflow says; empty for any
	Version string              `json:"version"`
	Release protocol.Digest     `json:"release"` // of the sealed release
	Commit  string              `json:"commit"`  // Git object ID, hexadecimal
	Tree    protocol.Digest     `json:"tree"`
	// Artifacts are by platform.
	Artifacts []LockedArtifact `json:"artifacts"`
	// State is what the release is now.
	State registry.State `json:"state,omitempty"`
}

// LockedArtifact is one file of a locked release.
type LockedArtifact struct {
	Platform string          `json:"platform"`
	Digest   protocol.Digest `json:"digest"`
}

// Moved is a step whose release becomes another one.
type Moved struct {
	Step   protocol.StepName   `json:"step"`
	Plugin protocol.PluginName `json:"plugin"`
	From   string              `json:"from"` // a version
	To     string              `json:"to"`
}

// Update moves the lock of a deployed workflow to the newest releases that its ranges take.
type Update struct {
	Downgrade bool `json:"downgrade,omitempty"`
	// DryRun asks what would move and changes nothing.
	DryRun bool `json:"dry_run,omitempty"`
}

// Withdrawal is what an operator does to a published release.
type Withdrawal string

// The withdrawals.
const (
	Yank    Withdrawal = "yank"    // no new deployment chooses it; what runs stays
	Revoke  Withdrawal = "revoke"  // agents stop it and let go of it
	Restore Withdrawal = "restore" // it is published again
)

// Withdraw asks for it.
type Withdraw struct {
	Version string     `json:"version"`
	Do      Withdrawal `json:"do"`
	Reason  string     `json:"reason"`       // required but to restore
	By      string     `json:"by,omitempty"` // whoever asks, by their own word
}

// Withdrawn is what became of it.
type Withdrawn struct {
	Plugin  protocol.PluginName `json:"plugin"`
	Version string              `json:"version"`
	State   registry.State      `json:"state"`
	// Hits are the workflows that use it.
	Hits []Hit `json:"hits"`
}

// Hit is a workflow that uses a withdrawn release.
type Hit struct {
	Workflow protocol.WorkflowName `json:"workflow"`
	Agents   []protocol.AgentName  `json:"agents"` // those that run it, or are to
	// Moved is what the hub moved by itself, and Error why it could not or did not.
	Moved []Moved `json:"moved,omitempty"`
	Error string  `json:"error,omitempty"`
}

// Follow asks the hub to look for new tags of a plugin by itself.
type Follow struct {
	Channel string        `json:"channel"`      // one of version.Channels
	Every   time.Duration `json:"every"`        // ns; 0 means an hour
	By      string        `json:"by,omitempty"` // whoever asks, by their own word
}

// Followed is how a followed plugin fares.
type Followed struct {
	Plugin  protocol.PluginName `json:"plugin"`
	Channel string              `json:"channel"`
	Every   time.Duration       `json:"every"`
	Next    time.Time           `json:"next"`
	Looked  time.Time           `json:"looked,omitzero"`
	Newest  string              `json:"newest,omitempty"` // version published last by following
	Trouble string              `json:"trouble,omitempty"`
	// Refused are tags that did not become releases, and Moved those that no longer mean what
	// they did: with the object that they name.
	Refused map[string]string `json:"refused,omitempty"`
	Moved   map[string]string `json:"moved,omitempty"`
}

// Notice is something that an operator should know of, or that somebody did.
type Notice struct {
	At time.Time `json:"at"`
	// Kind is moved-tag, refused, published, updated, not-updated, yank, revoke, restore or
	// follow.
	Kind    string `json:"kind"`
	Subject string `json:"subject"` // a plugin's release or tag, or a workflow
	Text    string `json:"text"`
	By      string `json:"by,omitempty"` // empty: the hub by itself
}

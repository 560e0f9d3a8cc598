package protocol

import (
	"encoding/hex"
	"fmt"
)

// Names are chosen by people: 1 to 32 characters of [a-z0-9-], beginning and ending
// with a letter or digit. The exception is PluginName, which may have 64 characters,
// because it stands for a repository.
type (
	// AgentName names one agent within one hub.
	AgentName string
	// Site names the place that an agent is at. It is part of the agent's topics.
	Site string
	// PluginName names a plugin within one hub's registry.
	PluginName string
	// WorkflowName names a workflow within one hub.
	WorkflowName string
	// StepName names a step within its workflow.
	StepName string
)

// Check returns an error that names the first character or length at fault.
func (n AgentName) Check() error { return checkName("agent name", string(n), NameMax) }

// Check returns an error that names the first character or length at fault.
func (s Site) Check() error { return checkName("site", string(s), NameMax) }

// Check returns an error that names the first character or length at fault.
func (n PluginName) Check() error { return checkName("plugin name", string(n), PluginNameMax) }

// Check returns an error that names the first character or length at fault.
func (n WorkflowName) Check() error { return checkName("workflow name", string(n), NameMax) }

// Check returns an error that names the first character or length at fault.
func (n StepName) Check() error { return checkName("step name", string(n), NameMax) }

func checkName(what, name string, longest int) error {
	if len(name) == 0 || len(name) > longest {
		return Errorf(CodeBadName, "%s %q: want 1 to %d characters, got %d", what, clip(name), longest, len(name))
	}
	for i, c := range []byte(name) {
		switch {
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9':
		case c == '-' && i > 0 && i < len(name)-1:
		default:
			return Errorf(CodeBadName, "%s %q: character %d is %q, want a-z, 0-9 or an inner hyphen",
				what, clip(name), i+1, rune(c))
		}
	}
	return nil
}

func clip(s string) string {
	if len(s) > PluginNameMax {
		return s[:PluginNameMax] + "..."
	}
	return s
}

// RunID is made by the agent on which a trigger fired and travels with everything
// that the firing causes. 16 bytes from the agent's random source.
type RunID [16]byte

// String returns the ID as 32 hexadecimal digits.
func (id RunID) String() string { return hex.EncodeToString(id[:]) }

// IsZero reports whether the ID was never set.
func (id RunID) IsZero() bool { return id == RunID{} }

// ParseRunID reads the 32 hexadecimal digits that String writes.
func ParseRunID(s string) (RunID, error) {
	var id RunID
	if len(s) != 2*len(id) {
		return id, fmt.Errorf("run id %q: want %d hexadecimal digits, got %d", clip(s), 2*len(id), len(s))
	}
	if _, err := hex.Decode(id[:], []byte(s)); err != nil {
		return RunID{}, fmt.Errorf("run id %q: %w", s, err)
	}
	return id, nil
}

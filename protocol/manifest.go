package protocol

import (
	"fmt"
	"slices"
)

// PluginType is what a plugin is; it fits only that slot of a workflow.
type PluginType string

// The types.
const (
	Trigger PluginType = "trigger"
	Action  PluginType = "action"
	Output  PluginType = "output"
)

// Check returns an error for anything but the three types.
func (t PluginType) Check() error {
	if slices.Contains([]PluginType{Trigger, Action, Output}, t) {
		return nil
	}
	return Errorf(CodeBadInput, "plugin type %q: want trigger, action or output", string(t))
}

// Manifest is stavily-plugin.yaml: what a plugin says of itself and asks for. The
// JSON names are the keys that people write. Every field is kept in the release; the
// comments name the requirement rows.
type Manifest struct {
	Plugin        PluginInfo    `cbor:"1,keyasint" json:"plugin"`
	Runtime       Runtime       `cbor:"2,keyasint" json:"runtime"`
	Compatibility Compatibility `cbor:"3,keyasint,omitzero" json:"compatibility"`
	OS            OS            `cbor:"4,keyasint,omitzero" json:"os_requirements"`
	Limits        Limits        `cbor:"5,keyasint,omitzero" json:"execution_limits"`
	Sandbox       bool          `cbor:"6,keyasint" json:"sandbox_mode"`                   // M-22
	Network       bool          `cbor:"7,keyasint" json:"allow_network_access"`           // M-23
	Filesystem    string        `cbor:"8,keyasint" json:"allow_filesystem_access"`        // M-24
	SystemCalls   []string      `cbor:"9,keyasint,omitempty" json:"allowed_system_calls"` // M-25
	Permissions   Permissions   `cbor:"10,keyasint,omitzero" json:"permissions"`          // M-26, M-27
	Configuration Configuration `cbor:"11,keyasint,omitzero" json:"configuration"`        // M-28, M-29
	Testing       Testing       `cbor:"12,keyasint,omitzero" json:"testing"`              // M-30, M-31
	State         StateFormat   `cbor:"13,keyasint,omitzero" json:"state"`                // O-04
}

// PluginInfo is who a plugin is (M-01 to M-05).
type PluginInfo struct {
	Name        PluginName `cbor:"1,keyasint" json:"name"`
	Version     string     `cbor:"2,keyasint" json:"version"` // semver without "v"
	Type        PluginType `cbor:"3,keyasint" json:"type"`
	Description string     `cbor:"4,keyasint" json:"description"` // 1 to 280 characters
	Author      Author     `cbor:"5,keyasint" json:"author"`
}

// Author is who wrote a plugin.
type Author struct {
	Name string `cbor:"1,keyasint" json:"name"`
}

// Runtime is the language a plugin is written in (M-06 to M-08).
type Runtime struct {
	Language     string   `cbor:"1,keyasint" json:"language"`
	MinVersion   string   `cbor:"2,keyasint,omitempty" json:"min_version"`
	Dependencies []string `cbor:"3,keyasint,omitempty" json:"dependencies"`
	// Native asks for native artifacts, which full servers run: NativeAlso or NativeOnly.
	// Empty leaves it to the builder, which makes them where WASM cannot serve.
	Native string `cbor:"4,keyasint,omitempty" json:"native,omitempty"`
}

// Compatibility narrows Runtime (M-09 to M-12).
type Compatibility struct {
	Language  LanguageRange     `cbor:"1,keyasint,omitzero" json:"programming_language"`
	Libraries map[string]string `cbor:"2,keyasint,omitempty" json:"library_dependencies"`
}

// IsZero reports whether it says nothing. An empty list says nothing too: without this a
// manifest with "system: []" would be encoded with a map that is gone when it is decoded.
func (c Compatibility) IsZero() bool { return c.Language == (LanguageRange{}) && len(c.Libraries) == 0 }

// LanguageRange is a language with the versions of it that serve.
type LanguageRange struct {
	Name       string `cbor:"1,keyasint" json:"name"`
	MinVersion string `cbor:"2,keyasint,omitempty" json:"min_version"`
	MaxVersion string `cbor:"3,keyasint,omitempty" json:"max_version"`
}

// OS says where native artifacts run (M-13 to M-16). A WASM artifact runs anywhere.
type OS struct {
	Supported     []string `cbor:"1,keyasint,omitempty" json:"supported_os"`
	Architectures []string `cbor:"2,keyasint,omitempty" json:"supported_architectures"`
	MinKernel     string   `cbor:"3,keyasint,omitempty" json:"min_kernel_version"`
	Libraries     []string `cbor:"4,keyasint,omitempty" json:"required_libraries"`
}

// IsZero reports whether it says nothing.
func (o OS) IsZero() bool {
	return len(o.Supported)+len(o.Architectures)+len(o.Libraries) == 0 && o.MinKernel == ""
}

// Limits bounds one plugin on one agent (M-17 to M-21). Zero means the default of
// DefaultLimits.
type Limits struct {
	MemoryMB    uint32  `cbor:"1,keyasint,omitempty" json:"max_memory_mb"`
	CPUCores    float64 `cbor:"2,keyasint,omitempty" json:"max_cpu_cores"`
	Seconds     uint32  `cbor:"3,keyasint,omitempty" json:"max_execution_time_seconds"`
	Files       uint32  `cbor:"4,keyasint,omitempty" json:"max_file_descriptors"`
	Connections uint32  `cbor:"5,keyasint,omitempty" json:"max_network_connections"`
}

// DefaultLimits is what a manifest gets that says nothing: enough for a Go plugin,
// nothing of the network.
func DefaultLimits() Limits {
	return Limits{MemoryMB: 64, CPUCores: 0.5, Seconds: 30, Files: 16, Connections: 0}
}

// WithDefaults fills the zero fields from DefaultLimits.
func (l Limits) WithDefaults() Limits {
	d := DefaultLimits()
	if l.MemoryMB == 0 {
		l.MemoryMB = d.MemoryMB
	}
	if l.CPUCores == 0 {
		l.CPUCores = d.CPUCores
	}
	if l.Seconds == 0 {
		l.Seconds = d.Seconds
	}
	if l.Files == 0 {
		l.Files = d.Files
	}
	return l
}

// Permissions are the capabilities that a plugin asks for, each perhaps with a scope
// after a colon: "process.execute:uptime", "http.request:api.example.com:443".
type Permissions struct {
	System  []string `cbor:"1,keyasint,omitempty" json:"system"`
	Network []string `cbor:"2,keyasint,omitempty" json:"network"`
}

// IsZero reports whether it asks for nothing.
func (p Permissions) IsZero() bool { return len(p.System)+len(p.Network) == 0 }

// Configuration names files of the source.
type Configuration struct {
	Schema   string `cbor:"1,keyasint,omitempty" json:"schema"`
	Examples string `cbor:"2,keyasint,omitempty" json:"examples"`
}

// Testing names the plugin's own tests and the coverage that they must reach.
type Testing struct {
	Suite    string  `cbor:"1,keyasint,omitempty" json:"test_suite"`
	Coverage float64 `cbor:"2,keyasint,omitempty" json:"coverage_threshold"` // percent
}

// String returns name@version.
func (m *Manifest) String() string { return fmt.Sprintf("%s@%s", m.Plugin.Name, m.Plugin.Version) }

package build

import (
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/Masterminds/semver/v3"

	"github.com/stavily/stavily/hub/document"
	"github.com/stavily/stavily/protocol"
)

// ManifestFile is where a source keeps its manifest.
const ManifestFile = "stavily-plugin.yaml"

const (
	descriptionMax = 280
	schemaMax      = 64 << 10
)

// required are the keys that a manifest cannot do without. What is missing elsewhere
// means "nothing asked for" or a default of protocol.DefaultLimits.
var required = []string{
	"plugin.name", "plugin.version", "plugin.type", "plugin.description", "plugin.author.name",
	"runtime.language", "sandbox_mode", "allow_network_access", "allow_filesystem_access", "permissions",
}

// ReadManifest reads and checks the manifest of a source. Errors are *document.Error
// with line and column; warnings name what is odd and what the hub makes of it.
func ReadManifest(tree fs.FS) (m *protocol.Manifest, warnings []string, err error) {
	text, err := fs.ReadFile(tree, ManifestFile)
	if err != nil {
		return nil, nil, protocol.Errorf(protocol.CodeBadInput, "%s: the source has none at its top", ManifestFile)
	}
	return ParseManifest(ManifestFile, text)
}

// ParseManifest is ReadManifest for a text; name stands in errors.
func ParseManifest(name string, text []byte) (*protocol.Manifest, []string, error) {
	doc, err := document.Parse(name, text)
	if err != nil {
		return nil, nil, err
	}
	var m protocol.Manifest
	if err := doc.Decode(&m); err != nil {
		return nil, nil, err
	}
	if err := doc.Require(required...); err != nil {
		return nil, nil, err
	}
	c := &checker{doc: doc, m: &m}
	for _, check := range []func(){
		c.identity, c.language, c.libraries, c.platforms, c.limits, c.sandbox, c.native, c.permissions, c.files,
		c.state,
	} {
		if check(); c.err != nil {
			return nil, nil, c.err
		}
	}
	return &m, c.warnings, nil
}

// checker walks a manifest and stops at the first error.
type checker struct {
	doc      *document.Document
	m        *protocol.Manifest
	warnings []string
	err      error
}

// want notes an error at path unless ok.
func (c *checker) want(ok bool, path, format string, args ...any) {
	if !ok && c.err == nil {
		c.err = c.doc.Errorf(path, format, args...)
	}
}

func (c *checker) warn(format string, args ...any) {
	c.warnings = append(c.warnings, fmt.Sprintf("warning: "+format, args...))
}

// identity holds M-01 to M-05.
func (c *checker) identity() {
	p := &c.m.Plugin
	if err := p.Name.Check(); err != nil {
		c.want(false, "plugin.name", "%v", err)
	}
	_, err := semver.StrictNewVersion(p.Version)
	c.want(err == nil, "plugin.version", "%q: want a version such as 1.2.0", p.Version)
	if err := p.Type.Check(); err != nil {
		c.want(false, "plugin.type", "%v", err)
	}
	n := utf8.RuneCountInString(p.Description)
	c.want(n >= 1 && n <= descriptionMax, "plugin.description", "%d characters, want 1 to %d", n, descriptionMax)
	odd := strings.IndexFunc(p.Description, unicode.IsControl)
	c.want(odd < 0, "plugin.description", "a control character at byte %d, want plain text", odd+1)
	c.want(strings.TrimSpace(p.Author.Name) != "", "plugin.author.name", "empty")
}

var (
	systems       = []string{"linux", "darwin", "windows"}
	architectures = []string{"amd64", "arm64", "armv7", "armv6", "386", "riscv64", "mipsle", "arm/v7", "arm/v6"}
	// libraryAliases are names that packagers gave to libraries (M-16).
	libraryAliases = map[string]string{
		"libc6": "glibc", "glibc2": "glibc", "libssl3": "openssl",
		"openssl-libs": "openssl",
	}
	kernelVersion = regexp.MustCompile(`^\d+(\.\d+){0,2}$`)
)

// platforms holds M-13 to M-16.
func (c *checker) platforms() {
	o := &c.m.OS
	for i, s := range o.Supported {
		c.want(slices.Contains(systems, s), fmt.Sprintf("os_requirements.supported_os[%d]", i),
			"%q: want one of %s", s, strings.Join(systems, ", "))
	}
	for i, a := range o.Architectures {
		c.want(slices.Contains(architectures, a), fmt.Sprintf("os_requirements.supported_architectures[%d]", i),
			"%q: want one of %s", a, strings.Join(architectures, ", "))
	}
	c.want(o.MinKernel == "" || kernelVersion.MatchString(o.MinKernel), "os_requirements.min_kernel_version",
		"%q: want a version such as 4.15.0", o.MinKernel)
	for i, lib := range o.Libraries { // G-10
		if means, ok := libraryAliases[lib]; ok {
			c.warn("os_requirements.required_libraries[%d]: %s is a package's name of %s; "+
				"no WebAssembly module needs it",
				i, lib, means)
		}
	}
	if len(o.Architectures) > 0 { // G-5
		c.warn("os_requirements.supported_architectures limits native artifacts; WebAssembly runs on every agent")
	}
}

// limits holds M-17 to M-21. A limit of 0 that was written out is a mistake, but for
// connections, where it means none.
func (c *checker) limits() {
	l := &c.m.Limits
	for _, b := range []struct {
		key       string
		got       float64
		low, high float64
	}{
		{"max_memory_mb", float64(l.MemoryMB), 1, 4096},
		{"max_cpu_cores", l.CPUCores, 0.01, 64},
		{"max_execution_time_seconds", float64(l.Seconds), 1, 86400},
		{"max_file_descriptors", float64(l.Files), 1, 4096},
		{"max_network_connections", float64(l.Connections), 0, 4096},
	} {
		at := "execution_limits." + b.key
		c.want(!c.doc.Has(at) || b.got >= b.low && b.got <= b.high, at, "%v, want %v to %v", b.got, b.low, b.high)
	}
}

var fileAccess = []string{"none", "restricted", "full"}

// sandbox holds M-22 to M-25.
func (c *checker) sandbox() {
	c.want(slices.Contains(fileAccess, c.m.Filesystem), "allow_filesystem_access", "%q: want one of %s",
		c.m.Filesystem, strings.Join(fileAccess, ", "))
	c.want(c.m.Sandbox, "sandbox_mode", "false: this hub publishes sandboxed plugins only")
	c.want(c.m.Filesystem != "full", "allow_filesystem_access",
		"full: this hub publishes none or restricted only")
}

// native holds what asks for a native artifact (M-25, G-2).
func (c *checker) native() {
	words := []string{"", protocol.NativeAlso, protocol.NativeOnly}
	c.want(slices.Contains(words, c.m.Runtime.Native), "runtime.native", "%q: want %s or %s, or leave it out",
		c.m.Runtime.Native, protocol.NativeAlso, protocol.NativeOnly)
	if len(c.m.SystemCalls) == 0 {
		return
	}
	if why := wantsNative(c.m); why != "" {
		c.warn("native only: %s; what the runtime of %s needs is allowed besides", why, c.m.Runtime.Language)
		return
	}
	c.warn("allowed_system_calls limits native artifacts; a WebAssembly module makes no system call of its own")
}

// permissions holds M-26 and M-27. The most restrictive word wins (G-1).
func (c *checker) permissions() {
	for _, list := range []struct {
		path  string
		words []string
	}{{"permissions.system", c.m.Permissions.System}, {"permissions.network", c.m.Permissions.Network}} {
		for i, word := range list.words {
			if _, _, err := protocol.ParsePermission(word); err != nil {
				c.want(false, fmt.Sprintf("%s[%d]", list.path, i), "%v", err)
			}
		}
	}
	if n := len(c.m.Permissions.Network); n > 0 && !c.m.Network {
		c.warn("permissions.network asks for %d, but allow_network_access is false: all denied", n)
	}
	if c.m.Limits.Connections > 0 && !c.m.Network {
		c.warn("max_network_connections is %d, but allow_network_access is false: none allowed",
			c.m.Limits.Connections)
	}
	if slices.ContainsFunc(c.m.Permissions.System, isProcess) && c.m.Sandbox { // G-6
		c.warn("process.execute runs programs outside the sandbox: each must be allowed by the operator " +
			"and by the device")
	}
}

func isProcess(word string) bool {
	name, _, _ := protocol.ParsePermission(word)
	return name == protocol.CapProcess
}

// files holds the paths of M-28 to M-30, and M-31.
func (c *checker) files() {
	for _, f := range []struct{ at, path string }{
		{"configuration.schema", c.m.Configuration.Schema},
		{"configuration.examples", c.m.Configuration.Examples},
		{"testing.test_suite", c.m.Testing.Suite},
	} {
		clean := path.Clean(strings.TrimSuffix(f.path, "/"))
		c.want(f.path == "" || fs.ValidPath(clean), f.at, "%q: want a path within the source", f.path)
	}
	t := c.m.Testing.Coverage
	c.want(t >= 0 && t <= 100, "testing.coverage_threshold", "%v, want 0 to 100", t)
}

// state holds what a release says of the state that it and older ones leave (O-04).
func (c *checker) state() {
	s := &c.m.State
	c.want(!c.doc.Has("state.format") || s.Format > 0, "state.format", "0, want 1 or more")
	c.want(len(s.Older) <= protocol.StateFormatsMax, "state.reads", "%d formats, want at most %d", len(s.Older),
		protocol.StateFormatsMax)
	for i, n := range s.Older {
		c.want(n > 0 && n < s.Number(), fmt.Sprintf("state.reads[%d]", i), "%d, want a format below %d", n,
			s.Number())
	}
}

// ReadSchema reads the JSON Schema that m names, nil when it names none.
func ReadSchema(tree fs.FS, m *protocol.Manifest) ([]byte, error) {
	name := m.Configuration.Schema
	if name == "" {
		return nil, nil
	}
	text, err := fs.ReadFile(tree, path.Clean(name))
	if err != nil {
		return nil, protocol.Errorf(protocol.CodeBadInput,
			"%s: configuration.schema: the source has no file %q", ManifestFile, name)
	}
	if len(text) > schemaMax {
		return nil, protocol.Errorf(protocol.CodeLimit, "%s: %d bytes, limit %d", name, len(text), schemaMax)
	}
	return text, nil
}

// Package platform lists the platforms that Stavily ships an agent for. Each has a
// folder here with a target.json, which is the only place that knows the platform's
// architecture, its smallest device and the size that its agent may have.
//
// The hub reads it to choose artifacts and to refuse what a device cannot hold; the
// simulator draws its fleets from it. The agent itself never links it.
package platform

import (
	"bytes"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"
)

// How an agent runs WebAssembly. Where there is no compiler, code is some thirty
// times slower and its memory is 15 to 30 times the module's size.
const (
	EngineCompiler    = "compiler"
	EngineInterpreter = "interpreter"
)

// Platform is what an artifact is built for.
type Platform struct {
	// Name is the folder's name: the operating system and the architecture, as in
	// linux-armv7.
	Name string `json:"name"`
	// GOOS, GOARCH, GOARM and GOMIPS are the Go toolchain's words for the platform.
	// GOARM is set on arm only, GOMIPS on mips only.
	GOOS   string `json:"goos"`
	GOARCH string `json:"goarch"`
	GOARM  string `json:"goarm,omitempty"`
	GOMIPS string `json:"gomips,omitempty"`
	// Arch is the word for the architecture in a manifest's supported_architectures:
	// amd64, arm64, arm/v7, arm/v6, 386, riscv64 or mipsle.
	Arch string `json:"arch"`
	// Engine is EngineCompiler or EngineInterpreter.
	Engine string `json:"engine"`
	// RAMMiB and FlashMiB are the memory and the writable storage, in MiB, of the
	// smallest device that the platform is kept working on.
	RAMMiB   int `json:"ram_mib"`
	FlashMiB int `json:"flash_mib"`
	// ModuleKiB bounds one WASM module in KiB, so that loading it on the smallest
	// device leaves room for the agent. A larger device may be given more.
	ModuleKiB int `json:"module_kib"`
	// EdgeKB bounds the stripped agent in units of 1000 bytes.
	EdgeKB int `json:"edge_kb"`
}

//go:embed */target.json
var files embed.FS

// All returns every platform, ordered by name. The caller owns the slice.
func All() []Platform {
	all, err := load(files)
	if err != nil {
		panic(err) // embedded files that a test has read: a defect of this folder
	}
	return all
}

// Lookup returns the platform called name, and whether there is one.
func Lookup(name string) (Platform, bool) {
	for _, p := range All() {
		if p.Name == name {
			return p, true
		}
	}
	return Platform{}, false
}

// Environ returns the settings, each NAME=value, that make the Go toolchain build a
// static program for the platform.
func (p Platform) Environ() []string {
	env := []string{"CGO_ENABLED=0", "GOOS=" + p.GOOS, "GOARCH=" + p.GOARCH}
	if p.GOARM != "" {
		env = append(env, "GOARM="+p.GOARM)
	}
	if p.GOMIPS != "" {
		env = append(env, "GOMIPS="+p.GOMIPS)
	}
	return env
}

// load reads every target.json of fsys, ordered by folder.
func load(fsys fs.FS) ([]Platform, error) {
	names, err := fs.Glob(fsys, "*/target.json")
	if err != nil {
		return nil, err
	}
	all := make([]Platform, 0, len(names))
	for _, name := range names {
		b, err := fs.ReadFile(fsys, name)
		if err != nil {
			return nil, err
		}
		p, err := parse(b)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		if folder := path.Dir(name); p.Name != folder {
			return nil, fmt.Errorf("%s: name: want the folder's, %q, got %q", name, folder, p.Name)
		}
		all = append(all, p)
	}
	return all, nil
}

// parse reads one target.json. Unknown fields and a second value are errors.
func parse(b []byte) (Platform, error) {
	var p Platform
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&p); err != nil {
		return Platform{}, err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return Platform{}, errors.New("more than one JSON value")
	}
	return p, p.validate()
}

// How many bytes of memory an engine may need for one byte of a module.
const (
	compilerCost    = 4
	interpreterCost = 30
)

// validate names the first field whose value cannot be.
func (p Platform) validate() error {
	engine := EngineInterpreter
	if p.GOARCH == "amd64" || p.GOARCH == "arm64" {
		engine = EngineCompiler
	}
	gomips := ""
	if strings.HasPrefix(p.GOARCH, "mips") {
		gomips = "softfloat"
	}
	want := []struct{ field, got, want string }{
		{"goos", p.GOOS, "linux"},
		{"arch", p.Arch, p.archWord()},
		{"name", p.Name, p.GOOS + "-" + strings.ReplaceAll(p.Arch, "/", "")},
		{"engine", p.Engine, engine},
		{"gomips", p.GOMIPS, gomips},
	}
	for _, w := range want {
		if w.got != w.want {
			return fmt.Errorf("%s: want %q, got %q", w.field, w.want, w.got)
		}
	}
	return p.validateSizes()
}

// archWord returns what Arch must be, from the toolchain's words.
func (p Platform) archWord() string {
	if p.GOARCH == "arm" {
		return "arm/v" + p.GOARM
	}
	return p.GOARCH + p.GOARM // GOARM on another architecture makes a word that Arch is not
}

// validateSizes holds the sizes to each other: the agent fits the flash twice, since
// an update keeps two, and the largest module fits a third of the memory.
func (p Platform) validateSizes() error {
	cost := compilerCost
	if p.Engine == EngineInterpreter {
		cost = interpreterCost
	}
	bounds := []struct {
		field     string
		got, most int
	}{
		{"ram_mib", p.RAMMiB, 1 << 20},
		{"flash_mib", p.FlashMiB, 1 << 20},
		{"edge_kb", p.EdgeKB, p.FlashMiB << 20 / 1000 / 2},
		{"module_kib", p.ModuleKiB, p.RAMMiB << 10 / 3 / cost},
	}
	for _, b := range bounds {
		if b.got < 1 || b.got > b.most {
			return fmt.Errorf("%s: want 1 to %d, got %d", b.field, b.most, b.got)
		}
	}
	return nil
}

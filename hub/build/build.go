package build

import (
	"bytes"
	"context"
	"encoding/gob"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"

	"github.com/Masterminds/semver/v3"

	"github.com/stavily/stavily/protocol"
	"github.com/stavily/stavily/wasmhost"
)

// Config is what a Builder needs.
type Config struct {
	// CacheDir holds what builds share: kept modules, dependency caches. It is trusted
	// like the hub's home.
	CacheDir string
	Log      *slog.Logger
	// AllowUnmeasured lets a source pass whose coverage cannot be measured in its language,
	// whatever its manifest promises; the verdict says so.
	AllowUnmeasured bool
	// AllowUnconfined lets a build run code of the source on a machine that cannot confine
	// it; the release says so.
	AllowUnconfined bool
	// Client fetches packages that a lock names; nil is http.DefaultClient.
	Client *http.Client
	// Compile bounds the compiling of the modules that tests are. Zero: in this process.
	Compile wasmhost.Compile
}

// Builder builds. Its methods may be called from any goroutine; builds run one at a
// time, because one toolchain fills a small hub.
type Builder struct {
	cfg Config
	one chan struct{}

	looked     sync.Once
	room       *room // nil where this machine cannot confine
	unconfined error // why
}

// New returns a builder over cfg.CacheDir, which it makes.
func New(cfg Config) (*Builder, error) {
	if err := os.MkdirAll(filepath.Join(cfg.CacheDir, "modules"), 0o700); err != nil {
		return nil, fmt.Errorf("build: cache: %w", err)
	}
	return &Builder{cfg: cfg, one: make(chan struct{}, 1)}, nil
}

// Tree is a source as it was fetched and verified: regular files only.
type Tree interface {
	fs.FS
	WriteTo(dir string) error
}

// Request is one source to build or test.
type Request struct {
	Tree       Tree
	TreeDigest protocol.Digest
	Manifest   *protocol.Manifest
}

// Result is what a build gives.
type Result struct {
	Module  []byte   // the WebAssembly of Outputs, as the toolchain wrote it; nil without one
	Outputs []Output // all that was built, WebAssembly first
	Builder protocol.Builder
	Cached  bool
}

// ErrNoTests says that there was nothing to test; its text in the chain says why.
var ErrNoTests = errors.New("no tests")

// ErrEmptySuite says that the manifest promises tests and there are none in its language.
var ErrEmptySuite = errors.New("empty test suite")

// emptySuiteError is ErrEmptySuite in the words of the language, and not ErrNoTests, which
// would let it pass.
type emptySuiteError struct{ text string }

func (e *emptySuiteError) Error() string        { return e.text }
func (e *emptySuiteError) Is(target error) bool { return target == ErrEmptySuite }

// Compatible says whether this hub can build m, and with what: it has the language, in
// a version that the manifest allows (M-07, M-10, M-11).
func (b *Builder) Compatible(m *protocol.Manifest) (string, error) {
	lang, err := row(m)
	if err != nil {
		return "", err
	}
	toolchain, err := lang.toolchain(context.Background()) // bounded by itself
	if err != nil {
		return "", err
	}
	if err := fits(m, toolchain); err != nil {
		return "", err
	}
	if err := lang.can(m); err != nil {
		return "", err
	}
	return fmt.Sprintf("built here by the row %s, %s", lang.name, toolchain), nil
}

var toolchainVersion = regexp.MustCompile(`\d+(\.\d+){1,2}`)

// fits holds a toolchain, as it calls itself, to the ranges of m. One that does not say
// its version, such as a development build, is the operator's own choice.
func fits(m *protocol.Manifest, toolchain string) error {
	have, err := semver.NewVersion(toolchainVersion.FindString(toolchain))
	if err != nil {
		return nil //nolint:nilerr // see above: no version, no judgement
	}
	for _, text := range m.LanguageRanges() {
		if want, err := semver.NewConstraint(text); err == nil && !want.Check(have) {
			return protocol.Errorf(protocol.CodeIncompatible, "plugin %s: it wants %s %s, this hub has %s",
				m, m.Runtime.Language, text, toolchain)
		}
	}
	return nil
}

// Build compiles a source to WebAssembly. The same inputs give the same bytes; a kept
// result is returned at once. ctx bounds the whole.
func (b *Builder) Build(ctx context.Context, req Request) (*Result, error) {
	lang, who, err := b.describe(ctx, req)
	if err != nil {
		return nil, err
	}
	kept := b.kept(who, "built")
	if outputs, err := readOutputs(kept); err == nil {
		return newResult(outputs, who, true), nil
	}
	w, err := b.workspace(ctx, req)
	if err != nil {
		return nil, err
	}
	defer w.close()
	if err := lang.fetch(ctx, w); err != nil {
		return nil, err
	}
	outputs, err := lang.build(ctx, w)
	if err != nil {
		return nil, err
	}
	for _, o := range outputs {
		if len(o.Bytes) > protocol.ArtifactMax {
			return nil, protocol.Errorf(protocol.CodeLimit, "build %s: artifact for %s of %d bytes, limit %d",
				req.Manifest, o.Platform, len(o.Bytes), protocol.ArtifactMax)
		}
	}
	return newResult(outputs, who, false), keepOutputs(kept, outputs)
}

func newResult(outputs []Output, who protocol.Builder, cached bool) *Result {
	r := &Result{Outputs: outputs, Builder: who, Cached: cached}
	for _, o := range outputs {
		if o.Platform == protocol.PlatformWASM {
			r.Module = o.Bytes
		}
		if o.Note != "" {
			r.Builder.Notes = append(r.Builder.Notes, o.Platform+": "+o.Note)
		}
	}
	return r
}

// kept is where the cache has what follows from who's inputs.
func (b *Builder) kept(who protocol.Builder, what string) string {
	return filepath.Join(b.cfg.CacheDir, "modules", who.Inputs.String()[len("sha256:"):]+"."+what)
}

// Test runs the plugin's own tests in the sandbox and holds the coverage to the
// manifest's threshold. It returns what to show of them; ErrNoTests when the manifest
// names none.
func (b *Builder) Test(ctx context.Context, req Request) (string, error) {
	m := req.Manifest
	if m.Testing.Suite == "" {
		return "", fmt.Errorf("the manifest names no test_suite: %w", ErrNoTests)
	}
	lang, who, err := b.describe(ctx, req)
	if err != nil {
		return "", err
	}
	passed := b.kept(who, "tested")
	if said, err := os.ReadFile(passed); err == nil {
		return string(said) + ", from the cache", nil
	}
	w, err := b.workspace(ctx, req)
	if err != nil {
		return "", err
	}
	defer w.close()
	if err := lang.fetch(ctx, w); err != nil {
		return "", err
	}
	got, err := lang.test(ctx, w, m.Testing.Suite)
	if errors.Is(err, ErrNoTests) { // M-30: what was promised is missing
		return "", protocol.Errorf(protocol.CodeRefused, "test %s: test_suite is %q: %w", m, m.Testing.Suite,
			&emptySuiteError{err.Error()})
	}
	if err != nil {
		return "", err
	}
	said, err := b.covered(m, got)
	if err != nil {
		return "", err
	}
	said = got.said + ", " + said
	return said, keep(passed, []byte(said))
}

// covered holds a measured coverage to the manifest's threshold, both in percent (M-31).
// It is never guessed: where it cannot be measured, policy decides and the verdict says so.
func (b *Builder) covered(m *protocol.Manifest, got tested) (string, error) {
	why := got.why
	if why == "" {
		why = "not possible in " + m.Runtime.Language
	}
	switch {
	case !got.measured && (b.cfg.AllowUnmeasured || m.Testing.Coverage == 0):
		return "coverage not measured: " + why, nil
	case !got.measured:
		return "", protocol.Errorf(protocol.CodeRefused, "test %s: the manifest wants %.1f %% coverage, which was "+
			"not measured: %s; this hub's policy does not let that pass", m, m.Testing.Coverage, why)
	case got.coverage >= m.Testing.Coverage:
		return fmt.Sprintf("coverage %.1f %% of %.1f %%", shown(got.coverage), m.Testing.Coverage), nil
	}
	return "", protocol.Errorf(protocol.CodeRefused, "test %s: coverage %.1f %%, the manifest wants %.1f %%",
		m, shown(got.coverage), m.Testing.Coverage)
}

// shown cuts a percentage to what is printed of it, so that one below a threshold never
// looks like the threshold.
func shown(percent float64) float64 { return math.Floor(percent*10) / 10 }

// describe finds the row for a source and names everything that the module follows
// from.
func (b *Builder) describe(ctx context.Context, req Request) (*language, protocol.Builder, error) {
	lang, err := row(req.Manifest)
	if err != nil {
		return nil, protocol.Builder{}, err
	}
	if err := lang.can(req.Manifest); err != nil {
		return nil, protocol.Builder{}, err
	}
	toolchain, err := lang.toolchain(ctx)
	if err != nil {
		return nil, protocol.Builder{}, err
	}
	room, why := b.confinement(ctx)
	confined := "confined: own namespaces, no network after the fetch, bounded processes, memory and time"
	if room == nil {
		confined = "not confined: " + why.Error()
	}
	inputs := strings.Join([]string{req.TreeDigest.String(), lang.name, toolchain, lang.flags()}, "\n")
	return lang, protocol.Builder{
		Name: lang.name, Toolchain: toolchain, Inputs: protocol.DigestOf([]byte(inputs)),
		Notes: lang.notes(confined),
	}, nil
}

// workspace is the folder of one build. Others wait until it is closed.
type workspace struct {
	b    *Builder
	m    *protocol.Manifest
	room *room // nil: programs run unconfined
	dir  string
	src  string
	tree fs.FS

	parts *pythonParts // of a Python plugin, once it was asked
}

func (b *Builder) workspace(ctx context.Context, req Request) (*workspace, error) {
	select {
	case b.one <- struct{}{}:
	case <-ctx.Done():
		return nil, protocol.Errorf(protocol.CodeDeadline, "build %s: waited for another build: %w",
			req.Manifest, ctx.Err())
	}
	dir, err := os.MkdirTemp("", "stavily-build-")
	if err != nil {
		<-b.one
		return nil, fmt.Errorf("build: %w", err)
	}
	room, err := b.confinement(ctx)
	if err != nil {
		b.cfg.Log.Warn("builds are not confined", slog.String("why", err.Error()))
	}
	w := &workspace{b: b, m: req.Manifest, room: room, dir: dir, src: filepath.Join(dir, "src"), tree: req.Tree}
	if err := req.Tree.WriteTo(w.src); err != nil {
		w.close()
		return nil, err
	}
	return w, nil
}

func (w *workspace) close() {
	if err := os.RemoveAll(w.dir); err != nil {
		w.b.cfg.Log.Warn("build folder stays", slog.String("dir", w.dir), slog.String("error", err.Error()))
	}
	<-w.b.one
}

// readOutputs returns what keepOutputs kept.
func readOutputs(path string) ([]Output, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var out []Output
	if err := gob.NewDecoder(bytes.NewReader(b)).Decode(&out); err != nil || len(out) == 0 {
		return nil, fmt.Errorf("build: cache: %s: %d outputs: %w", filepath.Base(path), len(out), err)
	}
	return out, nil
}

func keepOutputs(path string, outputs []Output) error {
	var b bytes.Buffer
	if err := gob.NewEncoder(&b).Encode(outputs); err != nil {
		return fmt.Errorf("build: cache: %w", err)
	}
	return keep(path, b.Bytes())
}

// keep writes a file so that it is whole or not there.
func keep(path string, content []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".new-")
	if err != nil {
		return fmt.Errorf("build: cache: %w", err)
	}
	defer os.Remove(f.Name())
	if _, err := f.Write(content); err != nil {
		return fmt.Errorf("build: cache: %w", errors.Join(err, f.Close()))
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("build: cache: %w", err)
	}
	return os.Rename(f.Name(), path)
}

package build

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/Masterminds/semver/v3"

	"github.com/stavily/stavily/protocol"
)

// languages are the names that a manifest may use. Not all have a builder yet: a
// manifest is read and kept whole before anybody asks whether it can be built here.
var languages = []string{"go", "javascript", "python", "rust", "typescript"}

func knownLanguage(name string) bool { return slices.Contains(languages, name) }

// builders is the table of languages, a row each.
var builders = []language{goLanguage{}}

// language is what a row does.
type language interface {
	name() string
	// toolchain returns what the installed toolchain calls itself, or an error that says
	// what is missing and how to install it.
	toolchain(ctx context.Context) (string, error)
	// flags is everything but tree and toolchain that the module follows from.
	flags() string
	// build compiles the source at dir, of which it may write nothing, to out.
	build(ctx context.Context, w *workspace, out string) error
	// test runs the source's tests and returns what they say and the coverage in percent.
	test(ctx context.Context, w *workspace, suite string) (said string, coverage float64, err error)
}

// Config is what a Builder needs.
type Config struct {
	// CacheDir holds what builds share: kept modules, dependency caches. It is trusted
	// like the hub's home.
	CacheDir string
	Log      *slog.Logger
}

// Builder builds. Its methods may be called from any goroutine; builds run one at a
// time, because one toolchain fills a small hub.
type Builder struct {
	cfg Config
	one chan struct{}
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
	Module  []byte // WebAssembly, as the toolchain wrote it
	Builder protocol.Builder
	Cached  bool
}

// ErrNoTests says that there was nothing to test; its text in the chain says why.
var ErrNoTests = errors.New("no tests")

// Compatible says whether this hub can build m, and with what: it has the language, in
// a version that the manifest allows (M-07, M-10, M-11).
func (b *Builder) Compatible(m *protocol.Manifest) (string, error) {
	lang, err := b.language(m)
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
	return fmt.Sprintf("built here by the row %s, %s", lang.name(), toolchain), nil
}

var toolchainVersion = regexp.MustCompile(`\d+(\.\d+){1,2}`)

// fits holds a toolchain, as it calls itself, to the ranges of m. One that does not say
// its version, such as a development build, is the operator's own choice.
func fits(m *protocol.Manifest, toolchain string) error {
	have, err := semver.NewVersion(toolchainVersion.FindString(toolchain))
	if err != nil {
		return nil //nolint:nilerr // see above: no version, no judgement
	}
	for _, text := range languageRanges(m) {
		if want, err := semver.NewConstraint(text); err == nil && !want.Check(have) {
			return protocol.Errorf(protocol.CodeIncompatible, "plugin %s: it wants %s %s, this hub has %s",
				m, m.Runtime.Language, text, toolchain)
		}
	}
	return nil
}

func (b *Builder) language(m *protocol.Manifest) (language, error) {
	var have []string
	for _, l := range builders {
		if l.name() == m.Runtime.Language {
			return l, nil
		}
		have = append(have, l.name())
	}
	return nil, protocol.Errorf(protocol.CodeIncompatible, "plugin %s: this hub builds no %s; it builds %s",
		m, m.Runtime.Language, strings.Join(have, ", "))
}

// Build compiles a source to WebAssembly. The same inputs give the same bytes; a kept
// result is returned at once. ctx bounds the whole.
func (b *Builder) Build(ctx context.Context, req Request) (*Result, error) {
	lang, who, err := b.describe(ctx, req)
	if err != nil {
		return nil, err
	}
	kept := filepath.Join(b.cfg.CacheDir, "modules", who.Inputs.String()[len("sha256:"):]+".wasm")
	if module, err := os.ReadFile(kept); err == nil {
		return &Result{Module: module, Builder: who, Cached: true}, nil
	}
	w, err := b.workspace(ctx, req)
	if err != nil {
		return nil, err
	}
	defer w.close()
	out := filepath.Join(w.dir, "out.wasm")
	if err := lang.build(ctx, w, out); err != nil {
		return nil, err
	}
	module, err := os.ReadFile(out)
	if err != nil {
		return nil, fmt.Errorf("build %s: %w", req.Manifest, err)
	}
	if len(module) > protocol.ArtifactMax {
		return nil, protocol.Errorf(protocol.CodeLimit, "build %s: module of %d bytes, limit %d",
			req.Manifest, len(module), protocol.ArtifactMax)
	}
	return &Result{Module: module, Builder: who}, keep(kept, module)
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
	passed := filepath.Join(b.cfg.CacheDir, "modules", who.Inputs.String()[len("sha256:"):]+".tested")
	if said, err := os.ReadFile(passed); err == nil {
		return string(said) + ", from the cache", nil
	}
	w, err := b.workspace(ctx, req)
	if err != nil {
		return "", err
	}
	defer w.close()
	said, coverage, err := lang.test(ctx, w, m.Testing.Suite)
	if errors.Is(err, ErrNoTests) { // M-30: what was promised is missing
		return "", protocol.Errorf(protocol.CodeRefused, "test %s: test_suite is %q: %v", m, m.Testing.Suite, err)
	}
	if err != nil {
		return "", err
	}
	if err := covered(m, coverage); err != nil {
		return "", err
	}
	said = fmt.Sprintf("%s, coverage %.1f %% of %.1f %%", said, coverage, m.Testing.Coverage)
	return said, keep(passed, []byte(said))
}

// covered holds a measured coverage to the manifest's threshold, both in percent (M-31).
func covered(m *protocol.Manifest, coverage float64) error {
	if coverage >= m.Testing.Coverage {
		return nil
	}
	return protocol.Errorf(protocol.CodeRefused, "test %s: coverage %.1f %%, the manifest wants %.1f %%",
		m, coverage, m.Testing.Coverage)
}

// describe finds the row for a source and names everything that the module follows
// from.
func (b *Builder) describe(ctx context.Context, req Request) (language, protocol.Builder, error) {
	lang, err := b.language(req.Manifest)
	if err != nil {
		return nil, protocol.Builder{}, err
	}
	toolchain, err := lang.toolchain(ctx)
	if err != nil {
		return nil, protocol.Builder{}, err
	}
	inputs := strings.Join([]string{req.TreeDigest.String(), lang.name(), toolchain, lang.flags()}, "\n")
	return lang, protocol.Builder{
		Name: lang.name(), Toolchain: toolchain, Inputs: protocol.DigestOf([]byte(inputs)),
		Notes: []string{"unsandboxed build: dependencies locked by go.sum, no code of the source is run natively"},
	}, nil
}

// workspace is the folder of one build. Others wait until it is closed.
type workspace struct {
	b    *Builder
	dir  string
	src  string
	tree fs.FS
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
	w := &workspace{b: b, dir: dir, src: filepath.Join(dir, "src"), tree: req.Tree}
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

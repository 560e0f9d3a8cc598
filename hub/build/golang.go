package build

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/stavily/stavily/hub/build/sdk"
	"github.com/stavily/stavily/protocol"
	"github.com/stavily/stavily/wasmhost"
)

// goLanguage is the row for Go: the standard toolchain for wasip1. CGO is off, so that no
// code of the source runs on the hub: neither a build script nor a test does, the tests
// run as WebAssembly too.
func goLanguage() *language {
	return &language{
		name: "go", title: "Go",
		needs: []need{{
			name: "go", probe: goVersion, hint: "install Go 1.24 or newer and put it into PATH",
		}},
		locked:    "go.sum; the SDK comes from this hub",
		artifacts: "wasm for every platform; programs for " + strings.Join(jailed, ", ") + " where they are wanted",
		native:    true,
		coverage:  "measured by go test -cover, run as WebAssembly",
		flags: func() string {
			return "wasip1/wasm native 1 " + strings.Join(goBuildFlags, " ") + " sdk " + sdk.Sum()
		},
		fetch: func(ctx context.Context, w *workspace) error { return w.goDownload(ctx) },
		build: goBuild,
		test:  goTest,
	}
}

// toolchainMax bounds how long a toolchain may take to say its name.
const toolchainMax = 10 * time.Second

func goVersion(ctx context.Context) (string, error) {
	cmd := exec.CommandContext(ctx, "go", "env", "GOVERSION")
	cmd.Env = append(os.Environ(), "GOTOOLCHAIN=local")
	out, err := cmd.Output()
	return strings.TrimSpace(string(out)), err
}

var goBuildFlags = []string{"-trimpath", "-buildvcs=false", "-ldflags=-s -w -buildid="}

func goBuild(ctx context.Context, w *workspace) (out []Output, err error) {
	if wantsNative(w.m) == "" {
		module := filepath.Join(w.dir, "out.wasm")
		if err := w.goRun(ctx, goBuildTo(w.inside(module))...); err != nil {
			return nil, err
		}
		if out, err = wasmOutput(module); err != nil {
			return nil, err
		}
	}
	wanted, why, err := wantedNatives(w.m, out)
	if err != nil {
		return nil, err
	}
	for _, of := range wanted {
		program := filepath.Join(w.dir, "out."+of.Name)
		if err := w.goCommand(ctx, "", of.Environ(), goBuildTo(w.inside(program))...); err != nil {
			return nil, err
		}
		b, err := os.ReadFile(program)
		if err != nil {
			return nil, fmt.Errorf("build: %w", err)
		}
		out = append(out, Output{Platform: of.Name, Bytes: b, Note: "a static program: " + why})
	}
	return out, nil
}

func goBuildTo(out string) []string {
	return append(append([]string{"build"}, goBuildFlags...), "-o", out, ".")
}

// wasmOutput is the one module at path, for every platform.
func wasmOutput(path string) ([]Output, error) {
	module, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("build: %w", err)
	}
	return []Output{{Platform: protocol.PlatformWASM, Bytes: module}}, nil
}

// goTest compiles the tests with coverage and runs them in wasmhost, with the source as
// a read-only file system and nothing else.
func goTest(ctx context.Context, w *workspace, suite string) (tested, error) {
	pkg := "./" + filepath.ToSlash(filepath.Clean(suite))
	if tests, err := fs.Glob(w.tree, path.Join(pkg, "*_test.go")); err != nil || len(tests) == 0 {
		return tested{}, fmt.Errorf("package %s has no test files: %w", pkg, ErrNoTests)
	}
	binary := filepath.Join(w.dir, "test.wasm")
	err := w.goRun(ctx, "test", "-c", "-cover", "-trimpath", "-buildvcs=false", "-ldflags=-s -w",
		"-o", w.inside(binary), pkg)
	if err != nil {
		return tested{}, err
	}
	module, err := os.ReadFile(binary)
	if errors.Is(err, os.ErrNotExist) {
		return tested{}, fmt.Errorf("package %s has no test files: %w", pkg, ErrNoTests)
	}
	if err != nil {
		return tested{}, fmt.Errorf("test: %w", err)
	}
	out, err := w.runTests(ctx, testRun{module: module, dir: suite, args: []string{"-test.short"}})
	if err != nil {
		return tested{}, err
	}
	coverage, err := coverageOf(out)
	return tested{said: "passed", measured: true, coverage: coverage}, err
}

// testRun is one module of tests that is to be run.
type testRun struct {
	module []byte
	dir    string // below the source, where it runs
	args   []string
	ended  func(global func(name string) (value uint64, ok bool)) // as in wasmhost.Command; may be nil
}

// runTests runs tests that were compiled to a module in wasmhost, with the source as a
// read-only file system and a folder to write in, and returns what they said.
func (w *workspace) runTests(ctx context.Context, t testRun) ([]byte, error) {
	scratch := filepath.Join(w.dir, "scratch")
	if err := os.MkdirAll(scratch, 0o700); err != nil {
		return nil, fmt.Errorf("test: %w", err)
	}
	out, err := wasmhost.RunCommand(ctx, wasmhost.Command{
		Wasm: t.module, Args: append([]string{"test"}, t.args...), Files: w.tree,
		Dir: filepath.ToSlash(filepath.Clean(t.dir)), Ended: t.ended,
		Scratch: scratch, MemoryMB: testMemoryMB, OutputMax: outputMax, Compile: w.b.cfg.Compile,
	})
	if err != nil {
		return nil, protocol.Errorf(protocol.CodeRefused, "test: %w\n%s", err, tail(out))
	}
	return out, nil
}

const testMemoryMB = 512

var coverageLine = regexp.MustCompile(`(?m)^coverage: ([0-9.]+)% of statements`)

// coverageOf reads the coverage that the test binary measured; it is never guessed.
func coverageOf(out []byte) (float64, error) {
	m := coverageLine.FindSubmatch(out)
	if m == nil {
		return 0, protocol.Errorf(protocol.CodeRefused, "test: no coverage in the output\n%s", tail(out))
	}
	return strconv.ParseFloat(string(m[1]), 64)
}

// goDownload brings the dependencies, locked by go.sum, into the module cache: the SDK
// from this hub, others from where the hub's user has them from.
func (w *workspace) goDownload(ctx context.Context) error {
	proxy := filepath.Join(w.b.cfg.CacheDir, "sdk", sdk.Version+"-"+sdk.Sum()[:12])
	if err := sdk.WriteProxy(proxy); err != nil { // again each time: a crash may have left half of it
		return fmt.Errorf("build: sdk: %w", err)
	}
	return w.goCommand(ctx, proxy, nil, "mod", "download")
}

const outputMax = 64 << 10

// goRun runs the Go command in the source without a network.
func (w *workspace) goRun(ctx context.Context, args ...string) error {
	return w.goCommand(ctx, "", nil, args...)
}

// goCommand runs the Go command in the source with an environment that is ours alone, and
// more, which says what it is built for; and with a network when it is given the folder
// that has the SDK. It writes the caches that are the hub's, which is why it runs as the
// hub's user: nothing of the source runs.
func (w *workspace) goCommand(ctx context.Context, proxy string, more []string, args ...string) error {
	out, err := exec.CommandContext(ctx, "go", "env", "GOROOT", "GOCACHE", "GOPROXY").Output()
	said := strings.Split(strings.TrimSpace(string(out)), "\n")
	if err != nil || len(said) != 3 {
		return overtime(ctx, "go env", fmt.Errorf("build: go env: %w", err))
	}
	root, cache := said[0], said[1]
	// The module cache is the hub's own, and another for each SDK: while the SDK is
	// developed, its content changes under one version.
	modules := filepath.Join(w.b.cfg.CacheDir, "go-"+sdk.Sum()[:12])
	c := command{
		what: "go " + args[0], argv: append([]string{filepath.Join(root, "bin", "go")}, args...),
		dir: w.inside(w.src), reads: []string{root}, writes: []string{modules, cache}, asHub: true,
		env: append(goEnv(), "PATH="+filepath.Join(root, "bin")+":/usr/bin:/bin", "GOCACHE="+cache,
			"GOMODCACHE="+modules, "GOTMPDIR="+w.inside(w.dir), "TMPDIR="+w.inside(w.dir), "HOME="+w.inside(w.dir)),
	}
	from := "off"
	if proxy != "" {
		from, c.network = "file://"+filepath.ToSlash(proxy)+","+said[2], true
		for one := range strings.SplitSeq(from, ",") {
			if dir, ok := strings.CutPrefix(one, "file://"); ok {
				c.reads = append(c.reads, filepath.FromSlash(dir))
			}
		}
		c.env = append(c.env, proxies()...)
	}
	c.env = append(append(c.env, "GOPROXY="+from), more...)
	return w.run(ctx, c)
}

// overtime returns err, or what is behind it when ctx has ended: a program that was
// killed says so and not why.
func overtime(ctx context.Context, what string, err error) error {
	if ctx.Err() == nil {
		return err
	}
	return protocol.Errorf(protocol.CodeDeadline, "%s: ended after its time: %w", what, ctx.Err())
}

// goEnv passes on whom the hub's user believes about checksums and nothing else.
func goEnv() []string {
	env := []string{
		"GOOS=wasip1", "GOARCH=wasm", "CGO_ENABLED=0", "GOTOOLCHAIN=local",
		"GOFLAGS=-mod=readonly -modcacherw", "GOWORK=off",
		"GOENV=off", "GO111MODULE=on", "GONOSUMDB=" + sdk.Module, "GOVCS=*:off",
	}
	for _, name := range []string{"GOPATH", "GOSUMDB"} {
		if v, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+v)
		}
	}
	return env
}

// capped keeps the first bytes of an output and drops the rest.
type capped struct {
	bytes.Buffer
	left int
}

// Write never fails, so that a talkative toolchain goes on.
func (c *capped) Write(p []byte) (int, error) {
	keep := min(len(p), c.left)
	c.left -= keep
	c.Buffer.Write(p[:keep])
	return len(p), nil
}

const tailMax = 4 << 10

// tail returns the end of an output for an error's text.
func tail(out []byte) string {
	out = bytes.TrimSpace(out)
	if len(out) > tailMax {
		return "..." + string(out[len(out)-tailMax:])
	}
	return string(out)
}

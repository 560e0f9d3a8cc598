package build

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	platform "github.com/stavily/stavily/firmware-targets"
	"github.com/stavily/stavily/hub/build/sdk"
	"github.com/stavily/stavily/protocol"
)

// rustHint is how to get what the row needs.
const rustHint = "run `rustup target add wasm32-wasip1`, or on Debian " +
	"`apt-get install cargo libstd-rust-dev-wasm32 lld` (Debian 13: rust-llvm instead of lld)"

// rustLanguage is the row for Rust: cargo for wasm32-wasip1. Build scripts and procedural
// macros are programs of the source that run on the hub, so a build is confined.
func rustLanguage() *language {
	return &language{
		name: "rust", title: "Rust",
		needs: []need{
			{name: "rustc", probe: rustVersion("rustc"), hint: "install Rust, and " + rustHint},
			{name: "cargo", probe: rustVersion("cargo"), hint: "install Rust, and " + rustHint},
			{name: "wasm32-wasip1", probe: rustTarget, hint: rustHint},
		},
		locked: "Cargo.lock by checksum; the SDK comes from this hub or stands in the source",
		artifacts: "wasm for every platform; programs where they are wanted, for " + strings.Join(jailed, ", ") +
			" as far as the toolchain has the target",
		coverage:   "lines that ran of lines with code, by the compiler's line table",
		native:     true,
		runsSource: true,
		flags: func() string {
			return strings.Join(append(slices.Clone(rustProfile), "native 1 cover 1 sdk", sdk.RustSum()), " ")
		},
		fetch: rustFetch,
		build: rustBuild,
		test:  rustTest,
	}
}

// rustProfile is how modules are compiled, whatever the source's own profiles say.
var rustProfile = []string{
	"CARGO_PROFILE_RELEASE_OPT_LEVEL=3", "CARGO_PROFILE_RELEASE_LTO=fat",
	"CARGO_PROFILE_RELEASE_CODEGEN_UNITS=1",
	"CARGO_PROFILE_RELEASE_PANIC=abort", "CARGO_PROFILE_RELEASE_STRIP=symbols", "CARGO_PROFILE_RELEASE_DEBUG=0",
	"CARGO_PROFILE_RELEASE_OVERFLOW_CHECKS=false", "CARGO_PROFILE_RELEASE_INCREMENTAL=false",
	"CARGO_PROFILE_TEST_DEBUG=1", "CARGO_PROFILE_DEV_DEBUG=0", "CARGO_INCREMENTAL=0", "SOURCE_DATE_EPOCH=0",
}

// rustVersion asks one of the toolchain's programs what it calls itself.
func rustVersion(tool string) func(context.Context) (string, error) {
	return func(ctx context.Context) (string, error) {
		c, err := findCargo(ctx)
		if c.bin == "" {
			return "", err
		}
		out, err := exec.CommandContext(ctx, filepath.Join(c.bin, tool), "--version").Output()
		return strings.TrimSpace(string(out)), err
	}
}

func rustTarget(ctx context.Context) (string, error) {
	c, err := findCargo(ctx)
	return c.target, err
}

// rustTargets are the names that the target has: the first since rustc 1.78, the second
// until 1.83.
var rustTargets = []string{"wasm32-wasip1", "wasm32-wasi"}

// cargo is one installed toolchain.
type cargo struct {
	sysroot, bin, target string
}

// findCargo finds the toolchain that has the target: that of PATH, or else the system's
// own. The error is about the first, which comes with it as far as it is there.
func findCargo(ctx context.Context) (cargo, error) {
	first, err := cargoOf(ctx, "rustc")
	if err == nil {
		return first, nil
	}
	if second, err := cargoOf(ctx, "/usr/bin/rustc"); err == nil {
		return second, nil
	}
	return first, err
}

func cargoOf(ctx context.Context, rustc string) (cargo, error) {
	path, err := exec.LookPath(rustc)
	if err != nil {
		return cargo{}, err
	}
	out, err := exec.CommandContext(ctx, path, "--print", "sysroot").Output()
	if err != nil {
		return cargo{}, fmt.Errorf("rustc --print sysroot: %w", err)
	}
	home := strings.TrimSpace(string(out))
	// rustup's own cargo and rustc read the source's wishes for a toolchain; those that
	// they stand for do not.
	c := cargo{sysroot: home, bin: filepath.Join(home, "bin")}
	for _, target := range rustTargets {
		found, err := filepath.Glob(filepath.Join(home, "lib/rustlib", target, "lib/libstd-*.rlib"))
		if err == nil && len(found) > 0 {
			c.target = target
			return c, nil
		}
	}
	return c, fmt.Errorf("no standard library for it in %s", home)
}

// rustFetch checks the lock and brings the packages that it names into the workspace, by
// checksum. It runs nothing of the source. Without such packages no network is asked.
func rustFetch(ctx context.Context, w *workspace) error {
	if err := os.RemoveAll(filepath.Join(w.src, ".cargo")); err != nil { // it could name programs to run
		return fmt.Errorf("build: %w", err)
	}
	lock, err := readCargoLock(w.tree)
	if err != nil {
		return err
	}
	for _, dir := range []string{"cargo", "target", "home"} {
		if err := os.MkdirAll(filepath.Join(w.dir, dir), 0o700); err != nil {
			return fmt.Errorf("build: %w", err)
		}
	}
	if err := sdk.WriteRust(filepath.Join(w.dir, "sdk")); err != nil {
		return err
	}
	if lock.packages == 0 {
		return nil
	}
	vendor := w.inside(filepath.Join(w.dir, "vendor"))
	out := &capped{left: outputMax} // what to write into a configuration, which is ours alone
	args := []string{"vendor", "--locked", "--versioned-dirs", vendor}
	return w.cargo(ctx, cargoCall{args: args, fetch: true, stdout: out})
}

func rustBuild(ctx context.Context, w *workspace) (out []Output, err error) {
	c, err := findCargo(ctx)
	if err != nil {
		return nil, err
	}
	if wantsNative(w.m) == "" {
		if out, err = rustModule(ctx, w, c); err != nil {
			return nil, err
		}
	}
	wanted, why, err := wantedNatives(w.m, out)
	if err != nil {
		return nil, err
	}
	var lacking []string
	for _, of := range wanted {
		target := c.nativeTarget(of)
		if target == "" {
			lacking = append(lacking, of.Name)
			continue
		}
		program, err := rustProgram(ctx, w, target)
		if err != nil {
			return nil, err
		}
		out = append(out, Output{Platform: of.Name, Bytes: program, Note: target + ": " + why})
	}
	if len(lacking) == 0 {
		return out, nil
	}
	none := "none for " + strings.Join(lacking, ", ") + ": this hub's Rust has no target for it: run `rustup " +
		"target add`"
	if len(out) == 0 {
		return nil, protocol.Errorf(protocol.CodeUnavailable, "build: %s", none)
	}
	out[len(out)-1].Note = strings.TrimPrefix(out[len(out)-1].Note+"; "+none, "; ")
	return out, nil
}

// rustMachines are the first words of a platform's targets.
var rustMachines = map[string]string{"amd64": "x86_64", "arm64": "aarch64", "riscv64": "riscv64gc"}

// nativeTarget is the installed target for a platform: one that links statically, or, for
// the hub's own platform, one that links to glibc. Empty: the toolchain has none.
func (c cargo) nativeTarget(of platform.Platform) string {
	for _, libc := range []string{"musl", "gnu"} {
		target := rustMachines[of.GOARCH] + "-unknown-linux-" + libc
		found, err := filepath.Glob(filepath.Join(c.sysroot, "lib/rustlib", target, "lib/libstd-*.rlib"))
		if err == nil && len(found) > 0 && (libc == "musl" || of == here()) {
			return target
		}
	}
	return ""
}

// rustProgram compiles the source to a program for a target.
func rustProgram(ctx context.Context, w *workspace, target string) ([]byte, error) {
	plan := &capped{left: 1 << 20}
	err := w.cargo(ctx, cargoCall{stdout: plan, args: []string{
		"build", "--release", "--locked", "--offline", "--bins", "--target", target,
		"--message-format=json-render-diagnostics",
	}})
	if err != nil {
		return nil, err
	}
	found := executables(plan.Bytes(), false)
	if len(found) != 1 {
		return nil, protocol.Errorf(protocol.CodeBadInput, "cargo build: programs %q: want one, src/main.rs", found)
	}
	rel, err := filepath.Rel(w.inside(w.dir), found[0])
	if err != nil {
		return nil, fmt.Errorf("build: %w", err)
	}
	return w.read(rel, protocol.ArtifactMax)
}

func rustModule(ctx context.Context, w *workspace, c cargo) ([]Output, error) {
	err := w.cargo(ctx, cargoCall{args: []string{
		"build", "--release", "--locked", "--offline", "--bins", "--target", c.target,
	}})
	if err != nil {
		return nil, err
	}
	at := filepath.Join("target", c.target, "release")
	found, err := fs.Glob(os.DirFS(filepath.Join(w.dir, at)), "*.wasm")
	if err != nil || len(found) != 1 {
		return nil, protocol.Errorf(protocol.CodeBadInput, "cargo build: binaries %q: want one program, "+
			"src/main.rs", found)
	}
	module, err := w.read(filepath.Join(at, found[0]), protocol.ArtifactMax)
	if err != nil {
		return nil, err
	}
	return []Output{{Platform: protocol.PlatformWASM, Bytes: module}}, nil
}

// testModuleMax bounds the module of one test binary, which nobody has optimized.
const testModuleMax = 64 << 20

// rustTest compiles the tests to modules and runs them in wasmhost, marked where the
// compiler says that a line of the source begins: so coverage needs no tool of Rust's.
func rustTest(ctx context.Context, w *workspace, _ string) (tested, error) {
	c, err := findCargo(ctx)
	if err != nil {
		return tested{}, err
	}
	plan := &capped{left: 1 << 20}
	err = w.cargo(ctx, cargoCall{stdout: plan, args: []string{
		"test", "--no-run", "--locked", "--offline", "--message-format=json-render-diagnostics",
		"--target", c.target,
	}, keepDead: true})
	if err != nil {
		return tested{}, err
	}
	lines, err := rustLines(w.tree)
	if err != nil {
		return tested{}, err
	}
	count := 0
	for _, binary := range executables(plan.Bytes(), true) {
		rel, err := filepath.Rel(w.inside(w.dir), binary)
		if err != nil {
			return tested{}, fmt.Errorf("test: %w", err)
		}
		module, err := w.read(rel, testModuleMax)
		if err != nil {
			return tested{}, err
		}
		marked, ended, err := lines.cover(module)
		if err != nil {
			return tested{}, err
		}
		run := testRun{module: marked, dir: ".", args: []string{"--color=never"}, ended: ended}
		out, err := w.runTests(ctx, run)
		if err != nil {
			return tested{}, err
		}
		count += bytes.Count(out, []byte("... ok\n"))
	}
	if count == 0 {
		return tested{}, fmt.Errorf("the crate has no #[test]: %w", ErrNoTests)
	}
	return tested{said: fmt.Sprintf("%d tests passed", count), measured: true, coverage: lines.percent()}, nil
}

// executables reads what cargo says of the programs that it made, those of tests or the
// others: for tests in a folder of their own it makes the plugin itself besides.
func executables(said []byte, tests bool) []string {
	var out []string
	lines := bufio.NewScanner(bytes.NewReader(said))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var m struct {
			Executable string `json:"executable"`
			Profile    struct {
				Test bool `json:"test"`
			} `json:"profile"`
		}
		if json.Unmarshal(lines.Bytes(), &m) == nil && m.Executable != "" && m.Profile.Test == tests {
			out = append(out, m.Executable)
		}
	}
	return out
}

// cargoCall is one call of cargo in the source.
type cargoCall struct {
	args   []string
	fetch  bool
	stdout *capped
	// keepDead leaves in the program what nobody calls, so that it counts as not covered.
	keepDead bool
}

func (w *workspace) cargo(ctx context.Context, call cargoCall) error {
	if err := w.mayRun("Rust runs build scripts of the source"); err != nil {
		return err
	}
	c, err := findCargo(ctx)
	if err != nil {
		return err
	}
	in := func(name string) string { return w.inside(filepath.Join(w.dir, name)) }
	argv := []string{filepath.Join(c.bin, "cargo")}
	if patched, err := wantsOurSDK(w.tree); err != nil {
		return err
	} else if patched {
		argv = append(argv, "--config", fmt.Sprintf("patch.crates-io.%s.path=%q", sdk.RustCrate, in("sdk")))
	}
	if _, err := os.Stat(filepath.Join(w.dir, "vendor")); err == nil && !call.fetch {
		argv = append(argv, "--config", `source.crates-io.replace-with="hub"`,
			"--config", fmt.Sprintf("source.hub.directory=%q", in("vendor")))
	}
	flags := "--remap-path-prefix=" + in("") + "=/build"
	if call.keepDead {
		flags += "\x1f-Clink-dead-code=yes\x1f-Clink-arg=--no-gc-sections"
	}
	env := append([]string{
		"PATH=" + c.bin + ":/usr/bin:/bin", "RUSTC=" + filepath.Join(c.bin, "rustc"), "HOME=" + in("home"),
		"CARGO_HOME=" + in("cargo"), "CARGO_TARGET_DIR=" + in("target"), "CARGO_TERM_COLOR=never", "LC_ALL=C",
		"CARGO_ENCODED_RUSTFLAGS=" + flags,
	}, rustProfile...)
	if call.fetch {
		env = append(env, proxies()...)
	}
	return w.run(ctx, command{
		what: "cargo " + call.args[0], argv: append(argv, call.args...), env: env, dir: in("src"),
		reads: []string{c.sysroot}, network: call.fetch, stdout: call.stdout,
	})
}

// proxies passes on how the hub's user reaches the network.
func proxies() []string {
	var out []string
	for _, name := range []string{
		"http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY",
		"CARGO_HTTP_CAINFO", "CARGO_HTTP_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR",
	} {
		if v, ok := os.LookupEnv(name); ok {
			out = append(out, name+"="+v)
		}
	}
	return out
}

// cargoLock is what a Cargo.lock says.
type cargoLock struct {
	packages int // that come from elsewhere
	ours     bool
}

const cargoLockMax = 4 << 20

var cargoField = regexp.MustCompile(`(?m)^(name|version|source|checksum) = "([^"\n]*)"$`)

// readCargoLock wants a lock in which each package from elsewhere has a checksum.
func readCargoLock(tree fs.FS) (cargoLock, error) {
	text, err := fs.ReadFile(tree, "Cargo.lock")
	if errors.Is(err, fs.ErrNotExist) {
		return cargoLock{}, protocol.Errorf(protocol.CodeBadInput,
			"Cargo.lock: the source has none: run `cargo generate-lockfile` and commit it")
	}
	if err != nil {
		return cargoLock{}, fmt.Errorf("build: %w", err)
	}
	if len(text) > cargoLockMax {
		return cargoLock{}, protocol.Errorf(protocol.CodeLimit, "Cargo.lock: %d bytes, limit %d", len(text),
			cargoLockMax)
	}
	var lock cargoLock
	for _, part := range strings.Split(string(text), "[[package]]")[1:] {
		field := map[string]string{}
		for _, m := range cargoField.FindAllStringSubmatch(part, -1) {
			field[m[1]] = m[2]
		}
		name := fmt.Sprintf("package %q %s", field["name"], field["version"])
		switch source := field["source"]; {
		case source == "":
			lock.ours = lock.ours || field["name"] == sdk.RustCrate
		case !strings.HasPrefix(source, "registry+") && !strings.HasPrefix(source, "sparse+"):
			return lock, protocol.Errorf(protocol.CodeBadInput, "Cargo.lock: %s: source %q: want a registry's, which "+
				"is locked by a checksum", name, source)
		case field["checksum"] == "":
			return lock, protocol.Errorf(protocol.CodeBadInput, "Cargo.lock: %s: no checksum", name)
		default:
			lock.packages++
		}
	}
	return lock, nil
}

// ownSDK is a dependency on the SDK that says where it stands, so that it is the source's.
var ownSDK = regexp.MustCompile(`(?m)^\s*stavily\s*=.*\bpath\b|` +
	`^\[dependencies\.stavily\](\s*[^\[\s].*)*\n\s*path\b`)

// wantsOurSDK says whether the source takes the SDK from whoever builds it.
func wantsOurSDK(tree fs.FS) (bool, error) {
	lock, err := readCargoLock(tree)
	if err != nil || !lock.ours {
		return false, err
	}
	manifest, err := fs.ReadFile(tree, "Cargo.toml")
	if err != nil {
		return false, protocol.Errorf(protocol.CodeBadInput, "Cargo.toml: the source has none at its top")
	}
	return !ownSDK.Match(manifest), nil
}

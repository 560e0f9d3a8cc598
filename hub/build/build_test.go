package build

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stavily/stavily/protocol"
)

// source is a tree in memory: path to content.
type source map[string]string

// with returns a copy of s with one file changed; an empty text takes it away.
func (s source) with(name, text string) source {
	s = maps.Clone(s)
	if s[name] = text; text == "" {
		delete(s, name)
	}
	return s
}

// files is s on the disk, which is what a Tree is.
type files struct {
	fs.FS
	dir string
}

func (f files) WriteTo(dir string) error { return os.CopyFS(dir, os.DirFS(f.dir)) }

func (s source) request(t testing.TB) Request {
	t.Helper()
	dir := t.TempDir()
	all := ""
	for name, text := range s {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"go.mod", "go.sum", "main.go", "main_test.go"} {
		all += name + "\x00" + s[name] + "\x00"
	}
	m := &protocol.Manifest{
		Plugin:  protocol.PluginInfo{Name: "tiny", Version: "1.0.0", Type: protocol.Output},
		Runtime: protocol.Runtime{Language: "go"}, Testing: protocol.Testing{Suite: ".", Coverage: 80},
	}
	return Request{Tree: files{os.DirFS(dir), dir}, TreeDigest: protocol.DigestOf([]byte(all)), Manifest: m}
}

const mainText = `package main

func main() { println(half(4)) }

func half(n int) int {
	if n < 0 {
		return 0
	}
	return n / 2
}
`

const testText = `package main

import "testing"

func TestHalf(t *testing.T) {
	if half(4) != 2 || half(-1) != 0 {
		t.Error("wrong")
	}
}

func TestMain(m *testing.M) { main(); m.Run() }
`

var tiny = source{"go.mod": "module tiny\n\ngo 1.24\n", "main.go": mainText, "main_test.go": testText}

func newBuilder(t testing.TB) *Builder {
	t.Helper()
	b, err := New(Config{CacheDir: t.TempDir(), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func wantError(t *testing.T, err error, code protocol.Code, parts ...string) {
	t.Helper()
	if err == nil || protocol.CodeOf(err) != code {
		t.Fatalf("got %v with code %v, want %v", err, protocol.CodeOf(err), code)
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("got %v\nwant %q in it", err, part)
		}
	}
}

// O-02, U-02: the same inputs give the same module, wherever the tree lies; what was
// kept is found again, and any change of the inputs is another build.
func TestBuildIsReproducible(t *testing.T) {
	var results []*Result
	for range 2 { // another cache, another folder
		b, req := newBuilder(t), tiny.request(t)
		r, err := b.Build(t.Context(), req)
		if err != nil {
			t.Fatal(err)
		}
		again, err := b.Build(t.Context(), req)
		if err != nil || !again.Cached || r.Cached || string(again.Module) != string(r.Module) {
			t.Fatalf("from the cache: %v %v", again, err)
		}
		results = append(results, r)
	}
	a, b := results[0], results[1]
	if protocol.DigestOf(a.Module) != protocol.DigestOf(b.Module) || a.Builder.Inputs != b.Builder.Inputs {
		t.Errorf("%s of %s, then %s of %s", protocol.DigestOf(a.Module), a.Builder.Inputs, protocol.DigestOf(b.Module), b.Builder.Inputs)
	}
	if !strings.HasPrefix(string(a.Module), "\x00asm") || a.Builder.Toolchain != runtime.Version() {
		t.Errorf("%d bytes by %s", len(a.Module), a.Builder.Toolchain)
	}
	_, other, err := newBuilder(t).describe(t.Context(), tiny.with("main.go", mainText+"\n").request(t))
	if err != nil || other.Inputs == a.Builder.Inputs {
		t.Errorf("another tree has the inputs of this one: %v", err)
	}
}

// A build's error is the compiler's own text, with file and line, cut to a bound.
func TestBuildErrorsAreTheCompilers(t *testing.T) {
	for _, c := range []struct {
		name string
		tree source
		want []string
	}{
		{
			"type error", tiny.with("main.go", "package main\n\nfunc main() { var n int = \"x\" }\n"),
			[]string{"go build: exit status 1", "./main.go:3:27: cannot use \"x\""},
		},
		{"syntax error", tiny.with("main.go", "package main\n\nfunc main() {\n"), []string{"main.go:4:1: syntax error"}},
		{"no main", tiny.with("main.go", ""), []string{"go build", "no non-test Go files"}},
		{"no module", tiny.with("go.mod", ""), []string{"go mod", "no modules specified"}},
		{
			"not locked", tiny.with("go.mod", "module tiny\n\ngo 1.24\n\nrequire github.com/stavily/stavily/plugins/sdk/go v0.1.0\n").
				with("main.go", "package main\n\nimport _ \"github.com/stavily/stavily/plugins/sdk/go\"\n\nfunc main() {}\n"),
			[]string{"missing go.sum entry", "github.com/stavily/stavily/plugins/sdk/go"},
		},
		{
			"wrong lock", tiny.with("go.mod", "module tiny\n\ngo 1.24\n\nrequire github.com/stavily/stavily/plugins/sdk/go v0.1.0\n").
				with("go.sum", "github.com/stavily/stavily/plugins/sdk/go v0.1.0 h1:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n"),
			[]string{"checksum mismatch", "github.com/stavily/stavily/plugins/sdk/go"},
		},
		{"newer Go", tiny.with("go.mod", "module tiny\n\ngo 1.99\n"), []string{"go.mod requires go >= 1.99"}},
		{"C", tiny.with("main.go", "package main\n\nimport \"C\"\n\nfunc main() {}\n"), []string{"go build"}},
		{"shell in a directive", tiny.with("main.go", mainText+"\n//go:generate touch /tmp/never\n//go:linkname main.x y\n"), []string{"main.go:"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBuilder(t)
			_, err := b.Build(t.Context(), c.tree.request(t))
			wantError(t, err, protocol.CodeBadInput, c.want...)
			if len(err.Error()) > tailMax+256 {
				t.Errorf("%d bytes of error", len(err.Error()))
			}
			left, err := os.ReadDir(filepath.Join(b.cfg.CacheDir, "modules"))
			if err != nil || len(left) > 0 {
				t.Errorf("a build that failed left %v, %v", left, err)
			}
		})
	}
}

func TestTailKeepsTheEnd(t *testing.T) {
	got := tail([]byte(strings.Repeat("x", 2*tailMax) + "main.go:1:1: last\n"))
	if len(got) != tailMax+3 || !strings.HasPrefix(got, "...x") || !strings.HasSuffix(got, "main.go:1:1: last") {
		t.Errorf("%d bytes: %.20q", len(got), got)
	}
	c := &capped{left: 4}
	for range 3 {
		if n, err := c.Write([]byte("abc")); n != 3 || err != nil {
			t.Errorf("%d, %v", n, err)
		}
	}
	if c.String() != "abca" {
		t.Errorf("kept %q", c.String())
	}
}

// P-03: a language without a row is an error that names those that have one.
func TestBuildNamesItsLanguages(t *testing.T) {
	req := tiny.request(t)
	req.Manifest.Runtime.Language = "cobol"
	b := newBuilder(t)
	_, err := b.Compatible(req.Manifest)
	wantError(t, err, protocol.CodeIncompatible, "plugin tiny@1.0.0: this hub builds no cobol; it builds go")
	_, err = b.Build(t.Context(), req)
	wantError(t, err, protocol.CodeIncompatible, "it builds go")
	req.Manifest.Runtime = protocol.Runtime{Language: "go", MinVersion: "1.99"}
	_, err = b.Compatible(req.Manifest)
	wantError(t, err, protocol.CodeIncompatible, "it wants go >=1.99, this hub has "+runtime.Version())
}

func TestBuildWithoutToolchainSaysHowToGetIt(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	_, err := newBuilder(t).Build(t.Context(), tiny.request(t))
	wantError(t, err, protocol.CodeUnavailable, "no Go toolchain", "install Go")
}

// A build is cut at its deadline, and nothing of it stays; so is one that waits.
func TestBuildIsCutAtItsDeadline(t *testing.T) {
	b := newBuilder(t)
	t.Setenv("TMPDIR", t.TempDir())
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Millisecond)
	defer cancel()
	began := time.Now()
	w, err := b.workspace(t.Context(), tiny.request(t))
	if err != nil {
		t.Fatal(err)
	}
	// Nothing is cached in a new GOCACHE: the standard library alone takes seconds.
	t.Setenv("GOCACHE", filepath.Join(w.dir, "gocache"))
	_, err = goBuild(ctx, w)
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("took %v", took)
	}
	wantError(t, err, protocol.CodeDeadline, "ended after its time")
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	_, err = b.Build(ctx, tiny.request(t)) // before the toolchain has said its name
	wantError(t, err, protocol.CodeDeadline, "ended after its time")

	waiting, stop := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer stop()
	_, err = b.workspace(waiting, tiny.request(t))
	wantError(t, err, protocol.CodeDeadline, "build tiny@1.0.0: waited for another build")
	w.close()
	if left, _ := filepath.Glob(filepath.Join(os.Getenv("TMPDIR"), "stavily-build-*")); len(left) > 0 {
		t.Errorf("left %v", left)
	}
	if err := ctx.Err(); err == nil {
		t.Error("the deadline has not come")
	}
}

// M-30, M-31: the plugin's own tests are run in the sandbox and measured.
func TestOwnTests(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles modules, which takes minutes under the race detector")
	}
	b := newBuilder(t)
	said, err := b.Test(t.Context(), tiny.request(t))
	if err != nil || said != "passed, coverage 100.0 % of 80.0 %" {
		t.Fatalf("got %q, %v", said, err)
	}
	if said, err = b.Test(t.Context(), tiny.request(t)); err != nil || !strings.HasSuffix(said, ", from the cache") {
		t.Errorf("got %q, %v", said, err)
	}
	_, err = b.Test(t.Context(), tiny.with("main_test.go", strings.Replace(testText, " || half(-1) != 0", "", 1)).request(t))
	wantError(t, err, protocol.CodeRefused, "test tiny@1.0.0: coverage 75.0 %, the manifest wants 80.0 %")
	_, err = b.Test(t.Context(), tiny.with("main_test.go", "").request(t))
	wantError(t, err, protocol.CodeRefused, `test_suite is "."`, "no test files")
	_, err = b.Test(t.Context(), tiny.with("main_test.go", escapeText).request(t))
	wantError(t, err, protocol.CodeRefused, "--- FAIL: TestEscape", "main_test.go:26: kept in")
	if strings.Contains(err.Error(), "out by") {
		t.Error(err)
	}
	none := tiny.request(t)
	none.Manifest.Testing = protocol.Testing{}
	if _, err := b.Test(t.Context(), none); !errors.Is(err, ErrNoTests) {
		t.Errorf("got %v", err)
	}
}

// escapeText fails in any case and says how it got out.
const escapeText = `package main

import (
	"net"
	"os"
	"os/exec"
	"testing"
)

func TestEscape(t *testing.T) {
	if os.WriteFile("/etc/stavily", []byte("x"), 0o600) == nil {
		t.Error("out by a file of the machine")
	}
	if os.WriteFile("main.go", []byte("x"), 0o600) == nil {
		t.Error("out by a file of the source")
	}
	if _, err := os.ReadFile("/etc/passwd"); err == nil {
		t.Error("out by reading")
	}
	if exec.Command("true").Run() == nil {
		t.Error("out by a program")
	}
	if _, err := net.Dial("tcp", "127.0.0.1:1"); err == nil {
		t.Error("out by the network")
	}
	t.Error("kept in")
}
`

// A test that never ends is ended with its deadline.
func TestOwnTestsAreCutAtTheirDeadline(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles modules, which takes minutes under the race detector")
	}
	b := newBuilder(t)
	endless := tiny.with("main_test.go", "package main\n\nimport \"testing\"\n\nfunc TestEndless(t *testing.T) {\n\tfor {\n\t}\n}\n")
	if _, err := b.Build(t.Context(), endless.request(t)); err != nil { // what is compiled once is quick below
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
	defer cancel()
	began := time.Now()
	_, err := b.Test(ctx, endless.request(t))
	if err == nil || !errors.Is(err, context.DeadlineExceeded) || time.Since(began) > 30*time.Second {
		t.Errorf("after %v: %v", time.Since(began), err)
	}
}

var _ Tree = files{}

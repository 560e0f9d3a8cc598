package build_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stavily/stavily/hub"
	"github.com/stavily/stavily/hub/api"
	"github.com/stavily/stavily/hub/build"
	"github.com/stavily/stavily/hub/registry"
	"github.com/stavily/stavily/hub/source"
	"github.com/stavily/stavily/hub/store"
)

const toyManifest = `plugin:
  name: toy
  version: 1.0.0
  type: action
  description: An action in a language of its own
  author: { name: Ada }
runtime: { language: wast }
sandbox_mode: true
allow_network_access: false
allow_filesystem_access: none
permissions: {}
testing: { test_suite: ".", coverage_threshold: 0 }
`

const toyText = `(module (memory (export "memory") 1) (func (export "_start")))`

// P-03: a fifth language is a row of the table: it is read, built, tested, verified,
// metered, sealed and kept by what is there for all.
func TestARowIsAllThatALanguageNeeds(t *testing.T) {
	wat2wasm, err := exec.LookPath("wat2wasm")
	if err != nil {
		t.Skip("no wat2wasm: apt-get install wabt")
	}
	build.AddToy(t, func(ctx context.Context, src string) (string, error) {
		out := filepath.Join(t.TempDir(), "out.wasm")
		said, err := exec.CommandContext(ctx, wat2wasm, filepath.Join(src, "main.wat"), "-o", out).CombinedOutput()
		if err != nil {
			return "", fmt.Errorf("wat2wasm: %w\n%s", err, said)
		}
		return out, nil
	})
	p := newPublisher(t)
	author := source.Person{Name: "Ada", Email: "ada@example.com"}
	dir := t.TempDir()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	check(t, err)
	_, err = source.InitRepo(dir, fstest.MapFS{
		"stavily-plugin.yaml": {Data: []byte(toyManifest)}, "main.wat": {Data: []byte(toyText)},
	}, author, p.Clock())
	check(t, err)
	_, err = source.SignTag(dir, source.TagRequest{Tag: "v1.0.0", Tagger: author, When: p.Clock(), Key: key})
	check(t, err)
	signers, err := source.SignerLine(author.Email, key.Public().(ed25519.PublicKey))
	check(t, err)
	plugin, err := p.Add(t.Context(), api.AddPlugin{Repository: dir, AllowedSigners: signers})
	check(t, err)
	said := ""
	release, err := p.Publish(t.Context(), plugin, "1.0.0", false, func(s registry.Stage) { said += s.Detail + "\n" })
	check(t, err)
	if release.State != registry.Published || len(release.Artifacts) != 1 || !release.Artifacts[0].Metered {
		t.Errorf("got %+v", release)
	}
	for _, want := range []string{"built here by the row wat, wat2wasm 1.0.0", "passed, coverage not measured"} {
		if !strings.Contains(said, want) {
			t.Errorf("the stages said\n%swant %q", said, want)
		}
	}
	rows := build.Doctor(t.Context())
	toy := rows[slices.IndexFunc(rows, func(s build.Support) bool { return s.Language == "wat" })]
	if !toy.Ready || toy.Tools[0].Found != "wat2wasm 1.0.0" || toy.Coverage != "cannot be measured: policy decides" {
		t.Errorf("doctor: %+v", toy)
	}
}

// newPublisher is the pipeline as the hub has it, on books of its own.
func newPublisher(t *testing.T) *hub.Publisher {
	t.Helper()
	log, home := slog.New(slog.DiscardHandler), t.TempDir()
	books, err := store.Open(t.Context(), filepath.Join(home, "books"))
	check(t, err)
	t.Cleanup(func() { _ = books.Close() })
	check(t, os.Mkdir(filepath.Join(home, "keys"), 0o700))
	keys, err := hub.OpenKeys(filepath.Join(home, "keys"))
	check(t, err)
	files, err := registry.OpenFiles(filepath.Join(home, "files"))
	check(t, err)
	builder, err := build.New(build.Config{CacheDir: filepath.Join(home, "cache"), Log: log})
	check(t, err)
	return &hub.Publisher{
		Config: hub.DefaultConfig(home), Log: log, Keys: keys, Files: files, Build: builder,
		Clock:   func() time.Time { return time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC) },
		Operate: func(ctx context.Context, f func(*store.Tx) error) error { return books.Update(ctx, f) },
	}
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

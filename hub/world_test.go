package hub

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stavily/stavily/hub/api"
	"github.com/stavily/stavily/hub/build"
	"github.com/stavily/stavily/hub/fleet"
	"github.com/stavily/stavily/hub/registry"
	"github.com/stavily/stavily/hub/source"
	"github.com/stavily/stavily/hub/store"
	"github.com/stavily/stavily/protocol"
)

// day is when the tests take place.
var day = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

var author = source.Person{Name: "Ada", Email: "ada@example.com"}

// cache is one builder's folder for all tests: what was built once is found again.
var cache = sync.OnceValues(func() (string, error) { return os.MkdirTemp("", "stavily-hub-test-") })

func TestMain(m *testing.M) {
	code := m.Run()
	if dir, err := cache(); err == nil {
		_ = os.RemoveAll(dir)
	}
	os.Exit(code)
}

// world is a hub over real books, files and keys in a home of its own, with a link that
// remembers what was sent.
type world struct {
	testing.TB
	cfg     Config
	hub     *Hub
	publish *Publisher
	sent    *sentLink
	now     time.Time
	signer  ed25519.PrivateKey
	// broken makes the books refuse the call that counts it down to 0.
	broken int
}

// sentLink is a line on which every message is taken and kept.
type sentLink struct{ messages []protocol.Message }

func (l *sentLink) Send(m protocol.Message) error {
	l.messages = append(l.messages, m)
	return nil
}

func (l *sentLink) Listen(string, func(protocol.Message)) error { return nil }

// take returns what was sent since, and forgets it.
func (l *sentLink) take() []protocol.Message {
	out := l.messages
	l.messages = nil
	return out
}

func newWorld(t testing.TB) *world {
	t.Helper()
	dir, err := cache()
	check(t, err)
	w := &world{TB: t, cfg: DefaultConfig(t.TempDir()), sent: &sentLink{}, now: day}
	w.cfg.Cache = dir
	w.cfg.Approve = protocol.DefaultPolicy()
	check(t, w.cfg.makeDirs())
	books, err := store.Open(t.Context(), w.cfg.booksPath())
	check(t, err)
	t.Cleanup(func() { _ = books.Close() })
	keys, err := OpenKeys(w.cfg.keysDir())
	check(t, err)
	ca, err := OpenCA(w.cfg.keysDir(), day)
	check(t, err)
	files, err := registry.OpenFiles(w.cfg.filesDir())
	check(t, err)
	log := slog.New(slog.DiscardHandler)
	builder, err := build.New(build.Config{CacheDir: dir, Log: log})
	check(t, err)
	w.hub = New(w.cfg, Deps{Log: log, Books: books, Files: files, Keys: keys, CA: ca, Link: w.sent})
	w.publish = &Publisher{
		Config: w.cfg, Log: log, Keys: keys, Files: files, Build: builder, Clock: func() time.Time { return w.now },
		Operate: func(_ context.Context, f func(*store.Tx) error) error {
			if w.broken--; w.broken == 0 {
				return protocol.Errorf(protocol.CodeStorage, "books: disk full")
			}
			return w.hub.Operate(f)
		},
	}
	_, w.signer, err = ed25519.GenerateKey(rand.Reader)
	check(t, err)
	return w
}

// newLongWorld is newWorld for a test that publishes much and has one goroutine, in which the
// race detector finds nothing.
func newLongWorld(t testing.TB) *world {
	t.Helper()
	if testing.Short() {
		t.Skip("takes long")
	}
	return newWorld(t)
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// refused wants an error with a code, and parts of its text.
func refused(t testing.TB, err error, code protocol.Code, parts ...string) {
	t.Helper()
	if err == nil || apiError(err).Code != code {
		t.Fatalf("got %v, want code %s", err, code)
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("got %v\nwant %q in it", err, part)
		}
	}
}

// look reads the books.
func look[T any](w *world, f func(*store.Tx) (T, error)) (out T) {
	w.Helper()
	check(w, w.hub.Operate(func(tx *store.Tx) (err error) {
		out, err = f(tx)
		return err
	}))
	return out
}

// plugin is the smallest source of a plugin: a program that ends at once. What it says
// in its conversation is not the hub's to judge.
type plugin struct {
	name, version string
	kind          protocol.PluginType
	files         map[string]string // besides or instead of the usual
}

const manifestText = `plugin:
  name: NAME
  version: VERSION
  type: TYPE
  description: A plugin for tests
  author: { name: Ada }
runtime: { language: go }
execution_limits: { max_memory_mb: 32 }
sandbox_mode: true
allow_network_access: false
allow_filesystem_access: none
permissions: { system: [kv, "process.execute:uptime"] }
configuration: { schema: schema.json, examples: examples }
`

func (p plugin) manifest() string {
	kind := p.kind
	if kind == "" {
		kind = protocol.Action
	}
	return strings.NewReplacer("NAME", p.name, "VERSION", p.version, "TYPE", string(kind)).Replace(manifestText)
}

func (p plugin) source() fs.FS {
	out := fstest.MapFS{}
	for name, text := range map[string]string{
		"stavily-plugin.yaml": p.manifest(), "go.mod": "module p\n\ngo 1.24\n", "main.go": "package main\n\nfunc main() {}\n",
		"schema.json":      `{"type":"object","additionalProperties":false,"properties":{"n":{"type":"integer"}}}`,
		"examples/a.yaml":  "n: 1\n",
		"examples/b.json":  `{"n": 2}`,
		"examples/read.me": "not an example",
	} {
		out[name] = &fstest.MapFile{Data: []byte(text)}
	}
	for name, text := range p.files {
		if out[name] = (&fstest.MapFile{Data: []byte(text)}); text == "" {
			delete(out, name)
		}
	}
	return out
}

// repository makes, or makes again, the repository of p's name, with the one version in
// it signed by the world's signer, and returns its folder.
func (w *world) repository(p plugin) string {
	w.Helper()
	return w.signedBy(p, w.signer)
}

func (w *world) signedBy(p plugin, key ed25519.PrivateKey) string {
	w.Helper()
	dir := w.folder(p.name)
	check(w, os.RemoveAll(dir))
	_, err := source.InitRepo(dir, p.source(), author, day)
	check(w, err)
	if key != nil {
		_, err = source.SignTag(dir, source.TagRequest{Tag: "v" + p.version, Tagger: author, When: day, Key: key})
		check(w, err)
	}
	return dir
}

func (w *world) folder(name string) string { return filepath.Join(w.cfg.Home, "repositories", name) }

// signers is the allowed_signers file with the world's signer.
func (w *world) signers() string {
	w.Helper()
	line, err := source.SignerLine(author.Email, w.signer.Public().(ed25519.PublicKey))
	check(w, err)
	return line
}

// add registers p's repository.
func (w *world) add(p plugin) registry.Plugin {
	w.Helper()
	out, err := w.publish.Add(w.Context(), api.AddPlugin{Repository: w.repository(p), AllowedSigners: w.signers()})
	check(w, err)
	return out
}

// release publishes a version of a registered plugin.
func (w *world) release(p registry.Plugin, version string) (registry.Release, error) {
	return w.publish.Publish(w.Context(), p, version, false, func(registry.Stage) {})
}

// published registers and publishes p.
func (w *world) published(p plugin) registry.Release {
	w.Helper()
	r, err := w.release(w.add(p), p.version)
	check(w, err)
	return r
}

// three publishes a trigger, an action and an output.
func (w *world) three() {
	w.Helper()
	for name, kind := range map[string]protocol.PluginType{"tick": protocol.Trigger, "work": protocol.Action, "note": protocol.Output} {
		if testing.Short() { // to build and to compare them takes minutes under the race detector
			w.sealed(name, "1.0.0", kind, protocol.StateFormat{})
			continue
		}
		w.published(plugin{name: name, version: "1.0.0", kind: kind})
	}
}

// builtThree is three for tests that want what a build gives.
func (w *world) builtThree() {
	w.Helper()
	if testing.Short() {
		w.Skip("builds three plugins and compares them in both engines")
	}
	w.three()
}

// device is an agent's side of enrolment: its key, and the certificate it got.
type device struct {
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
	at   protocol.Address
	protocol.JoinReply
}

func newDevice(t testing.TB) *device {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(t, err)
	return &device{key: key}
}

func (d *device) csr(t testing.TB) []byte {
	t.Helper()
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, d.key)
	check(t, err)
	return der
}

// token makes a join token.
func (w *world) token(wish api.NewToken) protocol.JoinToken {
	w.Helper()
	t, err := w.hub.NewToken(w.now, wish)
	check(w, err)
	return t
}

// enrol lets a new device join as site "lab", with labels.
func (w *world) enrol(name protocol.AgentName, labels map[string]string) *device {
	w.Helper()
	t := w.token(api.NewToken{Site: "lab", Count: 1, TTL: time.Hour})
	d := newDevice(w)
	d.JoinReply = w.hub.Join(w.now, protocol.JoinRequest{
		TokenID: t.ID, Secret: t.Secret, Address: protocol.Address{Agent: name}, CSR: d.csr(w),
		Device: protocol.Device{Platform: "linux/amd64", Labels: labels},
	}, nil)
	if d.Error != nil {
		w.Fatal(d.Error)
	}
	cert, err := x509.ParseCertificate(d.Certificate)
	check(w, err)
	d.cert, d.at = cert, d.Address
	return d
}

// says lets an agent send a message, and returns whether the hub acknowledged it.
func (w *world) says(from protocol.Address, kind protocol.Kind, payload []byte) (acknowledged bool) {
	w.Helper()
	w.hub.Handle(w.now, protocol.Message{
		Topic: protocol.Topic(from, kind), Payload: payload, Ack: func() { acknowledged = true },
	})
	if acknowledged {
		w.Error("acknowledged before Flush")
	}
	err := w.hub.Flush()
	if err != nil && acknowledged {
		w.Error("acknowledged though the books refused")
	}
	return acknowledged
}

// desired opens the newest desired document of an agent.
func (w *world) desired(name protocol.AgentName) protocol.Desired {
	w.Helper()
	var sealed []byte
	check(w, w.hub.Operate(func(tx *store.Tx) (err error) {
		sealed, err = fleet.Document(tx, name)
		return err
	}))
	payload, err := protocol.Open(protocol.ContextDesired, w.hub.keys.Ring, sealed)
	check(w, err)
	var out protocol.Desired
	check(w, protocol.UnmarshalExact(payload, &out))
	return out
}

// filesKept returns the digests of what lies in the hub's folder of files.
func (w *world) filesKept() (names []string) {
	w.Helper()
	check(w, filepath.WalkDir(w.cfg.filesDir(), func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			names = append(names, d.Name())
		}
		return err
	}))
	return names
}

var errTest = errors.New("test")

var _ protocol.Link = (*sentLink)(nil)

package source

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"golang.org/x/crypto/ssh"
)

var (
	day    = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	author = Person{Name: "Ada Miller", Email: "ada@example.com"}
)

// sample is a small plugin repository.
func sample() fstest.MapFS {
	return fstest.MapFS{
		"stavily-plugin.yaml": {Data: []byte("plugin:\n  name: sample\n"), Mode: 0o644},
		"README.md":           {Data: []byte("# Sample\n"), Mode: 0o644},
		"src/main.py":         {Data: []byte("print('hi')\n"), Mode: 0o644},
		"src/deep/er/x.txt":   {Data: []byte("x"), Mode: 0o644},
		"src.d":               {Data: []byte("sorts between src and src/"), Mode: 0o644},
		"tests/run.sh":        {Data: []byte("#!/bin/sh\ntrue\n"), Mode: 0o755},
	}
}

// key is an ed25519 key that follows from its name.
func key(name string) ed25519.PrivateKey {
	seed := make([]byte, ed25519.SeedSize)
	copy(seed, name)
	return ed25519.NewKeyFromSeed(seed)
}

func pub(k ed25519.PrivateKey) ed25519.PublicKey { return k.Public().(ed25519.PublicKey) }

func pubLine(t *testing.T, k ed25519.PrivateKey) string {
	t.Helper()
	p, err := ssh.NewPublicKey(pub(k))
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(p)))
}

// signers parses text and fails the test if it is refused.
func signers(t *testing.T, text string) AllowedSigners {
	t.Helper()
	a, err := ParseAllowedSigners(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// ours is a repository made and signed by this package alone.
func ours(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if _, err := InitRepo(dir, sample(), author, day); err != nil {
		t.Fatal(err)
	}
	req := TagRequest{Tag: "v1.2.0", Message: "First release", Tagger: author, When: day, Key: key("ada")}
	if _, err := SignTag(dir, req); err != nil {
		t.Fatal(err)
	}
	return dir
}

func fetchTag(t *testing.T, url, tag string) (*Tree, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	return Fetch(ctx, Ref{URL: url, Tag: tag}, Options{})
}

func mustFetch(t *testing.T, url, tag string) *Tree {
	t.Helper()
	tree, err := fetchTag(t, url, tag)
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

// lab is a repository made by the real git, with real keys.
type lab struct {
	t    *testing.T
	dir  string // the work tree
	keys string // a folder of key files
}

func need(t *testing.T, programs ...string) {
	t.Helper()
	for _, p := range programs {
		if _, err := exec.LookPath(p); err != nil {
			t.Skipf("%s is not installed", p)
		}
	}
}

func newLab(t *testing.T) *lab {
	t.Helper()
	need(t, "git", "ssh-keygen")
	l := &lab{t: t, dir: t.TempDir(), keys: t.TempDir()}
	l.git("init", "-q", "-b", "main")
	l.write("stavily-plugin.yaml", "plugin:\n")
	l.git("add", ".")
	l.git("commit", "-q", "-m", "one")
	l.keygen("ada", "-t", "ed25519")
	return l
}

func (l *lab) env() []string {
	return append(os.Environ(),
		"HOME="+l.keys, "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null", "TZ=UTC", "GNUPGHOME="+l.keys,
		"GIT_AUTHOR_NAME=Ada", "GIT_AUTHOR_EMAIL=ada@example.com", "GIT_AUTHOR_DATE=1772366400 +0000",
		"GIT_COMMITTER_NAME=Ada", "GIT_COMMITTER_EMAIL=ada@example.com", "GIT_COMMITTER_DATE=1772366400 +0000")
}

// try runs a program in the work tree.
func (l *lab) try(in []byte, program string, args ...string) (string, error) {
	cmd := exec.Command(program, args...)
	cmd.Dir, cmd.Env, cmd.Stdin = l.dir, l.env(), bytes.NewReader(in)
	out, err := cmd.CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

func (l *lab) run(in []byte, program string, args ...string) string {
	l.t.Helper()
	out, err := l.try(in, program, args...)
	if err != nil {
		l.t.Fatalf("%s %v: %v\n%s", program, args, err, out)
	}
	return out
}

func (l *lab) git(args ...string) string {
	l.t.Helper()
	return l.run(nil, "git", args...)
}

func (l *lab) write(name, text string) {
	l.t.Helper()
	at := filepath.Join(l.dir, name)
	if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
		l.t.Fatal(err)
	}
	if err := os.WriteFile(at, []byte(text), 0o644); err != nil {
		l.t.Fatal(err)
	}
}

func (l *lab) keygen(name string, args ...string) {
	l.t.Helper()
	args = append(args, "-q", "-N", "", "-C", name, "-f", filepath.Join(l.keys, name))
	l.run(nil, "ssh-keygen", args...)
}

func (l *lab) pub(name string) string {
	l.t.Helper()
	text, err := os.ReadFile(filepath.Join(l.keys, name+".pub"))
	if err != nil {
		l.t.Fatal(err)
	}
	return strings.TrimSpace(string(text))
}

// tag makes a signed tag with the real git.
func (l *lab) tag(name, keyName string) {
	l.t.Helper()
	l.git("-c", "gpg.format=ssh", "-c", "user.signingkey="+filepath.Join(l.keys, keyName+".pub"),
		"tag", "-s", "-m", "release "+name, name)
}

// oracle is what git itself says of a tag under an allowed_signers file.
func (l *lab) oracle(tag, allowed string) error {
	l.t.Helper()
	file := filepath.Join(l.keys, "allowed")
	if err := os.WriteFile(file, []byte(allowed), 0o600); err != nil {
		l.t.Fatal(err)
	}
	_, err := l.try(nil, "git", "-c", "gpg.ssh.allowedSignersFile="+file, "verify-tag", tag)
	return err
}

// object stores raw bytes as an object, without git's own checks.
func (l *lab) object(kind string, raw []byte) string {
	l.t.Helper()
	return l.run(raw, "git", "hash-object", "-w", "--literally", "-t", kind, "--stdin")
}

// rawTag is the tag object's bytes as git stores them.
func (l *lab) rawTag(name string) []byte {
	l.t.Helper()
	cmd := exec.Command("git", "cat-file", "tag", name)
	cmd.Dir, cmd.Env = l.dir, l.env()
	out, err := cmd.Output()
	if err != nil {
		l.t.Fatal(err)
	}
	return out
}

// plant stores raw as a tag object under refs/tags/name.
func (l *lab) plant(name string, raw []byte) {
	l.t.Helper()
	l.git("update-ref", "refs/tags/"+name, l.object("tag", raw))
}

package source

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

// What this package signs, it fetches and verifies, with neither git nor ssh-keygen. O-01
func TestSignFetchVerify(t *testing.T) {
	dir := ours(t)
	for _, url := range []string{dir, "file://" + dir} {
		tree := mustFetch(t, url, "v1.2.0")
		line, err := SignerLine("ada@example.com", pub(key("ada")))
		if err != nil {
			t.Fatal(err)
		}
		who, err := VerifyTag(tree, signers(t, line), day)
		if err != nil {
			t.Fatal(err)
		}
		if who.Principal != "ada@example.com" || who.KeyType != "ssh-ed25519" ||
			!strings.HasPrefix(who.Fingerprint, "SHA256:") {
			t.Errorf("signer %+v", who)
		}
		if tree.Files != 6 || tree.Bytes == 0 {
			t.Errorf("%d files, %d bytes", tree.Files, tree.Bytes)
		}
		if err := fstest.TestFS(tree, "src/deep/er/x.txt", "tests/run.sh", "src.d"); err != nil {
			t.Error(err)
		}
	}
}

// The same files give the same commit, tag and digest: nothing is drawn, nothing is read from the clock.
func TestSignIsDeterministic(t *testing.T) {
	a, b := mustFetch(t, ours(t), "v1.2.0"), mustFetch(t, ours(t), "v1.2.0")
	if a.Commit != b.Commit || a.TagObject != b.TagObject || a.Digest != b.Digest {
		t.Errorf("%s %s %x, then %s %s %x", a.Commit, a.TagObject, a.Digest, b.Commit, b.TagObject, b.Digest)
	}
}

func TestRealGitAcceptsOurs(t *testing.T) {
	need(t, "git", "ssh-keygen")
	l := &lab{t: t, dir: ours(t), keys: t.TempDir()}
	if out := l.git("fsck", "--strict"); strings.Contains(out, "error") || strings.Contains(out, "warning") {
		t.Errorf("fsck: %s", out)
	}
	if out := l.git("status", "--porcelain"); out != "" {
		t.Errorf("work tree is not clean: %s", out)
	}
	if out := l.git("branch", "--show-current"); out != "main" {
		t.Errorf("branch %q", out)
	}
	if err := l.oracle("v1.2.0", "ada@example.com "+pubLine(t, key("ada"))+"\n"); err != nil {
		t.Errorf("git verify-tag: %v", err)
	}
	if err := l.oracle("v1.2.0", "ada@example.com "+pubLine(t, key("eve"))+"\n"); err == nil {
		t.Error("git verify-tag took another key")
	}
	if l.git("ls-files", "-s", "tests/run.sh")[:6] != "100755" {
		t.Error("executable bit lost")
	}
	clone := filepath.Join(t.TempDir(), "clone")
	l.git("clone", "-q", l.dir, clone)
	got, err := os.ReadFile(filepath.Join(clone, "src/deep/er/x.txt"))
	if err != nil || string(got) != "x" {
		t.Errorf("clone: %q, %v", got, err)
	}
}

// A key that ssh-keygen wrote is read, and one that we wrote is read by ssh-keygen.
func TestKeyFiles(t *testing.T) {
	need(t, "ssh-keygen")
	l := &lab{t: t, dir: t.TempDir(), keys: t.TempDir()}
	l.keygen("ada", "-t", "ed25519")
	text, err := os.ReadFile(filepath.Join(l.keys, "ada"))
	if err != nil {
		t.Fatal(err)
	}
	k, err := ParseKey(text)
	if err != nil {
		t.Fatal(err)
	}
	if want := strings.Fields(l.pub("ada"))[1]; !strings.Contains(pubLine(t, k), want) {
		t.Errorf("key read as %s, want %s", pubLine(t, k), want)
	}
	ours, err := MarshalKey(key("bob"), "bob")
	if err != nil {
		t.Fatal(err)
	}
	at := filepath.Join(l.keys, "bob")
	if err := os.WriteFile(at, ours, 0o600); err != nil {
		t.Fatal(err)
	}
	if got := l.run(nil, "ssh-keygen", "-y", "-f", at); !strings.HasPrefix(got, pubLine(t, key("bob"))) {
		t.Errorf("ssh-keygen reads %s", got)
	}
	l.keygen("rsa", "-t", "rsa", "-b", "3072")
	text, err = os.ReadFile(filepath.Join(l.keys, "rsa"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ParseKey(text); err == nil || !strings.Contains(err.Error(), "want ed25519") {
		t.Errorf("rsa key: %v", err)
	}
}

func TestSignRefuses(t *testing.T) {
	dir := ours(t)
	good := TagRequest{Tag: "v1.3.0", Tagger: author, When: day, Key: key("ada")}
	cases := map[string]struct {
		change func(*TagRequest)
		want   string
	}{
		"existing tag":  {func(r *TagRequest) { r.Tag = "v1.2.0" }, "the tag exists"},
		"no version":    {func(r *TagRequest) { r.Tag = "latest" }, "want a version"},
		"path as tag":   {func(r *TagRequest) { r.Tag = "../../config" }, "want a version"},
		"no key":        {func(r *TagRequest) { r.Key = nil }, "want an ed25519 private key"},
		"no such":       {func(r *TagRequest) { r.Commit = strings.Repeat("a", 40) }, "not found"},
		"bad commit":    {func(r *TagRequest) { r.Commit = "main" }, "want 40 hex digits"},
		"nameless":      {func(r *TagRequest) { r.Tagger.Name = " " }, "want a name and an email"},
		"header inside": {func(r *TagRequest) { r.Tagger.Email = "a>\ntag v9" }, "want a name and an email"},
		"second block":  {func(r *TagRequest) { r.Message = "x\n" + beginSSH }, "start of a signature"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			req := good
			c.change(&req)
			if _, err := SignTag(dir, req); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
	if _, err := SignTag(dir, good); err != nil {
		t.Errorf("the request unchanged: %v", err)
	}
	if _, err := InitRepo(dir, sample(), author, day); err == nil {
		t.Error("a repository was made over another")
	}
	bad := fstest.MapFS{".git/hooks/post-checkout": {Data: []byte("x")}}
	if _, err := InitRepo(t.TempDir(), bad, author, day); !errors.Is(err, ErrHostileTree) {
		t.Errorf(".git inside the files: %v", err)
	}
}

func TestWriteTo(t *testing.T) {
	tree := mustFetch(t, ours(t), "v1.2.0")
	dir := filepath.Join(t.TempDir(), "out")
	if err := tree.WriteTo(dir); err != nil {
		t.Fatal(err)
	}
	var got []string
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(dir, p)
		got = append(got, info.Mode().String()+" "+filepath.ToSlash(rel))
		data, err := os.ReadFile(p)
		want, werr := tree.ReadFile(filepath.ToSlash(rel))
		if !bytes.Equal(data, want) || werr != nil {
			t.Errorf("%s: %q, want %q", rel, data, want)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(got, "-rwxr-xr-x tests/run.sh") || !slices.Contains(got, "-rw-r--r-- src.d") ||
		len(got) != 6 {
		t.Errorf("written: %q", got)
	}
	if err := tree.WriteTo(dir); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a second time: %v, want %v", err, fs.ErrExist)
	}
}

// A link that waits in the target folder leads nothing out of it.
func TestWriteToStaysInside(t *testing.T) {
	tree := mustFetch(t, ours(t), "v1.2.0")
	dir, outside := t.TempDir(), t.TempDir()
	if err := os.Symlink(outside, filepath.Join(dir, "src")); err != nil {
		t.Fatal(err)
	}
	if err := tree.WriteTo(dir); err == nil {
		t.Error("written through a link")
	}
	if list, _ := os.ReadDir(outside); len(list) > 0 {
		t.Errorf("outside holds %v", list)
	}
}

// Rule 8: our own digest stands on paths, modes, lengths and contents alone.
func TestDigest(t *testing.T) {
	base := []*file{{path: "a", data: []byte("xy")}, {path: "b", data: []byte("z")}}
	others := map[string][]*file{
		"content":      {{path: "a", data: []byte("xY")}, {path: "b", data: []byte("z")}},
		"moved border": {{path: "a", data: []byte("x")}, {path: "b", data: []byte("yz")}},
		"mode":         {{path: "a", data: []byte("xy"), exec: true}, {path: "b", data: []byte("z")}},
		"path":         {{path: "c", data: []byte("xy")}, {path: "b", data: []byte("z")}},
		"missing":      {{path: "a", data: []byte("xy")}},
	}
	want := digestOf(newFiles(base).sorted)
	if swapped := digestOf(newFiles([]*file{base[1], base[0]}).sorted); swapped != want {
		t.Error("order of the files matters")
	}
	for name, list := range others {
		if digestOf(newFiles(list).sorted) == want {
			t.Errorf("%s: same digest", name)
		}
	}
}

// Real git sees in a clone what we export, byte for byte.
func TestExportAgreesWithGit(t *testing.T) {
	l := newLab(t)
	l.write("a/b/c.txt", "hello\n")
	l.write("run.sh", "#!/bin/sh\n")
	if err := os.Chmod(filepath.Join(l.dir, "run.sh"), 0o755); err != nil {
		t.Fatal(err)
	}
	l.git("add", ".")
	l.git("commit", "-q", "-m", "two")
	l.tag("v1.0.0", "ada")
	l.git("gc", "-q")
	tree := mustFetch(t, l.dir, "v1.0.0")
	if tree.Commit != l.git("rev-parse", "HEAD") || tree.TagObject != l.git("rev-parse", "v1.0.0") {
		t.Errorf("commit %s, tag %s", tree.Commit, tree.TagObject)
	}
	for _, name := range strings.Split(l.git("ls-files"), "\n") {
		cmd := exec.Command("git", "show", "HEAD:"+name)
		cmd.Dir, cmd.Env = l.dir, l.env()
		want, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		if got, err := tree.ReadFile(name); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: %q, %v: want %q", name, got, err, want)
		}
	}
	if info, err := fs.Stat(tree, "run.sh"); err != nil || info.Mode() != 0o755 {
		t.Errorf("run.sh: %v, %v", info, err)
	}
}

func TestTags(t *testing.T) {
	dir := ours(t)
	for _, tag := range []string{"v1.10.0", "v1.9.0", "1.2.1", "v2.0.0-rc.1"} {
		if _, err := SignTag(dir, TagRequest{Tag: tag, Tagger: author, When: day, Key: key("ada")}); err != nil {
			t.Fatal(err)
		}
	}
	for _, junk := range []string{"latest", "v1", "v1.2", "v1.2.3.4"} {
		at := filepath.Join(dir, ".git/refs/tags", junk)
		if err := os.WriteFile(at, []byte(strings.Repeat("1", 40)+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	got, err := Tags(t.Context(), dir, Options{})
	want := []string{"v1.2.0", "1.2.1", "v1.9.0", "v1.10.0", "v2.0.0-rc.1"}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("got %q, %v: want %q", got, err, want)
	}
}

func TestPin(t *testing.T) {
	tree := mustFetch(t, ours(t), "v1.2.0")
	pin := PinOf("u", tree, Signer{Fingerprint: "SHA256:a"})
	if err := pin.Check(pin); err != nil {
		t.Error(err)
	}
	// Rule 7, M-02: the same name with anything else behind it is an alarm.
	for name, change := range map[string]func(*Pin){
		"tag object": func(p *Pin) { p.TagObject = strings.Repeat("0", 40) },
		"commit":     func(p *Pin) { p.Commit = strings.Repeat("0", 40) },
		"tree":       func(p *Pin) { p.Digest[0]++ },
		"signer":     func(p *Pin) { p.Signer = "SHA256:b" },
	} {
		other := pin
		change(&other)
		if err := pin.Check(other); !errors.Is(err, ErrMovedTag) || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// Rule 6: the version rises.
	for _, c := range []struct {
		tag, highest string
		ok           bool
	}{
		{"v1.0.0", "", true},
		{"v1.10.0", "v1.9.0", true},
		{"1.0.1", "v1.0.0", true},
		{"v1.0.0", "v1.0.0-rc.1", true},
		{"v1.0.0", "v1.0.0", false},
		{"1.0.0", "v1.0.0", false},
		{"v1.0.0+b", "v1.0.0+a", false},
		{"v0.9.9", "v1.0.0", false},
	} {
		if err := CheckNewer(c.tag, c.highest); (err == nil) != c.ok || err != nil && !errors.Is(err, ErrNotNewer) {
			t.Errorf("%s after %q: %v", c.tag, c.highest, err)
		}
	}
}

package wasmhost

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stavily/stavily/protocol"
)

// zipOf returns an archive of files by name, the ones that end in ".raw" not packed.
func zipOf(t testing.TB, files ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for i := 0; i < len(files); i += 2 {
		method := zip.Deflate
		if strings.HasSuffix(files[i], ".raw") {
			method = zip.Store
		}
		f, err := w.CreateHeader(&zip.FileHeader{Name: files[i], Method: method})
		if err == nil && !strings.HasSuffix(files[i], "/") {
			_, err = f.Write([]byte(files[i+1]))
		}
		must(t, err)
	}
	must(t, w.Close())
	return b.Bytes()
}

// TestMounts: a guest reads its mounts, may have as many descriptors as its limit says
// (M-20), and changes nothing.
func TestMounts(t *testing.T) {
	tree, err := ZipTree(zipOf(t, "a.txt", "hello", "sub/", "", "sub/b.raw", "stored", "sub/deep/c.py", strings.Repeat("x", 9000)))
	must(t, err)
	s := asking(t)
	s.Mounts = []Mount{{"/lib", tree}, {"/app", tree}}
	s.Args, s.Env = []string{"engine", "/app/main.py"}, []string{"HOME=/app"}
	s.Step.Limits.Files = 11
	s.Manifest.Limits.Files = 50
	p := load(t, newHost(t, Config{}), s)
	a := p.Call(context.Background(), work(t, `{"mode":"mounts"}`))
	var got struct {
		Files                                       map[string]string
		Walk, Most, Part, Again, Write, Create, Out string
		Outside, Link                               string
		Open                                        int
	}
	must(t, asError(a), json.Unmarshal([]byte(jsonOf(a.Data)), &got))
	if fmt.Sprint(got.Files) != fmt.Sprintf("map[/lib/a.txt:hello /lib/sub/b.raw:stored /lib/sub/deep/c.py:%.20s]", strings.Repeat("x", 20)) {
		t.Errorf("files %v, walk %s", got.Files, got.Walk)
	}
	if got.Open != 11 || got.Most != "true" || got.Part != "ell" || got.Again != "<nil>" {
		t.Errorf("opened %d, then EMFILE: %s; part %q, again %s", got.Open, got.Most, got.Part, got.Again)
	}
	for name, text := range map[string]string{"write": got.Write, "create": got.Create, "link": got.Link} {
		if !strings.Contains(strings.ToLower(text), "read-only") {
			t.Errorf("%s: %s, want a read-only file system", name, text)
		}
	}
	if strings.Contains(got.Outside, "root") || strings.HasSuffix(got.Outside, "<nil>") {
		t.Errorf("outside: %s", got.Outside)
	}
	a = p.Call(context.Background(), work(t, `{"mode":"env"}`))
	if want := `{"env":["HOME=/app"],"args":["engine","/app/main.py"]}`; jsonOf(a.Data) != want {
		t.Errorf("world: %s, want %s", jsonOf(a.Data), want)
	}
}

// TestBadWorlds: what cannot be mounted, or said to an engine, is refused at load.
func TestBadWorlds(t *testing.T) {
	tree, err := NewTree(map[string][]byte{"a": nil})
	must(t, err)
	for name, change := range map[string]func(s *Spec){
		"no tree":     func(s *Spec) { s.Mounts = []Mount{{"/a", nil}} },
		"relative":    func(s *Spec) { s.Mounts = []Mount{{"a", tree}} },
		"not clean":   func(s *Spec) { s.Mounts = []Mount{{"/a/../b", tree}} },
		"twice":       func(s *Spec) { s.Mounts = []Mount{{"/a", tree}, {"/a", tree}} },
		"too many":    func(s *Spec) { s.Mounts = make([]Mount, MountsMax+1) },
		"NUL":         func(s *Spec) { s.Args = []string{"a\x00b"} },
		"no name":     func(s *Spec) { s.Env = []string{"=x"} },
		"no value":    func(s *Spec) { s.Env = []string{"x"} },
		"many words":  func(s *Spec) { s.Args = make([]string, argvMax+1) },
		"much to say": func(s *Spec) { s.Args = []string{strings.Repeat("x", argvBytesMax+1)} },
	} {
		s := asking(t)
		change(&s)
		_, err := newHost(t, Config{}).Load(context.Background(), s)
		if c := protocol.CodeOf(err); c != protocol.CodeBadInput && c != protocol.CodeLimit {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestBadTrees: nothing gets into a tree that is not a regular file by a plain name.
func TestBadTrees(t *testing.T) {
	for _, name := range []string{
		"../a", "/a", "a/../b", "a\\b", "a\x00b", "a//b", "./a", "a\xffb", "", ".", strings.Repeat("d/", 40) + "f",
		strings.Repeat("x", 256),
	} {
		if _, err := ZipTree(zipOf(t, name, "x")); err == nil {
			t.Errorf("zip with %q was taken", name)
		}
		if _, err := NewTree(map[string][]byte{name: nil}); err == nil {
			t.Errorf("map with %q was taken", name)
		}
	}
	for _, files := range [][]string{{"a", "1", "a", "2"}, {"a", "1", "a/b", "2"}, {"a/b", "1", "a", "2"}} {
		if _, err := ZipTree(zipOf(t, files...)); err == nil {
			t.Errorf("zip with %q was taken", files)
		}
	}
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	h := &zip.FileHeader{Name: "link"}
	h.SetMode(fs.ModeSymlink | 0o777)
	f, err := w.CreateHeader(h)
	must(t, err)
	_, err = f.Write([]byte("/etc/passwd"))
	must(t, err, w.Close())
	if _, err := ZipTree(b.Bytes()); err == nil {
		t.Error("zip with a link was taken")
	}
	if _, err := CopyTree(fstest.MapFS{"link": {Mode: fs.ModeSymlink, Data: []byte("/etc")}}); err == nil {
		t.Error("file system with a link was taken")
	}
	if _, err := ZipTree([]byte("no archive")); protocol.CodeOf(err) != protocol.CodeBadInput {
		t.Errorf("no archive: %v", err)
	}
}

// A file that is more or less than its archive says is not given to a guest.
func TestTreeSizes(t *testing.T) {
	archive := zipOf(t, "a", strings.Repeat("x", 5000))
	tree, err := ZipTree(archive)
	must(t, err)
	for _, size := range []int64{4999, 5001} {
		n := *tree.root.kids[0]
		n.size = size
		if _, _, err := n.contents(); err == nil {
			t.Errorf("5000 bytes were taken for %d", size)
		}
	}
	one, err := CopyTree(fstest.MapFS{"a": {Data: []byte("1")}, "b/c": {Data: []byte("2")}})
	must(t, err)
	two, err := NewTree(map[string][]byte{"b/c": []byte("2"), "a": []byte("1")})
	must(t, err)
	if one.Digest() != two.Digest() || one.Digest() == tree.Digest() {
		t.Error("the digest does not name the contents")
	}
}

// FuzzZipTree: no archive crashes or makes a tree that is over its bounds.
func FuzzZipTree(f *testing.F) {
	f.Add(zipOf(f, "a.txt", "hello", "b/c.raw", "x"))
	f.Fuzz(func(t *testing.T, archive []byte) {
		tree, err := ZipTree(archive)
		if err != nil {
			return
		}
		if tree.entries > TreeEntriesMax || tree.bytes > TreeBytesMax {
			t.Errorf("%d entries, %d bytes", tree.entries, tree.bytes)
		}
		for _, n := range tree.root.kids {
			if data, _, err := n.contents(); err == nil && !n.dir && int64(len(data)) != n.size {
				t.Errorf("%q: %d bytes, want %d", n.name, len(data), n.size)
			}
		}
	})
}

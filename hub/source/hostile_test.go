package source

import (
	"bytes"
	"compress/zlib"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// row is one entry of a raw tree object.
type row struct{ mode, name, id string }

// tree stores a tree object as it is written here, which git itself would refuse to make.
func (l *lab) tree(rows ...row) string {
	l.t.Helper()
	var raw bytes.Buffer
	for _, r := range rows {
		id, err := hex.DecodeString(r.id)
		if err != nil {
			l.t.Fatal(err)
		}
		fmt.Fprintf(&raw, "%s %s\x00%s", r.mode, r.name, id)
	}
	return l.object("tree", raw.Bytes())
}

// version tags a commit of the tree; it is annotated and not signed, which Fetch leaves to VerifyTag.
func (l *lab) version(tag, tree string) {
	l.t.Helper()
	commit := l.object("commit", fmt.Appendf(nil,
		"tree %s\nauthor A <a@x> 1772366400 +0000\ncommitter A <a@x> 1772366400 +0000\n\nx\n", tree))
	l.plant(tag, fmt.Appendf(nil,
		"object %s\ntype commit\ntag %s\ntagger A <a@x> 1772366400 +0000\n\nx\n", commit, tag))
}

// O-08: the corpus of hostile trees, each refused with the path that is at fault.
func TestHostileTrees(t *testing.T) {
	l := newLab(t)
	blob := l.object("blob", []byte("x"))
	lfs := l.object("blob", []byte(lfsPointer+"\noid sha256:00\nsize 5\n"))
	head := l.git("rev-parse", "HEAD")
	sub := l.tree(row{modeFile, "x", blob})
	cases := []struct {
		name, path, why string
		rows            []row
	}{
		{"symlink", "link", "symbolic link", []row{{modeLink, "link", blob}}},
		{"gitlink", "vendored", "submodule", []row{{modeGitlink, "vendored", head}}},
		{"gitmodules", ".gitmodules", "reserved for git", []row{{modeFile, ".gitmodules", blob}}},
		{"lfs", "big.bin", "large file storage", []row{{modeFile, "big.bin", lfs}}},
		{"dot git", ".git", "reserved for git", []row{{modeFolder, ".git", sub}}},
		{"dot GIT", ".GIT", "reserved for git", []row{{modeFolder, ".GIT", sub}}},
		{"git~1", "GIT~1", "reserved for git", []row{{modeFile, "GIT~1", blob}}},
		{"hidden git", ".g\\u200cit", "invisible", []row{{modeFolder, ".g\u200cit", sub}}},
		{"dot git dot", ".git.", "ends in a dot", []row{{modeFile, ".git.", blob}}},
		{"stream", ".git::$INDEX_ALLOCATION", "colon", []row{{modeFile, ".git::$INDEX_ALLOCATION", blob}}},
		{"drive", "C:", "colon", []row{{modeFolder, "C:", sub}}},
		{"parent", "..", "relative", []row{{modeFolder, "..", sub}}},
		{"self", ".", "relative", []row{{modeFolder, ".", sub}}},
		{"absolute", "/etc/passwd", "slash", []row{{modeFile, "/etc/passwd", blob}}},
		{"traversal", "../x", "slash", []row{{modeFile, "../x", blob}}},
		{"backslash", `a\\b`, "slash", []row{{modeFile, `a\b`, blob}}},
		{"control", `a\nb`, "control", []row{{modeFile, "a\nb", blob}}},
		{"bidi", `a\u202eb`, "invisible", []row{{modeFile, "a\u202eb", blob}}},
		{"not utf-8", `a\xff`, "not UTF-8", []row{{modeFile, "a\xff", blob}}},
		{"empty name", "", "empty name", []row{{modeFile, "", blob}}},
		{"device", "aux.py", "Windows device", []row{{modeFile, "aux.py", blob}}},
		{"port", "COM1", "Windows device", []row{{modeFile, "COM1", blob}}},
		{"trailing space", "a ", "ends in", []row{{modeFile, "a ", blob}}},
		{"case clash", "readme", `clashes with "README"`, []row{{modeFile, "README", blob}, {modeFile, "readme", blob}}},
		{"twice", "a", `clashes with "a"`, []row{{modeFile, "a", blob}, {modeFolder, "a", sub}}},
		{"form clash", "e\u0301", "clashes", []row{{modeFile, "\u00e9", blob}, {modeFile, "e\u0301", blob}}},
		{"sharp s", "STRASSE", "clashes", []row{{modeFile, "straße", blob}, {modeFile, "STRASSE", blob}}},
		{"odd mode", "a", "want a regular file", []row{{"100600", "a", blob}}},
		{"padded mode", "a", "want a regular file", []row{{"040000", "a", sub}}},
		{"folder is a file", "a/", "folder is a blob", []row{{modeFolder, "a", blob}}},
		{"file is a folder", "a", "file is a tree", []row{{modeFile, "a", sub}}},
	}
	for i, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			tag := fmt.Sprintf("v1.0.%d", i)
			l.version(tag, l.tree(c.rows...))
			_, err := fetchTag(t, l.dir, tag)
			if !errors.Is(err, ErrHostileTree) || !strings.Contains(err.Error(), c.why) {
				t.Fatalf("got %v, want %v with %q", err, ErrHostileTree, c.why)
			}
			if quoted := `"` + c.path + `"`; !strings.Contains(err.Error(), quoted) && c.name != "form clash" {
				t.Errorf("%v does not name %s", err, quoted)
			}
		})
	}
	// One level down the whole path is named.
	l.version("v2.0.0", l.tree(row{modeFolder, "src", l.tree(row{modeLink, "lib", blob})}))
	if _, err := fetchTag(t, l.dir, "v2.0.0"); err == nil || !strings.Contains(err.Error(), `"src/lib": symbolic link`) {
		t.Errorf("nested link: %v", err)
	}
	// What only looks like trouble passes.
	l.version("v2.0.1", l.tree(row{modeFile, ".gitignore", blob}, row{modeFolder, ".github", sub},
		row{modeGroupFile, "old", blob}, row{modeFile, "console.log", blob}, row{modeFile, "com10", blob}))
	if tree := mustFetch(t, l.dir, "v2.0.1"); tree.Files != 5 {
		t.Errorf("%d files", tree.Files)
	}
}

// O-08: bounds of the tree, each just held and just passed.
func TestTreeLimits(t *testing.T) {
	l := newLab(t)
	blob := l.object("blob", bytes.Repeat([]byte("x"), 100))
	deep := l.tree(row{modeFile, "x", blob})
	for range 4 {
		deep = l.tree(row{modeFolder, "d", deep})
	}
	l.version("v1.0.0", l.tree(row{modeFolder, "a", deep}, row{modeFile, "b", blob}))
	// A tree of 12 levels with 8 ways each: 8^12 folders of a dozen objects.
	bomb := l.tree()
	for range 12 {
		var rows []row
		for i := range 8 {
			rows = append(rows, row{modeFolder, fmt.Sprint(i), bomb})
		}
		bomb = l.tree(rows...)
	}
	l.version("v1.0.1", bomb)
	cases := []struct {
		name, tag, what string
		lim             Limits
	}{
		{"all held", "v1.0.0", "", Limits{Depth: 6, Files: 7, FileBytes: 100, TreeBytes: 200, PathBytes: 11}},
		{"depth", "v1.0.0", "names in path", Limits{Depth: 5}},
		{"files", "v1.0.0", "files and folders", Limits{Files: 6}},
		{"one file", "v1.0.0", `bytes of file "a/d/d/d/d/x"`, Limits{FileBytes: 99}},
		{"all files", "v1.0.0", "bytes of all files", Limits{TreeBytes: 199}},
		{"path", "v1.0.0", "bytes of path", Limits{PathBytes: 10}},
		{"objects", "v1.0.0", "objects read", Limits{Objects: 5}},
		{"object bytes", "v1.0.0", "bytes of all objects", Limits{ObjectBytes: 400}},
		{"tag", "v1.0.0", "bytes of the tag object", Limits{TagBytes: 20}},
		{"bomb", "v1.0.1", "files and folders", Limits{}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			_, err := Fetch(t.Context(), Ref{URL: l.dir, Tag: c.tag}, Options{Limits: c.lim})
			var lim *LimitError
			if c.what == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if !errors.As(err, &lim) || !errors.Is(err, ErrLimit) || !strings.Contains(lim.What, c.what) {
				t.Fatalf("got %v, want a limit error of %q", err, c.what)
			}
			if lim.Got <= lim.Limit {
				t.Errorf("got %d within %d", lim.Got, lim.Limit)
			}
		})
	}
}

// A local repository leads nowhere else: not by a link, not by alternates, not by a changed object.
func TestLocalStaysInside(t *testing.T) {
	l := newLab(t)
	l.tag("v1.0.0", "ada")
	borrowed := filepath.Join(t.TempDir(), "borrowed")
	l.git("clone", "-q", "--shared", l.dir, borrowed)
	if _, err := fetchTag(t, borrowed, "v1.0.0"); err == nil {
		t.Error("objects were borrowed from another repository")
	}
	linked := t.TempDir()
	for _, name := range []string{"HEAD", "refs", "objects"} {
		if err := os.Symlink(filepath.Join(l.dir, ".git", name), filepath.Join(linked, name)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := fetchTag(t, linked, "v1.0.0"); err == nil {
		t.Error("links led out of the repository")
	}
	// The blob of the manifest gets another blob's content.
	id := l.git("rev-parse", "HEAD:stavily-plugin.yaml")
	other := l.object("blob", []byte("evil"))
	at := func(id string) string { return filepath.Join(l.dir, ".git/objects", id[:2], id[2:]) }
	data, err := os.ReadFile(at(other))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(at(id), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(at(id), data, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := fetchTag(t, l.dir, "v1.0.0"); err == nil || !strings.Contains(err.Error(),
		"content is that of") {
		t.Errorf("changed object: %v", err)
	}
}

// A small object that stands on a huge one, and a loose object that lies about its size, are stopped.
func TestLocalBombs(t *testing.T) {
	l := newLab(t)
	noise := strings.Repeat("0123456789abcdef", 1<<16)
	l.write("a.txt", noise+"the end\n")
	l.git("add", ".")
	l.git("commit", "-q", "-m", "big")
	l.write("a.txt", noise[:1<<16])
	l.git("commit", "-q", "-am", "small")
	l.tag("v1.0.0", "ada")
	l.git("repack", "-q", "-a", "-d", "-f")
	if !strings.Contains(l.git("verify-pack", "-v", l.packIndex()), l.git("rev-parse", "HEAD^:a.txt")) {
		t.Fatal("the big file is not packed")
	}
	lim := Limits{ObjectBytes: 1 << 19}
	_, err := Fetch(t.Context(), Ref{l.dir, "v1.0.0"}, Options{Limits: lim})
	if !errors.Is(err, ErrLimit) || !strings.Contains(err.Error(), "base of an object") {
		t.Errorf("a huge base: %v", err)
	}
	if _, err := fetchTag(t, l.dir, "v1.0.0"); err != nil {
		t.Errorf("within the bounds: %v", err)
	}

	var z bytes.Buffer
	w := zlib.NewWriter(&z)
	fmt.Fprintf(w, "blob 3\x00%s", noise)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	id := strings.Repeat("ab", 20)
	at := filepath.Join(l.dir, ".git/objects", id[:2], id[2:])
	if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(at, z.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	l.version("v2.0.0", l.tree(row{modeFile, "x", id}))
	if _, err := fetchTag(t, l.dir, "v2.0.0"); err == nil {
		t.Error("a loose object that lies was taken")
	}
}

func (l *lab) packIndex() string {
	l.t.Helper()
	found, err := filepath.Glob(filepath.Join(l.dir, ".git/objects/pack/*.idx"))
	if err != nil || len(found) != 1 {
		l.t.Fatalf("packs %v, %v", found, err)
	}
	return found[0]
}

func TestNotThere(t *testing.T) {
	for _, url := range []string{"/no/such/repository", t.TempDir(), "file:///no/such"} {
		if _, err := fetchTag(t, url, "v1.0.0"); !errors.Is(err, ErrNotFound) {
			t.Errorf("%s: %v, want %v", url, err, ErrNotFound)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Fetch(ctx, Ref{URL: ours(t), Tag: "v1.2.0"}, Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled fetch: %v", err)
	}
}

func TestURLs(t *testing.T) {
	good := map[string]place{
		"https://git.example.com/a/b.git/": {kind: overHTTP, base: "https://git.example.com/a/b.git"},
		"http://127.0.0.1:80/a":            {kind: overHTTP, base: "http://127.0.0.1:80/a"},
		"ssh://git.example.com/a/b": {
			kind: overSSH, user: "git", host: "git.example.com:22",
			path: "/a/b",
		},
		"ssh://me@[::1]:2222/a": {kind: overSSH, user: "me", host: "[::1]:2222", path: "/a"},
		"git@git.example.com:team/plugin.git": {
			kind: overSSH, user: "git", host: "git.example.com:22",
			path: "team/plugin.git",
		},
		"git.example.com:/abs/plugin": {
			kind: overSSH, user: "git", host: "git.example.com:22",
			path: "/abs/plugin",
		},
		"file:///srv/git/a":               {kind: onDisk, path: "/srv/git/a"},
		"file://localhost/srv/git/a/../b": {kind: onDisk, path: "/srv/git/b"},
		"/srv/with:colon":                 {kind: onDisk, path: "/srv/with:colon"},
	}
	for url, want := range good {
		if got, err := parseURL(url); err != nil || got != want {
			t.Errorf("%s: %+v, %v: want %+v", url, got, err, want)
		}
	}
	bad := map[string]string{
		"":                                       "empty",
		"http://git.example.com/a":               "want https",
		"git://git.example.com/a":                `scheme "git"`,
		"ext::sh -c id":                          "remote helpers",
		"https://me:hunter2@example.com/a":       "holds a credential",
		"ssh://me:hunter2@example.com/a":         "holds a password",
		"https:///a":                             "no host",
		"https://example.com/a?x=hunter2":        "query",
		"file://other.example.com/a":             "want this machine's",
		"ssh://-oProxyCommand=x/a":               "starts with a dash",
		"git@example.com:-x":                     "starts with a dash",
		"git@example.com:/":                      "no path",
		"https://example.com/\x00":               "control character",
		"https://" + strings.Repeat("a", maxURL): "bytes of the url",
		"https://me:hunter2@exa mple.com/%zz":    "bad syntax",
	}
	for url, want := range bad {
		_, err := parseURL(url)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", url, err, want)
		}
		if _, err := fetchTag(t, url, "v1.0.0"); err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("the error prints a password: %v", err)
		}
	}
}

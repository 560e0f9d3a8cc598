package build

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stavily/stavily/protocol"
)

const someHash = "--hash=sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

// M-08: a lock names packages with versions and digests, and nothing else that pip reads.
func TestPipLock(t *testing.T) {
	for name, c := range map[string]struct {
		text string
		want string // of the pins, or of the error
	}{
		"nothing": {"# only words\n\n", "[]"},
		"one":     {"psutil==5.9.8 " + someHash + "\n", "[psutil 5.9.8 1 1]"},
		"as pip does": {
			"# by hand\nPsUtil==5.9.8 \\\n    " + someHash + " \\\n    " + someHash + "\n    # via x\nother_one == 1 " + someHash,
			"[psutil 5.9.8 2 2 other-one 1 6 1]",
		},
		"no hash":      {"a==1 " + someHash + "\npsutil==5.9.8\n", "2: psutil: 0 hashes, want 1 to 400: a package without one is not locked"},
		"a range":      {"psutil>=5 " + someHash, `1: "psutil>=5 --hash`},
		"md5":          {"psutil==5 --hash=md5:d41d8cd98f00b204e9800998ecf8427e", "want --hash=sha256: and 64"},
		"short":        {"psutil==5 --hash=sha256:0123", "want --hash=sha256: and 64"},
		"an index":     {"--index-url https://example.com/simple\n", "without options or markers"},
		"another file": {"-r more.txt\n", "without options"},
		"an address":   {"psutil @ https://example.com/psutil.whl " + someHash, "want NAME==VERSION"},
		"a folder":     {"./psutil\n", "want NAME==VERSION"},
		"a marker":     {`psutil==5 ; python_version < "3" ` + someHash, "without options or markers"},
		"an option":    {"psutil==5 " + someHash + " --install-option=x\n", "want NAME==VERSION"},
		"twice":        {"a_b==1 " + someHash + "\nA.B==2 " + someHash, "2: a-b: line 1 has it already"},
		"many":         {strings.Repeat("x", 0) + manyPins(pipPackagesMax+1), "more than 100 packages"},
		"long":         {strings.Repeat("#", pipLockMax+1), "limit 1048576"},
	} {
		t.Run(name, func(t *testing.T) {
			lock, err := readPipLock(fstest.MapFS{"requirements.lock": {Data: []byte(c.text)}})
			said := fmt.Sprint(err)
			if err == nil {
				words := []string{}
				for _, p := range lock.pins {
					words = append(words, fmt.Sprint(p.name, " ", p.version, " ", p.line, " ", len(p.hashes)))
				}
				said = fmt.Sprint(words)
			} else if !strings.HasPrefix(said, "requirements.lock:") {
				t.Errorf("it does not name the file: %s", said)
			}
			if !strings.Contains(said, c.want) {
				t.Errorf("got %s, want %s", said, c.want)
			}
		})
	}
}

func manyPins(n int) string {
	out := ""
	for i := range n {
		out += fmt.Sprintf("p%d==1 %s\n", i, someHash)
	}
	return out
}

// M-08, M-12: what the manifest says of a package twice must both hold for what is locked,
// and both are named when one does not.
func TestPipLockAgainstManifest(t *testing.T) {
	for name, c := range map[string]struct {
		dependencies []string
		libraries    map[string]string
		lock         string
		vendor       string
		want         string // empty: it satisfies
	}{
		"the seed": {
			[]string{"psutil>=5.8.0", "subprocess32>=3.5.4"},
			map[string]string{"psutil": ">=5.8.0,<6.0.0", "subprocess32": ">=3.5.4,<4.0.0"},
			"psutil==5.9.8", "", "",
		},
		"both broken": {
			[]string{"psutil>=5.9.9,<7"},
			map[string]string{"psutil": "<5.9.0"},
			"psutil==5.9.8", "",
			"requirements.lock:1: psutil is locked at 5.9.8, but runtime.dependencies[0] wants >=5.9.9,<7 and " +
				"compatibility.library_dependencies.psutil wants <5.9.0",
		},
		"the second broken": {
			[]string{"psutil>=5.8.0"},
			map[string]string{"psutil": ">=5.8.0,<6.0.0"},
			"psutil==6.1.0", "",
			"locked at 6.1.0, but compatibility.library_dependencies.psutil wants >=5.8.0,<6.0.0",
		},
		"not locked": {
			[]string{"psutil>=5.8.0"},
			nil, "", "",
			"stavily-plugin.yaml: psutil: runtime.dependencies[0] wants psutil>=5.8.0, which no lock has",
		},
		"only a library":       {nil, map[string]string{"psutil": ">=5"}, "", "", "compatibility.library_dependencies.psutil wants"},
		"in vendor":            {[]string{"typing-extensions"}, nil, "", "vendor/typing_extensions.py", ""},
		"in vendor as a wheel": {[]string{"Attrs>=20"}, nil, "", "vendor/attrs-21.0.dist-info/METADATA", ""},
		"the SDK":              {[]string{"stavily>=0.1.0"}, nil, "", "", ""},
		"another spelling":     {[]string{"Foo.Bar>=1.0"}, nil, "foo_bar==1.0.1", "", ""},
		"a post release":       {[]string{"a>=1.0"}, nil, "a==1.0.post2", "", ""},
		"four numbers":         {[]string{"a>=1.2.3"}, nil, "a==1.2.3.4", "", ""},
		"before a release":     {[]string{"a>=1.0.0"}, nil, "a==1.0rc1", "", "a is locked at 1.0rc1"},
		"no version":           {[]string{"a>=1.0"}, nil, "a==1.x", "", `version "1.x" is not one that can be compared`},
	} {
		t.Run(name, func(t *testing.T) {
			tree := fstest.MapFS{}
			if c.lock != "" {
				tree["requirements.lock"] = &fstest.MapFile{Data: []byte(c.lock + " " + someHash)}
			}
			if c.vendor != "" {
				tree[c.vendor] = &fstest.MapFile{}
			}
			lock, err := readPipLock(tree)
			if err != nil {
				t.Fatal(err)
			}
			m := &protocol.Manifest{Runtime: protocol.Runtime{Dependencies: c.dependencies}}
			m.Compatibility.Libraries = c.libraries
			_, err = lock.satisfies(tree, m)
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

// makeWheel packs files as a package; a name with "->" is a symbolic link.
func makeWheel(t testing.TB, files map[string]string) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		h := &zip.FileHeader{Name: name, Method: zip.Deflate}
		if strings.HasPrefix(files[name], "->") {
			h.SetMode(fs.ModeSymlink | 0o777)
		}
		w, err := z.CreateHeader(h)
		if err == nil {
			_, err = io.WriteString(w, files[name])
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func sha256Hex(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// A wheel is unpacked and nothing of it is run; what leads out of it or is not in the lock
// is refused by name.
func TestWheels(t *testing.T) {
	plain := map[string]string{
		"a/__init__.py": "x = 1\n", "a/empty.txt": "", "a-1.data/purelib/b.py": "y = 2\n", "a-1.data/scripts/run": "#!",
		"a-1.dist-info/RECORD": "", "a-1.dist-info/METADATA": "Name: a\n",
	}
	for name, c := range map[string]struct {
		file   string
		files  map[string]string
		broken bool // another digest than the lock's
		want   string
	}{
		"plain":          {"a-1-py3-none-any.whl", plain, false, "a-1.dist-info/METADATA a/__init__.py a/empty.txt b.py pure"},
		"for a machine":  {"a-1-cp36-abi3-manylinux2014_x86_64.whl", plain, false, "a-1.dist-info/METADATA a/__init__.py a/empty.txt b.py"},
		"Python 2":       {"a-1-py2-none-any.whl", map[string]string{"a.py": ""}, false, "a.py"},
		"a changed byte": {"a-1-py3-none-any.whl", plain, true, "which the lock does not have"},
		"an sdist":       {"a-1.tar.gz", plain, false, "is no wheel: packages that would have to be built are not taken"},
		"another":        {"b-1-py3-none-any.whl", plain, false, "nobody asked for it"},
		"out":            {"a-1-py3-none-any.whl", map[string]string{"../up.py": ""}, false, `"../up.py": want files and folders within it`},
		"absolute":       {"a-1-py3-none-any.whl", map[string]string{"/etc/x": ""}, false, `"/etc/x"`},
		"a link":         {"a-1-py3-none-any.whl", map[string]string{"a": "->/etc"}, false, `"a": want files`},
		"a backslash":    {"a-1-py3-none-any.whl", map[string]string{`a\..\b`: ""}, false, "want files"},
		"twice":          {"a-1-py3-none-any.whl", map[string]string{"a.py": "", "a-1.data/purelib/a.py": ""}, false, "two packages have it"},
	} {
		t.Run(name, func(t *testing.T) {
			body := makeWheel(t, c.files)
			pin := pipPin{name: "a", version: "1", line: 3, hashes: []string{sha256Hex(body)}}
			if c.broken {
				body[len(body)-1]++
			}
			lock := pipLock{"requirements.lock", []pipPin{pin}}
			wheels, err := lock.takeWheels(fstest.MapFS{c.file: {Data: body}})
			var got map[string][]byte
			if err == nil {
				got, err = wheelFiles(wheels)
			}
			said := fmt.Sprint(err)
			if err == nil {
				if said = strings.Join(slices.Sorted(maps.Keys(got)), " "); wheels[0].pure {
					said += " pure"
				}
			}
			if err == nil && said != c.want || !strings.Contains(said, c.want) {
				t.Errorf("got %s, want %s", said, c.want)
			}
		})
	}
	if _, err := (pipLock{"l", []pipPin{{name: "a", line: 1}}}).takeWheels(fstest.MapFS{}); err == nil ||
		!strings.Contains(err.Error(), "l:1: a==: 0 wheels came, want one") {
		t.Errorf("a wheel that is missing: %v", err)
	}
}

// packageIndex is a registry of packages on this machine, and sets pip to it.
func packageIndex(t *testing.T, wheels map[string][]byte) (asked func() int) {
	t.Helper()
	n := 0
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n++
		if name, ok := strings.CutPrefix(r.URL.Path, "/files/"); ok && wheels[name] != nil {
			_, _ = w.Write(wheels[name])
			return
		}
		w.Header().Set("Content-Type", "text/html")
		for name, b := range wheels {
			if of, _, _ := strings.Cut(name, "-"); r.URL.Path == "/simple/"+of+"/" {
				fmt.Fprintf(w, `<a href="/files/%s#sha256=%s">%s</a>`, name, sha256Hex(b), name)
			}
		}
	}))
	t.Cleanup(s.Close)
	t.Setenv("PIP_INDEX_URL", s.URL+"/simple/")
	t.Setenv("PIP_FIND_LINKS", "")
	for _, name := range []string{"http_proxy", "HTTP_PROXY", "ALL_PROXY", "PIP_PROXY"} {
		t.Setenv(name, "")
	}
	return func() int { return n }
}

// standIn is a package that calls itself psutil, for one kind of machine.
func standIn(t testing.TB, tags string) (file string, body []byte) {
	t.Helper()
	return "psutil-5.9.8-" + tags + ".whl", makeWheel(t, map[string]string{
		"psutil/__init__.py":              "import os\n\n__version__ = \"5.9.8\"\n\n\ndef cpu_count():\n    return os.cpu_count()\n",
		"psutil-5.9.8.dist-info/METADATA": "Metadata-Version: 2.1\nName: psutil\nVersion: 5.9.8\n",
		"psutil-5.9.8.dist-info/WHEEL":    "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: false\nTag: " + tags + "\n",
		"psutil-5.9.8.dist-info/RECORD":   "",
	})
}

// seedSource is the seed's own sample, its lock naming these wheels instead of the real ones.
func seedSource(t testing.TB, wheels map[string][]byte) (req Request) {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("testdata/seed")); err != nil {
		t.Fatal(err)
	}
	lock := "psutil==5.9.8"
	for _, name := range slices.Sorted(maps.Keys(wheels)) {
		lock += " --hash=sha256:" + sha256Hex(wheels[name])
	}
	if err := os.WriteFile(dir+"/requirements.lock", []byte(lock), 0o600); err != nil {
		t.Fatal(err)
	}
	m, _, err := ReadManifest(os.DirFS(dir))
	if err != nil {
		t.Fatal(err)
	}
	return Request{Tree: files{os.DirFS(dir), dir}, TreeDigest: protocol.DigestOf([]byte(lock)), Manifest: m}
}

func needPip(t *testing.T) {
	t.Helper()
	needEngine(t, "cpython")
	if _, err := pipTool(t.Context()); err != nil {
		t.Skipf("%v: %s", err, pipHint)
	}
	if testing.Short() {
		t.Skip("compiles CPython and runs pip")
	}
}

// U-03, M-08, M-12, M-31: the seed's own sample becomes an archive for each platform that
// its lock has a wheel for, the same each time; its tests run natively and are measured.
func TestPythonNative(t *testing.T) {
	needPip(t)
	if here().Name != "linux-amd64" {
		t.Skip("the tests of the sample run on the platform of its wheel")
	}
	file, body := standIn(t, "cp36-abi3-manylinux_2_12_x86_64.manylinux2010_x86_64")
	wheels := map[string][]byte{file: body}
	asked := packageIndex(t, wheels)
	b, req := newBuilder(t), seedSource(t, wheels)
	r, err := b.Build(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	if r.Module != nil || len(r.Outputs) != 1 || r.Outputs[0].Platform != "linux-amd64" {
		t.Fatalf("built %v", r.Outputs)
	}
	for _, want := range []string{
		"allowed_system_calls has execve", "subprocess32 is left out", "none for linux-arm64: requirements.lock: psutil==5.9.8: there is no wheel",
	} {
		if !strings.Contains(strings.Join(r.Builder.Notes, "\n"), want) {
			t.Errorf("notes %q, want %q", r.Builder.Notes, want)
		}
	}
	names := []string{}
	for in := tar.NewReader(bytes.NewReader(r.Outputs[0].Bytes)); ; {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, h.Name)
	}
	for _, want := range []string{"__main__.py", "main.py", "stavily/__init__.py", "vendor/psutil/__init__.py"} {
		if !slices.Contains(names, want) {
			t.Errorf("the archive has %q, not %s", names, want)
		}
	}
	said, err := b.Test(t.Context(), req)
	if err != nil || !strings.Contains(said, "by CPython of this hub, coverage 100.0 % of 80.0 %") {
		t.Errorf("tests: %q, %v", said, err)
	}
	before := asked()
	dir := b.cfg.CacheDir
	if err := os.RemoveAll(dir + "/modules"); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(dir+"/modules", 0o700); err != nil {
		t.Fatal(err)
	}
	req.Manifest.OS.Architectures = []string{"amd64"}
	again, err := b.Build(t.Context(), req)
	if err != nil || again.Cached || !bytes.Equal(again.Outputs[0].Bytes, r.Outputs[0].Bytes) {
		t.Errorf("built again: %v, other bytes", err)
	}
	if asked() != before {
		t.Error("wheels that are kept were fetched again")
	}
	for kept, text := range map[string]string{"a changed byte": "which the lock does not have"} {
		wheels[file] = append(bytes.Clone(body), 0)
		_, err := newBuilder(t).Build(t.Context(), req)
		if err == nil || !strings.Contains(err.Error(), "HASH") && !strings.Contains(err.Error(), text) {
			t.Errorf("%s: %v", kept, err)
		}
	}
}

// A lock of pure packages serves WebAssembly: they are compiled in with the sources.
func TestPythonPure(t *testing.T) {
	needPip(t)
	file, body := standIn(t, "py3-none-any")
	wheels := map[string][]byte{file: body}
	packageIndex(t, wheels)
	req := seedSource(t, wheels)
	req.Manifest.SystemCalls, req.Manifest.OS.Architectures = nil, []string{"arm/v7"}
	r, err := newBuilder(t).Build(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Outputs) != 1 || r.Module == nil || unzip(t, r.Module, "vendor/psutil/__init__.pyc") == "" {
		t.Errorf("built %d outputs, notes %q", len(r.Outputs), r.Builder.Notes)
	}
}

// FuzzPipLock: whatever a source calls its lock, what is taken of it is a name, a version
// and digests, so that pip reads no option of the source's.
func FuzzPipLock(f *testing.F) {
	f.Add("psutil==5.9.8 \\\n    " + someHash + "\n# x\n")
	f.Add("-e . " + someHash)
	f.Fuzz(func(t *testing.T, text string) {
		pins, err := parsePipLock(text)
		if err != nil {
			return
		}
		for _, p := range pins {
			if strings.HasPrefix(p.name, "-") || strings.ContainsAny(p.name+p.version, " \t\n/;@[") || len(p.hashes) == 0 {
				t.Errorf("%q gives %+v", text, p)
			}
			_, _ = pipVersion(p.version)
		}
	})
}

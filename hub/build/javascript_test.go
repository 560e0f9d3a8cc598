package build

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha512"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stavily/stavily/protocol"
)

// sources is a tree in memory.
type sources struct{ fstest.MapFS }

func (s sources) WriteTo(dir string) error { return os.CopyFS(dir, s.MapFS) }

func tree(files map[string]string) sources {
	s := sources{fstest.MapFS{}}
	for name, text := range files {
		s.MapFS[name] = &fstest.MapFile{Data: []byte(text), Mode: 0o644}
	}
	return s
}

func needEngine(t testing.TB, name string) {
	t.Helper()
	if _, err := FindEngine(name); err != nil {
		t.Skipf("%v: make engines", err)
	}
}

func scriptRequest(language string, files map[string]string) Request {
	m := &protocol.Manifest{Runtime: protocol.Runtime{Language: language}}
	m.Plugin.Name, m.Plugin.Version, m.Plugin.Type = "greet", "1.0.0", protocol.Action
	m.Testing.Suite = "."
	src := tree(files)
	return Request{Tree: src, TreeDigest: protocol.DigestOf(fmt.Append(nil, src.MapFS)), Manifest: m}
}

func scriptBuilder(t testing.TB, client *http.Client) *Builder {
	t.Helper()
	b, err := New(Config{CacheDir: t.TempDir(), Log: slog.New(slog.DiscardHandler), Client: client})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

const greet = `import { action } from "@stavily/sdk";
import { text } from "./text.js";
export default action("greet", { run: (ctx, { event }) => ({ text: text(event.data) }) });
`

const greetTest = `import { equal, start, test } from "@stavily/sdk/testing";
import plugin from "./main.js";
test("greets", () => equal(start(plugin).run("Ada"), { text: "hello, Ada" }));
`

// The same source gives the same bytes, and its tests run in the engine.
func TestJavaScript(t *testing.T) {
	if testing.Short() {
		t.Skip("bundles and compiles scripts")
	}
	needEngine(t, "quickjs")
	files := map[string]string{
		"main.ts": greet, "text.ts": "export const text = (who: string): string => `hello, ${who}`;\n",
		"main.test.ts": greetTest,
	}
	req := scriptRequest("typescript", files)
	b := scriptBuilder(t, nil)
	first, err := b.Build(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	again, err := scriptBuilder(t, nil).Build(t.Context(), req)
	if err != nil || !bytes.Equal(first.Module, again.Module) || first.Builder.Inputs != again.Builder.Inputs {
		t.Fatalf("built again: %v, same bytes %v", err, bytes.Equal(first.Module, again.Module))
	}
	if kept, err := b.Build(t.Context(), req); err != nil || !kept.Cached || kept.Outputs[0].Engine != "quickjs" {
		t.Errorf("from the cache: %v, %+v", err, kept)
	}
	script := unzip(t, first.Module, "main.js")
	if strings.Contains(script, ": string") || !strings.Contains(script, "hello, ") {
		t.Errorf("bundle has types or lacks its import:\n%.2000s", script)
	}
	said, err := b.Test(t.Context(), req)
	if err != nil || !strings.Contains(said, "passed, 1 files, coverage 100.0 % of ") {
		t.Errorf("test said %q, %v", said, err)
	}
	files["main.test.ts"] = strings.Replace(greetTest, "hello, Ada", "bye", 1)
	_, err = b.Test(t.Context(), scriptRequest("typescript", files))
	if err == nil || !strings.Contains(err.Error(), `value: got {"text":"hello, Ada"}, want {"text":"bye"}`) {
		t.Errorf("a test that fails: %v", err)
	}
}

func unzip(t *testing.T, archive []byte, name string) string {
	t.Helper()
	r, err := zip.NewReader(bytes.NewReader(archive), int64(len(archive)))
	if err != nil {
		t.Fatal(err)
	}
	b, err := fs.ReadFile(r, name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// What is wrong with a source is said with its place, at the build.
func TestJavaScriptRefused(t *testing.T) {
	needEngine(t, "quickjs")
	const plugin = "import { action } from \"@stavily/sdk\";\nexport default action(\"greet\", { run() {} });\n"
	for name, c := range map[string]struct {
		files map[string]string
		want  string
	}{
		"no main":      {map[string]string{"other.js": plugin}, "no main.ts, nor main.js"},
		"package main": {map[string]string{"package.json": `{"main":"lib/x.js"}`, "main.js": plugin}, "no lib/x.js"},
		"syntax error": {map[string]string{"main.js": "export default {\n  run( { }\n"}, "main.js:3:1: Expected"},
		"syntax error in an import": {
			map[string]string{"main.js": "export { default } from './lib/a.js';", "lib/a.js": "\n\nlet = = 1"},
			"lib/a.js:3:7: Unexpected",
		},
		"no default export": {map[string]string{"main.js": "export const x = 1;"}, `No matching export in "main.js" for import "default"`},
		"engine's own":      {map[string]string{"main.js": "export default /(?<a>.)(?<a>.)/;"}, "SyntaxError"},
		"node's own":        {map[string]string{"main.js": "import fs from 'node:fs'; export default fs;"}, `main.js:1:16: Could not resolve "node:fs"`},
		"outside":           {map[string]string{"main.js": "export { default } from '/etc/hostname';"}, "lies outside the source"},
		"climbing":          {map[string]string{"main.js": "export { default } from '../../../../../etc/hostname';"}, "lies outside the source"},
		"no such part":      {map[string]string{"main.js": "export { default } from '@stavily/sdk/src/raw.js';"}, `the SDK has no "@stavily/sdk/src/raw.js"`},
		"no lock":           {map[string]string{"main.js": plugin, "package.json": `{"dependencies":{"left":"1"}}`}, "depends on left without a lock"},
		"bad package.json":  {map[string]string{"main.js": plugin, "package.json": `{`}, "package.json: unexpected end"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := scriptBuilder(t, nil).Build(t.Context(), scriptRequest("javascript", c.files))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
			if code := protocol.CodeOf(err); code != protocol.CodeBadInput {
				t.Errorf("code %s", code)
			}
		})
	}
}

// tarball packs a package as npm does.
func tarball(t *testing.T, files map[string]string, links ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	w := tar.NewWriter(z)
	for name, text := range files {
		if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(text)), Typeflag: tar.TypeReg}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range links {
		if err := w.WriteHeader(&tar.Header{Name: name, Linkname: "/etc/passwd", Typeflag: tar.TypeSymlink}); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(w.Close(), z.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func integrity(b []byte) string {
	sum := sha512.Sum512(b)
	return "sha512-" + base64.StdEncoding.EncodeToString(sum[:])
}

// Packages come by their integrity, are unpacked and never run.
func TestPackages(t *testing.T) {
	needEngine(t, "quickjs")
	good := tarball(t, map[string]string{
		"package/package.json": `{"main":"./lib/pad.js","scripts":{"postinstall":"touch /tmp/ran"}}`,
		"package/lib/pad.js":   "export const pad = (s) => ` ${s}`;",
	})
	climbing := tarball(t, map[string]string{"package/../../x.js": "1"})
	linked := tarball(t, nil, "package/passwd")
	asked := 0
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked++
		bodies := map[string][]byte{"/pad.tgz": good, "/climbing.tgz": climbing, "/linked.tgz": linked}
		body, ok := bodies[r.URL.Path]
		if !ok {
			http.NotFound(w, r)
			return
		}
		_, _ = w.Write(body)
	}))
	defer server.Close()
	lock := func(pack string) map[string]string {
		return map[string]string{
			"main.js":           "import { pad } from 'pad';\nexport default { main: () => pad('x') };\n",
			"package.json":      `{"dependencies":{"pad":"^1.0.0","@stavily/sdk":"0.1.0"}}`,
			"package-lock.json": `{"lockfileVersion":3,"packages":{"":{},"node_modules/pad":` + pack + `}}`,
		}
	}
	pack := func(path string, of []byte) string {
		return fmt.Sprintf(`{"resolved":%q,"integrity":%q,"hasInstallScript":true}`, server.URL+path, integrity(of))
	}
	b := scriptBuilder(t, server.Client())
	for range 2 {
		got, err := b.Build(t.Context(), scriptRequest("javascript", lock(pack("/pad.tgz", good))))
		if err != nil || !strings.Contains(unzip(t, got.Module, "main.js"), "` ${s}`") {
			t.Fatalf("%v", err)
		}
		_ = os.RemoveAll(filepath.Join(b.cfg.CacheDir, "modules"))
		_ = os.Mkdir(filepath.Join(b.cfg.CacheDir, "modules"), 0o700)
	}
	if asked != 1 {
		t.Errorf("fetched %d times, want once", asked)
	}
	vendored := lock("{}")
	delete(vendored, "package-lock.json")
	vendored["vendor/pad/index.js"] = "export const pad = (s) => s;"
	if _, err := b.Build(t.Context(), scriptRequest("javascript", vendored)); err != nil {
		t.Errorf("vendored: %v", err)
	}
	for name, c := range map[string]struct {
		pack, want string
		code       protocol.Code
	}{
		"other bytes":  {pack("/pad.tgz", []byte("x")), "has integrity sha512-", protocol.CodeDigest},
		"no integrity": {`{"resolved":"` + server.URL + `/pad.tgz"}`, `integrity "": want sha512-`, protocol.CodeBadInput},
		"weak":         {`{"resolved":"x","integrity":"sha1-AAAA"}`, "want sha512-", protocol.CodeBadInput},
		"not there":    {pack("/none.tgz", []byte("none")), "404", protocol.CodeUnavailable},
		"plain http":   {strings.Replace(pack("/pad.tgz", []byte("y")), "https:", "http:", 1), "want an https address", protocol.CodeBadInput},
		"climbing":     {pack("/climbing.tgz", climbing), "not a regular file within the package", protocol.CodeBadInput},
		"link within":  {pack("/linked.tgz", linked), "not a regular file within the package", protocol.CodeBadInput},
		"link":         {`{"link":true}`, "no link", protocol.CodeBadInput},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := b.Build(t.Context(), scriptRequest("javascript", lock(c.pack)))
			if err == nil || !strings.Contains(err.Error(), c.want) || protocol.CodeOf(err) != c.code {
				t.Errorf("got %v (%s), want %q", err, protocol.CodeOf(err), c.want)
			}
		})
	}
}

// An endless test is ended with its time.
func TestJavaScriptEndless(t *testing.T) {
	needEngine(t, "quickjs")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	files := map[string]string{"main.js": greet, "text.js": "export const text = (x) => x;", "a.test.js": "logLine('here'); for (;;) {}"}
	w, err := scriptBuilder(t, nil).workspace(ctx, scriptRequest("javascript", files))
	if err != nil {
		t.Fatal(err)
	}
	defer w.close()
	bounded, stop := context.WithTimeout(ctx, 1_500_000_000)
	defer stop()
	if _, err := jsTest(bounded, w, "."); protocol.CodeOf(err) != protocol.CodeDeadline {
		t.Errorf("got %v, want %s", err, protocol.CodeDeadline)
	}
}

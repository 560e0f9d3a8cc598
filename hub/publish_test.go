package hub

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stavily/stavily/hub/api"
	"github.com/stavily/stavily/hub/registry"
	"github.com/stavily/stavily/hub/source"
	"github.com/stavily/stavily/hub/store"
	"github.com/stavily/stavily/protocol"
	"github.com/stavily/stavily/wasmhost/meter"
)

// verdicts returns the stages of a version as the books have them.
func (w *world) verdicts(name protocol.PluginName, version string) []registry.Stage {
	return look(w, func(tx *store.Tx) ([]registry.Stage, error) { return registry.Stages(tx, name, version) })
}

// failedAt wants a version that got just to a stage, and nothing of it published.
func (w *world) failedAt(name protocol.PluginName, version string, stage registry.StageName, files int) {
	w.Helper()
	want := registry.StageOK
	for _, s := range w.verdicts(name, version) {
		switch {
		case s.Name == stage:
			if s.Verdict != registry.StageFailed || s.Detail == "" {
				w.Errorf("stage %s: %s %q", s.Name, s.Verdict, s.Detail)
			}
			want = registry.StageNotRun
		case s.Verdict != want && s.Verdict != registry.StageSkipped:
			w.Errorf("stage %s: %s, want %s", s.Name, s.Verdict, want)
		}
	}
	if want != registry.StageNotRun {
		w.Errorf("stage %s never ran", stage)
	}
	r := look(w, func(tx *store.Tx) (registry.Release, error) { return registry.GetRelease(tx, name, version) })
	if r.State != registry.Failed || !r.Digest.IsZero() || len(r.Artifacts) > 0 {
		w.Errorf("a release is kept: %+v", r)
	}
	err := w.hub.Operate(func(tx *store.Tx) error {
		_, err := registry.Resolve(tx, string(name)+"@"+version)
		return err
	})
	if protocol.CodeOf(err) != protocol.CodeNotFound {
		w.Errorf("it can be used: %v", err)
	}
	if got := w.filesKept(); len(got) != files {
		w.Errorf("%d files are kept, want %d", len(got), files)
	}
}

// O-02, P-07: a signed tag becomes a sealed release, each stage with its verdict.
func TestPublish(t *testing.T) {
	w := newWorld(t)
	p := w.add(plugin{name: "work", version: "1.0.0"})
	if p.Name != "work" || p.Type != protocol.Action || p.Description != "A plugin for tests" {
		t.Errorf("registered %+v", p)
	}
	var told []registry.StageName
	r, err := w.publish.Publish(t.Context(), p, "1.0.0", false, func(s registry.Stage) { told = append(told, s.Name) })
	check(t, err)
	if !slices.Equal(told, registry.StageNames()) {
		t.Errorf("told %v", told)
	}
	for _, s := range w.verdicts("work", "1.0.0") {
		skipped := s.Name == registry.StageScan || s.Name == registry.StageTest
		if s.Verdict != registry.StageOK && !skipped || s.Detail == "" {
			t.Errorf("stage %s: %s %q", s.Name, s.Verdict, s.Detail)
		}
	}
	sealed, err := w.hub.release(r.Digest)
	check(t, err)
	if len(r.Artifacts) != 1 || !r.Artifacts[0].Metered || r.Artifacts[0].Platform != protocol.PlatformWASM ||
		r.Signer != author.Email || sealed.Manifest.String() != "work@1.0.0" || sealed.Schema == nil {
		t.Errorf("release %+v", r)
	}
	module, err := w.hub.files.Get(r.Artifacts[0].Digest)
	check(t, err)
	check(t, meter.Check(module))
	if len(w.filesKept()) != 2 {
		t.Errorf("files %v", w.filesKept())
	}
}

// A refusal of a source names the thing and leaves nothing half-done. Each case is a
// version that follows a good one.
func TestPublishRefuses(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles modules, which takes minutes under the race detector")
	}
	w := newWorld(t)
	w.published(plugin{name: "work", version: "1.0.0"})
	p := look(w, func(tx *store.Tx) (registry.Plugin, error) { return registry.GetPlugin(tx, "work") })
	_, stranger, err := ed25519.GenerateKey(rand.Reader)
	check(t, err)
	with := func(version, file, text string) plugin {
		return plugin{name: "work", version: version, files: map[string]string{file: text}}
	}
	manifest := func(version, old, new string) plugin {
		m := plugin{name: "work", version: version}.manifest()
		if !strings.Contains(m, old) {
			t.Fatalf("the manifest has no %q", old)
		}
		return with(version, "stavily-plugin.yaml", strings.Replace(m, old, new, 1))
	}
	for _, c := range []struct {
		name    string
		version string
		make    func(version string)
		stage   registry.StageName
		code    protocol.Code
		want    []string
	}{
		{
			"no such tag", "2.0.0", func(v string) { w.repository(plugin{name: "work", version: "9.9.9"}) },
			registry.StageFetch, protocol.CodeNotFound,
			[]string{`tag "v2.0.0": not found`},
		},
		{
			"no repository", "2.0.1", func(v string) { check(t, os.RemoveAll(w.folder("work"))) },
			registry.StageFetch, protocol.CodeNotFound,
			[]string{"no git repository at"},
		},
		{"unsigned", "2.0.2", func(v string) {
			dir := w.signedBy(plugin{name: "work", version: v}, nil)
			head, err := os.ReadFile(filepath.Join(dir, ".git", "refs", "heads", "main"))
			check(t, err)
			writeRef(t, dir, v, string(head))
		}, registry.StageFetch, protocol.CodeBadSeal, []string{"v2.0.2", "not signed", "lightweight tag"}},
		{"renamed tag", "2.0.3", func(v string) {
			dir := w.repository(plugin{name: "work", version: "2.0.9"})
			tag, err := os.ReadFile(filepath.Join(dir, ".git", "refs", "tags", "v2.0.9"))
			check(t, err)
			writeRef(t, dir, v, string(tag))
		}, registry.StageFetch, protocol.CodeBadSeal, []string{"v2.0.3", "v2.0.9", "tag carries another name"}},
		{
			"unknown signer", "2.0.4", func(v string) { w.signedBy(plugin{name: "work", version: v}, stranger) },
			registry.StageSignature, protocol.CodeBadSeal,
			[]string{"v2.0.4", "unknown signer", "SHA256:"},
		},
		{
			"manifest and tag", "2.0.5", func(v string) { w.repository(manifest(v, v, "2.0.6")) },
			registry.StageManifest, protocol.CodeBadInput,
			[]string{"plugin.version is 2.0.6, the tag says 2.0.5"},
		},
		{
			"name change", "2.0.7", func(v string) { w.repository(manifest(v, "name: work", "name: other")) },
			registry.StageManifest, protocol.CodeBadInput,
			[]string{"plugin.name is other, the repository is registered as work"},
		},
		{
			"unknown key", "2.0.8", func(v string) { w.repository(manifest(v, "sandbox_mode", "sandbox_mod")) },
			registry.StageManifest, protocol.CodeBadInput,
			[]string{`stavily-plugin.yaml:9:1: sandbox_mod: unknown key "sandbox_mod"`},
		},
		{
			"no manifest", "2.1.0", func(v string) { w.repository(with(v, "stavily-plugin.yaml", "")) },
			registry.StageManifest, protocol.CodeBadInput,
			[]string{"stavily-plugin.yaml: the source has none at its top"},
		},
		{"no schema", "2.1.1", func(v string) { w.repository(with(v, "schema.json", "")) }, // M-28
			registry.StageManifest, protocol.CodeBadInput, []string{`the source has no file "schema.json"`}},
		{"bad schema", "2.1.2", func(v string) { w.repository(with(v, "schema.json", `{"type":"thing"}`)) }, // M-28
			registry.StageManifest, protocol.CodeBadInput, []string{"schema schema.json:", "/type"}},
		{"bad example", "2.1.3", func(v string) { w.repository(with(v, "examples/c.yaml", "n: 1\nm: 2\n")) }, // M-29
			registry.StageManifest, protocol.CodeBadInput, []string{"examples/c.yaml:1:1: example does not fit the schema: additional"}},
		{"bad JSON example", "2.1.4", func(v string) { w.repository(with(v, "examples/b.json", "{\n  \"n\": \"x\"}")) }, // M-29
			registry.StageManifest, protocol.CodeBadInput, []string{"examples/b.json:2:8: n: example does not fit the schema: got string"}},
		{
			"no such Go here", "2.1.5",
			func(v string) { w.repository(manifest(v, "language: go", "language: go, min_version: \"99.0\"")) },
			registry.StageCompatibility, protocol.CodeIncompatible,
			[]string{"it wants go", "99.0"},
		},
		{
			"older version", "0.9.0", func(v string) { w.repository(plugin{name: "work", version: v}) },
			registry.StageCompatibility, protocol.CodeStale,
			[]string{"version 0.9.0 is below 1.0.0"},
		},
		{
			"does not compile", "2.1.6", func(v string) { w.repository(with(v, "main.go", "package main\n\nfunc main() { x }\n")) },
			registry.StageBuild, protocol.CodeBadInput,
			[]string{"main.go:3:15: undefined: x"},
		},
		{"too much memory", "2.1.7", func(v string) { // M-17
			w.repository(manifest(v, "max_memory_mb: 32", "max_memory_mb: 1"))
		}, registry.StageVerify, protocol.CodeUnverified, []string{"verify work@2.1.7", "MemoryPages"}},
		{"a test that is missing", "2.1.8", func(v string) { // M-30
			w.repository(manifest(v, "sandbox_mode", "testing: { test_suite: . }\nsandbox_mode"))
		}, registry.StageTest, protocol.CodeRefused, []string{`test_suite is "."`, "no test files"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w.TB = t
			c.make(c.version)
			_, err := w.release(p, c.version)
			refused(t, err, c.code, append(c.want, "publish work@"+c.version+": "+string(c.stage))...)
			w.failedAt("work", c.version, c.stage, 2)
		})
	}
	w.TB = t
	// After all that, the next good version goes its way.
	w.repository(plugin{name: "work", version: "2.2.0"})
	if r, err := w.release(p, "2.2.0"); err != nil || r.State != registry.Published {
		t.Errorf("got %+v, %v", r, err)
	}
}

func writeRef(t testing.TB, dir, version, id string) {
	t.Helper()
	refs := filepath.Join(dir, ".git", "refs", "tags")
	check(t, os.MkdirAll(refs, 0o755))
	check(t, os.WriteFile(filepath.Join(refs, "v"+version), []byte(strings.TrimSpace(id)+"\n"), 0o644))
}

// M-02, S-03: a published version never changes. A tag that moved raises the alarm, the
// release stays what it was.
func TestPublishedVersionNeverChanges(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles modules, which takes minutes under the race detector")
	}
	w := newWorld(t)
	r := w.published(plugin{name: "work", version: "1.0.0"})
	p := look(w, func(tx *store.Tx) (registry.Plugin, error) { return registry.GetPlugin(tx, "work") })
	_, err := w.release(p, "1.0.0")
	refused(t, err, protocol.CodeExists, "publish work@1.0.0: published on 2026-03-01 12:00:00 from commit "+r.Commit[:12])

	w.repository(plugin{name: "work", version: "1.0.0", files: map[string]string{"more.go": "package main\n"}})
	_, err = w.release(p, "1.0.0")
	refused(t, err, protocol.CodeBadSeal, "moved tag", "v1.0.0 was "+r.TagObject[:12], "somebody rewrote a published version")

	again := look(w, func(tx *store.Tx) (registry.Release, error) { return registry.GetRelease(tx, "work", "1.0.0") })
	if again.Digest != r.Digest || again.Commit != r.Commit || again.State != registry.Published {
		t.Errorf("the release changed: %+v", again)
	}
	if s := w.verdicts("work", "1.0.0"); s[len(s)-1].Verdict != registry.StageOK {
		t.Errorf("the verdicts changed: %+v", s)
	}
	if len(w.filesKept()) != 2 {
		t.Errorf("files %v", w.filesKept())
	}
}

// M-02: a tag that was seen and moved before it was ever published is refused too.
func TestPublishRefusesATagThatMovedSinceItWasSeen(t *testing.T) {
	w := newWorld(t)
	p := w.add(plugin{name: "work", version: "1.0.0"})
	w.repository(plugin{name: "work", version: "1.0.0", files: map[string]string{"more.go": "package main\n"}})
	_, err := w.release(p, "1.0.0")
	refused(t, err, protocol.CodeBadSeal, "tag v1.0.0 of", "moved: was", "is now", "somebody rewrote a version")
	w.failedAt("work", "1.0.0", registry.StageSignature, 0)
}

// O-05: an older version is published when it is meant, and the newest stays newest.
func TestPublishOlderWhenMeant(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles modules, which takes minutes under the race detector")
	}
	w := newWorld(t)
	w.published(plugin{name: "work", version: "1.1.0"})
	p := look(w, func(tx *store.Tx) (registry.Plugin, error) { return registry.GetPlugin(tx, "work") })
	w.repository(plugin{name: "work", version: "1.0.0"})
	if _, err := w.publish.Publish(t.Context(), p, "1.0.0", true, func(registry.Stage) {}); err != nil {
		t.Fatal(err)
	}
	newest := look(w, func(tx *store.Tx) (registry.Release, error) { return registry.Resolve(tx, "work") })
	if newest.Version != "1.1.0" {
		t.Errorf("the newest is %s", newest.Version)
	}
	for _, bad := range []string{"", "1", "1.0", "v1.0.0", "../1.0.0", "latest"} {
		_, err := w.release(p, bad)
		refused(t, err, protocol.CodeBadInput, "publish work: version", "want one such as 1.2.0")
	}
}

// When the books refuse at any moment, nothing is published, and publishing again does
// the whole of it.
func TestPublishSurvivesBooksThatRefuse(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles modules, which takes minutes under the race detector")
	}
	w := newWorld(t)
	p := w.add(plugin{name: "work", version: "1.0.0"})
	for n := 1; ; n++ {
		w.broken = n
		_, err := w.release(p, "1.0.0")
		if err == nil {
			if n < 10 {
				t.Errorf("%d uses of the books only", n-1)
			}
			break
		}
		refused(t, err, protocol.CodeStorage, "disk full")
		w.broken = 0
		r, err := look(w, func(tx *store.Tx) (found, error) {
			r, err := registry.GetRelease(tx, "work", "1.0.0")
			return found{r, err}, nil
		}).get()
		if err == nil && r.State == registry.Published {
			if !w.hub.files.Has(r.Digest) || !w.hub.files.Has(r.Artifacts[0].Digest) {
				t.Fatalf("after %d: a release without its files", n)
			}
			break // it was published before the last use of the books
		}
	}
}

type found struct {
	registry.Release
	err error
}

func (f found) get() (registry.Release, error) { return f.Release, f.err }

// O-01: what cannot be registered, and why.
func TestAddRefuses(t *testing.T) {
	w := newWorld(t)
	good := plugin{name: "work", version: "1.0.0"}
	_, err := w.publish.Add(t.Context(), api.AddPlugin{Repository: w.folder("nothing"), AllowedSigners: w.signers()})
	refused(t, err, protocol.CodeNotFound, "add ", "no git repository")
	_, err = w.publish.Add(t.Context(), api.AddPlugin{Repository: w.signedBy(good, nil), AllowedSigners: w.signers()})
	refused(t, err, protocol.CodeNotFound, "no tag that is a version, such as v1.0.0")
	_, err = w.publish.Add(t.Context(), api.AddPlugin{Repository: w.repository(good), AllowedSigners: "not a line of signers"})
	refused(t, err, protocol.CodeBadInput, "add ", "tag v1.0.0")
	_, err = w.publish.Add(t.Context(), api.AddPlugin{Repository: w.repository(good), AllowedSigners: ""})
	refused(t, err, protocol.CodeBadSeal, "unknown signer")
	_, err = w.publish.Add(t.Context(), api.AddPlugin{Repository: "https://user:secret@127.0.0.1:1/x", AllowedSigners: w.signers()})
	if err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("the password is told: %v", err)
	}
	w.add(good)
	_, err = w.publish.Add(t.Context(), api.AddPlugin{Repository: w.folder("work"), AllowedSigners: w.signers()})
	refused(t, err, protocol.CodeExists, `plugin "work" is registered from`)
	late := api.AddPlugin{Repository: w.repository(plugin{name: "late", version: "1.0.0"}), AllowedSigners: w.signers()}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := w.publish.Add(cancelled, late); err == nil {
		t.Error("registered after its caller went away")
	}
	all := look(w, registry.Plugins)
	if len(all) != 1 {
		t.Errorf("registered %+v", all)
	}
}

// coded gives each error of the room for Git the code that chooses the exit code.
func TestCoded(t *testing.T) {
	for err, want := range map[error]protocol.Code{
		source.ErrUnsigned: protocol.CodeBadSeal, source.ErrBadSignature: protocol.CodeBadSeal,
		source.ErrUnknownSigner: protocol.CodeBadSeal, source.ErrRenamedTag: protocol.CodeBadSeal,
		source.ErrMalformedTag: protocol.CodeBadSeal, source.ErrNestedTag: protocol.CodeBadSeal,
		source.ErrHostileTree: protocol.CodeRefused, source.ErrLimit: protocol.CodeLimit,
		source.ErrNotFound: protocol.CodeNotFound, source.ErrAuth: protocol.CodeRefused,
		context.DeadlineExceeded: protocol.CodeDeadline, context.Canceled: protocol.CodeUnavailable, errTest: protocol.CodeBadInput,
	} {
		if got := protocol.CodeOf(coded(err)); got != want {
			t.Errorf("%v: %s, want %s", err, got, want)
		}
	}
}

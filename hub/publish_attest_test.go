package hub

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stavily/stavily/hub/build"
	"github.com/stavily/stavily/hub/registry"
	"github.com/stavily/stavily/hub/source"
	"github.com/stavily/stavily/hub/store"
	"github.com/stavily/stavily/protocol"
)

// allowBuilder makes the lines those of the builders that may build a plugin, "all" for any.
func (w *world) allowBuilder(plugin, lines string) {
	w.Helper()
	dir := filepath.Join(w.cfg.Home, "builders")
	check(w, os.MkdirAll(dir, 0o700))
	check(w, os.WriteFile(filepath.Join(dir, plugin), []byte(lines), 0o600))
}

// elsewhere builds a signed version on another machine, as "plugin build --attest" does.
func (w *world) elsewhere(p plugin) *build.Attestation {
	w.Helper()
	tree, err := source.Fetch(w.Context(), source.Ref{URL: w.folder(p.name), Tag: "v" + p.version}, source.Options{})
	check(w, err)
	m, _, err := build.ReadManifest(tree)
	check(w, err)
	r, err := w.publish.Build.Build(w.Context(), build.Request{Tree: tree, TreeDigest: tree.Digest, Manifest: m})
	check(w, err)
	return &build.Attestation{
		Plugin: m.Plugin.Name, Version: m.Plugin.Version, Commit: tree.Commit, Tree: tree.Digest, Builder: r.Builder,
		Outputs: r.Outputs,
	}
}

// bundled packs what a builder with that key says; edit changes its words before it signs.
func bundled(t testing.TB, a build.Attestation, key ed25519.PrivateKey, edit func(string) string) []byte {
	t.Helper()
	text, err := a.Statement()
	check(t, err)
	b := build.Bundle{Statement: []byte(edit(string(text)))}
	b.Signature, err = source.Attest(b.Statement, key)
	check(t, err)
	packed, err := b.Pack(a.Outputs)
	check(t, err)
	return packed
}

// A release that was built elsewhere goes the whole way when an allowed builder signed for
// just this commit, tree and bytes; otherwise nothing of it is kept, and the error says why.
func TestPublishBuiltElsewhere(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles modules, which takes minutes under the race detector")
	}
	w := newWorld(t)
	_, key, err := ed25519.GenerateKey(rand.Reader)
	check(t, err)
	_, stranger, err := ed25519.GenerateKey(rand.Reader)
	check(t, err)
	line, err := source.BuilderLine("ci@example.com", key.Public().(ed25519.PublicKey))
	check(t, err)
	signerLine, err := source.SignerLine("ci@example.com", key.Public().(ed25519.PublicKey))
	check(t, err)
	of := plugin{name: "work", version: "1.0.0"}
	p := w.add(of)
	good := *w.elsewhere(of)
	same := func(s string) string { return s }
	put := func(old, new string) func(string) string {
		return func(s string) string {
			if !strings.Contains(s, old) {
				t.Fatalf("the statement has no %q:\n%s", old, s)
			}
			return strings.Replace(s, old, new, 1)
		}
	}
	other := good
	other.Commit = strings.Repeat("1", 40)
	moved := good
	moved.Tree = protocol.DigestOf([]byte("another tree"))
	named := good
	named.Plugin = "other"
	older := good
	older.Version = "0.9.0"
	none := good
	none.Outputs = nil
	flipped := bundled(t, good, key, same)
	flipped[bytes.Index(flipped, []byte("\x00asm"))+100] ^= 1
	unsigned := bundled(t, good, key, same)
	unsigned[bytes.Index(unsigned, []byte(`"sha256"`))+12] ^= 1
	allowed := map[string]string{"all": "# nobody\n", "work": line}
	for _, c := range []struct {
		name    string
		bundle  []byte
		allowed map[string]string
		code    protocol.Code
		want    []string
	}{
		{"unknown builder", bundled(t, good, stranger, same), allowed, protocol.CodeBadSeal, []string{"unknown signer", "SHA256:", "allowed builders stand in"}},
		{"no builders at all", bundled(t, good, key, same), nil, protocol.CodeBadSeal, []string{"unknown signer"}},
		{"a builder of another plugin", bundled(t, good, key, same), map[string]string{"other": line}, protocol.CodeBadSeal, []string{"unknown signer"}},
		{"an author's key", bundled(t, good, key, same), map[string]string{"all": signerLine}, protocol.CodeBadSeal, []string{`allowed for namespaces "git" only`}},
		{"another commit", bundled(t, other, key, same), allowed, protocol.CodeBadSeal, []string{"commit 1111", "tag v1.0.0 is commit " + good.Commit}},
		{"another tree", bundled(t, moved, key, same), allowed, protocol.CodeBadSeal, []string{"tree sha256:", "was built, tag v1.0.0 is tree"}},
		{"another plugin", bundled(t, named, key, same), allowed, protocol.CodeBadSeal, []string{"plugin other was built"}},
		{"another version", bundled(t, older, key, same), allowed, protocol.CodeBadSeal, []string{"version 0.9.0 was built"}},
		{"a changed artifact", flipped, allowed, protocol.CodeDigest, []string{"the artifact for wasm has sha256", "the builder signed"}},
		{"a changed statement", unsigned, allowed, protocol.CodeBadSeal, []string{"it does not fit the statement"}},
		{"no commit", bundled(t, good, key, put(`"gitCommit": "`+good.Commit+`"`, "")), allowed, protocol.CodeBadInput, []string{"resolvedDependencies " +
			"source.gitCommit: missing"}},
		{
			"no toolchain", bundled(t, good, key, put(`"toolchain": "`+good.Builder.Toolchain+`"`, "")), allowed, protocol.CodeBadInput,
			[]string{"runDetails.builder.version.toolchain: missing"},
		},
		{"no builder", bundled(t, good, key, put(`"id": "go"`, `"id": ""`)), allowed, protocol.CodeBadInput, []string{"runDetails.builder.id: missing"}},
		{"another type", bundled(t, good, key, put("slsa.dev/provenance/v1", "slsa.dev/provenance/v2")), allowed, protocol.CodeBadInput, []string{
			"predicateType",
			"provenance/v2",
		}},
		{"more fields", bundled(t, good, key, put(`"_type"`, `"more": 1, "_type"`)), allowed, protocol.CodeBadInput, []string{"not one statement of ours", "more"}},
		{"no subject", bundled(t, none, key, same), allowed, protocol.CodeBadInput, []string{"subject: missing"}},
		{
			"no artifact", bundled(t, none, key, put(`"subject": null`, `"subject": [{"name": "wasm", "digest": {"sha256": "`+strings.Repeat("0", 64)+`"}}]`)), allowed,
			protocol.CodeBadInput,
			[]string{"the artifact for wasm is not in the bundle"},
		},
		{"an artifact too many", bundled(t, good, key, func(s string) string {
			return put(`"name": "wasm"`, `"name": "linux-amd64"`)(s)
		}), allowed, protocol.CodeBadInput, []string{"the artifact for linux-amd64 is not in the bundle"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w.TB = t
			check(t, os.RemoveAll(filepath.Join(w.cfg.Home, "builders")))
			for name, text := range c.allowed {
				w.allowBuilder(name, text)
			}
			_, err := w.publish.Ask(t.Context(), p, Asked{Version: "1.0.0", Bundle: c.bundle}, func(registry.Stage) {})
			refused(t, err, c.code, append(c.want, "publish work@1.0.0: build")...)
			w.failedAt("work", "1.0.0", registry.StageBuild, 0)
		})
	}
	w.TB = t
	for name, text := range map[string]string{"nothing": "", "no tar": "hello", "half": string(flipped[:4000])} {
		_, err := w.publish.Ask(t.Context(), p, Asked{Version: "1.0.0", Bundle: []byte(text)}, func(registry.Stage) {})
		if err == nil || !strings.Contains(err.Error(), "publish work@1.0.0: bundle") {
			t.Errorf("%s: %v", name, err)
		}
	}
	w.allowBuilder("work", line)
	r, err := w.publish.Ask(t.Context(), p, Asked{Version: "1.0.0", Bundle: bundled(t, good, key, same)}, func(registry.Stage) {})
	check(t, err)
	said := ""
	for _, s := range look(w, func(tx *store.Tx) ([]registry.Stage, error) { return registry.Stages(tx, "work", "1.0.0") }) {
		said += s.Detail + "\n"
	}
	for _, want := range []string{"attested by ci@example.com (SHA256:", "no toolchain is asked", "imports, all allowed", "the same in both"} {
		if !strings.Contains(said, want) {
			t.Errorf("the stages said\n%swant %q", said, want)
		}
	}
	if len(r.Artifacts) != 1 || !r.Artifacts[0].Metered || r.Signer != author.Email {
		t.Errorf("published %+v", r)
	}
}

package registry

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stavily/stavily/hub/store"
	"github.com/stavily/stavily/protocol"
)

var now = time.UnixMilli(1_800_000_000_000).UTC()

// inBooks runs f on books of its own.
func inBooks(t *testing.T, f func(tx *store.Tx)) {
	t.Helper()
	s, err := store.Open(context.Background(), store.Memory)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	err = s.Update(context.Background(), func(tx *store.Tx) error {
		f(tx)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// wants complains unless err has the code and, with a text, holds it.
func wants(t *testing.T, err error, code protocol.Code, text string) {
	t.Helper()
	if protocol.CodeOf(err) != code || err != nil && !strings.Contains(err.Error(), text) {
		t.Errorf("got %v (%s), want %s %q", err, protocol.CodeOf(err), code, text)
	}
}

func fan() Plugin {
	return Plugin{
		Name: "fan", Type: protocol.Action, Repository: "https://git.example/fan", Credential: "deploy-key",
		AllowedSigners: "a@example namespaces=\"git\" ssh-ed25519 AAAA", Description: "turns it", Added: now,
	}
}

func releaseOf(version string) Release {
	return Release{
		Plugin: "fan", Version: version, Digest: protocol.DigestOf([]byte(version)), Size: 100,
		Repository: "https://git.example/fan", Tag: "v" + version, TagObject: strings.Repeat("a", 40),
		Commit: strings.Repeat("b", 40), Tree: protocol.DigestOf([]byte("tree")), Signer: "a@example",
		SignerKey: "SHA256:x", State: Published, Created: now,
		Artifacts: []Artifact{{Platform: "wasm", Digest: protocol.DigestOf([]byte("w")), Size: 7, Metered: true}},
	}
}

func TestPlugins(t *testing.T) {
	inBooks(t, func(tx *store.Tx) {
		wants(t, AddPlugin(tx, fan()), protocol.CodeOK, "")
		got, err := GetPlugin(tx, "fan")
		if err != nil || got != fan() {
			t.Errorf("got %+v, %v", got, err)
		}
		got, err = PluginOf(tx, fan().Repository)
		if err != nil || got != fan() {
			t.Errorf("by repository: %+v, %v", got, err)
		}
		same, other := fan(), fan()
		same.Repository = "https://git.example/other"
		other.Name = "other"
		wants(t, AddPlugin(tx, same), protocol.CodeExists,
			`plugin "fan" is registered from "https://git.example/fan"`)
		wants(t, AddPlugin(tx, other), protocol.CodeExists, `plugin "fan" is registered`)
		bad := fan()
		bad.Name = "Fan"
		wants(t, AddPlugin(tx, bad), protocol.CodeBadName, "")
		bad = fan()
		bad.Type = "sink"
		wants(t, AddPlugin(tx, bad), protocol.CodeBadInput, "")
		wants(t, SetSigners(tx, "fan", "new"), protocol.CodeOK, "")
		if all, err := Plugins(tx); err != nil || len(all) != 1 || all[0].AllowedSigners != "new" {
			t.Errorf("all %+v, %v", all, err)
		}
		wants(t, RemovePlugin(tx, "fan"), protocol.CodeOK, "")
		wants(t, RemovePlugin(tx, "fan"), protocol.CodeNotFound, "not registered")
		wants(t, SetSigners(tx, "fan", ""), protocol.CodeNotFound, "not registered")
	})
}

func TestReleaseIsWrittenOnce(t *testing.T) {
	inBooks(t, func(tx *store.Tx) {
		r := releaseOf("1.0.0")
		failed := r
		failed.State, failed.Digest, failed.Size, failed.Artifacts = Failed, protocol.Digest{}, 0, nil
		wants(t, PutRelease(tx, failed), protocol.CodeOK, "")
		wants(t, SetState(tx, "fan", "1.0.0", Yanked), protocol.CodeStale, "never published")
		if highest, err := Highest(tx, "fan"); highest != "" || err != nil {
			t.Errorf("a failed release raised the highest version to %q (%v)", highest, err)
		}
		wants(t, PutRelease(tx, r), protocol.CodeOK, "") // a failed one may be tried again
		got, err := GetRelease(tx, "fan", "1.0.0")
		if err != nil || got.Digest != r.Digest || !slices.Equal(got.Artifacts, r.Artifacts) ||
			got.Tree != r.Tree ||
			got.SignerKey != r.SignerKey || !got.Created.Equal(now) || got.Ref().Size != 100 {
			t.Errorf("got %+v, %v", got, err)
		}
		wants(t, PutRelease(tx, r), protocol.CodeOK, "") // the same again
		other := r
		other.Digest = protocol.DigestOf([]byte("other"))
		wants(t, PutRelease(tx, other), protocol.CodeExists, "raise the version")
		wants(t, PutRelease(tx, failed), protocol.CodeExists, "raise the version")
		wants(t, SetState(tx, "fan", "1.0.0", Yanked), protocol.CodeOK, "")
		wants(t, PutRelease(tx, other), protocol.CodeExists, "yanked before")
		if byDigest, err := ReleaseOf(tx, r.Digest); err != nil || byDigest.State != Yanked {
			t.Errorf("by digest %+v, %v", byDigest, err)
		}
		_, err = ReleaseOf(tx, other.Digest)
		wants(t, err, protocol.CodeNotFound, other.Digest.Short())
		for version, state := range map[string]State{
			"v1.0.1": Published, "1.1": Published, "": Published,
			"1.2.0": "odd",
		} {
			bad := releaseOf(version)
			bad.State = state
			wants(t, PutRelease(tx, bad), protocol.CodeBadInput, "")
		}
	})
}

func TestTagNeverMoves(t *testing.T) {
	pin := Pin{
		Repository: "https://git.example/fan", Tag: "v1.0.0", TagObject: "cccccccccccc9",
		Commit: "aaaaaaaaaaaa9",
	}
	inBooks(t, func(tx *store.Tx) {
		wants(t, PinTag(tx, pin, now), protocol.CodeOK, "")
		wants(t, PinTag(tx, pin, now), protocol.CodeOK, "")
		moved := pin
		moved.Commit = "bbbbbbbbbbbb9"
		wants(t, PinTag(tx, moved, now), protocol.CodeExists,
			"tag v1.0.0 of https://git.example/fan moved: was aaaaaaaaaaaa is now bbbbbbbbbbbb")
		again := pin
		again.TagObject = "dddddddddddd9" // the same commit, tagged anew
		wants(t, PinTag(tx, again, now), protocol.CodeExists, "was cccccccccccc is now dddddddddddd")
		other := moved
		other.Repository = "https://git.example/other"
		wants(t, PinTag(tx, other, now), protocol.CodeOK, "")
	})
}

// O-05, S-03: versions only rise, also over a removal.
func TestVersionsOnlyRise(t *testing.T) {
	inBooks(t, func(tx *store.Tx) {
		wants(t, CheckVersion(tx, "fan", "0.1.0", false), protocol.CodeOK, "")
		wants(t, AddPlugin(tx, fan()), protocol.CodeOK, "")
		wants(t, PutRelease(tx, releaseOf("1.10.0")), protocol.CodeOK, "")
		wants(t, RemovePlugin(tx, "fan"), protocol.CodeOK, "")
		wants(t, AddPlugin(tx, fan()), protocol.CodeOK, "")
		wants(t, CheckVersion(tx, "fan", "1.9.0", false), protocol.CodeStale, "1.9.0 is below 1.10.0")
		wants(t, CheckVersion(tx, "fan", "1.10.0-rc.1", false), protocol.CodeStale, "")
		wants(t, CheckVersion(tx, "fan", "1.9.0", true), protocol.CodeOK, "")
		wants(t, CheckVersion(tx, "fan", "1.10.0", false), protocol.CodeOK, "")
		wants(t, CheckVersion(tx, "fan", "1.x", true), protocol.CodeBadInput, "1.x")
		wants(t, PutRelease(tx, releaseOf("1.9.0")), protocol.CodeOK, "")
		if highest, err := Highest(tx, "fan"); highest != "1.10.0" || err != nil {
			t.Errorf("highest %q, %v", highest, err)
		}
	})
}

func TestResolve(t *testing.T) {
	inBooks(t, func(tx *store.Tx) {
		_, err := Resolve(tx, "fan")
		wants(t, err, protocol.CodeNotFound, "not registered")
		wants(t, AddPlugin(tx, fan()), protocol.CodeOK, "")
		_, err = Resolve(tx, "fan")
		wants(t, err, protocol.CodeNotFound, "there is none")
		for _, version := range []string{"1.2.0", "1.10.1", "1.9.0", "2.0.0", "2.1.0", "3.0.0-rc.1", "0.3.0"} {
			wants(t, PutRelease(tx, releaseOf(version)), protocol.CodeOK, "")
		}
		wants(t, SetState(tx, "fan", "2.1.0", Yanked), protocol.CodeOK, "")
		failed := releaseOf("2.2.0")
		failed.State, failed.Digest = Failed, protocol.Digest{}
		wants(t, PutRelease(tx, failed), protocol.CodeOK, "")
		for _, c := range []struct {
			ref, want string
			code      protocol.Code
		}{
			{"fan", "2.0.0", 0},
			{"fan@*", "2.0.0", 0},
			{"fan@1", "1.10.1", 0},
			{"fan@1.2", "1.2.0", 0},
			{"fan@^1.2", "1.10.1", 0},
			{"fan@~1.9", "1.9.0", 0},
			{"fan@1.2.0", "1.2.0", 0},
			{"fan@>=1, <1.10", "1.9.0", 0},
			{"fan@3.0.0-rc.1", "3.0.0-rc.1", 0},
			{"fan@3", "", protocol.CodeNotFound},
			{"fan@2.1.0", "2.1.0 (yanked)", protocol.CodeNotFound},
			{"fan@9", "3.0.0-rc.1, 2.2.0 (failed), 2.1.0 (yanked), 2.0.0, 1.10.1", protocol.CodeNotFound},
			{"fan@", "", protocol.CodeBadInput},
			{"fan@one", "such as 1.2.0, ^1.2", protocol.CodeBadInput},
			{"Fan", "", protocol.CodeBadInput},
			{"", "", protocol.CodeBadInput},
			{"gone@1", "not registered", protocol.CodeNotFound},
		} {
			r, err := Resolve(tx, c.ref)
			if c.code != 0 {
				wants(t, err, c.code, c.want)
				continue
			}
			if err != nil || r.Version != c.want || len(r.Artifacts) != 1 {
				t.Errorf("%s: got %s, %v, want %s", c.ref, r.Version, err, c.want)
			}
		}
		all, err := Releases(tx, "fan")
		if err != nil || len(all) != 8 || all[0].Version != "3.0.0-rc.1" || all[7].Version != "0.3.0" {
			t.Errorf("all %d, %v", len(all), err)
		}
		wants(t, SetState(tx, "fan", "2.1.0", Published), protocol.CodeOK, "")
		if r, err := Resolve(tx, "fan"); r.Version != "2.1.0" || err != nil {
			t.Errorf("allowed again: %s, %v", r.Version, err)
		}
	})
}

// P-07: every stage has a verdict of its own.
func TestStages(t *testing.T) {
	inBooks(t, func(tx *store.Tx) {
		long := "first" + strings.Repeat("x", 2*detailMax) + "last"
		wants(t, SetStage(tx, "fan", "1.0.0", Stage{
			Name: StageBuild, Verdict: StageFailed, Detail: long,
			TookMS: 5, Ended: now,
		}),
			protocol.CodeOK, "")
		wants(t, SetStage(tx, "fan", "1.0.0", Stage{Name: StageFetch, Verdict: StageFailed}), protocol.CodeOK, "")
		wants(t, SetStage(tx, "fan", "1.0.0", Stage{Name: StageFetch, Verdict: StageOK}), protocol.CodeOK, "")
		wants(t, SetStage(tx, "fan", "1.0.0", Stage{Name: "cook", Verdict: StageOK}), protocol.CodeBadInput, "cook")
		wants(t, SetStage(tx, "fan", "1.0.0", Stage{Name: StageFetch, Verdict: "fine"}), protocol.CodeBadInput,
			"fine")
		all, err := Stages(tx, "fan", "1.0.0")
		if err != nil || len(all) != len(StageNames()) {
			t.Fatalf("%d stages, %v", len(all), err)
		}
		for i, s := range all {
			want := StageNotRun
			switch s.Name {
			case StageFetch:
				want = StageOK
			case StageBuild:
				want = StageFailed
				if len(s.Detail) > detailMax || !strings.HasPrefix(s.Detail, "first") || !strings.HasSuffix(s.Detail,
					"last") {
					t.Errorf("detail of %d bytes", len(s.Detail))
				}
				if s.TookMS != 5 || !s.Ended.Equal(now) {
					t.Errorf("stage %+v", s)
				}
			}
			if s.Name != StageNames()[i] || s.Verdict != want {
				t.Errorf("stage %d is %s %s, want %s %s", i, s.Name, s.Verdict, StageNames()[i], want)
			}
		}
		wants(t, ClearStages(tx, "fan", "1.0.0"), protocol.CodeOK, "")
		if all, err = Stages(tx, "fan", "1.0.0"); err != nil || all[0].Verdict != StageNotRun {
			t.Errorf("after clear: %+v, %v", all[0], err)
		}
	})
}

func FuzzResolve(f *testing.F) {
	for _, ref := range []string{"fan", "fan@1", "fan@^1.2", "fan@>=1 <2 || 3", "@", "fan@@"} {
		f.Add(ref)
	}
	s, err := store.Open(context.Background(), store.Memory)
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { s.Close() })
	err = s.Update(context.Background(), func(tx *store.Tx) error {
		if err := AddPlugin(tx, fan()); err != nil {
			return err
		}
		return PutRelease(tx, releaseOf("1.2.3"))
	})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, ref string) {
		err := s.View(context.Background(), func(tx *store.Tx) error {
			_, err := Resolve(tx, ref)
			return err
		})
		switch protocol.CodeOf(err) {
		case protocol.CodeOK, protocol.CodeBadInput, protocol.CodeNotFound:
		default:
			t.Fatalf("%q: %v", ref, err)
		}
	})
}

package protocol

import (
	"strings"
	"testing"
)

func TestArtifactFiles(t *testing.T) {
	r := sampleScript()
	a := &r.Artifacts[0]
	if err := a.Check(); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range a.Files() {
		got = append(got, f.Digest.Short())
	}
	want := []string{a.Digest.Short(), a.Engine.Module.Digest.Short(), a.Engine.Libraries[0].File.Digest.Short()}
	if strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf("files %v, want %v", got, want)
	}
	a.Engine = nil
	if len(a.Files()) != 1 || a.Check() != nil {
		t.Errorf("without an engine: %d files, %v", len(a.Files()), a.Check())
	}
}

func TestArtifactCheck(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(*Artifact)
		want  string
	}{
		"no bytes":        {func(a *Artifact) { a.Size = 0 }, "artifact of 0 bytes"},
		"chunks":          {func(a *Artifact) { a.Chunks = nil }, "0 chunk digests, want 1"},
		"engine's bytes":  {func(a *Artifact) { a.Engine.Module.Size = ArtifactMax + 1 }, `engine "example": artifact of`},
		"library's bytes": {func(a *Artifact) { a.Engine.Libraries[0].File.Chunks = nil }, `engine "example": 0 chunk`},
		"no arguments":    {func(a *Artifact) { a.Engine.Args = nil }, "0 arguments"},
		"many arguments":  {func(a *Artifact) { a.Engine.Args = make([]string, EngineArgsMax+1) }, "17 arguments"},
		"long argument":   {func(a *Artifact) { a.Engine.Args[0] = strings.Repeat("a", 256) }, "argument of 256 bytes"},
		"zero byte":       {func(a *Artifact) { a.Engine.Args[0] = "a\x00b" }, "none of them zero"},
		"relative":        {func(a *Artifact) { a.Engine.Path = "app" }, `path "app"`},
		"root":            {func(a *Artifact) { a.Engine.Path = "/" }, `path "/"`},
		"climbing":        {func(a *Artifact) { a.Engine.Path = "/app/../etc" }, `path "/app/../etc"`},
		"twice":           {func(a *Artifact) { a.Engine.Libraries[0].Path = "/app" }, `path "/app"`},
		"many libraries": {func(a *Artifact) {
			a.Engine.Libraries = make([]Library, EngineLibrariesMax+1)
		}, "5 libraries"},
	} {
		t.Run(name, func(t *testing.T) {
			r := sampleScript()
			c.spoil(&r.Artifacts[0])
			err := r.Artifacts[0].Check()
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
			if code := CodeOf(err); code != CodeLimit && code != CodeBadMessage {
				t.Errorf("code %s", code)
			}
		})
	}
}

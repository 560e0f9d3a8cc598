package wasmhost

import (
	"context"
	"testing"

	"github.com/stavily/stavily/protocol"
)

// verdicts keeps what it is told, and counts.
type verdicts struct {
	kept  map[protocol.Digest]Verdict
	keeps int
}

func (v *verdicts) Verdict(d protocol.Digest) (Verdict, bool) {
	got, ok := v.kept[d]
	return got, ok
}

func (v *verdicts) Keep(d protocol.Digest, got Verdict) {
	v.kept[d] = got
	v.keeps++
}

// S-01: bytes are verified once by a build, held against their digest always, and
// against the manifest's memory always; what did not pass is not kept.
func TestVerdicts(t *testing.T) {
	kept := &verdicts{kept: map[protocol.Digest]Verdict{}}
	h, err := New(context.Background(), Config{Verdicts: kept, AllowUnmetered: true})
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close(context.Background())
	good, bad := tiny{pages: 32}.wasm(), tiny{imports: []string{"env.f"}}.wasm()
	roomy := &protocol.Manifest{}
	tight := &protocol.Manifest{Limits: protocol.Limits{MemoryMB: 1}}
	for _, c := range []struct {
		name  string
		wasm  []byte
		m     *protocol.Manifest
		want  protocol.Code
		keeps int
	}{
		{"the first time", good, roomy, protocol.CodeOK, 1},
		{"again", good, roomy, protocol.CodeOK, 1},
		{"with less memory than it declares", good, tight, protocol.CodeUnverified, 1},
		{
			"with more memory than there is", good, &protocol.Manifest{Limits: protocol.Limits{MemoryMB: 5000}},
			protocol.CodeUnverified, 1,
		},
		{"what does not pass", bad, roomy, protocol.CodeUnverified, 1},
		{"what does not pass, again", bad, roomy, protocol.CodeUnverified, 1},
	} {
		_, err := h.verified(c.wasm, protocol.DigestOf(c.wasm), c.m)
		if protocol.CodeOf(err) != c.want || kept.keeps != c.keeps {
			t.Errorf("%s: %v, kept %d times; want %s, %d", c.name, err, kept.keeps, c.want, c.keeps)
		}
	}
	// A verdict on other bytes does not let these in.
	if _, err := h.Load(context.Background(), Spec{
		Manifest: protocol.Manifest{Plugin: protocol.PluginInfo{Name: "p", Type: protocol.Action}},
		Wasm:     bad, Digest: protocol.DigestOf(good),
	}); protocol.CodeOf(err) != protocol.CodeDigest {
		t.Errorf("other bytes under a known digest: %v, want %s", err, protocol.CodeDigest)
	}
}

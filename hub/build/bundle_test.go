package build

import (
	"bytes"
	"testing"

	"github.com/stavily/stavily/protocol"
)

// attested is what a builder would say of two artifacts.
func attested() *Attestation {
	return &Attestation{
		Plugin: "p", Version: "1.0.0", Commit: "0123456789012345678901234567890123456789",
		Tree: protocol.DigestOf([]byte("tree")), Tests: "passed",
		Builder: protocol.Builder{Name: "go", Toolchain: "go1.26", Inputs: protocol.DigestOf([]byte("in")), Notes: []string{"n"}},
		Outputs: []Output{
			{Platform: "linux-amd64", Bytes: []byte("program"), Note: "static"},
			{Platform: protocol.PlatformWASM, Bytes: []byte("module"), Engine: "quickjs"},
		},
	}
}

func packed(t testing.TB, a *Attestation) []byte {
	t.Helper()
	text, err := a.Statement()
	if err != nil {
		t.Fatal(err)
	}
	b := Bundle{Statement: text, Signature: []byte("signature")}
	out, err := b.Pack(a.Outputs)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// What is packed comes out again, the module first, and the same is packed the same.
func TestBundle(t *testing.T) {
	want := attested()
	if !bytes.Equal(packed(t, want), packed(t, attested())) {
		t.Error("packed twice: other bytes")
	}
	b, err := ReadBundle(packed(t, want))
	if err != nil {
		t.Fatal(err)
	}
	got, err := b.Open()
	if err != nil {
		t.Fatal(err)
	}
	r := got.Result("ci")
	if got.Commit != want.Commit || got.Tree != want.Tree || got.Tests != want.Tests || r.Builder.Inputs != want.Builder.Inputs ||
		string(r.Module) != "module" || r.Outputs[0].Engine != "quickjs" || r.Outputs[1].Note != "static" ||
		r.Builder.Notes[0] != "built elsewhere, attested by ci" {
		t.Errorf("got %+v, %+v", got, r)
	}
}

// FuzzBundle: what somebody uploads is a bundle whose artifacts are those that its
// statement names, or an error.
func FuzzBundle(f *testing.F) {
	f.Add(packed(f, attested()))
	f.Add([]byte("statement.json"))
	f.Fuzz(func(t *testing.T, text []byte) {
		b, err := ReadBundle(text)
		if err != nil {
			return
		}
		a, err := b.Open()
		if err != nil {
			return
		}
		again, err := ReadBundle(packed(t, a))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := again.Open(); err != nil {
			t.Errorf("what was opened does not open again: %v", err)
		}
	})
}

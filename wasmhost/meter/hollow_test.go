package meter

import (
	"bytes"
	"os"
	"testing"
)

// TestHollow: the hollow form of a module is a module with the same face and no work in it,
// and another for each name.
func TestHollow(t *testing.T) {
	wasm, err := os.ReadFile("../testdata/rust/trigger.wasm")
	if err != nil {
		t.Fatal(err)
	}
	one, err := Hollow(wasm, []byte("one"))
	if err != nil {
		t.Fatal(err)
	}
	two, err := Hollow(wasm, []byte("two"))
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Equal(one, two) {
		t.Error("one form for two names")
	}
	want, err := Inspect(wasm)
	if err != nil {
		t.Fatal(err)
	}
	got, err := Inspect(one)
	if err != nil {
		t.Fatal(err)
	}
	if got.Functions != want.Functions || got.Types != want.Types || len(got.Imports) != len(want.Imports) ||
		len(got.Exports) != len(want.Exports) || got.MemoryMin != want.MemoryMin {
		t.Errorf("got %+v, want the face of %+v", got, want)
	}
	if n := Functions(wasm); n != want.Functions {
		t.Errorf("%d functions counted, want %d", n, want.Functions)
	}
	if most := len(wasm) - want.BodyBytes + want.Functions*len(hollowBody) + 100; len(one) > most {
		t.Errorf("%d bytes of %d left, of which %d were bodies", len(one), len(wasm), want.BodyBytes)
	}
}

package meter

import (
	"bytes"
	"context"
	"strings"
	"testing"

	"github.com/tetratelabs/wazero"
)

func seeds(f *testing.F) {
	for _, wasm := range samples() {
		f.Add(wasm)
		out, err := Instrument(wasm)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(out)
	}
	f.Add([]byte("\x00asm\x01\x00\x00\x00"))
}

// FuzzParse: never a panic, and a module that is read keeps within its own bounds and has a
// hollow form.
func FuzzParse(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, wasm []byte) {
		m, err := Parse(wasm)
		_ = Check(wasm)
		hollow, bad := Hollow(wasm, nil)
		if err != nil {
			return
		}
		if bad == nil {
			_, bad = Parse(hollow)
		}
		if bad != nil || Functions(wasm) != m.Info().Functions {
			t.Errorf("hollow: %v, %d functions of %d", bad, Functions(wasm), m.Info().Functions)
		}
		if i := m.Info(); i.BodyBytes > len(wasm) || i.Functions > len(wasm) || i.DataBytes > len(wasm) {
			t.Errorf("%+v of %d bytes", i, len(wasm))
		}
		_ = Admit(m.Info(), DefaultLimits())
	})
}

// FuzzInstrument: what wazero accepts before it accepts after, what it refuses before it refuses after,
// but for what stands in a dropped section, and Check knows the result.
func FuzzInstrument(f *testing.F) {
	seeds(f)
	ctx := context.Background()
	rt := wazero.NewRuntimeWithConfig(ctx, engines()["interpreter"])
	f.Fuzz(func(t *testing.T, wasm []byte) {
		out, err := Instrument(wasm)
		if err != nil {
			return
		}
		if err := Check(out); err != nil {
			t.Fatal(err)
		}
		if again, err := Instrument(wasm); err != nil || !bytes.Equal(again, out) {
			t.Fatal("not the same bytes twice")
		}
		before, after := compiles(ctx, rt, wasm), compiles(ctx, rt, out)
		if before != nil && strings.Contains(before.Error(), "custom section") {
			return // a malformed name section goes with the names
		}
		if (before == nil) != (after == nil) {
			t.Errorf("before %v, after %v", before, after)
		}
	})
}

func compiles(ctx context.Context, rt wazero.Runtime, wasm []byte) error {
	c, err := rt.CompileModule(ctx, wasm)
	if err == nil {
		err = c.Close(ctx)
	}
	return err
}

//go:build linux && (amd64 || arm64 || riscv64)

package native

import (
	"context"
	"testing"
)

// A start is unpacking, a jail, its program, hello and ready.
func BenchmarkLoad(b *testing.B) {
	b.Run("cgroups", func(b *testing.B) { loads(b, nil) })
	b.Run("none", func(b *testing.B) { loads(b, []string{LayerCgroup}) })
}

func loads(b *testing.B, without []string) {
	h, artifact := newHost(b, Config{Without: without}), probe(b)
	for b.Loop() {
		p, err := h.Load(context.Background(), spec(action(), artifact))
		if err != nil {
			b.Fatal(err)
		}
		p.Close(context.Background())
	}
}

// A warm call is two messages over pipes.
func BenchmarkCall(b *testing.B) {
	p := load(b, newHost(b, Config{}), action(), probe(b))
	for b.Loop() {
		if a := ask(p, "echo", "x", 0); a.Error != nil {
			b.Fatal(a.Error)
		}
	}
}

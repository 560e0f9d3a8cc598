//go:build linux && (amd64 || arm64 || riscv64)

package native

import "testing"

func TestFirst(t *testing.T) {
	h := newHost(t, Config{})
	t.Logf("%+v", h.facts)
	p := load(t, h, action(), probe(t))
	t.Logf("\n%s", p.Confinement())
	for range 3 {
		a := ask(p, "echo", "hi", 0)
		t.Logf("%+v", a)
	}
	t.Log(tell(t, p, "list", "/", 0))
	t.Log(tell(t, p, "whoami", "/", 0))
}

//go:build linux && (amd64 || arm64 || riscv64)

package native

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/stavily/stavily/protocol"
	"github.com/stavily/stavily/wasmhost"
)

// What a plugin of the Go SDK answers as a module it answers as a process too: several events in one
// request, and when it ends in the midst of them only the one that did it is lost.
func TestBatch(t *testing.T) {
	h := jailed(t)
	m := action()
	m.Plugin.Name = "conformance"
	file := build(t, source{"../../plugins/sdk/go", "./conformance", "-X main.encoding=cbor"})
	artifact, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	p := load(t, h, m, artifact)
	count := wasmhost.Request{
		Kind: wasmhost.Run, Key: "k",
		Event: &protocol.Event{Workflow: "w", Data: protocol.MustMarshal(map[string]any{"do": "count"})},
	}
	ends := count
	ends.Event = &protocol.Event{Workflow: "w", Data: protocol.MustMarshal(map[string]any{"do": "exit", "code": 3})}
	counts := func(answers []wasmhost.Answer) (out []int) {
		for i, a := range answers {
			n := 0
			if a.Error == nil {
				if err := protocol.Unmarshal(a.Data, &n); err != nil {
					t.Fatalf("answer %d: %v", i, err)
				}
			} else if a.Error.Code != protocol.CodeContract {
				t.Errorf("answer %d: %v, want %v", i, a.Error, protocol.CodeContract)
			}
			out = append(out, n)
		}
		return out
	}
	ctx := context.Background()
	first := p.room.last.Load()
	same(t, counts(p.CallBatch(ctx, []wasmhost.Request{count, count, count})), 1, 2, 3)
	if p.room.last.Load() != first {
		t.Error("a batch cost its process")
	}
	// Nobody knows at first which of them did it: all are asked again in a fresh process, alone.
	same(t, counts(p.CallBatch(ctx, []wasmhost.Request{count, ends, count, count})), 1, 0, 1, 2)
}

func same(t *testing.T, got []int, want ...int) {
	t.Helper()
	for i := range want {
		if len(got) != len(want) || got[i] != want[i] {
			t.Fatalf("answers %v, want %v", got, want)
		}
	}
}

// A process that has become old is replaced after its answer, as an instance is, and one that is
// young is kept.
func TestReplacedByAge(t *testing.T) {
	for age, replaced := range map[time.Duration]bool{0: false, 1: true} {
		calls, err := wasmhost.New(context.Background(), wasmhost.Config{Pool: wasmhost.Pool{Age: age}})
		if err != nil {
			t.Fatal(err)
		}
		h := jailed(t)
		h.cfg.Calls = calls
		p := load(t, h, action(), probe(t))
		first := p.room.last.Load()
		tell(t, p, "echo", "a", 0)
		if tell(t, p, "echo", "b", 0); (p.room.last.Load() != first) != replaced || first.Gone() != replaced {
			t.Errorf("age %v: replaced %v, gone %v; want %v", age, p.room.last.Load() != first, first.Gone(), replaced)
		}
	}
}

// A process that has grown beyond the high-water mark is replaced after its answer, and one below it
// is kept.
func TestReplacedByHighWater(t *testing.T) {
	for high, replaced := range map[int]bool{90: false, 20: true} {
		calls, err := wasmhost.New(context.Background(), wasmhost.Config{Pool: wasmhost.Pool{HighWater: high}})
		if err != nil {
			t.Fatal(err)
		}
		h := jailed(t)
		h.cfg.Calls = calls
		m := action()
		m.Limits.MemoryMB = 128
		p := load(t, h, m, probe(t))
		first := p.room.last.Load()
		if tell(t, p, "echo", "a", 0); p.room.last.Load() != first || first.Gone() {
			t.Errorf("high water %d%%: a process that has not grown was replaced", high)
		}
		tell(t, p, "memory", "", 50)
		if first.Gone() != replaced {
			t.Errorf("high water %d%% of 128 MB, 50 taken: gone %v, want %v", high, first.Gone(), replaced)
		}
		if tell(t, p, "echo", "b", 0); (p.room.last.Load() != first) != replaced {
			t.Errorf("high water %d%%: replaced %v, want %v", high, p.room.last.Load() != first, replaced)
		}
	}
}

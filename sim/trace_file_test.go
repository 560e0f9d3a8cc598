package sim

import (
	"bytes"
	"errors"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/fxamacker/cbor/v2"

	"github.com/stavily/stavily/protocol"
)

// The recorded trace has all that the digest is of, and a replay takes scenario and seed from it.
func TestTraceFile(t *testing.T) {
	t.Chdir(t.TempDir())
	if err := os.WriteFile("small.yaml", []byte(small), 0o600); err != nil {
		t.Fatal(err)
	}
	_, _ = command(t, "run", "small.yaml", "--seed", "7", "--trace", "run.cbor") // it fails, as it is to
	b, err := os.ReadFile("run.cbor")
	if err != nil {
		t.Fatal(err)
	}
	dec := cbor.NewDecoder(bytes.NewReader(b))
	var head TraceHead
	if err := dec.Decode(&head); err != nil {
		t.Fatal(err)
	}
	if head.Version != traceVersion || head.File != "small.yaml" || head.Seed != 7 || strings.Count(head.Agents, "\n") != 5 {
		t.Fatalf("head %+v", head)
	}
	again := newTrace(nil)
	who := make([]*device, strings.Count(head.Agents, "\n")+1)
	for i := range who[1:] {
		who[i+1] = &device{id: i}
	}
	for {
		var item TraceItem
		if err = dec.Decode(&item); err != nil {
			break
		}
		again.note(item.At, who[item.Who], item.What, item.Head)
		if item.Size < uint64(len(item.Head)) {
			t.Errorf("an item of %d bytes begins with %d", item.Size, len(item.Head))
		}
	}
	if !errors.Is(err, io.EOF) || again.count < 100 {
		t.Errorf("%d items, and then %v", again.count, err)
	}
	if err := os.WriteFile("bad.cbor", []byte("\xa1\x01\x63bad"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := command(t, "replay", "bad.cbor"); err == nil || !strings.Contains(err.Error(), `begins with "bad"`) {
		t.Errorf("a bad trace: %v", err)
	}
}

// A replay of a trace is held against it: it says how far they are the same, and what differs
// first, by time and agent. Another seed, build or fleet is said before anything runs.
func TestReplayHoldsARunAgainstItsTrace(t *testing.T) {
	within(t)
	_, _ = command(t, "run", "small.yaml", "--seed", "7", "--until", "20m", "--trace", "run.cbor") // it fails, as it is to
	if err := os.Remove("small.yaml"); err != nil {                                                // the trace has it
		t.Fatal(err)
	}
	out, err := command(t, "replay", "run.cbor", "--to", "11m", "--agent", "a-1")
	if err != nil || !strings.Contains(out, "a-1 of site") || !strings.Contains(out, "as recorded: ") {
		t.Fatalf("replay: %v\n%s", err, out)
	}
	if out, err := command(t, "replay", "run.cbor"); err != nil || !strings.Contains(out, "up to +20m0s") {
		t.Errorf("replay to the end: %v\n%s", err, out)
	}
	changed := func(name string, change func(n int, head *TraceHead, it *TraceItem) bool) {
		t.Helper()
		b, err := os.ReadFile("run.cbor")
		if err != nil {
			t.Fatal(err)
		}
		next, into := protocol.Items(bytes.NewReader(b)), []byte(nil)
		var head TraceHead
		if err := next(&head); err != nil {
			t.Fatal(err)
		}
		change(0, &head, nil)
		into = append(into, protocol.MustMarshal(head)...)
		for n := 1; ; n++ {
			var it TraceItem
			if next(&it) != nil {
				break
			}
			if change(n, nil, &it) {
				into = append(into, protocol.MustMarshal(it)...)
			}
		}
		if err := os.WriteFile(name, into, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		name   string
		change func(n int, head *TraceHead, it *TraceItem) bool
		code   int
		want   []string
	}{
		{"item", func(n int, _ *TraceHead, it *TraceItem) bool {
			if n == 90 {
				it.At, it.What = it.At+1, "hum"
			}
			return true
		}, 1, []string{"after 89 things", "recorded: +", " hum", "now:      +", " a/a-"}},
		{"missing", func(n int, _ *TraceHead, _ *TraceItem) bool { return n != 90 }, 1, []string{"after 89 things"}},
		{"cut", func(n int, _ *TraceHead, _ *TraceItem) bool { return n < 90 }, 1, []string{"recorded: nothing more"}},
		{"more", func(n int, _ *TraceHead, it *TraceItem) bool {
			if n == 90 {
				it.At, it.Size = it.At-1, 1<<20
			}
			return true
		}, 1, []string{"1048576 bytes"}},
		{"seed", func(n int, head *TraceHead, _ *TraceItem) bool {
			if n == 0 {
				head.Seed++
			}
			return true
		}, 1, []string{"after "}},
		{"build", func(n int, head *TraceHead, _ *TraceItem) bool {
			if n == 0 {
				head.Build = "elsewhere"
			}
			return true
		}, 2, []string{"recorded by build elsewhere", "--other-build"}},
		{"agents", func(n int, head *TraceHead, _ *TraceItem) bool {
			if n == 0 {
				head.Agents = "a/a-0\n"
			}
			return true
		}, 2, []string{"recorded with 1 agents, this run has 5"}},
		{"text", func(n int, head *TraceHead, _ *TraceItem) bool {
			if n == 0 {
				head.Text = strings.Replace(head.Text, "rate", "rat", 1) + "\nfleets: []\n"
			}
			return true
		}, 2, []string{"1 error, nothing was run"}},
	} {
		changed(c.name+".cbor", c.change)
		_, err := command(t, "replay", c.name+".cbor", "--agent", "a-1")
		if exitOf(err) != c.code {
			t.Errorf("%s: exit %d, want %d: %v", c.name, exitOf(err), c.code, err)
			continue
		}
		for _, want := range c.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: no %q in %v", c.name, want, err)
			}
		}
	}
	if _, err := command(t, "replay", "build.cbor", "--other-build", "--agent", "a-1"); err != nil {
		t.Errorf("another build that goes the same way: %v", err)
	}
	if _, err := command(t, "replay", "run.cbor", "--seed", "8"); exitOf(err) != 2 {
		t.Errorf("another seed: %v", err)
	}
}

func FuzzTrace(f *testing.F) {
	head := protocol.MustMarshal(TraceHead{Version: traceVersion, Agents: "a/a-0\n"})
	f.Add(head)
	f.Add(append(head, protocol.MustMarshal(TraceItem{At: 1, Who: 9, What: "up", Size: 2, Head: []byte("ab")})...))
	f.Add([]byte("\xbf\xff"))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := newRecording(bytes.NewReader(b))
		if err == nil && r.head.Version != traceVersion {
			t.Errorf("took %q", r.head.Version)
		}
		if err == nil && r.holds(1, 1, "up", []byte("ab")) == nil && r.item.What != "up" {
			t.Errorf("took %+v as what came", r.item)
		}
	})
}

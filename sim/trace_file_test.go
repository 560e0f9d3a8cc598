package sim

import (
	"bytes"
	"errors"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/fxamacker/cbor/v2"
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
	out, err := command(t, "replay", "run.cbor", "--to", "11m", "--agent", "a-1")
	if err != nil || !strings.Contains(out, "a-1 of site") {
		t.Errorf("replay: %v\n%s", err, out)
	}
	if err := os.WriteFile("bad.cbor", []byte("\xa1\x01\x63bad"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := command(t, "replay", "bad.cbor"); err == nil || !strings.Contains(err.Error(), `begins with "bad"`) {
		t.Errorf("a bad trace: %v", err)
	}
}

func FuzzTraceHead(f *testing.F) {
	f.Add([]byte("\xa1\x01\x74stavily sim-trace/v1"))
	f.Add([]byte("\xbf\xff"))
	f.Fuzz(func(t *testing.T, b []byte) {
		var head TraceHead
		if err := head.read(bytes.NewReader(b)); err == nil && head.Version != traceVersion {
			t.Errorf("took %q", head.Version)
		}
	})
}

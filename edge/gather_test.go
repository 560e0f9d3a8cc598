package edge

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/stavily/stavily/protocol"
	"github.com/stavily/stavily/wasmhost"
)

// choir is a plugin that remembers what it was asked together.
type choir struct{ heard []string }

func (c *choir) Call(_ context.Context, r wasmhost.Request) wasmhost.Answer {
	return c.CallBatch(context.Background(), []wasmhost.Request{r})[0]
}

func (c *choir) CallBatch(_ context.Context, rs []wasmhost.Request) []wasmhost.Answer {
	c.heard = append(c.heard, fmt.Sprintf("%s %d", rs[0].Kind, len(rs)))
	out := make([]wasmhost.Answer, len(rs))
	for i, r := range rs {
		out[i].Data = protocol.MustMarshal(r.Key)
	}
	return out
}

func (c *choir) Close(context.Context)      {}
func (c *choir) SetGrants([]protocol.Grant) {}
func (c *choir) Rest() bool                 { return false }
func (c *choir) Counters() []protocol.Audit { return nil }

// What waits for a plugin is put to it together, as far as it is of one kind, and every
// call has its own answer.
func TestGather(t *testing.T) {
	var got []string
	c := &choir{}
	w := &worker{
		host: &Host{cfg: HostConfig{Answered: func(in Answered) {
			got = append(got, fmt.Sprintf("%d=%s", in.ID, strings.Trim(string(in.Answer.Data), "abcdefg")))
		}}},
		ctx: context.Background(), calls: make(chan []Call, callsMax), plugin: c, of: &Load{},
	}
	kinds := []wasmhost.RequestKind{
		wasmhost.Run, wasmhost.Run, wasmhost.Run, wasmhost.Deliver, wasmhost.Deliver, wasmhost.Check, wasmhost.Wake, wasmhost.Run,
	}
	for i, kind := range kinds[1:] {
		w.calls <- []Call{{ID: CallID(i + 2), Request: &wasmhost.Request{Kind: kind, Key: fmt.Sprint(i + 2)}}}
	}
	w.serve([]Call{{ID: 1, Request: &wasmhost.Request{Kind: kinds[0], Key: "1"}}})
	for len(w.calls) > 0 {
		w.serve(<-w.calls)
	}
	if said := strings.Join(c.heard, ", "); said != "run 3, deliver 2, check 1, wake 1, run 1" {
		t.Errorf("the plugin heard %q", said)
	}
	if all := strings.Join(got, " "); all != "1=1 2=2 3=3 4=4 5=5 6=6 7=7 8=8" {
		t.Errorf("answers %q: want each call's own, in order", all)
	}
}

var _ wasmhost.Loaded = (*choir)(nil)

package stavilytest

import (
	"encoding/json"
	"fmt"

	"github.com/stavily/stavily/plugins/sdk/go"
)

// Outcome is what an action or an output made of one event of a batch: an output has no data.
type Outcome struct {
	Data json.RawMessage `json:"data"`
	Err  *stavily.Error  `json:"error"`
}

// Batch hands an action ("run") or an output ("deliver") several events at once, as an agent
// does when a queue has built up, and asks again for those that it left out. The keys are
// key-1 and so on. The error is one of the whole batch.
func (h *Host) Batch(kind string, events ...any) ([]Outcome, error) {
	h.t.Helper()
	type item struct {
		Event   stavily.Event    `json:"event"`
		Results []stavily.Result `json:"results"`
		Key     string           `json:"key"`
	}
	work := make([]item, len(events))
	for i, data := range events {
		work[i] = item{h.Event(data), []stavily.Result{}, fmt.Sprintf("key-%d", i+1)}
	}
	var out []Outcome
	for len(out) < len(work) {
		raw, err := h.ask("batch", map[string]any{
			"kind": kind, "deadline_ms": 30_000, "now_ms": h.now.UnixMilli(), "items": work[len(out):],
		})
		if err != nil {
			return out, err
		}
		var a struct{ Items []Outcome }
		h.decode(raw, &a)
		if len(a.Items) == 0 || len(out)+len(a.Items) > len(work) {
			h.t.Fatalf("batch: %d answers to %d events", len(a.Items), len(work)-len(out))
		}
		out = append(out, a.Items...)
	}
	return out, nil
}

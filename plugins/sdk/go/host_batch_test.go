package stavily_test

import (
	"errors"
	"testing"

	"github.com/stavily/stavily/plugins/sdk/go"
	"github.com/stavily/stavily/plugins/sdk/go/stavilytest"
)

// A test hands a plugin a batch, and asks again for what the plugin leaves out.
func TestHostBatch(t *testing.T) {
	var sizes []int
	h := stavilytest.Start(t, func() *stavily.Plugin {
		return stavily.Output("file", func(*stavily.Context, stavily.Delivery) error {
			return errors.New("not this one")
		}).Batch(func(c *stavily.Context, work []stavily.Run) []stavily.Outcome {
			sizes = append(sizes, len(work))
			_, err := c.Append("log", work[0].Key+"\n", false)
			if string(work[0].Event.Data) == "2" {
				err = stavily.Retryable(errors.New("busy"))
			}
			return []stavily.Outcome{{Err: err}}
		})
	}, nil)
	out, err := h.Batch("deliver", 1, 2, 3)
	if err != nil || len(out) != 3 || out[0].Err != nil || out[2].Err != nil || stavily.Code(out[1].Err) != stavily.CodeRetryable {
		t.Errorf("%+v, %v", out, err)
	}
	if h.Files["log"] != "key-1\nkey-2\nkey-3\n" || len(sizes) != 3 || sizes[0] != 3 {
		t.Errorf("wrote %q in batches of %v", h.Files["log"], sizes)
	}
}

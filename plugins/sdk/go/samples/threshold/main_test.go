package main

import (
	"testing"

	"github.com/stavily/stavily/plugins/sdk/go/stavilytest"
)

func TestThreshold(t *testing.T) {
	h := stavilytest.Start(t, plugin, map[string]float64{"max": 10})
	for _, step := range []struct {
		value float64
		want  string
	}{
		{12, `{"over":true,"highest":12}`},
		{7, `{"over":false,"highest":12}`},
		{10, `{"over":false,"highest":12}`},
	} {
		got, err := h.Run(map[string]float64{"value": step.value})
		if err != nil || string(got) != step.want {
			t.Errorf("value %v: got %s, %v, want %s", step.value, got, err, step.want)
		}
		h.Restart()
	}
}

func TestThresholdErrors(t *testing.T) {
	h := stavilytest.Start(t, plugin, nil)
	if _, err := h.Run("twelve"); err == nil {
		t.Error("event of another shape: no error")
	}
	if _, err := h.Run(map[string]int{}); err == nil || err.Error() != "event data: value: want a number" {
		t.Errorf("event without value: %v", err)
	}
	h.Deny("kv.put")
	if _, err := h.Run(map[string]int{"value": 1}); err == nil {
		t.Error("without kv: no error")
	}
}

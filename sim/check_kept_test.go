package sim

import (
	"strings"
	"testing"

	"github.com/stavily/stavily/protocol"
)

// What the hub's books count is what agents recorded: one record more or less is found, of what
// waits or was dropped it may have any part, and books that were put back may have lost some.
func TestKept(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(c *keptCheck, m *keptLane)
		want   string
	}{
		{"as it went", func(*keptCheck, *keptLane) {}, ""},
		{"twice at the hub", func(_ *keptCheck, m *keptLane) { m.made-- }, "lane event: the hub counts "},
		{"lost", func(_ *keptCheck, m *keptLane) { m.made++ }, "0 were dropped and 0 wait"},
		{"dropped", func(_ *keptCheck, m *keptLane) { m.made++; m.dropped++ }, ""},
		{"lost with the books", func(c *keptCheck, m *keptLane) { m.made++; c.restored(0) }, ""},
	} {
		w, err := newWorld(t.Context(), parse(t, calm), Options{})
		if err != nil {
			t.Fatal(err)
		}
		var kept *keptCheck
		for _, one := range w.checks {
			if is, ok := one.(*keptCheck); ok {
				kept = is
			}
		}
		if err := w.runTo(w.until); err != nil {
			t.Fatal(err)
		}
		m := &(*kept.lanes.of(w.devices[0]))[protocol.LaneEvent]
		if m.made < 10 || m.dropped != 0 {
			t.Fatalf("%+v, want the events of an hour", *m)
		}
		c.change(kept, m)
		kept.ended()
		text := ""
		for _, v := range w.violations {
			text += v.Text
		}
		if c.want == "" && text != "" || !strings.Contains(text, c.want) || len(w.violations) > 1 {
			t.Errorf("%s: %q, want %q", c.name, text, c.want)
		}
		if err := w.close(); err != nil {
			t.Error(err)
		}
	}
}

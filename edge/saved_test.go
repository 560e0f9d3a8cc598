package edge

import (
	"bytes"
	"math"
	"testing"

	"github.com/stavily/stavily/protocol"
)

// What a run leaves on the disk is what Marshal makes of it, and is read as that.
func TestSavedRunEncoding(t *testing.T) {
	event := protocol.Event{
		Run: protocol.RunID{1, 2, 3}, Workflow: "w", Revision: 300, Data: protocol.MustMarshal("data"),
		Time: protocol.Stamp{UnixMS: 1_790_000_000_000, Quality: protocol.QualityClock},
	}
	result := protocol.Result{Run: event.Run, Workflow: "w", Step: "do", Type: protocol.Action, Tries: 1, Time: event.Time}
	failed := result
	failed.Status, failed.Error = protocol.StatusError, &protocol.Error{Code: protocol.CodePlugin, Text: "no"}
	failed.By = protocol.Address{Site: "site", Agent: "agent"}
	for _, r := range []savedRun{
		{},
		{Event: event},
		{Event: event, Mark: protocol.Mark{Boot: 1, Sequence: 1 << 40}, Shape: protocol.Digest{9}},
		{Event: event, Next: 2, Results: []protocol.Result{result, failed}, Tries: 3, Depth: 200},
		{Event: event, Repeated: true, Done: []protocol.StepName{"do"}},
	} {
		got := r.encode()
		if want := protocol.MustMarshal(r); !bytes.Equal(got, want) {
			t.Errorf("%+v: got %x, want %x", r, got, want)
		}
		var again savedRun
		if err := protocol.UnmarshalExact(got, &again); err != nil {
			t.Errorf("%+v: %v", r, err)
		}
	}
}

// What a trigger leaves on the disk is what Marshal makes of it.
func TestSavedTriggerEncoding(t *testing.T) {
	for _, s := range []savedTrigger{
		{},
		{Of: protocol.Digest{1, 2}, State: protocol.MustMarshal(300), Due: 1 << 40},
		{State: protocol.MustMarshal(map[string]any{"n": -1}), Old: -24, WallMS: math.MaxInt64, Back: math.MaxUint32},
	} {
		if got, want := s.encode(), protocol.MustMarshal(s); !bytes.Equal(got, want) {
			t.Errorf("%+v: got %x, want %x", s, got, want)
		}
	}
}

// A lane's account on the disk is what Marshal makes of it.
func TestSavedAccountEncoding(t *testing.T) {
	for _, c := range []account{
		{},
		{Count: 23, Bytes: 24, Dropped: 255},
		{Count: 1, Thin: protocol.Mark{Boot: 1}},
		{256, math.MaxInt64, math.MaxUint64, []protocol.Gap{{Count: 7, Why: protocol.GapAge}, {}}, protocol.Mark{Boot: 3, Sequence: 1 << 20}},
	} {
		if got, want := c.encode(), protocol.MustMarshal(c); !bytes.Equal(got, want) {
			t.Errorf("%+v: got %x, want %x", c, got, want)
		}
	}
}

// The clock on the disk is what Marshal makes of it.
func TestSavedClockEncoding(t *testing.T) {
	for _, n := range []int64{0, 23, 24, -1, -300, math.MaxInt64, math.MinInt64} {
		for _, c := range []savedClock{{FloorMS: n, SteadyMS: 1, SealedMS: n}, {SteadyMS: n, Off: &n}} {
			if got, want := c.encode(), protocol.MustMarshal(c); !bytes.Equal(got, want) {
				t.Errorf("%+v: got %x, want %x", c, got, want)
			}
		}
	}
}

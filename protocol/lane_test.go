package protocol

import (
	"slices"
	"testing"
)

// Each lane has its place in the order of importance, and a name.
func TestLanes(t *testing.T) {
	all := Lanes()
	var names []string
	for of := LaneEvent; of < LaneEnd; of++ {
		if slices.Index(all[:], of) < 0 {
			t.Errorf("lane %d has no place", of)
		}
	}
	for _, of := range all {
		names = append(names, of.String())
	}
	if want := []string{"control", "alarm", "result", "audit", "event", "metric", "log"}; !slices.Equal(names, want) {
		t.Errorf("got %v, want %v", names, want)
	}
	for n := range 256 {
		of, ahead := Lane(n).Ahead()
		if want := n == 17 || n == 18 || n == 22; ahead != want || ahead && of != Lane(n-16) {
			t.Errorf("lane %d: of copies %v, of lane %s", n, ahead, of)
		}
	}
}

// What a lane for several kinds holds is told by the body, whole or with no more than it must have.
func TestLaneHolds(t *testing.T) {
	for _, s := range append(samples(), sample{"no event", "", Event{}}, sample{"no result", "", Result{}}) {
		var want Lane
		switch s.value.(type) {
		case Event:
			want = LaneEvent
		case Result:
			want = LaneResult
		default:
			continue
		}
		for of := LaneEvent; of <= LaneLog; of++ {
			if got := of.Holds(MustMarshal(s.value)); got != of {
				t.Errorf("%s in %s: got %s", s.name, of, got)
			}
		}
		for _, of := range []Lane{LaneAlarm, LaneControl} {
			if got := of.Holds(MustMarshal(s.value)); got != want {
				t.Errorf("%s in %s: got %s, want %s", s.name, of, got, want)
			}
		}
	}
	for _, body := range []Raw{nil, {0xff}, MustMarshal(1), MustMarshal(map[int]any{3: 1}), MustMarshal(map[int]any{1: 1})} {
		if got := LaneAlarm.Holds(body); got != LaneEvent {
			t.Errorf("%x: got %s", body, got)
		}
	}
}

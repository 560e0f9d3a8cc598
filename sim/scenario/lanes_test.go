package scenario

import (
	"slices"
	"strings"
	"testing"

	"github.com/stavily/stavily/protocol"
)

// A group says of the lanes that are not as on any agent what they keep, and what they do without room.
func TestLanes(t *testing.T) {
	text := strings.Replace(sink, "count: 20", "count: 20\n    lanes: {alarm: 2MB, metric: 100KiB  downsample}", 1)
	s, err := Parse("s.yaml", []byte(text), sinkFiles())
	if err != nil {
		t.Fatal(err)
	}
	want := []Lane{{Of: protocol.LaneAlarm, Bytes: 2e6}, {Of: protocol.LaneMetric, Bytes: 100 << 10, Drop: "downsample"}}
	if got := s.Fleet[0].Lanes; !slices.Equal(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if got := s.Fleet[1].Lanes; got != nil {
		t.Errorf("a group without any has %+v", got)
	}
}

package sim

import (
	"path/filepath"
	"testing"

	"github.com/stavily/stavily/sim/scenario"
)

// scaled are the sizes of the groups of scenarios that are larger than a test should be.
var scaled = map[string][]int{"reconnect-storm.yaml": {100}, "relabel.yaml": {100, 5}}

// Each scenario is an example and a test: it holds, and the same seed gives the same run. One
// that wants real connections holds; its run is another each time.
func TestScenarios(t *testing.T) {
	files, err := filepath.Glob("scenarios/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("%d scenarios, %v", len(files), err)
	}
	if testing.Short() {
		files = files[:1] // a world is one goroutine: the race detector finds nothing more in the others
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			s, err := scenario.Load(file)
			if err != nil {
				t.Fatal(err)
			}
			if s, err = s.Cut(scenario.Cut{Counts: scaled[filepath.Base(file)]}); err != nil {
				t.Fatal(err)
			}
			if s.Level == scenario.LevelBubble {
				bubble(t, s)
				return
			}
			first := runOnce(t, s, Options{})
			if again := runOnce(t, s, Options{}); again.Trace != first.Trace {
				t.Errorf("the same seed gave %s and then %s", first.Trace, again.Trace)
			}
			held(t, first)
		})
	}
}

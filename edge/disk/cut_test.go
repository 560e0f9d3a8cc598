package disk

import (
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/stavily/stavily/edge"
	"github.com/stavily/stavily/protocol"
)

// quiet is what tests log to.
var quiet = slog.New(slog.DiscardHandler)

// story is a journal at work and what it said: what it holds after each change, and which
// of them it promised last.
type story struct {
	fs       *cutFS
	random   *rand.Rand
	now      map[string]string
	states   []string // after each change
	promised int      // index of the state that survives
	lanes    [3]uint64
	gone     [3]uint64
	check    bool // what it holds after each change
	pinned   bool // the second lane lets go of nothing
	moved    uint64
}

func newStory(fs *cutFS, seed uint64) *story {
	s := &story{fs: fs, random: rand.New(rand.NewPCG(seed, 1)), now: map[string]string{}, pinned: seed%2 == 1}
	s.states = []string{dumpOf(s.now)}
	return s
}

func dumpOf(keys map[string]string) string {
	var b strings.Builder
	for _, k := range slices.Sorted(maps.Keys(keys)) {
		fmt.Fprintf(&b, "%s=%s\n", k, keys[k])
	}
	return b.String()
}

func dump(j *journal) string {
	var b strings.Builder
	j.scan("", "", func(key string, value []byte) bool {
		fmt.Fprintf(&b, "%s=%s\n", key, value)
		return true
	})
	return b.String()
}

// A few changes fill a segment, and a story some of them.
const (
	storySegment = 2048
	storyLength  = 80
)

// tell works on a journal until the power goes or n changes are done.
func (s *story) tell(n int) error {
	j, err := openJournal(s.fs, "j", quiet, storySegment)
	if err != nil {
		return err
	}
	j.slack = 0
	for range n {
		changes := s.changes()
		s.make(changes)
		s.states = append(s.states, dumpOf(s.now))
		now := s.random.IntN(3) == 0
		if err := j.applyLanes(changes, now); err != nil {
			return err
		}
		if now {
			s.promised = len(s.states) - 1
		}
		if s.random.IntN(10) == 0 {
			if err := j.sync(); err != nil {
				return err
			}
			s.promised = len(s.states) - 1
		}
		s.moved = j.moved
		if !s.check || s.promised < len(s.states)-1 {
			continue
		}
		if got, want := dump(j), s.states[len(s.states)-1]; got != want {
			return fmt.Errorf("change %d: holds\n%swant\n%s", len(s.states)-1, got, want)
		}
	}
	return j.close()
}

func (s *story) make(changes []edge.LaneChange) {
	for _, c := range changes {
		key := c.Key
		if c.Lane != 0 {
			key = edge.RecordKey(c.Lane, c.Mark)
		}
		if s.now[key] = string(c.Value); c.Value == nil {
			delete(s.now, key)
		}
		if c.Through {
			maps.DeleteFunc(s.now, func(k, _ string) bool { return strings.HasPrefix(k, lanePrefix(c.Lane)) && k < key })
		}
	}
}

// changes returns what an agent might change: records at the ends of lanes, the first ones
// let go, small keys set and removed, and now and then what is out of order.
func (s *story) changes() (all []edge.LaneChange) {
	add := func(c edge.Change) {
		of := laneChange(c)
		if c.Value == nil && of.Lane != 0 {
			of.Size = int64(len(s.now[c.Key]))
		}
		all = append(all, of)
	}
	for range 1 + s.random.IntN(4) {
		lane := protocol.Lane(1 + s.random.IntN(2))
		value := []byte(strings.Repeat(string('a'+rune(s.random.IntN(26))), s.random.IntN(300)))
		switch s.random.IntN(8) {
		case 0, 1, 2:
			s.lanes[lane]++
			add(edge.Change{Key: s.key(lane, s.lanes[lane]), Value: value})
		case 3, 4:
			if s.pinned {
				lane = 1
			}
			for range min(s.lanes[lane]-s.gone[lane], s.random.Uint64N(8)) {
				s.gone[lane]++
				add(edge.Change{Key: s.key(lane, s.gone[lane])})
			}
			if n := len(all) - 1; n >= 0 && all[n].Value == nil && all[n].Lane == lane && s.random.IntN(2) == 0 {
				all[n].Through = true
			}
		case 5:
			add(edge.Change{Key: fmt.Sprint("run/", s.random.IntN(6)), Value: value})
		case 6:
			add(edge.Change{Key: fmt.Sprint("run/", s.random.IntN(6))})
		default:
			m := s.random.Uint64N(s.lanes[lane] + 2) // anywhere in the lane, also where nothing is
			c := edge.Change{Key: s.key(lane, m), Value: value}
			if s.lanes[lane] = max(s.lanes[lane], m); s.random.IntN(2) == 0 {
				c.Value = nil
			}
			add(c)
		}
	}
	return all
}

func (s *story) key(lane protocol.Lane, n uint64) string {
	return edge.RecordKey(lane, protocol.Mark{Boot: 1 + n/50, Sequence: n})
}

// The power goes at every write, sync, renaming and cutting of a file, and takes all, none
// or any part of what was not synced: what was promised is there, whole and once, and
// nothing that was not said (D-4).
func TestPowerCut(t *testing.T) {
	for seed := range uint64(2) {
		whole := newStory(newCutFS(rand.New(rand.NewPCG(seed, 2))), seed)
		whole.check = true
		if err := whole.tell(storyLength); err != nil {
			t.Fatal(err)
		}
		if said := strings.Join(whole.fs.log, "\n"); strings.Count(said, "rename") < 2 {
			t.Fatal("no segments come and go: the story is too short")
		}
		if whole.pinned && whole.moved == 0 {
			t.Fatal("no segment was compacted")
		}
		for cut := 1; cut <= whole.fs.ops; cut++ {
			for leaves := leavesNone; leaves <= leavesEnd; leaves++ {
				cutOnce(t, seed, cut, leaves)
			}
		}
	}
}

func cutOnce(t *testing.T, seed uint64, cut, leaves int) {
	t.Helper()
	fs := newCutFS(rand.New(rand.NewPCG(seed, uint64(cut))))
	fs.cutAt = cut
	s := newStory(fs, seed)
	if err := s.tell(storyLength); err == nil {
		return // the cut would come after its end
	}
	where := fmt.Sprintf("seed %d, cut at %d (%s), leaves %d", seed, cut, fs.log[len(fs.log)-1], leaves)
	after := fs.survive(leaves)
	after.cutAt = 1 + fs.random.IntN(12) // and again while it is read
	if j, err := openJournal(after, "j", quiet, storySegment); err == nil {
		_ = j.close()
	}
	after = after.survive(fs.random.IntN(leavesEnd + 1))
	j, err := openJournal(after, "j", quiet, storySegment)
	if err != nil {
		t.Fatalf("%s: open: %v", where, err)
	}
	got := dump(j)
	if !slices.Contains(s.states[s.promised:], got) {
		t.Fatalf("%s: holds\n%swant what was promised last\n%s", where, got, s.states[s.promised])
	}
	if j.damage.Parts > 0 {
		t.Fatalf("%s: %+v was called damage", where, j.damage)
	}
	if err := j.apply([]edge.Change{{Key: "after", Value: []byte("the cut")}}, true); err != nil {
		t.Fatalf("%s: write: %v", where, err)
	}
	again, err := openJournal(after.survive(leavesNone), "j", quiet, storySegment)
	if err != nil {
		t.Fatalf("%s: open again: %v", where, err)
	}
	if want := "after=the cut\n" + got; dump(again) != want {
		t.Fatalf("%s: holds\n%safter another cut, want\n%s", where, dump(again), want)
	}
}

package runs

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stavily/stavily/hub/store"
	"github.com/stavily/stavily/protocol"
)

func TestRunFromEventAndResults(t *testing.T) {
	steps := []struct {
		name   protocol.StepName
		status protocol.Status
	}{{"cool", protocol.StatusOK}, {"tell", protocol.StatusOK}}
	for _, c := range []struct {
		name   string
		second protocol.Status
		last   bool
		want   Status
	}{
		{"all well", protocol.StatusOK, true, OK},
		{"second failed", protocol.StatusError, true, Error},
		{"second given up", protocol.StatusDropped, true, Dropped},
		{"second skipped", protocol.StatusSkipped, true, OK},
		{"last not here", protocol.StatusError, false, Running},
	} {
		for _, eventFirst := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, event first %v", c.name, eventFirst), func(t *testing.T) {
				s := openBooks(t)
				events := batchOf(protocol.LaneEvent, record(1, 1, eventOf(7)))
				results := batchOf(protocol.LaneResult,
					record(1, 1, resultOf(7, steps[0].name, protocol.StatusOK, false)),
					record(1, 2, resultOf(7, steps[1].name, c.second, c.last)))
				order := []protocol.Batch{events, results}
				if !eventFirst {
					slices.Reverse(order)
				}
				for _, b := range order {
					if _, fresh := accept(t, s, b); fresh != len(b.Records) {
						t.Fatalf("lane %s: %d new, want %d", b.Lane, fresh, len(b.Records))
					}
				}
				r := getRun(t, s, runID(7).String()[:8])
				if r.Status != c.want || r.Agent != gate.Agent || r.Workflow != "guard" || r.Revision != 3 {
					t.Errorf("got %+v, want status %s of agent %s", r, c.want, gate.Agent)
				}
				if string(r.Data) != `{"fan":"east","celsius":81}` || r.Started != stamp(7) {
					t.Errorf("data %s, started %v", r.Data, r.Started)
				}
				if len(r.Steps) != 2 || r.Steps[0].Name != "cool" || r.Steps[1].Status != c.second {
					t.Fatalf("steps %+v", r.Steps)
				}
				if failed := r.Steps[1].Error; (failed != nil) != (c.second == protocol.StatusError) ||
					failed != nil && failed.Code != protocol.CodeDeadline {
					t.Errorf("error %v", failed)
				}
			})
		}
	}
}

func TestAcceptCountsWhatIsMissing(t *testing.T) {
	s := openBooks(t)
	line := protocol.LogLine{Text: "hot"}
	for _, c := range []struct {
		boot, sequence uint64
		fresh          int
		missed         uint64
	}{
		{1, 1, 1, 0}, {1, 2, 1, 0}, {1, 2, 0, 0}, {1, 5, 1, 2}, {2, 1, 1, 2}, {1, 6, 0, 2}, {2, 1, 0, 2}, {
			3,
			4, 1, 5,
		},
	} {
		mark, fresh := accept(t, s, batchOf(protocol.LaneLog, record(c.boot, c.sequence, line)))
		if fresh != c.fresh || mark.Boot < c.boot {
			t.Errorf("%d/%d: %d new, mark %v, want %d new", c.boot, c.sequence, fresh, mark, c.fresh)
		}
		update(t, s, func(tx *store.Tx) error {
			lanes, err := Lanes(tx, gate.Agent)
			if err == nil && (len(lanes) != 1 || lanes[0].Missed != c.missed) {
				t.Errorf("%d/%d: lanes %+v, want %d missed", c.boot, c.sequence, lanes, c.missed)
			}
			return err
		})
	}
}

// A record that cannot be kept must not stand in the way of those behind it.
func TestPoisonGoesToQuarantine(t *testing.T) {
	long := strings.Repeat("x", protocol.DataMax+1)
	bad := map[string]protocol.Record{
		"not cbor":     {Mark: protocol.Mark{Boot: 1, Sequence: 2}, Body: protocol.Raw{0xff}},
		"empty":        {Mark: protocol.Mark{Boot: 1, Sequence: 2}},
		"other type":   record(1, 2, "text"),
		"no run":       record(1, 2, protocol.Event{Workflow: "guard"}),
		"bad workflow": record(1, 2, protocol.Event{Run: runID(2), Workflow: "Guard!"}),
		"long data": record(1, 2, protocol.Event{
			Run: runID(2), Workflow: "guard",
			Data: protocol.MustMarshal(long),
		}),
		"long body": record(1, 2, strings.Repeat("x", protocol.RecordMax+1)),
	}
	for name, poison := range bad {
		t.Run(name, func(t *testing.T) {
			s := openBooks(t)
			b := batchOf(protocol.LaneEvent, record(1, 1, eventOf(1)), poison, record(1, 3, eventOf(3)))
			mark, fresh := accept(t, s, b)
			if fresh != 3 || mark.Sequence != 3 {
				t.Fatalf("%d new, mark %v, want 3 and 3", fresh, mark)
			}
			getRun(t, s, runID(3).String())
			update(t, s, func(tx *store.Tx) error {
				refused, err := Quarantine(tx, "", 10)
				if err != nil {
					return err
				}
				if len(refused) != 1 || refused[0].Mark.Sequence != 2 || refused[0].Reason == "" ||
					refused[0].Lane != "event" {
					t.Errorf("quarantine %+v", refused)
				}
				lanes, err := Lanes(tx, gate.Agent)
				if err == nil && (lanes[0].Stored != 2 || lanes[0].Refused != 1) {
					t.Errorf("lanes %+v", lanes)
				}
				return err
			})
			if _, fresh := accept(t, s, b); fresh != 0 {
				t.Errorf("sent again: %d new", fresh)
			}
		})
	}
}

func TestBatchWrongAsAWhole(t *testing.T) {
	s := openBooks(t)
	many := make([]protocol.Record, protocol.BatchMax+1)
	for _, c := range []struct {
		batch protocol.Batch
		want  protocol.Code
	}{
		{batchOf(0), protocol.CodeBadMessage},
		{batchOf(protocol.LaneEnd), protocol.CodeBadMessage},
		{batchOf(protocol.LaneEvent, many...), protocol.CodeLimit},
	} {
		update(t, s, func(tx *store.Tx) error {
			if _, _, err := Accept(tx, gate, c.batch, epochTime); protocol.CodeOf(err) != c.want {
				t.Errorf("lane %d, %d records: %v, want %s", c.batch.Lane, len(c.batch.Records), err, c.want)
			}
			return nil
		})
	}
	if mark, fresh := accept(t, s, batchOf(protocol.LaneEvent)); fresh != 0 || mark != (protocol.Mark{}) {
		t.Errorf("empty batch: %d new, mark %v", fresh, mark)
	}
}

// No agent takes over the run of another, and none ends it unseen.
func TestRunBelongsToItsAgent(t *testing.T) {
	s := openBooks(t)
	accept(t, s, batchOf(protocol.LaneEvent, record(1, 1, eventOf(1))))
	thief := protocol.Address{Site: "plant", Agent: "thief"}
	forged := eventOf(1)
	forged.Workflow = "forged"
	update(t, s, func(tx *store.Tx) error {
		_, fresh, err := Accept(tx, thief, batchOf(protocol.LaneEvent, record(1, 1, forged)), epochTime)
		if fresh != 1 {
			t.Errorf("%d new, want 1: the thief's mark moves on", fresh)
		}
		return err
	})
	if r := getRun(t, s, runID(1).String()); r.Workflow != "guard" || r.Agent != gate.Agent {
		t.Errorf("got %+v", r)
	}
	update(t, s, func(tx *store.Tx) error {
		refused, err := Quarantine(tx, "thief", 10)
		if len(refused) != 1 {
			t.Errorf("quarantine %+v, want the forged event", refused)
		}
		return err
	})
}

// Whatever is sent again and however the lanes are mixed, the runs are the same.
func TestAcceptProperty(t *testing.T) {
	want, seeds := "", uint64(60)
	if testing.Short() {
		seeds = 8
	}
	for seed := range seeds {
		rng := rand.New(rand.NewPCG(seed, 1))
		s := openBooks(t)
		lanes := map[protocol.Lane][]protocol.Record{}
		for run := range uint64(12) {
			lanes[protocol.LaneEvent] = append(lanes[protocol.LaneEvent], record(1+run/6, 1+run%6, eventOf(run)))
			for step := range uint64(3) {
				status := protocol.Status(1 + (run+step)%4)
				at := run%6*3 + step + 1
				body := resultOf(run, protocol.StepName(fmt.Sprintf("step-%d", step)), status, step == 2)
				lanes[protocol.LaneResult] = append(lanes[protocol.LaneResult], record(1+run/6, at, body))
			}
		}
		sendAll(t, s, lanes, rng)
		got := dump(t, s)
		if want == "" {
			want = got
		}
		if got != want {
			t.Fatalf("seed %d: runs differ\n got %s\nwant %s", seed, got, want)
		}
	}
	if !strings.Contains(want, `"status":"error"`) || strings.Contains(want, `"status":"running"`) {
		t.Errorf("the sample shows too little: %s", want)
	}
}

// sendAll sends each lane in order, in batches of any size, and any earlier batch again
// at any time.
func sendAll(t *testing.T, s *store.Store, lanes map[protocol.Lane][]protocol.Record, rng *rand.Rand) {
	t.Helper()
	var sent []protocol.Batch
	next := map[protocol.Lane]int{}
	order := []protocol.Lane{protocol.LaneEvent, protocol.LaneResult}
	for len(order) > 0 {
		if len(sent) > 0 && rng.IntN(3) == 0 {
			if _, fresh := accept(t, s, sent[rng.IntN(len(sent))]); fresh != 0 {
				t.Fatalf("sent again: %d new", fresh)
			}
			continue
		}
		i := rng.IntN(len(order))
		lane := order[i]
		from := next[lane]
		to := min(len(lanes[lane]), from+1+rng.IntN(8))
		// The next batch may begin with what was acknowledged before.
		b := batchOf(lane, lanes[lane][max(0, from-rng.IntN(3)):to]...)
		if _, fresh := accept(t, s, b); fresh != to-from {
			t.Fatalf("lane %s: %d new, want %d", lane, fresh, to-from)
		}
		sent = append(sent, b)
		next[lane] = to
		if to == len(lanes[lane]) {
			order = slices.Delete(order, i, i+1)
		}
	}
}

// dump returns all runs by id with their steps.
func dump(t testing.TB, s *store.Store) string {
	t.Helper()
	var all []Run
	err := s.View(context.Background(), func(tx *store.Tx) error {
		list, err := List(tx, Filter{Limit: ListMax})
		for _, r := range list {
			whole, err := Get(tx, r.ID)
			if err != nil {
				return err
			}
			if whole.Status != r.Status {
				t.Errorf("run %s: %s in the list, %s alone", r.ID, r.Status, whole.Status)
			}
			all = append(all, whole)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(all, func(a, b Run) int { return strings.Compare(a.ID, b.ID) })
	b, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// Of two results of one step the later mark holds, in either order.
func TestAddInAnyOrder(t *testing.T) {
	first := record(1, 1, resultOf(1, "cool", protocol.StatusError, true))
	second := record(1, 2, resultOf(1, "cool", protocol.StatusOK, true))
	event := record(1, 1, eventOf(1))
	var want string
	for _, order := range [][]protocol.Record{
		{first, second}, {second, first}, {second, first, second}, {first, first, second},
	} {
		s := openBooks(t)
		update(t, s, func(tx *store.Tx) error {
			for _, r := range order {
				if err := AddResult(tx, gate.Agent, r, epochTime); err != nil {
					return err
				}
			}
			return AddEvent(tx, gate.Agent, event, epochTime)
		})
		got := dump(t, s)
		if want == "" {
			want = got
		}
		if got != want || !strings.Contains(got, `"status":"ok"`) {
			t.Errorf("got %s\nwant %s", got, want)
		}
	}
}

func TestListAndPrune(t *testing.T) {
	s := openBooks(t)
	for i := range uint64(10) {
		e := eventOf(i)
		if i%2 == 1 {
			e.Workflow = "odd"
		}
		r := resultOf(i, "cool", protocol.Status(1+i%3), i != 9)
		update(t, s, func(tx *store.Tx) error {
			at := epochTime.Add(time.Duration(i) * time.Hour)
			if err := AddEvent(tx, gate.Agent, record(1, i+1, e), at); err != nil {
				return err
			}
			return AddResult(tx, gate.Agent, record(1, i+1, r), at)
		})
	}
	for _, c := range []struct {
		name string
		f    Filter
		want []uint64
	}{
		{"all", Filter{}, []uint64{9, 8, 7, 6, 5, 4, 3, 2, 1, 0}},
		{"limit", Filter{Limit: 2}, []uint64{9, 8}},
		{"workflow", Filter{Workflow: "odd"}, []uint64{9, 7, 5, 3, 1}},
		{"agent", Filter{Agent: "other"}, nil},
		{"ok", Filter{Status: OK}, []uint64{6, 3, 0}},
		{"running", Filter{Status: Running}, []uint64{9}},
		{
			"error of odd since",
			Filter{Status: Error, Workflow: "odd", Since: epochTime.Add(2 * time.Hour)},
			[]uint64{7},
		},
		{"dropped", Filter{Status: Dropped}, []uint64{8, 5, 2}},
	} {
		t.Run(c.name, func(t *testing.T) {
			update(t, s, func(tx *store.Tx) error {
				got, err := List(tx, c.f)
				if err != nil {
					return err
				}
				var ids, want []string
				for _, r := range got {
					ids = append(ids, r.ID)
				}
				for _, n := range c.want {
					want = append(want, runID(n).String())
				}
				if !slices.Equal(ids, want) {
					t.Errorf("got %v, want %v", ids, want)
				}
				return nil
			})
		})
	}
	update(t, s, func(tx *store.Tx) error {
		if _, err := List(tx, Filter{Status: "bad"}); protocol.CodeOf(err) != protocol.CodeBadInput {
			t.Errorf("bad status: %v", err)
		}
		n, err := Prune(tx, epochTime.Add(4*time.Hour))
		if n != 2 || err != nil { // those that did not end well are kept as dead letters
			t.Errorf("pruned %d, %v, want 2", n, err)
		}
		dead, err := DeadLetters(tx, Filter{})
		if err != nil {
			return err
		}
		for i := range dead {
			if err := DropDead(tx, &dead[i]); err != nil {
				return err
			}
		}
		if n, err = Prune(tx, epochTime.Add(4*time.Hour)); n != 2 {
			t.Errorf("pruned %d without dead letters, want 2", n)
		}
		if left, _ := Count(tx); left != 6 {
			t.Errorf("%d left, want 6", left)
		}
		var steps int
		if err := tx.QueryRow("SELECT count(*) FROM run_step").Scan(&steps); err != nil || steps != 6 {
			t.Errorf("%d steps left (%v), want 6", steps, err)
		}
		return err
	})
}

func TestGetByPrefix(t *testing.T) {
	s := openBooks(t)
	a, b := eventOf(1), eventOf(2)
	copy(a.Run[:], []byte{0xab, 0xcd, 0x01})
	copy(b.Run[:], []byte{0xab, 0xcd, 0x02})
	accept(t, s, batchOf(protocol.LaneEvent, record(1, 1, a), record(1, 2, b)))
	for prefix, want := range map[string]protocol.Code{
		"abcd01": protocol.CodeOK, "ABCD02": protocol.CodeOK, "abcd0": protocol.CodeBadInput,
		"abc":  protocol.CodeBadInput,
		"abcz": protocol.CodeBadInput, "abce": protocol.CodeNotFound, a.Run.String(): protocol.CodeOK,
		a.Run.String() + "0": protocol.CodeBadInput, "": protocol.CodeBadInput,
	} {
		update(t, s, func(tx *store.Tx) error {
			if _, err := Get(tx, prefix); protocol.CodeOf(err) != want {
				t.Errorf("%q: %v, want %s", prefix, err, want)
			}
			return nil
		})
	}
}

func TestRingsAreBounded(t *testing.T) {
	s := openBooks(t)
	const total = LogLinesMax + 300
	for from := uint64(1); from <= total; from += 256 {
		var logs, metrics []protocol.Record
		for i := from; i < from+256 && i <= total; i++ {
			logs = append(logs, record(1, i, protocol.LogLine{Level: int8(i % 9), Text: fmt.Sprint(i)}))
			metrics = append(metrics, record(1, i, map[int]uint64{1: i}))
		}
		accept(t, s, batchOf(protocol.LaneLog, logs...))
		accept(t, s, batchOf(protocol.LaneMetric, metrics...))
	}
	accept(t, s, batchOf(protocol.LaneAudit, record(1, 1, protocol.Audit{
		Plugin:     "p",
		Capability: "dns.resolve", Denied: 3,
	})))
	update(t, s, func(tx *store.Tx) error {
		lines, err := LogLines(tx, gate.Agent, -8, 2*total)
		if err != nil || len(lines) != LogLinesMax || lines[0].Text != fmt.Sprint(total) {
			t.Errorf("%d lines (%v), want %d", len(lines), err, LogLinesMax)
		}
		if loud, err := LogLines(tx, gate.Agent, 8, 3); err != nil || len(loud) != 3 || loud[2].Level != 8 {
			t.Errorf("loud lines %+v (%v)", loud, err)
		}
		all, err := MetricsOf(tx, gate.Agent, 2*total)
		if err != nil || len(all) != MetricsMax {
			t.Errorf("%d metrics (%v), want %d", len(all), err, MetricsMax)
		}
		newest, err := LatestMetrics(tx, gate.Agent)
		if err != nil || string(newest.Data) != fmt.Sprintf(`{"1":%d}`, total) {
			t.Errorf("newest %s (%v)", newest.Data, err)
		}
		audits, err := Audits(tx, "", 10)
		if err != nil || len(audits) != 1 || audits[0].Denied != 3 || audits[0].Agent != gate.Agent {
			t.Errorf("audits %+v (%v)", audits, err)
		}
		if err := Forget(tx, gate.Agent); err != nil {
			return err
		}
		if _, err := LatestMetrics(tx, gate.Agent); protocol.CodeOf(err) != protocol.CodeNotFound {
			t.Errorf("after Forget: %v", err)
		}
		mark, err := Mark(tx, gate.Agent, 1, protocol.LaneLog)
		if mark != (protocol.Mark{}) {
			t.Errorf("after Forget: mark %v", mark)
		}
		return err
	})
}

func TestSetMark(t *testing.T) {
	s := openBooks(t)
	want := protocol.Mark{Boot: 1<<64 - 1, Sequence: 1<<63 + 5} // counters use all 64 bits
	update(t, s, func(tx *store.Tx) error {
		return SetMark(tx, "a", protocol.LaneAck{Epoch: 2, Lane: protocol.LaneAudit, Mark: want})
	})
	update(t, s, func(tx *store.Tx) error {
		got, err := Mark(tx, "a", 2, protocol.LaneAudit)
		if other, _ := Mark(tx, "a", 3, protocol.LaneAudit); got != want || other != (protocol.Mark{}) {
			t.Errorf("got %v and %v", got, other)
		}
		return err
	})
}

func FuzzAccept(f *testing.F) {
	f.Add(protocol.MustMarshal(batchOf(protocol.LaneEvent, record(1, 1, eventOf(1)))))
	f.Add(protocol.MustMarshal(batchOf(protocol.LaneResult, record(1, 1, resultOf(1, "a", protocol.StatusOK,
		true)))))
	f.Add(protocol.MustMarshal(batchOf(protocol.LaneMetric, record(1, 1, map[string]any{"a": 1.5}))))
	f.Add(protocol.MustMarshal(batchOf(protocol.LaneLog, record(1, 1, protocol.LogLine{Text: "x"}))))
	f.Add(protocol.MustMarshal(batchOf(protocol.LaneAudit, record(1, 1, protocol.Audit{Capability: "x"}))))
	s := openBooks(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		var batch protocol.Batch
		if protocol.Unmarshal(b, &batch) != nil {
			return
		}
		tx, err := s.Begin(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		defer tx.Rollback()
		ack, fresh, err := Accept(tx, gate, batch, epochTime)
		if err != nil {
			if code := protocol.CodeOf(err); code != protocol.CodeBadMessage && code != protocol.CodeLimit {
				t.Fatalf("a batch made the store fail: %v", err)
			}
			return
		}
		again, none, err := Accept(tx, gate, batch, epochTime)
		if err != nil || none != 0 || again != ack || fresh > len(batch.Records) {
			t.Fatalf("sent again: %d new, ack %v then %v, %v", none, ack, again, err)
		}
		if _, err := List(tx, Filter{}); err != nil {
			t.Fatal(err)
		}
	})
}

func FuzzJSON(f *testing.F) {
	for _, v := range []any{
		1, -7, uint64(1 << 63), "a",
		[]byte{1},
		1.5,
		[]any{nil, true},
		map[any]any{1: "x", "y": 2},
	} {
		f.Add(protocol.MustMarshal(v))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		out := JSON(b)
		if len(b) > 0 && !json.Valid(out) {
			t.Fatalf("%x gave %q", b, out)
		}
		var raw protocol.Raw
		if protocol.Unmarshal(b, &raw) == nil && len(b) > 0 && bytes.HasPrefix(out, []byte(`{"not-cbor"`)) {
			t.Fatalf("%x is CBOR, gave %s", b, out)
		}
	})
}

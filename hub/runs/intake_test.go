package runs

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stavily/stavily/hub/store"
	"github.com/stavily/stavily/protocol"
)

// books is a hub's way with an intake: a transaction that begins when it is needed.
type books struct {
	t  *testing.T
	s  *store.Store
	tx *store.Tx
	in *Intake
}

func newBooks(t *testing.T) *books {
	t.Helper()
	return &books{t: t, s: openBooks(t), in: NewIntake()}
}

func (b *books) begin() (tx *store.Tx, err error) {
	if b.tx == nil {
		if err := b.in.Join(); err != nil {
			return nil, err
		}
		b.tx, err = b.s.Begin(context.Background())
	}
	return b.tx, err
}

// aside has what waits be written beside what comes next.
func (b *books) aside() {
	b.t.Helper()
	tx, err := b.begin()
	if err != nil {
		b.t.Fatal(err)
	}
	b.tx = nil
	b.in.WriteAside(tx, func(work func()) { go work() }, func(*store.Tx) error { return nil })
	b.in.Kept()
}

func (b *books) commit() {
	b.t.Helper()
	tx, err := b.begin()
	if err == nil {
		err = b.in.Write(tx)
	}
	if err == nil {
		err = tx.Commit()
	}
	if err != nil {
		b.t.Fatal(err)
	}
	b.in.Kept()
	b.tx = nil
}

func (b *books) rollback() {
	if b.tx != nil {
		b.tx.Rollback()
	}
	b.tx = nil
	b.in.Drop()
}

func (b *books) accept(batch protocol.Batch) int {
	b.t.Helper()
	_, fresh, err := b.in.Accept(b.begin, gate, batch, epochTime)
	if err != nil {
		b.t.Fatal(err)
	}
	return fresh
}

// However batches are gathered, held, written or lost before they were kept and sent
// again, the books are the same as with a commit for each.
func TestIntakeProperty(t *testing.T) {
	var all []protocol.Batch
	for from := uint64(0); from < 90; from += 3 {
		var events, results []protocol.Record
		for run := from; run < from+3; run++ {
			events = append(events, record(1, run+1, eventOf(run)))
			for step := range uint64(3) {
				body := resultOf(run, protocol.StepName(fmt.Sprint("step-", step)),
					protocol.Status(1+(run+step)%4), step == 2)
				results = append(results, record(1, run*3+step+1, body))
			}
		}
		// A step that a later record replaces, also when its run is in the books.
		again := resultOf(from/2, "step-0", protocol.StatusOK, false)
		all = append(all, batchOf(protocol.LaneEvent, events...), batchOf(protocol.LaneResult, results...))
		if from > 6 && from%2 == 0 {
			results = append(results[:0:0], record(2, from, again))
			all = append(all, protocol.Batch{Epoch: 2, Lane: protocol.LaneResult, Records: results})
		}
	}
	plain := openBooks(t)
	for _, b := range all {
		accept(t, plain, b)
	}
	want := dump(t, plain)
	for seed := range uint64(12) {
		b, rng := newBooks(t), rand.New(rand.NewPCG(seed, 2))
		kept := 0 // batches whose acknowledgement may have left
		for at := 0; at < len(all); {
			if b.accept(all[at]) != len(all[at].Records) || b.accept(all[at]) != 0 {
				t.Fatalf("seed %d: batch %d: not taken once", seed, at)
			}
			at++
			switch rng.IntN(8) {
			case 0, 1, 2:
				b.in.Hold()
				kept = at
			case 3:
				b.commit()
				kept = at
			case 4:
				b.rollback()
				at = kept
			case 5:
				b.aside()
				kept = at
			}
		}
		b.commit()
		if got := dump(t, b.s); got != want {
			t.Fatalf("seed %d: runs differ\n got %s\nwant %s", seed, got, want)
		}
	}
}

// What is held is not lost with a transaction, and what was written and not committed is
// not believed.
func TestIntakeSpills(t *testing.T) {
	b := newBooks(t)
	var sequence uint64
	fill := func() (batches int) {
		for ; b.in.fresh.size() > 0 || batches == 0; batches++ {
			var records []protocol.Record
			for range protocol.BatchMax {
				sequence++
				records = append(records, record(1, sequence, eventOf(sequence)))
			}
			b.accept(batchOf(protocol.LaneEvent, records...))
		}
		return batches
	}
	if n := fill(); n*protocol.BatchMax != spillMax {
		t.Fatalf("spilled after %d batches", n)
	}
	b.rollback()
	sequence = 0
	fill()
	b.commit()
	update(t, b.s, func(tx *store.Tx) error {
		n, err := Count(tx)
		if n != spillMax {
			t.Errorf("%d runs, want %d: those of the lost transaction, taken again", n, spillMax)
		}
		return err
	})
}

// A run of a whole fleet does not make a row that grows with each step.
func TestWideRun(t *testing.T) {
	b := newBooks(t)
	b.accept(batchOf(protocol.LaneEvent, record(1, 1, eventOf(1))))
	const agents = 3 * inRowMax
	for i := range agents {
		from := protocol.Address{Site: gate.Site, Agent: protocol.AgentName(fmt.Sprintf("agent-%03d", i))}
		_, _, err := b.in.Accept(b.begin, from, batchOf(protocol.LaneResult,
			record(1, 1, resultOf(1, "cool", protocol.StatusOK, i == agents-1))), epochTime)
		if err != nil {
			t.Fatal(err)
		}
		if i == agents/2 {
			b.commit()
		}
	}
	b.commit()
	if r := getRun(t, b.s, runID(1).String()); len(r.Steps) != agents || r.Status != OK {
		t.Errorf("%d steps, %s, want %d and ok", len(r.Steps), r.Status, agents)
	}
}

// An event of a run that is another's is refused wherever the two meet: in memory, in
// what is held, in the books.
func TestIntakeRefusesATakeover(t *testing.T) {
	for name, between := range map[string]func(b *books){
		"fresh": func(*books) {}, "held": func(b *books) { b.in.Hold() }, "written": (*books).commit,
		"written aside": (*books).aside,
	} {
		for _, aside := range []bool{false, true} {
			t.Run(fmt.Sprint(name, aside), func(t *testing.T) { refusesTakeover(t, between, aside) })
		}
	}
}

// refusesTakeover has the same event come from its agent and then from another, which is written
// aside or not.
func refusesTakeover(t *testing.T, between func(b *books), aside bool) {
	thief, b := protocol.Address{Site: gate.Site, Agent: "thief"}, newBooks(t)
	b.accept(batchOf(protocol.LaneEvent, record(1, 1, eventOf(1))))
	between(b)
	forged := eventOf(1)
	forged.Workflow = "forged"
	_, fresh, err := b.in.Accept(b.begin, thief, batchOf(protocol.LaneEvent, record(1, 1, forged)), epochTime)
	if err != nil || fresh != 1 {
		t.Fatalf("%d new, %v", fresh, err)
	}
	if aside {
		b.aside()
	}
	b.commit()
	if r := getRun(t, b.s, runID(1).String()); r.Workflow != "guard" || r.Agent != gate.Agent {
		t.Errorf("got %+v", r)
	}
	update(t, b.s, func(tx *store.Tx) error {
		refused, err := Quarantine(tx, thief.Agent, 10)
		lanes, _ := Lanes(tx, thief.Agent)
		if len(refused) != 1 || len(lanes) != 1 || lanes[0].Refused != 1 || lanes[0].Stored != 0 {
			t.Errorf("quarantine %+v, lanes %+v", refused, lanes)
		}
		return err
	})
}

// The marks of lanes may stay in memory while the rows are written; they are in the books after
// the next whole write, and not lost by what is dropped in between.
func TestIntakeWritesRowsAlone(t *testing.T) {
	b := newBooks(t)
	inBooks := func() (mark protocol.Mark) {
		t.Helper()
		update(t, b.s, func(tx *store.Tx) (err error) {
			mark, err = Mark(tx, gate.Agent, 1, protocol.LaneEvent)
			return err
		})
		return mark
	}
	batch := func(n uint64) protocol.Batch { return batchOf(protocol.LaneEvent, record(1, n, eventOf(n))) }
	b.accept(batch(1))
	tx, err := b.begin()
	if err == nil {
		err = b.in.WriteRows(tx)
	}
	if err == nil {
		err = tx.Commit()
	}
	if err != nil {
		t.Fatal(err)
	}
	b.in.Kept()
	b.tx = nil
	if got := inBooks(); got != (protocol.Mark{}) {
		t.Errorf("mark in the books: %+v, want none yet", got)
	}
	getRun(t, b.s, runID(1).String())
	b.accept(batch(2))
	b.rollback()
	if n := b.accept(batch(1)); n != 0 {
		t.Errorf("%d records of a batch that is known were new", n)
	}
	b.commit()
	if got, want := inBooks(), (protocol.Mark{Boot: 1, Sequence: 1}); got != want {
		t.Errorf("mark in the books: %+v, want %+v", got, want)
	}
}

package main

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"go.etcd.io/bbolt"

	"github.com/stavily/stavily/edge"
	"github.com/stavily/stavily/edge/disk"
	"github.com/stavily/stavily/protocol"
)

const (
	eventBytes = 200
	wakeEvents = 64 // events of one wake, which go to the disk as one
	putRounds  = 5
	putTime    = time.Second // of each round
	atRisk     = 9 * time.Millisecond
)

// durablePut is N13: events of 200 bytes put on the agent's disk: each there for certain
// before the next begins, alone and 64 at a time, and alone with at most 10 ms of them at
// risk. Beside it bbolt with one event a commit, in the same folder and in turn.
func durablePut(b *bench) ([]line, error) {
	store, err := disk.Open(b.path("store"), nil)
	if err != nil {
		return nil, err
	}
	defer store.Close()
	db, err := bbolt.Open(b.path("bare.db"), 0o600, nil)
	if err != nil {
		return nil, err
	}
	defer db.Close()
	bare := &puts{b: b, events: 1, put: func(changes []edge.Change) error { return putBare(db, changes) }}
	one := &puts{b: b, events: 1, put: store.Apply, lane: protocol.LaneEvent}
	many := &puts{b: b, events: wakeEvents, put: store.Apply, lane: protocol.LaneResult}
	soon := &puts{b: b, events: 1, put: putSoon(store), lane: protocol.LaneMetric}
	for range putRounds {
		for _, p := range []*puts{bare, one, many, soon} {
			if err := p.round(); err != nil {
				return nil, err
			}
		}
	}
	base, baseBytes := median(bare.rates), median(bare.bytes)
	const (
		rate    = "durable puts on the agent, "
		wrote   = "written per event of 200 B, "
		single  = "one at a time"
		atOnce  = "64 at a time"
		waits   = "one at a time, 10 ms at risk"
		beside  = "bbolt, one event a commit"
		fewest  = 20_000
		biggest = 1.15 * eventBytes
	)
	return []line{
		{rate + single, median(one.rates), "/s", beside, base, atLeast(fewest)},
		{rate + atOnce, median(many.rates), "/s", beside, base, atLeast(fewest)},
		{rate + waits, median(soon.rates), "/s", beside, base, atLeast(fewest)},
		{wrote + single, median(one.bytes), "B", beside, baseBytes, atMost(biggest)},
		{wrote + atOnce, median(many.bytes), "B", beside, baseBytes, atMost(biggest)},
		{wrote + waits, median(soon.bytes), "B", beside, baseBytes, atMost(biggest)},
	}, nil
}

func putBare(db *bbolt.DB, changes []edge.Change) error {
	return db.Update(func(tx *bbolt.Tx) error {
		bucket, err := tx.CreateBucketIfNotExists([]byte("kv"))
		if err != nil {
			return err
		}
		for _, c := range changes {
			if err := bucket.Put([]byte(c.Key), c.Value); err != nil {
				return err
			}
		}
		return nil
	})
}

// recordKey is the key of a record as an agent names it.
func recordKey(lane protocol.Lane, n uint64) string {
	return fmt.Sprintf("out/%d/%016x/%016x", lane, 1, n)
}

// putSoon returns a put after which at most the last 10 ms are not on the disk yet.
func putSoon(store *disk.Store) func([]edge.Change) error {
	synced := time.Now()
	return func(changes []edge.Change) error {
		if err := store.ApplyLater(changes); err != nil || time.Since(synced) < atRisk {
			return err
		}
		err := store.Sync()
		synced = time.Now()
		return err
	}
}

// puts is one way to put events, and what its rounds came to.
type puts struct {
	b      *bench
	put    func([]edge.Change) error
	lane   protocol.Lane
	events int // at once
	next   uint64
	rates  []float64 // events a second
	bytes  []float64 // written for each event
}

// round puts for putTime.
func (p *puts) round() error {
	value := make([]byte, eventBytes)
	wrote, err := written()
	if err != nil {
		return err
	}
	n, began := 0, time.Now()
	for time.Since(began) < putTime && p.b.ctx.Err() == nil {
		changes := make([]edge.Change, p.events)
		for i := range changes {
			p.next++
			changes[i] = edge.Change{Key: recordKey(p.lane, p.next), Value: value}
		}
		if err := p.put(changes); err != nil {
			return err
		}
		n += p.events
	}
	took := time.Since(began)
	after, err := written()
	if err != nil {
		return err
	}
	p.rates = append(p.rates, float64(n)/took.Seconds())
	p.bytes = append(p.bytes, (after-wrote)/float64(n))
	return nil
}

// written returns the bytes that this process has handed to files so far.
func written() (float64, error) {
	text, err := os.ReadFile("/proc/self/io")
	if err != nil {
		return 0, err
	}
	for l := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(l, "wchar: "); ok {
			return strconv.ParseFloat(strings.TrimSpace(value), 64)
		}
	}
	return 0, errors.New("/proc/self/io: no wchar in it")
}

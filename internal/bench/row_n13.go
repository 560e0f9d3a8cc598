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
)

const (
	eventBytes = 200
	wakeEvents = 64 // events of one wake, which go to the disk as one
	putRounds  = 5
	putTime    = time.Second // of each round
)

// durablePut is N13: events of 200 bytes put on the agent's disk, each put there for
// certain before the next begins, alone and 64 at a time. Beside it bbolt with one
// event a commit, in the same folder and in turn.
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
	one := &puts{b: b, events: 1, put: store.Apply}
	many := &puts{b: b, events: wakeEvents, put: store.Apply}
	for range putRounds {
		for _, p := range []*puts{bare, one, many} {
			if err := p.round(); err != nil {
				return nil, err
			}
		}
	}
	base, baseBytes := median(bare.rates), median(bare.bytes)
	const (
		rate    = "durable puts on the agent, "
		wrote   = "written per event of 200 B, "
		atOnce  = "64 at a time"
		beside  = "bbolt, one event a commit"
		fewest  = 20_000
		biggest = 1.15 * eventBytes
	)
	return []line{
		{rate + "one at a time", median(one.rates), "/s", beside, base, atLeast(fewest)},
		{rate + atOnce, median(many.rates), "/s", beside, base, atLeast(fewest)},
		{wrote + "one at a time", median(one.bytes), "B", beside, baseBytes, atMost(biggest)},
		{wrote + atOnce, median(many.bytes), "B", beside, baseBytes, atMost(biggest)},
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

// puts is one way to put events, and what its rounds came to.
type puts struct {
	b      *bench
	put    func([]edge.Change) error
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
			changes[i] = edge.Change{Key: fmt.Sprintf("lane/1/%016x", p.next), Value: value}
			p.next++
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

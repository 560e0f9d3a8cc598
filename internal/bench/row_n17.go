package main

import (
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/stavily/stavily/edge"
	"github.com/stavily/stavily/edge/disk"
	"github.com/stavily/stavily/internal/bench/station"
	"github.com/stavily/stavily/protocol"
)

const (
	bootRounds = 9
	backlogMax = 1_000_000
)

// bootTime is N17: from the opening of the state directory to the first answer of a
// trigger, without a line, with a million records that the hub does not have, and with
// none. Both directories hold the same workflow and the same compiled modules.
func bootTime(b *bench) ([]line, error) {
	empty, err := b.newCourse(inRust, 1, 50)
	if err != nil {
		return nil, err
	}
	full := *empty
	empty.state, full.state = "boot-empty", "boot-full"
	for _, c := range []*course{empty, &full} {
		if err := c.settle(); err != nil {
			return nil, err
		}
	}
	if err := fillLane(b.path(full.state), backlogMax); err != nil {
		return nil, err
	}
	value, base, err := inTurn(bootRounds, full.firstWake, empty.firstWake)
	name := fmt.Sprintf("boot to first trigger, %d records of backlog", backlogMax)
	return []line{{name, value, "ms", "without backlog", base, ratioAtMost(1.2)}}, err
}

// settle has an agent take the workflow and run it once.
func (c *course) settle() error {
	s, err := station.Open(c.ctx, c.path(c.state), c.hub)
	if err != nil {
		return err
	}
	return errors.Join(c.rung("the first output", s.Out), s.Close())
}

// firstWake returns how long an agent takes to its first trigger, in ms.
func (c *course) firstWake() (float64, error) {
	began := time.Now()
	s, err := station.Open(c.ctx, c.path(c.state), nil)
	if err != nil {
		return math.NaN(), err
	}
	select {
	case <-s.Woke:
	case <-c.ctx.Done():
		err = c.ctx.Err()
	}
	took := time.Since(began)
	return took.Seconds() * 1000, errors.Join(err, s.Close())
}

// fillLane puts n records of events on an agent's disk, behind those that are there, and
// what the agent says of its lane.
func fillLane(dir string, n uint64) error {
	store, err := disk.Open(dir, nil)
	if err != nil {
		return err
	}
	value := make([]byte, eventBytes)
	for i := uint64(0); i < n && err == nil; {
		var changes []edge.Change
		for range wakeEvents {
			i++
			changes = append(changes, edge.Change{Key: recordKey(protocol.LaneEvent, 1<<32+i), Value: value})
		}
		err = store.ApplyLater(changes)
	}
	if err == nil {
		size := int64(len(recordKey(protocol.LaneEvent, 0)) + eventBytes)
		err = store.Apply([]edge.Change{{Key: "lane/1", Value: protocol.MustMarshal(struct {
			Count   uint64 `cbor:"1,keyasint"`
			Bytes   int64  `cbor:"2,keyasint"`
			Dropped uint64 `cbor:"3,keyasint"`
		}{n, int64(n) * size, 0})}})
	}
	return errors.Join(err, store.Close())
}

package main

import (
	"sync/atomic"
	"time"

	"github.com/stavily/stavily/edge/credentials"
	"github.com/stavily/stavily/edge/mqtt"
)

// clock is the time that TLS goes by: the machine's, or the floor when that is later.
// A device without a clock begins in 1970 and would believe no certificate.
type clock struct{ floor atomic.Int64 } // ms since 1970

func (c *clock) raise(t time.Time) {
	if ms := t.UnixMilli(); ms > c.floor.Load() {
		c.floor.Store(ms)
	}
}

func (c *clock) now() time.Time {
	now, floor := time.Now(), time.UnixMilli(c.floor.Load())
	if now.Before(floor) {
		return floor
	}
	return now
}

// trust is whom to believe at the other end, and how that is found.
type trust struct {
	credentials.Trust
	look mqtt.Browse // for the gateways that pass on to the hub; nil: nobody does
}

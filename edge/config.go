package edge

import (
	"time"

	"github.com/stavily/stavily/protocol"
)

// Config is what an agent is and how patient it is. It does not change while the
// agent lives.
type Config struct {
	// Address and Epoch are the agent's enrolment; Keyring holds the keys it believes.
	Address protocol.Address
	Epoch   uint64
	Keyring protocol.Keyring
	// Device is what the agent says of itself. Device.Platform chooses artifacts.
	Device protocol.Device
	// Native says that Plugins can run native artifacts. Without it only WASM loads.
	Native bool
	// Policy bounds what any hub can grant on this device (C-8).
	Policy Policy
	// Build is when this program was built: no time before it is believed.
	Build time.Time

	// MissedMax bounds the firings that catch-up "all" brings back in a row; the rest are counted
	// as limited.
	MissedMax int
	// RunsMax bounds the runs of one workflow that wait; at the bound its trigger is
	// not woken until they drain.
	RunsMax int
	// RunsAtOnce is how many runs of one workflow are asked the same step together, when
	// that many wait; four times as many of a step that is quick. 0 and 1 mean one at a time.
	RunsAtOnce int
	// LaneBytes bounds each lane's records on disk, in bytes; the oldest go first.
	LaneBytes [protocol.LaneEnd]int64
	// LaneAge is how long a lane keeps a record that the hub does not have, by the steady clock,
	// which does not count how long a device without a clock was off. 0: until there is no room.
	LaneAge [protocol.LaneEnd]time.Duration
	// LaneDrop is what a lane does that is over its bytes. DropNone is for lanes of events, DropThin
	// for those of which a part says something: events, metrics and log lines.
	LaneDrop [protocol.LaneEnd]Drop
	// BatchBytes bounds one batch of records on the wire.
	BatchBytes int
	// Gather is how long the first record that waits for the hub waits for others, in all
	// lanes, so that what belongs together leaves together. 0: it leaves at once.
	Gather time.Duration
	// Risk is how long what may be told again after a power cut, or was never seen outside, waits
	// for others to go to the disk with, where the Store is a LaneStore. 0: all goes at once, for a
	// medium whose syncs cost nothing.
	Risk time.Duration
	// FetchAhead is how many chunks are asked for before they arrived.
	FetchAhead uint32

	// AckWait is how long an acknowledgement may take before a batch goes again; it
	// doubles up to PauseMax.
	AckWait time.Duration
	// FetchWait is how long the next chunk may take before it is asked for again.
	FetchWait time.Duration
	// PauseMin and PauseMax bound the pause before anything that went wrong is tried
	// again; it doubles from the one to the other.
	PauseMin, PauseMax time.Duration
	// LoadTries is how often loading an assignment is tried before it is left failed.
	LoadTries int
	// CallGrace is how much longer than its own timeout a call may take before the
	// agent gives it up and loads the instance afresh. LoadWait is the same for loads.
	CallGrace, LoadWait time.Duration
	// Heartbeat is how often the reported document goes without a change, and Metrics how
	// often figures are recorded, where the desired document does not say. Metrics of 0
	// means never.
	Heartbeat, Metrics time.Duration
}

// DefaultConfig returns a Config that lacks only the enrolment and the device.
func DefaultConfig() Config {
	c := Config{
		Policy:     DefaultPolicy(),
		RunsMax:    1024,
		MissedMax:  10_000,
		RunsAtOnce: 64,
		BatchBytes: 64 << 10,
		Gather:     50 * time.Millisecond,
		Risk:       10 * time.Millisecond,
		FetchAhead: 4,
		AckWait:    20 * time.Second,
		FetchWait:  20 * time.Second,
		PauseMin:   time.Second,
		PauseMax:   5 * time.Minute,
		LoadTries:  10,
		CallGrace:  30 * time.Second,
		LoadWait:   15 * time.Minute,
		Heartbeat:  5 * time.Minute,
		Metrics:    5 * time.Minute,
	}
	for lane := range c.LaneBytes {
		c.LaneBytes[lane] = 4 << 20
	}
	c.LaneBytes[protocol.LaneEvent] = 32 << 20
	c.LaneBytes[protocol.LaneResult] = 64 << 20
	c.LaneBytes[protocol.LaneAlarm] = 32 << 20
	c.LaneAge[protocol.LaneMetric] = 90 * day
	c.LaneAge[protocol.LaneLog] = 30 * day
	return c
}

// Validate returns an error that names the first field out of its bounds.
func (c *Config) Validate() error {
	if err := c.Address.Check(); err != nil {
		return err
	}
	positive := []struct {
		field string
		value int64
	}{
		{"Epoch", int64(c.Epoch)},
		{"RunsMax", int64(c.RunsMax)},
		{"MissedMax", int64(c.MissedMax)},
		{"BatchBytes", int64(c.BatchBytes)},
		{"FetchAhead", int64(c.FetchAhead)},
		{"AckWait", int64(c.AckWait)},
		{"FetchWait", int64(c.FetchWait)},
		{"PauseMin", int64(c.PauseMin)},
		{"LoadTries", int64(c.LoadTries)},
		{"CallGrace", int64(c.CallGrace)},
		{"LoadWait", int64(c.LoadWait)},
		{"Heartbeat", int64(c.Heartbeat)},
	}
	for _, p := range positive {
		if p.value <= 0 {
			return protocol.Errorf(protocol.CodeBadInput, "config: %s: want above 0, got %d", p.field, p.value)
		}
	}
	switch {
	case c.Risk < 0 || c.Risk > time.Second:
		return protocol.Errorf(protocol.CodeBadInput, "config: Risk %s: want 0 to 1s", c.Risk)
	case c.Metrics < 0:
		return protocol.Errorf(protocol.CodeBadInput, "config: Metrics %s: below 0", c.Metrics)
	case c.PauseMax < c.PauseMin:
		return protocol.Errorf(protocol.CodeBadInput, "config: PauseMax %s: below PauseMin %s",
			c.PauseMax, c.PauseMin)
	case c.FetchAhead > protocol.FetchAheadMax:
		return protocol.Errorf(protocol.CodeLimit, "config: FetchAhead %d: limit FetchAheadMax %d",
			c.FetchAhead, protocol.FetchAheadMax)
	case c.BatchBytes > protocol.MessageMax-4096:
		return protocol.Errorf(protocol.CodeLimit, "config: BatchBytes %d: limit %d",
			c.BatchBytes, protocol.MessageMax-4096)
	case c.Device.Platform == "":
		return protocol.Errorf(protocol.CodeBadInput, "config: Device.Platform: empty")
	}
	return c.CheckLines()
}

// CheckLines is the part of Validate about what leaves for the hub: Gather and the lanes.
func (c *Config) CheckLines() error {
	if c.Gather < 0 || c.Gather > time.Minute {
		return protocol.Errorf(protocol.CodeBadInput, "config: Gather %s: want 0 to 1m", c.Gather)
	}
	for lane := protocol.LaneEvent; lane < protocol.LaneEnd; lane++ {
		switch {
		case c.LaneBytes[lane] < 2*protocol.RecordMax:
			return protocol.Errorf(protocol.CodeBadInput, "config: LaneBytes of lane %s: want %d or more, got %d",
				lane, 2*protocol.RecordMax, c.LaneBytes[lane])
		case c.LaneAge[lane] != 0 && c.LaneAge[lane] < ageLeast:
			return protocol.Errorf(protocol.CodeBadInput, "config: LaneAge of lane %s: want 0 or %s or more, got %s",
				lane, ageLeast, c.LaneAge[lane])
		case !c.LaneDrop[lane].suits(lane):
			return protocol.Errorf(protocol.CodeBadInput, "config: LaneDrop of lane %s: %s is not for it",
				lane, c.LaneDrop[lane])
		}
	}
	return nil
}

// suits reports whether a lane can do so.
func (d Drop) suits(of protocol.Lane) bool {
	switch of {
	case protocol.LaneEvent:
		return d <= DropThin
	case protocol.LaneAlarm:
		return d <= DropNone
	default:
		return d <= DropNewest || d == DropThin && (of == protocol.LaneMetric || of == protocol.LaneLog)
	}
}

// ageLeast is the least age that a lane can have: below it, records would go that are only slow.
const ageLeast = time.Minute

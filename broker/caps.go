package broker

import (
	"fmt"
	"time"

	"github.com/stavily/stavily/protocol"
)

// Caps bounds what all connections together, and each alone, may cost the hub.
type Caps struct {
	Connections   int           // at once, all listeners together; Dial is not counted
	PerIP         int           // at once from one IP address, joins included
	Joins         int           // at once, all addresses together
	Handshakes    int           // TLS handshakes at once; more wait for their turn
	LoginDeadline time.Duration // from accept to an accepted CONNECT
	LoginBytes    int           // read from the socket before login, TLS included
	JoinDeadline  time.Duration // one join conversation, after its handshake
	WriteDeadline time.Duration // a line that takes nothing for so long is closed
	KeepaliveMax  time.Duration // longest keepalive an agent may ask for; whole seconds
	Rate          float64       // messages a second of one agent; more is read later
	Burst         int           // messages that one agent may send at once
	Inflight      int           // QoS 1 messages without PUBACK, each way, one agent
	Queue         int           // messages waiting to be sent to one agent
	RetainedBytes int           // payloads of all retained messages together
	AckDeadline   time.Duration // hub's time to keep a message, then the line is cut
	Challenge     time.Duration // time for an old session to show that it lives
}

// DefaultCaps returns caps for a hub of 10,000 agents on 1 GiB.
func DefaultCaps() Caps {
	return Caps{
		Connections:   20_000,
		PerIP:         10_000, // a site stands behind one address
		Joins:         64,
		Handshakes:    64,
		LoginDeadline: 10 * time.Second,
		LoginBytes:    32 << 10,
		JoinDeadline:  30 * time.Second,
		WriteDeadline: 5 * time.Second,
		KeepaliveMax:  60 * time.Second,
		Rate:          500,
		Burst:         1000,
		Inflight:      32,
		Queue:         64,
		RetainedBytes: 64 << 20,
		AckDeadline:   10 * time.Second,
		Challenge:     3 * time.Second,
	}
}

// Validate returns an error that names the first field out of its bounds.
func (c Caps) Validate() error {
	for _, f := range []struct {
		name    string
		got     float64
		lo, top float64
	}{
		{"Connections", float64(c.Connections), 1, 1 << 20},
		{"PerIP", float64(c.PerIP), 1, 1 << 20},
		{"Joins", float64(c.Joins), 1, 1 << 16},
		{"Handshakes", float64(c.Handshakes), 1, 1 << 16},
		{"LoginDeadline", c.LoginDeadline.Seconds(), 0.001, 300},
		{"LoginBytes", float64(c.LoginBytes), 1 << 10, 1 << 20},
		{"JoinDeadline", c.JoinDeadline.Seconds(), 0.001, 300},
		{"WriteDeadline", c.WriteDeadline.Seconds(), 0.001, 300},
		{"KeepaliveMax", c.KeepaliveMax.Seconds(), 1, 3600},
		{"Rate", c.Rate, 0.01, 1e9},
		{"Burst", float64(c.Burst), 1, 1e9},
		{"Inflight", float64(c.Inflight), 1, 1024},
		{"Queue", float64(c.Queue), 1, 1 << 16},
		{"RetainedBytes", float64(c.RetainedBytes), 1, 1 << 40},
		{"AckDeadline", c.AckDeadline.Seconds(), 0.001, 300},
		{"Challenge", c.Challenge.Seconds(), 0.001, 60},
	} {
		if f.got < f.lo || f.got > f.top {
			return fmt.Errorf("broker: caps: %s is %v, want %v to %v", f.name, f.got, f.lo, f.top)
		}
	}
	return nil
}

// backlogMax bounds the bytes waiting to be written to one agent. All that may be in
// flight fits, so an agent that reads never meets it.
func (c Caps) backlogMax() int {
	return (c.Inflight+4)*(protocol.MessageMax+protocol.TopicMax+16) + 64<<10
}

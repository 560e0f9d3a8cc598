package mqtt

import (
	"context"
	crand "crypto/rand"
	"encoding/binary"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"time"

	"github.com/stavily/stavily/protocol"
)

// Config is what a Link needs. Fields left zero have the value of DefaultConfig.
type Config struct {
	Address protocol.Address
	// Dial opens one connection to the hub, ready for MQTT: see DialTLS.
	Dial func(ctx context.Context) (net.Conn, error)
	Log  *slog.Logger
	// WillPayload is what the hub says in the agent's name, on UpPresence and
	// retained, when the connection ends. Empty: no Will.
	WillPayload []byte
	// Will, when set, gives the Will of each connection in place of WillPayload.
	// session counts the connections tried, from 1.
	Will func(session uint64) []byte
	// OnState is told when the link is up, with all filters asked for, and when it is
	// down again. It is called by Run and must return at once.
	OnState func(up bool)
	// Rand draws the waits between connections. Run alone uses it.
	Rand *rand.Rand

	Keepalive    time.Duration // 1 s to 60 s: the hub cuts at one and a half times
	BackoffMin   time.Duration // first bound of the wait before a connection
	BackoffMax   time.Duration // last bound
	Stable       time.Duration // a connection that lived so long resets the wait
	LoginTimeout time.Duration // from dialing to the last SUBACK
	WriteTimeout time.Duration // a line that takes nothing for so long is cut
	ProbeEvery   time.Duration // between two probes of a link that hears
	ProbeTimeout time.Duration // for one probe; two in a row cut the line
	QueueMax     int           // messages without PUBACK, sent or not
	QueueBytes   int           // their payloads together
	InflightMax  int           // messages sent without PUBACK
}

// DefaultConfig returns the values that fields left zero have.
func DefaultConfig() Config {
	return Config{
		Log:          slog.New(slog.DiscardHandler),
		OnState:      func(bool) {},
		Keepalive:    55 * time.Second,
		BackoffMin:   time.Second,
		BackoffMax:   2 * time.Minute,
		Stable:       time.Minute,
		LoginTimeout: 30 * time.Second,
		WriteTimeout: 20 * time.Second,
		ProbeEvery:   5 * time.Minute,
		ProbeTimeout: 10 * time.Second,
		QueueMax:     64,
		QueueBytes:   1 << 20,
		InflightMax:  16,
	}
}

// Validate returns an error that names the first field out of its bounds.
func (c *Config) Validate() error {
	if err := c.Address.Check(); err != nil {
		return fmt.Errorf("mqtt: config: Address: %w", err)
	}
	if c.Dial == nil {
		return protocol.Errorf(protocol.CodeBadInput, "mqtt: config: Dial: want a function")
	}
	for _, f := range []struct {
		name         string
		got, lo, top int64
	}{
		{"Keepalive", int64(c.Keepalive), int64(time.Second), int64(time.Minute)},
		{"BackoffMin", int64(c.BackoffMin), 1, int64(time.Hour)},
		{"BackoffMax", int64(c.BackoffMax), int64(c.BackoffMin), int64(24 * time.Hour)},
		{"Stable", int64(c.Stable), 1, int64(24 * time.Hour)},
		{"LoginTimeout", int64(c.LoginTimeout), 1, int64(time.Hour)},
		{"WriteTimeout", int64(c.WriteTimeout), 1, int64(time.Hour)},
		{"ProbeEvery", int64(c.ProbeEvery), 1, int64(24 * time.Hour)},
		{"ProbeTimeout", int64(c.ProbeTimeout), 1, int64(time.Hour)},
		{"QueueMax", int64(c.QueueMax), 1, 1 << 16},
		{"QueueBytes", int64(c.QueueBytes), protocol.MessageMax, 1 << 30},
		{"InflightMax", int64(c.InflightMax), 1, 1 << 10},
	} {
		if f.got < f.lo || f.got > f.top {
			return protocol.Errorf(protocol.CodeBadInput, "mqtt: config: %s is %d, want %d to %d",
				f.name, f.got, f.lo, f.top)
		}
	}
	return nil
}

// withDefaults fills what was left zero.
func (c Config) withDefaults() Config {
	d := DefaultConfig()
	if c.Log == nil {
		c.Log = d.Log
	}
	if c.OnState == nil {
		c.OnState = d.OnState
	}
	if c.Will == nil && len(c.WillPayload) > 0 {
		payload := c.WillPayload
		c.Will = func(uint64) []byte { return payload }
	}
	if c.Rand == nil {
		c.Rand = rand.New(rand.NewPCG(seed(), seed()))
	}
	for _, f := range []struct{ to, from *time.Duration }{
		{&c.Keepalive, &d.Keepalive},
		{&c.BackoffMin, &d.BackoffMin},
		{&c.BackoffMax, &d.BackoffMax},
		{&c.Stable, &d.Stable},
		{&c.LoginTimeout, &d.LoginTimeout},
		{&c.WriteTimeout, &d.WriteTimeout},
		{&c.ProbeEvery, &d.ProbeEvery},
		{&c.ProbeTimeout, &d.ProbeTimeout},
	} {
		if *f.to == 0 {
			*f.to = *f.from
		}
	}
	for _, f := range []struct{ to, from *int }{
		{&c.QueueMax, &d.QueueMax}, {&c.QueueBytes, &d.QueueBytes}, {&c.InflightMax, &d.InflightMax},
	} {
		if *f.to == 0 {
			*f.to = *f.from
		}
	}
	return c
}

func seed() uint64 {
	var b [8]byte
	_, _ = crand.Read(b[:]) // it never fails
	return binary.LittleEndian.Uint64(b[:])
}

package mqtt

import (
	"context"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"

	"github.com/stavily/stavily/protocol"
)

// filtersAtOnce bounds the filters of one SUBSCRIBE.
const filtersAtOnce = 8

// connection is one connection, from CONNECT to its end.
type connection struct {
	link    *Link
	line    *line
	ctx     context.Context
	cancel  context.CancelCauseFunc
	room    chan struct{} // holds one for each message in flight; bound: InflightMax
	answers chan answer   // holds one
	pong    chan struct{} // holds one
	echo    chan []byte
	more    chan struct{} // holds one: acks were added
	asked   int           // listeners whose filters were asked for
	quiet   quiet

	// writing holds one while a packet goes out. A mutex would hold up the virtual time in which
	// a simulation waits for a line that is full.
	writing chan struct{}

	mu     sync.Mutex // guards the fields below
	lastID uint16
	flight map[uint16]*entry // sent without PUBACK
	acks   []uint16          // PUBACKs to say
}

// answer is a CONNACK, whose id is 0, or a SUBACK.
type answer struct {
	id    uint16
	codes []byte
}

func newConnection(ctx context.Context, l *Link, conn net.Conn) *connection {
	c := &connection{
		link: l, line: newLine(conn, l.cfg.WriteTimeout), quiet: quiet{began: time.Now()},
		room: make(chan struct{}, l.cfg.InflightMax), writing: make(chan struct{}, 1), flight: map[uint16]*entry{},
		answers: make(chan answer, 1), pong: make(chan struct{}, 1),
		echo: make(chan []byte, 4), more: make(chan struct{}, 1),
	}
	c.ctx, c.cancel = context.WithCancelCause(ctx)
	c.line.onFail = func(err error) { c.cancel(fmt.Errorf("line: %w", err)) }
	return c
}

// open says CONNECT and asks for all filters.
func (c *connection) open(ctx context.Context, session uint64) error {
	defer context.AfterFunc(ctx, func() { _ = c.line.fail(ctx.Err()) })()
	go c.readAll()
	cfg := &c.link.cfg
	hello := &packets.ConnectPacket{
		FixedHeader:  packets.FixedHeader{MessageType: packets.Connect},
		ProtocolName: "MQTT", ProtocolVersion: 4,
		ClientIdentifier: protocol.MQTTClientID(cfg.Address),
		Keepalive:        uint16(cfg.Keepalive / time.Second),
	}
	if cfg.Will != nil {
		if payload := cfg.Will(session); len(payload) > 0 {
			hello.WillFlag, hello.WillQos, hello.WillRetain = true, 1, true
			hello.WillTopic, hello.WillMessage = protocol.Topic(cfg.Address, protocol.UpPresence), payload
		}
	}
	codes, err := c.ask(ctx, 0, hello.Write)
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	if codes[0] != packets.Accepted {
		return protocol.Errorf(protocol.CodeRefused, "connect: code %d: %s",
			codes[0], packets.ConnackReturnCodes[codes[0]])
	}
	if err := c.subscribe(ctx, []string{protocol.Topic(cfg.Address, protocol.DownProbe)}); err != nil {
		return err
	}
	return c.askNew(ctx)
}

// askNew asks for the filters not yet asked for on this connection.
func (c *connection) askNew(ctx context.Context) error {
	for {
		filters := c.link.filters(c.asked)
		if len(filters) == 0 {
			return nil
		}
		filters = filters[:min(len(filters), filtersAtOnce)]
		if err := c.subscribe(ctx, filters); err != nil {
			return err
		}
		c.asked += len(filters)
	}
}

func (c *connection) subscribe(ctx context.Context, filters []string) error {
	id := c.takeID(nil)
	ask := &packets.SubscribePacket{
		FixedHeader: packets.FixedHeader{MessageType: packets.Subscribe, Qos: 1},
		MessageID:   id, Topics: filters,
	}
	for range filters {
		ask.Qoss = append(ask.Qoss, 1)
	}
	codes, err := c.ask(ctx, id, ask.Write)
	if err != nil {
		return fmt.Errorf("subscribe: %w", err)
	}
	if len(codes) != len(filters) {
		return protocol.Errorf(protocol.CodeBadMessage, "subscribe: SUBACK with %d codes for %d filters",
			len(codes), len(filters))
	}
	for i, filter := range filters {
		if codes[i] > 1 {
			return protocol.Errorf(protocol.CodeRefused, "subscribe %q: refused by the hub", filter)
		}
	}
	return nil
}

// ask writes one packet and waits for the answer that has its id. One caller at a time.
func (c *connection) ask(ctx context.Context, id uint16, write func(io.Writer) error) ([]byte, error) {
	go func() { _ = c.write(write) }() // it can wait for the write timeout; a failure ends c.ctx
	for {
		select {
		case a := <-c.answers:
			if a.id == id {
				return a.codes, nil
			}
		case <-c.ctx.Done():
			return nil, context.Cause(c.ctx)
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// write writes one packet. It may wait for the write timeout of the line.
func (c *connection) write(packet func(io.Writer) error) error {
	c.writing <- struct{}{}
	defer func() { <-c.writing }()
	if err := packet(c.line); err != nil {
		return c.line.fail(err)
	}
	c.quiet.sent.Store(c.quiet.now())
	return nil
}

// takeID returns a packet's id that nothing in flight has, and notes e in flight.
func (c *connection) takeID(e *entry) uint16 {
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		c.lastID++
		if _, taken := c.flight[c.lastID]; c.lastID != 0 && !taken {
			break // InflightMax is far below 1<<16
		}
	}
	if e != nil {
		c.flight[c.lastID] = e
	}
	return c.lastID
}

// sendAll sends the queue, message by message, while there is room in flight.
func (c *connection) sendAll(turn int) {
	for {
		e, mine := c.link.queue.next(turn)
		if !mine {
			return
		}
		if e == nil {
			select {
			case <-c.link.queue.more:
				continue
			case <-c.ctx.Done():
				return
			}
		}
		select {
		case c.room <- struct{}{}:
		case <-c.ctx.Done():
			return
		}
		p := &packets.PublishPacket{
			FixedHeader: packets.FixedHeader{MessageType: packets.Publish, Qos: 1, Retain: e.Retained},
			TopicName:   e.Topic, MessageID: c.takeID(e), Payload: e.Payload,
		}
		if c.write(p.Write) != nil {
			return
		}
	}
}

// acknowledge says the PUBACKs. Those who ask for them must not wait for the line.
func (c *connection) acknowledge() {
	for {
		select {
		case <-c.more:
		case <-c.ctx.Done():
			return
		}
		c.mu.Lock()
		acks := c.acks
		c.acks = nil
		c.mu.Unlock()
		for _, id := range acks {
			p := &packets.PubackPacket{
				FixedHeader: packets.FixedHeader{MessageType: packets.Puback}, MessageID: id,
			}
			if c.write(p.Write) != nil {
				return
			}
		}
	}
}

// probe asks the hub for an echo.
func (c *connection) probe(payload []byte) {
	p := &packets.PublishPacket{
		FixedHeader: packets.FixedHeader{MessageType: packets.Publish},
		TopicName:   protocol.Topic(c.link.cfg.Address, protocol.UpProbe), Payload: payload,
	}
	_ = c.write(p.Write) // a failure ends c.ctx
}

// keepAlive pings a line on which nothing went out, or nothing came in, for Keepalive,
// and cuts one that does not answer.
func (c *connection) keepAlive() {
	timer := time.NewTimer(c.link.cfg.Keepalive)
	defer timer.Stop()
	pinged := false
	for {
		select {
		case <-c.ctx.Done():
			return
		case <-c.pong:
			pinged = false
			timer.Reset(c.link.cfg.Keepalive)
			continue
		case <-timer.C:
		}
		if pinged {
			_ = c.line.fail(protocol.Errorf(protocol.CodeUnavailable, "no PINGRESP within %s",
				c.link.cfg.ProbeTimeout))
			return
		}
		if left := c.link.cfg.Keepalive - c.quiet.since(); left > 0 {
			timer.Reset(left)
			continue
		}
		p := &packets.PingreqPacket{FixedHeader: packets.FixedHeader{MessageType: packets.Pingreq}}
		if c.write(p.Write) != nil {
			return
		}
		pinged = true
		timer.Reset(c.link.cfg.ProbeTimeout)
	}
}

// quiet knows for how long nothing moved on a line.
type quiet struct {
	began      time.Time
	sent, read atomic.Int64 // nanoseconds after began
}

func (q *quiet) now() int64 { return int64(time.Since(q.began)) }

// since returns for how long nothing went out, or nothing came in.
func (q *quiet) since() time.Duration {
	return time.Duration(q.now() - min(q.sent.Load(), q.read.Load()))
}

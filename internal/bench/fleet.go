package main

import (
	"bufio"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"

	"github.com/stavily/stavily/hub/api"
	"github.com/stavily/stavily/protocol"
)

// sender is one agent, as bare as can be, that says one batch after the other.
type sender struct {
	conn    net.Conn
	config  *tls.Config // of conn
	in      *bufio.Reader
	address protocol.Address
	epoch   uint64
	next    uint64 // sequence
	acked   bool   // the other side says that it has kept a batch, besides PUBACK
}

// enrol joins n agents to the hub, each with a key of its own, and connects them.
func (w *world) enrol(n int) ([]*sender, error) {
	ca, err := openAuthority(w.path("home/keys")) // made by the hub when it started
	if err != nil {
		return nil, err
	}
	var token api.Token
	err = w.client.Do(w.ctx, http.MethodPost, api.PathTokens, api.NewToken{Site: "lab", Count: n}, &token)
	if err != nil {
		return nil, err
	}
	ticket, err := protocol.ParseJoinToken(token.Token)
	if err != nil {
		return nil, err
	}
	out := make([]*sender, n)
	for i := range out {
		req := protocol.JoinRequest{
			TokenID: ticket.ID, Secret: ticket.Secret, Address: agentAt(i),
			Device: protocol.Device{Platform: "linux-amd64", Engine: "compiler", Version: "bench"},
		}
		if out[i], err = w.enrolOne(ca, req); err != nil {
			return nil, fmt.Errorf("agent %s: %w", req.Address, err)
		}
	}
	return out, nil
}

func (w *world) enrolOne(ca *authority, req protocol.JoinRequest) (*sender, error) {
	key, csr, err := newKey()
	if err != nil {
		return nil, err
	}
	req.CSR = csr
	config := ca.client(nil, nil)
	config.Certificates, config.NextProtos = nil, []string{protocol.ALPNJoin}
	conn, err := dial(w.listen, config)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	reply, err := join(conn, req)
	if err != nil {
		return nil, err
	}
	return newSender(w.listen, ca.client(key, reply.Certificate), req.Address, reply.Epoch)
}

// join asks the hub, in the form of the protocol's chapter on joining.
func join(conn io.ReadWriter, req protocol.JoinRequest) (reply protocol.JoinReply, err error) {
	if err := protocol.WriteFrame(conn, req); err != nil {
		return reply, err
	}
	if err := protocol.ReadFrame(conn, protocol.JoinReplyMax, &reply); err != nil {
		return reply, err
	}
	if reply.Error != nil {
		return reply, reply.Error
	}
	return reply, nil
}

// newSender connects an agent. One with epoch 0 speaks to a broker without a hub.
func newSender(hub string, config *tls.Config, a protocol.Address, epoch uint64) (*sender, error) {
	conn, err := dial(hub, config)
	if err != nil {
		return nil, err
	}
	s := &sender{
		conn: conn, config: config, in: bufio.NewReader(conn), address: a, epoch: epoch,
		acked: epoch > 0,
	}
	return s, login(conn, protocol.MQTTClientID(a), protocol.DownFilter(a), epoch == 0)
}

// say sends one batch of events and waits until it has arrived: for its PUBACK and,
// from a hub, for the word that its records are in the books.
func (s *sender) say(events int) error {
	m := publish1(protocol.Topic(s.address, protocol.UpRecords), 1, s.batch(events))
	if _, err := s.conn.Write(m); err != nil {
		return err
	}
	for puback, kept := false, !s.acked; !puback || !kept; {
		first, body, err := readPacket(s.in)
		switch {
		case err != nil:
			return err
		case first == firstPuback:
			puback = true
		case first&0xf0 == firstPublish1&0xf0:
			ours, err := s.take(body)
			if err != nil {
				return err
			}
			kept = kept || ours
		}
	}
	return nil
}

// take acknowledges what the hub sent, and reports whether it was about the records.
func (s *sender) take(body []byte) (bool, error) {
	n := int(binary.BigEndian.Uint16(body))
	if len(body) < n+4 {
		return false, errors.New("PUBLISH of the hub is cut off")
	}
	if _, err := s.conn.Write(packet(firstPuback, body[2+n:4+n])); err != nil {
		return false, err
	}
	if string(body[2:2+n]) != protocol.Topic(s.address, protocol.DownAck) {
		return false, nil
	}
	var ack protocol.LaneAck
	if err := protocol.Unmarshal(body[4+n:], &ack); err != nil {
		return false, err
	}
	if ack.Mark.Sequence != s.next {
		return false, fmt.Errorf("hub kept up to event %d, want %d", ack.Mark.Sequence, s.next)
	}
	return true, nil
}

// batch makes the next events, each with 100 bytes of data.
func (s *sender) batch(events int) []byte {
	b := protocol.Batch{Epoch: s.epoch, Lane: protocol.LaneEvent}
	at := protocol.Stamp{UnixMS: 1_790_000_000_000, Quality: protocol.QualityClock}
	for range events {
		s.next++
		run := protocol.RunID{}
		copy(run[:], s.address.Agent)
		binary.BigEndian.PutUint32(run[12:], uint32(s.next))
		b.Records = append(b.Records, protocol.Record{
			Mark: protocol.Mark{Boot: 1, Sequence: s.next}, Time: at,
			Body: protocol.MustMarshal(protocol.Event{
				Run: run, Workflow: "bench", Revision: 1, Time: at,
				Data: protocol.MustMarshal(map[string]any{"value": 81.5, "text": string(make([]byte, 100))}),
			}),
		})
	}
	return protocol.MustMarshal(b)
}

// pour has every sender say batches, all at the same time, and returns how many.
func pour(senders []*sender, each, events int) (int, error) {
	errs := make([]error, len(senders))
	var all sync.WaitGroup
	for i, s := range senders {
		all.Go(func() {
			for range each {
				if errs[i] == nil {
					errs[i] = s.say(events)
				}
			}
		})
	}
	all.Wait()
	return each * len(senders), errors.Join(errs...)
}

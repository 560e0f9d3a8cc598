package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"time"
)

// The few packets of MQTT 3.1.1 that a bare client needs: it costs next to nothing, so
// that what is measured is the broker.
const (
	firstConnect   = 0x10
	firstConnack   = 0x20
	firstPublish1  = 0x32 // QoS 1
	firstPuback    = 0x40
	firstSubscribe = 0x82
	firstSuback    = 0x90

	keepalive = 60 // seconds: no row waits so long
	replyMax  = 30 * time.Second
)

// packet builds a packet of its first byte and its body.
func packet(first byte, body ...[]byte) []byte {
	all := bytes.Join(body, nil)
	return append(binary.AppendUvarint([]byte{first}, uint64(len(all))), all...)
}

func text(s string) []byte { return append(number(uint16(len(s))), s...) }

func number(n uint16) []byte { return binary.BigEndian.AppendUint16(nil, n) }

// login connects as id and subscribes to one filter. It keeps no buffer.
func login(conn net.Conn, id, filter string, clean bool) error {
	flags := byte(0)
	if clean {
		flags = 2
	}
	hello := packet(firstConnect, text("MQTT"), []byte{4, flags}, number(keepalive), text(id))
	reply, err := exchange(conn, hello, 4)
	if err != nil || reply[0] != firstConnack || reply[3] != 0 {
		return fmt.Errorf("login of %s: reply %x: %w", id, reply, orRefused(err))
	}
	reply, err = exchange(conn, packet(firstSubscribe, number(1), text(filter), []byte{1}), 5)
	if err != nil || reply[0] != firstSuback || reply[4] != 1 {
		return fmt.Errorf("subscription to %s: reply %x: %w", filter, reply, orRefused(err))
	}
	return nil
}

func orRefused(err error) error {
	if err == nil {
		return net.ErrClosed
	}
	return err
}

// exchange writes a packet and reads n bytes.
func exchange(conn net.Conn, out []byte, n int) ([]byte, error) {
	if err := conn.SetDeadline(time.Now().Add(replyMax)); err != nil {
		return nil, err
	}
	if _, err := conn.Write(out); err != nil {
		return nil, err
	}
	in := make([]byte, n)
	_, err := io.ReadFull(conn, in)
	return in, err
}

// publish1 builds a PUBLISH with QoS 1.
func publish1(topic string, id uint16, payload []byte) []byte {
	return packet(firstPublish1, text(topic), number(id), payload)
}

// readPacket returns the next packet's first byte and body.
func readPacket(r interface {
	io.Reader
	io.ByteReader
},
) (first byte, body []byte, err error) {
	if first, err = r.ReadByte(); err != nil {
		return 0, nil, err
	}
	size, err := binary.ReadUvarint(r)
	if err != nil {
		return 0, nil, err
	}
	body = make([]byte, size)
	_, err = io.ReadFull(r, body)
	return first, body, err
}

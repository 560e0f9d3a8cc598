package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net"
	"runtime"
	"strings"

	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/stavily/stavily/broker"
	"github.com/stavily/stavily/protocol"
)

// partBroker is a broker in a process of its own: ours, or mochi as it comes.
const partBroker = "broker"

// kept is a broker that takes connections, in process or on a socket.
type kept interface {
	// pipe returns the agent's end of a connection in process.
	pipe(a protocol.Address) (net.Conn, error)
	// serve accepts on ln until the process ends.
	serve(ln net.Listener) error
}

// brokerPart runs `bench part broker ours|mochi pipe|tls FOLDER`. It says where it
// listens, then obeys lines: "open N" opens that many connections in process, "rest"
// collects garbage. It ends with its stdin.
func brokerPart(args []string, in io.Reader, out io.Writer) error {
	if len(args) != 3 {
		return fmt.Errorf("want ours or mochi, pipe or tls, and a folder, got %q", args)
	}
	b, err := newBroker(args[0], args[2])
	if err != nil {
		return err
	}
	address := "nowhere"
	failed := make(chan error, 1)
	if args[1] == "tls" {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		address = ln.Addr().String()
		go func() { failed <- b.serve(ln) }()
	}
	fmt.Fprintln(out, address)
	var open []net.Conn // held, so that they stay
	for lines := bufio.NewScanner(in); lines.Scan(); {
		if err := obey(b, lines.Text(), &open); err != nil {
			return err
		}
		fmt.Fprintln(out, "done")
	}
	for _, conn := range open {
		_ = conn.Close()
	}
	select {
	case err := <-failed:
		return err
	default:
		return nil
	}
}

func obey(b kept, said string, open *[]net.Conn) error {
	if said == "rest" {
		runtime.GC()
		return nil
	}
	var n int
	if _, err := fmt.Sscanf(said, "open %d", &n); err != nil {
		return fmt.Errorf("command %q: %w", said, err)
	}
	for range n {
		a := agentAt(len(*open))
		conn, err := b.pipe(a)
		if err != nil {
			return err
		}
		*open = append(*open, conn)
		_, bare := b.(*bareBroker)
		if err := login(conn, protocol.MQTTClientID(a), protocol.DownFilter(a), bare); err != nil {
			return err
		}
	}
	return nil
}

func newBroker(kind, dir string) (kept, error) {
	ca, err := openAuthority(dir)
	if err != nil {
		return nil, err
	}
	config, err := ca.server()
	if err != nil {
		return nil, err
	}
	if kind == "mochi" {
		return newBare(config)
	}
	b, err := broker.New(broker.Config{Log: slog.New(slog.DiscardHandler), TLS: config})
	return &ourBroker{b}, err
}

type ourBroker struct{ *broker.Broker }

func (b *ourBroker) pipe(a protocol.Address) (net.Conn, error) { return b.Dial(a) }

func (b *ourBroker) serve(ln net.Listener) error { return b.Serve(context.Background(), ln) }

// bareBroker is mochi with a hook that lets everything pass, and one party in this
// process that hears what agents send up, as the hub does.
type bareBroker struct {
	server *mochi.Server
	config *tls.Config
}

func newBare(config *tls.Config) (*bareBroker, error) {
	s := mochi.New(&mochi.Options{InlineClient: true, Logger: slog.New(slog.DiscardHandler)})
	if err := s.AddHook(&openHook{}, nil); err != nil {
		return nil, err
	}
	if err := s.Serve(); err != nil {
		return nil, err
	}
	heard := func(*mochi.Client, packets.Subscription, packets.Packet) {}
	return &bareBroker{s, config}, s.Subscribe(protocol.UpFilter(protocol.UpRecords), 1, heard)
}

func (b *bareBroker) pipe(protocol.Address) (net.Conn, error) {
	ours, theirs := net.Pipe()
	go func() { _ = b.server.EstablishConnection("pipe", ours) }()
	return theirs, nil
}

func (b *bareBroker) serve(ln net.Listener) error {
	for {
		raw, err := ln.Accept()
		if err != nil {
			return err
		}
		go func() {
			conn := tls.Server(raw, b.config)
			if conn.Handshake() == nil {
				_ = b.server.EstablishConnection("tls", conn)
			}
			_ = conn.Close()
		}()
	}
}

type openHook struct{ mochi.HookBase }

func (*openHook) ID() string { return "open" }

func (*openHook) Provides(b byte) bool {
	return b == mochi.OnConnectAuthenticate || b == mochi.OnACLCheck
}

func (*openHook) OnConnectAuthenticate(*mochi.Client, packets.Packet) bool { return true }

func (*openHook) OnACLCheck(*mochi.Client, string, bool) bool { return true }

// startBroker starts one as a part and returns where it listens.
func (b *bench) startBroker(kind, line string) (p *process, address string, err error) {
	if p, err = b.startPart(partBroker, kind, line, b.path("authority")); err != nil {
		return nil, "", err
	}
	address, err = p.hear()
	return p, strings.TrimSpace(address), err
}

var (
	_ kept = (*ourBroker)(nil)
	_ kept = (*bareBroker)(nil)
)

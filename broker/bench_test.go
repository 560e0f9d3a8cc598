package broker_test

import (
	"context"
	"io"
	"net"
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stavily/stavily/broker"
	"github.com/stavily/stavily/protocol"
)

// rss returns this process's resident bytes.
func rss(b *testing.B) float64 {
	b.Helper()
	runtime.GC()
	all, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		b.Skip(err)
	}
	pages, err := strconv.Atoi(strings.Fields(string(all))[1])
	if err != nil {
		b.Fatal(err)
	}
	return float64(pages * os.Getpagesize())
}

func cpu(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// idleAgents is how many agents BenchmarkMemory connects. Both ends live in this
// process; an agent's end here is a bare connection.
const idleAgents = 500

// BenchmarkMemory reports the resident bytes of one idle, subscribed agent (N8): of
// both ends of its connection, with Go's share of collected garbage. Each variant runs
// in the same process, so compare with -benchtime 1x and one variant a run.
func BenchmarkMemory(b *testing.B) {
	for _, v := range []struct {
		name string
		open func(b *testing.B) func(i int) *raw
	}{
		{"bare-pipe", func(b *testing.B) func(int) *raw {
			s := newBare(b, &bareHook{})
			return func(i int) *raw { return subscribed(s.dial(b), name(i), true) }
		}},
		{"pipe", func(b *testing.B) func(int) *raw {
			w := newWorld(b, nil)
			return func(i int) *raw { return subscribed(w.dial(name(i)), name(i), false) }
		}},
		{"TLS", func(b *testing.B) func(int) *raw {
			w := newWorld(b, nil)
			return func(i int) *raw {
				conn, err := w.dialTLS(name(i))(context.Background())
				if err != nil {
					b.Fatal(err)
				}
				return subscribed(newRaw(b, conn), name(i), false)
			}
		}},
	} {
		b.Run(v.name, func(b *testing.B) {
			for range b.N {
				open := v.open(b)
				open(0)
				before := rss(b)
				for i := range idleAgents {
					open(i + 1)
				}
				b.ReportMetric((rss(b)-before)/idleAgents/1024, "KiB/agent")
			}
		})
	}
}

func subscribed(r *raw, a protocol.Address, clean bool) *raw {
	r.login(login{id: protocol.MQTTClientID(a), clean: clean}, 0)
	r.send(subscribePacket(1, protocol.DownFilter(a)))
	r.want(suback)
	r.in.Reset(nil) // its buffer is the test's
	return r
}

// BenchmarkUp measures the CPU of one QoS 1 message of 200 bytes from an agent to the
// hub and its PUBACK (N9), both ends of the socket included, with no store behind.
func BenchmarkUp(b *testing.B) {
	payload := string(make([]byte, 200))
	b.Run("bare-TCP", func(b *testing.B) {
		s := newBare(b, &bareHook{})
		ours, theirs := tcp(b)
		go func() { _ = s.EstablishConnection("tcp", ours) }()
		r := newRaw(b, theirs)
		r.login(login{id: "a", clean: true}, 0)
		pour(b, r, protocol.Topic(pump, protocol.UpRecords), payload)
	})
	unlimited := func(c *broker.Config) { c.Caps.Rate, c.Caps.Burst = 1e9, 1e9 }
	b.Run("pipe", func(b *testing.B) {
		w := newWorld(b, unlimited)
		listen(b, w.broker, protocol.UpFilter(protocol.UpRecords), func(m protocol.Message) { m.Done() })
		pour(b, w.in(pump), protocol.Topic(pump, protocol.UpRecords), payload)
	})
	b.Run("TLS", func(b *testing.B) {
		w := newWorld(b, unlimited)
		listen(b, w.broker, protocol.UpFilter(protocol.UpRecords), func(m protocol.Message) { m.Done() })
		conn, err := w.dialTLS(pump)(context.Background())
		if err != nil {
			b.Fatal(err)
		}
		r := newRaw(b, conn)
		r.login(login{id: protocol.MQTTClientID(pump)}, 0)
		pour(b, r, protocol.Topic(pump, protocol.UpRecords), payload)
	})
}

// pour sends b.N messages, 16 at a time, and reads their PUBACKs.
func pour(b *testing.B, r *raw, topic, payload string) {
	b.Helper()
	const window = 16
	one := publishPacket(topic, 1, payload)
	acks := make([]byte, 4*window)
	b.ReportAllocs()
	b.SetBytes(int64(len(one)))
	b.ResetTimer()
	began := cpu(b)
	for sent := 0; sent < b.N; {
		n := min(window, b.N-sent)
		go func() { // a pipe takes nothing that is not read
			for range n {
				_, _ = r.Write(one)
			}
		}()
		_ = r.SetReadDeadline(time.Now().Add(bound))
		if _, err := io.ReadFull(r.in, acks[:4*n]); err != nil {
			b.Fatal(err)
		}
		sent += n
	}
	b.ReportMetric(float64(cpu(b)-began)/float64(b.N)/1000, "cpu-µs/msg")
}

func tcp(b *testing.B) (ours, theirs net.Conn) {
	b.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer ln.Close()
	theirs, err = net.Dial("tcp", ln.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	ours, err = ln.Accept()
	if err != nil {
		b.Fatal(err)
	}
	return ours, theirs
}

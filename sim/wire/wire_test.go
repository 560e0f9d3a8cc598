package wire

import (
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func line(s Shape) *Line {
	return &Line{Shape: s, Unit: func() float64 { return 0.5 }, Addr: Addr("a")}
}

func connect(t *testing.T, l *Line) (near, far net.Conn) {
	t.Helper()
	near, far, err := l.Connect()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = near.Close(), far.Close() })
	return near, far
}

// In virtual time a byte takes exactly as long as the line says.
func TestWeather(t *testing.T) {
	for _, c := range []struct {
		name  string
		shape Shape
		write int
		want  time.Duration // until all has been read
	}{
		{"nothing in the way", Shape{}, 10, 0},
		{"latency", Shape{Latency: 80 * time.Millisecond}, 10, 80 * time.Millisecond},
		{"bandwidth", Shape{Bandwidth: 1000}, 500, 500 * time.Millisecond},
		{"both, in pieces", Shape{Latency: time.Second, Bandwidth: 1400}, 2800, 3 * time.Second},
		{"more than the buffer", Shape{Bandwidth: 100 << 10}, 200 << 10, 2 * time.Second},
		{"all losses", Shape{Loss: 0.9}, 1, 200 * time.Millisecond * (1 + 2 + 4 + 8 + 16 + 32)},
	} {
		synctest.Test(t, func(t *testing.T) {
			near, far := connect(t, line(c.shape))
			began := time.Now()
			go func() { _, _ = near.Write(make([]byte, c.write)) }()
			if _, err := io.ReadFull(far, make([]byte, c.write)); err != nil {
				t.Fatalf("%s: %v", c.name, err)
			}
			if got := time.Since(began).Round(time.Millisecond); got != c.want {
				t.Errorf("%s: took %v, want %v", c.name, got, c.want)
			}
		})
	}
}

// A direction that is blocked gives nothing and loses nothing; the other one goes on.
func TestBlock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := line(Shape{})
		near, far := connect(t, l)
		l.Block(Up, 1)
		began := time.Now()
		time.AfterFunc(time.Minute, func() { l.Block(Up, -1) })
		if _, err := near.Write([]byte("up")); err != nil {
			t.Fatal(err)
		}
		_, _ = far.Write([]byte("down"))
		if _, err := io.ReadFull(near, make([]byte, 4)); err != nil || time.Since(began) != 0 {
			t.Errorf("the open way: %v after %v", err, time.Since(began))
		}
		if _, err := io.ReadFull(far, make([]byte, 2)); err != nil || time.Since(began) != time.Minute {
			t.Errorf("the blocked way: %v after %v", err, time.Since(began))
		}
	})
}

func TestDeadlines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := connect(t, line(Shape{}))
		began := time.Now()
		_ = near.SetReadDeadline(began.Add(time.Hour))
		time.AfterFunc(time.Second, func() { _ = near.SetReadDeadline(began.Add(2 * time.Second)) })
		_, err := near.Read(make([]byte, 1))
		if !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(began) != 2*time.Second {
			t.Errorf("read: %v after %v", err, time.Since(began))
		}
		_ = far.SetWriteDeadline(time.Now().Add(time.Second))
		n, err := far.Write(make([]byte, 2*bufferMax))
		if !errors.Is(err, os.ErrDeadlineExceeded) || n > bufferMax || n < bufferMax-packetMax {
			t.Errorf("write: %d, %v", n, err)
		}
	})
}

func TestEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := line(Shape{Latency: time.Second})
		near, far := connect(t, l)
		_, _ = near.Write([]byte("last"))
		_ = near.Close()
		if got, err := io.ReadAll(far); string(got) != "last" || err != nil {
			t.Errorf("after a close: %q, %v", got, err)
		}
		if _, err := far.Write([]byte("x")); !errors.Is(err, io.ErrClosedPipe) {
			t.Errorf("writing to nobody: %v", err)
		}
		near, far = connect(t, l)
		_, _ = near.Write([]byte("lost"))
		time.AfterFunc(time.Millisecond, func() { l.Shut(1) })
		if _, err := far.Read(make([]byte, 4)); !errors.Is(err, ErrDown) {
			t.Errorf("cut: %v", err)
		}
		if _, _, err := l.Connect(); !errors.Is(err, ErrDown) {
			t.Errorf("a shut line: %v", err)
		}
		l.Shut(-1)
		if _, _, err := l.Connect(); err != nil {
			t.Errorf("an open line: %v", err)
		}
	})
}

func TestListener(t *testing.T) {
	l := NewListener()
	go func() {
		conn, err := l.Accept()
		if err == nil {
			_, _ = conn.Write([]byte("hello"))
			_ = conn.Close()
		}
	}()
	conn, err := l.Dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got, _ := io.ReadAll(conn); !strings.HasPrefix(string(got), "hello") {
		t.Errorf("got %q", got)
	}
	_ = l.Close()
	if _, err := l.Dial(t.Context()); !errors.Is(err, net.ErrClosed) {
		t.Errorf("closed: %v", err)
	}
	if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("closed: %v", err)
	}
}

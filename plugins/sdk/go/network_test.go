package stavily_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/stavily/stavily/plugins/sdk/go"
	"github.com/stavily/stavily/plugins/sdk/go/stavilytest"
)

func TestResolve(t *testing.T) {
	data, h, err := once(t, func(c *stavily.Context) (any, error) {
		_, err := c.Resolve("none.example.com")
		if stavily.Code(err) != stavily.CodeNotFound {
			return nil, fmt.Errorf("a name that is none: %w", err)
		}
		return c.Resolve("www.example.com")
	}, func(h *stavilytest.Host) {
		h.Network.Names = map[string][]string{"www.example.com": {"192.0.2.7", "2001:db8::7"}}
	})
	if want := `["192.0.2.7","2001:db8::7"]`; err != nil || data != want {
		t.Errorf("got %s, %v, want %s", data, err, want)
	}
	if got := string(h.Calls[1].Args); got != `{"name":"www.example.com"}` {
		t.Errorf("asked %s", got)
	}
}

func TestHTTP(t *testing.T) {
	for name, body := range map[string][]byte{"text": []byte("ü"), "binary": {0xff, 0, 1}, "nothing": {}} {
		request := stavily.HTTPRequest{
			Method: "POST", URL: "https://api.example.com/a", Headers: map[string]string{"x-own": "1"}, Body: body,
			Max: 2, Timeout: time.Second,
		}
		var seen stavily.HTTPRequest
		_, _, err := once(t, func(c *stavily.Context) (any, error) {
			answer, err := c.HTTP(request)
			want := stavily.HTTPResponse{Status: 503, Headers: map[string]string{"a": "b"}, Body: body, Truncated: false}
			if len(body) > 2 {
				want.Body, want.Truncated = body[:2], true
			}
			if err == nil && (answer.Status != 503 || string(answer.Body) != string(want.Body) ||
				answer.Truncated != want.Truncated || answer.Headers["a"] != "b") {
				err = fmt.Errorf("got %+v, want %+v", answer, want)
			}
			return nil, err
		}, func(h *stavilytest.Host) {
			h.Network.HTTP = func(r stavily.HTTPRequest) (stavily.HTTPResponse, error) {
				seen = r
				return stavily.HTTPResponse{Status: 503, Headers: map[string]string{"a": "b"}, Body: r.Body}, nil
			}
		})
		if err != nil || string(seen.Body) != string(body) {
			t.Errorf("%s: %v, body %q", name, err, seen.Body)
		}
		seen.Body, request.Body = nil, nil
		if !reflect.DeepEqual(seen, request) {
			t.Errorf("%s: asked %+v, want %+v", name, seen, request)
		}
	}
}

func TestConn(t *testing.T) {
	big := strings.Repeat("\xff", 100<<10)
	ended := make(chan string, 1)
	_, _, err := once(t, func(c *stavily.Context) (any, error) {
		conn, err := c.Dial("db.example.com", 5432, true)
		if err != nil || conn.Address() != "db.example.com:5432" {
			return nil, fmt.Errorf("dial: %v %w", conn, err)
		}
		lines := bufio.NewReader(conn)
		if line, err := lines.ReadString('\n'); err != nil || line != "hello\n" {
			return nil, fmt.Errorf("read %q: %w", line, err)
		}
		if n, err := io.WriteString(conn, big); err != nil || n != len(big) {
			return nil, fmt.Errorf("wrote %d: %w", n, err)
		}
		if _, err := lines.ReadString('\n'); !errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("at the end: %w", err)
		}
		if err := conn.Close(); err != nil {
			return nil, err
		}
		_, err = c.Dial("other.example.com", 1, false)
		return nil, err
	}, func(h *stavilytest.Host) {
		h.Network.Dial = func(address string) (io.ReadWriteCloser, error) {
			if address != "db.example.com:5432" {
				return nil, &stavily.Error{Code: stavily.CodeDenied, Text: address}
			}
			here, there := net.Pipe()
			go func() {
				io.WriteString(there, "hello\n")
				b := make([]byte, len(big))
				io.ReadFull(there, b)
				there.Close()
				ended <- string(b)
			}()
			return here, nil
		}
	})
	if err == nil || err.Error() != "tcp.connect: other.example.com:1" {
		t.Errorf("got %v", err)
	}
	if got := <-ended; got != big {
		t.Errorf("%d bytes arrived", len(got))
	}
}

func TestNoNetwork(t *testing.T) {
	_, _, err := once(t, func(c *stavily.Context) (any, error) {
		for _, f := range []func() error{
			func() error { _, err := c.HTTP(stavily.HTTPRequest{URL: "http://a/"}); return err },
			func() error { _, err := c.Dial("a", 1, false); return err },
		} {
			if err := f(); stavily.Code(err) != stavily.CodeUnavailable {
				return nil, fmt.Errorf("without a network: %w", err)
			}
		}
		return nil, nil
	})
	if err != nil {
		t.Error(err)
	}
}

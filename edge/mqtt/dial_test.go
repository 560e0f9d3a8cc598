package mqtt

import (
	"context"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stavily/stavily/protocol"
)

// Addresses are tried in their order; after a line that did not last, from behind its own on.
func TestDialsInTurn(t *testing.T) {
	var at []string
	var all []net.Listener
	for range 3 {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		at, all = append(at, ln.Addr().String()), append(all, ln)
	}
	d := &dialer{addresses: at, open: plain}
	want := func(what string, i int) {
		t.Helper()
		conn, err := d.dial(t.Context())
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		defer conn.Close()
		if got := conn.RemoteAddr().String(); got != at[i] {
			t.Errorf("%s: %s, want %s", what, got, at[i])
		}
	}
	want("first", 0)
	want("soon after", 1)
	want("soon after that", 2)
	want("all around", 0)
	_ = all[1].Close()
	want("one is gone", 2)
	d.at = time.Now().Add(-2 * stay)
	want("a line lasted", 0)
	_ = all[0].Close()
	_ = all[2].Close()
	if _, err := d.dial(t.Context()); err == nil || strings.Count(err.Error(), "refused") != 3 {
		t.Errorf("none is there: %v", err)
	}
}

// MDNS stands for what is found, in its place among the others; of what is found, that whose line
// was lost comes last.
func TestDialsWhatIsFound(t *testing.T) {
	listen := func() net.Listener {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = ln.Close() })
		return ln
	}
	hub, one, two := listen(), listen(), listen()
	var found []string
	asked := 0
	d := &dialer{open: plain, browse: func(context.Context) []string {
		asked++
		return found
	}}
	d.addresses, d.bad = addresses(hub.Addr().String() + ", " + MDNS)
	want := func(what string, ln net.Listener, asks int) {
		t.Helper()
		conn, err := d.dial(t.Context())
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		defer conn.Close()
		if got := conn.RemoteAddr().String(); got != ln.Addr().String() || asked != asks {
			t.Errorf("%s: %s, want %s; looked around %d times, want %d", what, got, ln.Addr(), asked, asks)
		}
	}
	found = []string{one.Addr().String(), two.Addr().String()}
	want("the hub answers", hub, 0)
	_ = hub.Close()
	d.at = time.Time{}
	want("the hub is away", one, 1)
	want("soon after", two, 2)
	want("soon after that", one, 3)
	_ = two.Close()
	want("one is gone", one, 4)
	found = []string{two.Addr().String(), one.Addr().String()}
	d.at = time.Time{}
	want("the first does not answer", one, 5)
	found = nil
	if _, err := d.dial(t.Context()); protocol.CodeOf(err) != protocol.CodeUnavailable {
		t.Errorf("nobody is found: %v", err)
	}
	if _, err := DialPlain(t.Context(), MDNS); protocol.CodeOf(err) != protocol.CodeBadInput {
		t.Errorf("nobody looks: %v", err)
	}
}

func TestDialRefusesBadLists(t *testing.T) {
	for _, hub := range []string{"", ",", "a,", "a,http://b", strings.Repeat("a,", addressesMax) + "a"} {
		if _, err := DialPlain(t.Context(), hub); protocol.CodeOf(err) != protocol.CodeBadInput {
			t.Errorf("%q: %v", hub, err)
		}
	}
}

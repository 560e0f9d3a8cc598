package discover

import (
	"context"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/stavily/stavily/protocol"
)

// loopback is the place that is loopback alone.
func loopback(t *testing.T) Place {
	t.Helper()
	all, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	for i := range all {
		if all[i].Flags&(net.FlagLoopback|net.FlagUp) != net.FlagLoopback|net.FlagUp {
			continue
		}
		if p := placeAt(&all[i]); p.own4().IsValid() {
			return p
		}
	}
	t.Skip("no loopback with IPv4 here")
	return Place{}
}

// carriesMulticast skips where loopback passes on no multicast.
func carriesMulticast(t *testing.T, p Place) {
	t.Helper()
	hear, err := net.ListenMulticastUDP("udp4", p.Interface, &net.UDPAddr{IP: group.AsSlice()})
	if err != nil {
		t.Skipf("no multicast here: %v", err)
	}
	defer hear.Close()
	say, err := net.ListenUDP("udp4", &net.UDPAddr{IP: p.own4().AsSlice()})
	if err != nil {
		t.Fatal(err)
	}
	defer say.Close()
	to := netip.AddrPortFrom(group, hear.LocalAddr().(*net.UDPAddr).AddrPort().Port())
	if _, err := say.WriteToUDPAddrPort([]byte("here?"), to); err != nil {
		t.Skipf("no multicast by %s: %v", p.Interface.Name, err)
	}
	_ = hear.SetReadDeadline(time.Now().Add(2 * time.Second))
	if _, _, err := hear.ReadFromUDPAddrPort(make([]byte, 16)); err != nil {
		t.Skipf("no multicast by %s: %v", p.Interface.Name, err)
	}
}

// Two gateways of a site and one of another answer by real sockets; each site finds its own.
func TestFound(t *testing.T) {
	p := loopback(t)
	carriesMulticast(t, p)
	ctx, cancel := context.WithCancel(t.Context())
	var ended []chan error
	var port uint16
	for i, a := range []protocol.Address{
		{Site: "berlin", Agent: "gw-1"}, {Site: "berlin", Agent: "gw-2"}, {Site: "paris", Agent: "gw-1"},
	} {
		s, err := Listen(p, port, a, netip.MustParseAddrPort("0.0.0.0:"+string(rune('1'+i))))
		if err != nil {
			t.Fatal(err)
		}
		port = s.Port()
		end := make(chan error, 1)
		ended = append(ended, end)
		go func() { end <- s.Serve(ctx, time.Now) }()
	}
	const window = 200 * time.Millisecond
	find := func(site protocol.Site) (at []string) {
		now := time.Now()
		for _, g := range Browse(ctx, now, Search{Site: site, Port: port, Places: []Place{p}, Until: now.Add(window)}) {
			if g.Address.Addr().Is4() {
				at = append(at, string(g.Site)+" "+g.Name+" "+g.Address.String())
			}
		}
		return at
	}
	for site, want := range map[protocol.Site]int{"berlin": 2, "paris": 1, "": 3, "rome": 0} {
		got := find(site)
		for tries := 0; len(got) < want && tries < 50; tries++ { // a packet may be lost on a loaded machine
			got = find(site)
		}
		if len(got) != want {
			t.Errorf("%q: %q, want %d", site, got, want)
		}
	}
	cancel()
	for _, end := range ended {
		if err := <-end; err != nil {
			t.Error(err)
		}
	}
}

func TestListenRefusesAnotherPlace(t *testing.T) {
	p := loopback(t)
	a := protocol.Address{Site: "berlin", Agent: "gw-1"}
	s, err := Listen(p, 0, a, netip.MustParseAddrPort("10.9.8.7:8883"))
	if protocol.CodeOf(err) != protocol.CodeNotFound {
		t.Errorf("got %v, %v", s, err)
	}
}

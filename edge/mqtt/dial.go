package mqtt

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/stavily/stavily/protocol"
)

// MDNS is an address that stands for the gateways that are found by multicast DNS.
const MDNS = "mdns"

// Browse returns the addresses, host:port, that MDNS stands for at present, in the order in which
// to try them. It is called when the addresses before it did not answer, and ends with ctx.
type Browse func(ctx context.Context) []string

// defaultPort is the hub's port when an address names none.
const defaultPort = "8883"

// DialTLS returns a Config.Dial that connects to hub by TLS 1.3: host, host:port or
// mqtts://host:port, or several of them with commas between, of which each call takes the
// first that can be had. MDNS is none here: see DialBrowsing. A call soon after one that went
// well begins behind the address of that: its line was lost, or led nowhere. A config without
// NextProtos gets ALPNLink and one without ServerName gets HubServerName, the name in every
// hub's certificate: agents trust the hub's CA and not a place in the network. A bad hub is the
// error of the first call.
func DialTLS(hub string, config *tls.Config) func(ctx context.Context) (net.Conn, error) {
	return new(Traffic).DialTLS(hub, config)
}

// DialTLS is DialTLS that counts the bytes of all connections.
func (t *Traffic) DialTLS(hub string, config *tls.Config) func(ctx context.Context) (net.Conn, error) {
	return t.DialBrowsing(hub, config, nil)
}

// DialBrowsing is DialTLS with browse, if it is not nil, for MDNS among hub's addresses.
func (t *Traffic) DialBrowsing(hub string, config *tls.Config, browse Browse,
) func(ctx context.Context) (net.Conn, error) {
	config = config.Clone()
	if config == nil {
		config = &tls.Config{}
	}
	config.MinVersion = tls.VersionTLS13
	if len(config.NextProtos) == 0 {
		config.NextProtos = []string{protocol.ALPNLink}
	}
	if config.ServerName == "" {
		config.ServerName = protocol.HubServerName
	}
	if config.ClientSessionCache == nil {
		config.ClientSessionCache = tls.NewLRUClientSessionCache(1)
	}
	d := &dialer{browse: browse, open: func(ctx context.Context, address string) (net.Conn, error) {
		raw, err := plain(ctx, address)
		if err != nil {
			return nil, err
		}
		conn := tls.Client(&counted{raw, t}, config)
		if err := conn.HandshakeContext(ctx); err != nil {
			_ = raw.Close()
			return nil, fmt.Errorf("handshake with %s: %w", address, err)
		}
		return conn, nil
	}}
	d.addresses, d.bad = addresses(hub)
	return d.dial
}

// DialInTurn returns a Config.Dial that takes the first of addresses that open can reach, in the
// turn that DialTLS has: for lines that are no sockets.
func DialInTurn(addresses []string, open func(ctx context.Context, address string) (net.Conn, error),
) func(ctx context.Context) (net.Conn, error) {
	return (&dialer{addresses: addresses, open: open}).dial
}

// DialPlain connects, without TLS, to the first of hub's addresses that can be had: for who
// passes on what others say.
func DialPlain(ctx context.Context, hub string) (net.Conn, error) {
	d := &dialer{open: plain}
	d.addresses, d.bad = addresses(hub)
	return d.dial(ctx)
}

// stay is how long a line must have lasted for its address to come in its turn again.
const stay = time.Minute

// dialer tries addresses in turn. One caller at a time.
type dialer struct {
	addresses []string
	bad       error
	open      func(ctx context.Context, address string) (net.Conn, error)
	browse    Browse    // may be nil
	next      int       // where to begin, while at is not long ago
	last      string    // which one it was
	at        time.Time // of the last success
}

func (d *dialer) dial(ctx context.Context) (conn net.Conn, err error) {
	if d.bad != nil {
		return nil, d.bad
	}
	if time.Since(d.at) > stay {
		d.next, d.last = 0, ""
	}
	var failed error
	for n := range d.addresses {
		i := (d.next + n) % len(d.addresses)
		if conn, err = d.entry(ctx, d.addresses[i], len(d.addresses)-n); err == nil {
			d.next, d.at = i+1, time.Now()
			return conn, nil
		}
		if failed == nil {
			failed = err
		} else {
			failed = fmt.Errorf("%w; %w", failed, err)
		}
		if ctx.Err() != nil {
			break
		}
	}
	return nil, failed
}

// entry tries one address, or all that MDNS stands for, in its share of the time that is left.
func (d *dialer) entry(ctx context.Context, address string, share int) (conn net.Conn, err error) {
	if address != MDNS {
		if conn, err = d.one(ctx, address, share); err == nil {
			d.last = address
		}
		return conn, err
	}
	if d.browse == nil {
		return nil, protocol.Errorf(protocol.CodeBadInput,
			"hub address %q: not looked for here, want mqtts://host:port", MDNS)
	}
	found := d.browse(ctx)
	found = found[:min(len(found), addressesMax)]
	if i := slices.Index(found, d.last); i >= 0 { // its line was lost: it comes last
		found = slices.Concat(found[i+1:], found[:i+1])
	}
	err = protocol.Errorf(protocol.CodeUnavailable, "hub address %q: no gateway answers in this net", MDNS)
	for n, address := range found {
		if conn, err = d.one(ctx, address, share+len(found)-1-n); err == nil {
			d.last = address
			return conn, nil
		}
		if ctx.Err() != nil {
			break
		}
	}
	return nil, err
}

// one tries one address, for its share of the time that is left.
func (d *dialer) one(ctx context.Context, address string, share int) (net.Conn, error) {
	if end, bounded := ctx.Deadline(); bounded {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Until(end)/time.Duration(share))
		defer cancel()
	}
	return d.open(ctx, address)
}

// plain opens a socket. TCP's own keepalive would cost more bytes a day than the pings of MQTT.
func plain(ctx context.Context, address string) (net.Conn, error) {
	return (&net.Dialer{KeepAlive: -1}).DialContext(ctx, "tcp", address)
}

// addressesMax bounds the addresses that are tried.
const addressesMax = 8

// addresses returns host:port of each address in hub.
func addresses(hub string) (all []string, err error) {
	for each := range strings.SplitSeq(hub, ",") {
		address := strings.TrimSpace(each)
		if address == MDNS {
			all = append(all, address)
			continue
		}
		address, err = hostPort(address)
		if err != nil {
			return nil, err
		}
		all = append(all, address)
	}
	if len(all) > addressesMax {
		return nil, protocol.Errorf(protocol.CodeBadInput, "hub address: %d of them, limit %d", len(all),
			addressesMax)
	}
	return all, nil
}

// hostPort returns host:port of a hub's address.
func hostPort(hub string) (string, error) {
	host := hub
	if strings.Contains(hub, "://") {
		u, err := url.Parse(hub)
		if err != nil {
			return "", protocol.Errorf(protocol.CodeBadInput, "hub address: %w", err)
		}
		if u.Scheme != "mqtts" || (u.Path != "" && u.Path != "/") || u.User != nil || u.RawQuery != "" {
			return "", protocol.Errorf(protocol.CodeBadInput, "hub address %q: want mqtts://host:port", hub)
		}
		host = u.Host
	}
	name, port, err := net.SplitHostPort(host)
	if err != nil {
		name, port = strings.Trim(host, "[]"), defaultPort
	}
	if name == "" || port == "" || strings.ContainsAny(name, "/ @") {
		return "", protocol.Errorf(protocol.CodeBadInput, "hub address %q: want host:port", hub)
	}
	return net.JoinHostPort(name, port), nil
}

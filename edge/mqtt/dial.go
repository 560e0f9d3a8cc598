package mqtt

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/url"
	"strings"

	"github.com/stavily/stavily/protocol"
)

// defaultPort is the hub's port when an address names none.
const defaultPort = "8883"

// DialTLS returns a Config.Dial that connects to hub, which is host, host:port or
// mqtts://host:port, by TLS 1.3. A config without NextProtos gets ALPNLink and one
// without ServerName gets HubServerName, the name in every hub's certificate: agents
// trust the hub's CA and not a place in the network. A bad hub is the error of the
// first call.
func DialTLS(hub string, config *tls.Config) func(ctx context.Context) (net.Conn, error) {
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
	address, bad := hostPort(hub)
	// TCP's own keepalive would cost more bytes a day than the pings of MQTT.
	dialer := &net.Dialer{KeepAlive: -1}
	return func(ctx context.Context) (net.Conn, error) {
		if bad != nil {
			return nil, bad
		}
		raw, err := dialer.DialContext(ctx, "tcp", address)
		if err != nil {
			return nil, err
		}
		conn := tls.Client(raw, config)
		if err := conn.HandshakeContext(ctx); err != nil {
			_ = raw.Close()
			return nil, fmt.Errorf("handshake with %s: %w", address, err)
		}
		return conn, nil
	}
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

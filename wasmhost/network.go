package wasmhost

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/netip"
	"strconv"
	"time"

	"github.com/stavily/stavily/protocol"
)

// The bounds of the network's host calls.
const (
	networkDefault = 10 * time.Second // for one call, unless it says otherwise
	networkMax     = 24 * time.Hour   // what timeout_ms may say
	addressesMax   = 16               // of one name that are looked at
	dialsMax       = 4                // addresses that are tried one after another

	// resolveBytes is what one question and its answer count, either way, beside the
	// name and the addresses: the resolver does not tell.
	resolveBytes = 64
)

// Network is how a Host reaches other machines. It is called from many goroutines and
// must return soon after ctx has ended.
type Network interface {
	// Resolve returns the addresses of a name, best first. Every call of it is one
	// look-up: what it returns is checked, and dialled as it stands.
	Resolve(ctx context.Context, host string) ([]netip.Addr, error)
	// Dial connects to exactly this address; network is always "tcp".
	Dial(ctx context.Context, network string, to netip.AddrPort) (net.Conn, error)
}

// NetworkConfig is how plugins reach other machines. The zero value is the machine's
// own network, the system's certificate authorities and the default budget.
type NetworkConfig struct {
	// Network connects and resolves. Nil: the machine's.
	Network Network
	// Roots verify the other side of TLS. Nil: the system's.
	Roots *x509.CertPool
	// Budget bounds the bytes of each plugin.
	Budget NetworkBudget
}

// machine is the network of the machine: no proxy, nothing kept between two calls.
type machine struct{}

// Resolve asks the system's resolver.
func (machine) Resolve(ctx context.Context, host string) ([]netip.Addr, error) {
	return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
}

// Dial connects.
func (machine) Dial(ctx context.Context, network string, to netip.AddrPort) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, network, to.String())
}

// network returns the network of this host.
func (h *Host) network() Network {
	if h.cfg.Network.Network == nil {
		return machine{}
	}
	return h.cfg.Network.Network
}

// target is what a plugin wants to reach.
type target struct {
	capability string
	host       string // a name in lower case, or an address
	port       uint16
	tls        bool
	protocol   string // of the application within TLS, "" for none
}

func (t *target) String() string {
	if t.port == 0 {
		return t.host
	}
	return net.JoinHostPort(t.host, strconv.Itoa(int(t.port)))
}

// within returns a context that ends after ms milliseconds, and with the request.
func (r *request) within(ms int64) (context.Context, context.CancelFunc, time.Duration) {
	limit := networkDefault
	if ms > 0 && ms <= networkMax.Milliseconds() {
		limit = time.Duration(ms) * time.Millisecond
	}
	ctx, cancel := context.WithTimeout(r.bounded(), limit)
	return ctx, cancel, limit
}

// rules returns what the plugin may reach now by a capability.
func (r *request) rules(capability string) rules {
	grants, _ := r.p.use("", "")
	scopes, _ := grants.Scopes(capability)
	return parseRules(scopes, capability != protocol.CapResolve)
}

// over counts and returns the denial of a bound.
func (r *request) over(capability, bound string) *protocol.Error {
	r.denied++
	r.p.mu.Lock()
	defer r.p.mu.Unlock()
	r.p.counts.deny(capability, bound)
	return protocol.Errorf(protocol.CodeLimit, "%s: %s", capability, bound)
}

// room checks that one more socket keeps max_network_connections: M-21.
func (r *request) room(capability string) error {
	if most := int(r.p.limits.Connections); len(r.sockets.open) >= most {
		return r.over(capability, "max_network_connections "+strconv.Itoa(most))
	}
	return nil
}

// lookUp resolves a name that is in the scopes.
func (r *request) lookUp(ctx context.Context, t *target) ([]netip.Addr, error) {
	if err := r.spend(t.capability, outward, int64(len(t.host)+resolveBytes)); err != nil {
		return nil, err
	}
	addrs, err := r.p.host.network().Resolve(ctx, t.host)
	if err != nil {
		return nil, resolveError(ctx, t.host, err)
	}
	addrs = addrs[:min(len(addrs), addressesMax)]
	if err := r.spend(t.capability, inward, int64((len(addrs)+1)*resolveBytes)); err != nil {
		return nil, err
	}
	return addrs, nil
}

func resolveError(ctx context.Context, host string, err error) error {
	var dns *net.DNSError
	switch {
	case ctx.Err() != nil:
		return protocol.Errorf(protocol.CodeDeadline, "resolve %q: no answer in time", host)
	case errors.As(err, &dns) && dns.IsNotFound, protocol.CodeOf(err) == protocol.CodeNotFound:
		return protocol.Errorf(protocol.CodeNotFound, "resolve %q: no such name", host)
	}
	return protocol.Errorf(protocol.CodeUnavailable, "resolve %q: %w", host, err)
}

// addresses returns what may be dialled for t. A name is resolved once, and what comes
// back is judged address by address, so that a name which answers otherwise the next
// time gains nothing: nobody asks a next time.
func (r *request) addresses(ctx context.Context, t *target) ([]netip.AddrPort, error) {
	may := r.rules(t.capability)
	literal, err := netip.ParseAddr(t.host)
	isName := err != nil
	if isName && !may.named(t.host, t.port) || !isName && !may.reaches(literal, t.port, false) {
		return nil, r.refuseNetwork(t.capability, t.String(), may)
	}
	if err := r.room(t.capability); err != nil {
		return nil, err
	}
	if !isName {
		return []netip.AddrPort{netip.AddrPortFrom(literal.Unmap(), t.port)}, nil
	}
	found, err := r.lookUp(ctx, t)
	if err != nil {
		return nil, err
	}
	var out []netip.AddrPort
	for _, a := range found {
		if may.reaches(a, t.port, true) {
			out = append(out, netip.AddrPortFrom(a.Unmap(), t.port))
		}
	}
	if len(out) == 0 && len(found) > 0 {
		_ = r.refuse(t.capability, t.String()+" at "+found[0].String()) // counted; the error below says more
		return nil, protocol.Errorf(protocol.CodeDenied,
			"%s: %q is at no address that a name may lead to: want a scope with the address", t.capability, t)
	}
	return out, nil
}

// refuseNetwork is refuse, and names a scope that says nothing.
func (r *request) refuseNetwork(capability, subject string, rules rules) error {
	err := r.refuse(capability, subject)
	if len(rules.bad) > 0 {
		return protocol.Errorf(err.Code, "%w; scope %q is malformed", err, clip(rules.bad[0], 64))
	}
	return err
}

// dial connects to t, if the scopes and the bounds of now allow it.
func (r *request) dial(ctx context.Context, t *target, limit time.Duration) (*socket, error) {
	addrs, err := r.addresses(ctx, t)
	if err != nil {
		return nil, err
	}
	addrs = addrs[:min(len(addrs), dialsMax)]
	err = protocol.Errorf(protocol.CodeNotFound, "connect %q: no address", t)
	for _, a := range addrs {
		conn, failed := r.dialOne(ctx, a, limit/time.Duration(len(addrs)))
		if failed == nil {
			return r.secured(ctx, &socket{
				target: *t, addr: a, gauged: &gauged{Conn: conn, budget: r.p.budget},
			})
		}
		err = protocol.Errorf(protocol.CodeUnavailable, "connect %q: %w", t, bare(failed))
		if ctx.Err() != nil || errors.Is(failed, context.DeadlineExceeded) {
			err = protocol.Errorf(protocol.CodeDeadline, "connect %q: no answer in time", t)
		}
	}
	return nil, err
}

func (r *request) dialOne(ctx context.Context, to netip.AddrPort, limit time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	return r.p.host.network().Dial(ctx, "tcp", to)
}

// secured puts TLS on a socket that wants it.
func (r *request) secured(ctx context.Context, s *socket) (*socket, error) {
	s.conn = s.gauged
	if !s.target.tls {
		return s, nil
	}
	cfg := &tls.Config{
		ServerName: s.target.host, RootCAs: r.p.host.cfg.Network.Roots,
		MinVersion: tls.VersionTLS12, Time: r.p.host.cfg.Clock,
	}
	if s.target.protocol != "" {
		cfg.NextProtos = []string{s.target.protocol}
	}
	conn := tls.Client(s.gauged, cfg)
	if err := conn.HandshakeContext(ctx); err != nil {
		s.abort()
		return nil, r.fault(ctx, s, "TLS", err)
	}
	s.conn = conn
	return s, nil
}

// fault says why a socket failed.
func (r *request) fault(ctx context.Context, s *socket, op string, err error) error {
	switch {
	case s.gauged.tripped != "":
		return r.over(s.target.capability, s.gauged.tripped)
	case ctx.Err() != nil:
		return protocol.Errorf(protocol.CodeDeadline, "%s %q: no answer in time", op, &s.target)
	case protocol.CodeOf(err) != protocol.CodeInternal:
		return err
	}
	return protocol.Errorf(protocol.CodeUnavailable, "%s %q: %w", op, &s.target, bare(err))
}

// bare takes the machine's own address off an error.
func bare(err error) error {
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Err
	}
	return err
}

// callResolve resolves a name. What the addresses are of is not judged here: knowing one
// opens nothing.
func callResolve(r *request, args protocol.Raw) (any, error) {
	var in struct {
		Name      string `cbor:"name"`
		TimeoutMS int64  `cbor:"timeout_ms"`
	}
	if err := readArgs(args, &in); err != nil {
		return nil, err
	}
	name, ok := hostName(in.Name)
	if !ok {
		return nil, protocol.Errorf(protocol.CodeBadInput, "name %q: want a host name in ASCII",
			clip(in.Name, 64))
	}
	if may := r.rules(protocol.CapResolve); !may.named(name, 0) {
		return nil, r.refuseNetwork(protocol.CapResolve, name, may)
	}
	if err := r.room(protocol.CapResolve); err != nil {
		return nil, err
	}
	ctx, cancel, _ := r.within(in.TimeoutMS)
	defer cancel()
	addrs, err := r.lookUp(ctx, &target{capability: protocol.CapResolve, host: name})
	if err != nil {
		return nil, err
	}
	texts := make([]string, len(addrs))
	for i, a := range addrs {
		texts[i] = a.Unmap().String()
	}
	return map[string]any{"addresses": texts}, nil
}

var _ Network = machine{}

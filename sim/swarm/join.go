package swarm

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/stavily/stavily/edge/credentials"
	"github.com/stavily/stavily/protocol"
)

// Identity is what an agent gets when it joins.
type Identity struct {
	Address protocol.Address
	Epoch   uint64
	Ring    protocol.Keyring
	Cert    tls.Certificate
	Given   time.Time         // when the hub gave it
	Ends    time.Time         // of the certificate
	CA      *x509.Certificate // the hub's authority

	root []byte // the hub's key that keyrings are sealed with
}

// TLS returns what the agent connects with to its hub, or to a gateway of site.
func (i *Identity) TLS(site protocol.Site) *tls.Config {
	return i.trust(protocol.ALPNLink, site)
}

func (i *Identity) trust(alpn string, site protocol.Site) *tls.Config {
	own := i.Cert
	return credentials.Trust{
		CA: i.CA, Now: time.Now, ALPN: alpn, Own: func() *tls.Certificate { return &own }, Site: site,
	}.Config()
}

// joinMax bounds one join.
const joinMax = 30 * time.Second

// Joining is what a join needs.
type Joining struct {
	Name   protocol.AgentName
	Device protocol.Device
	Token  protocol.JoinToken
	// Dial opens a bare connection to the hub; TLS is put on top of it.
	Dial Dialer
}

// Join spends one use of the token: key made here, certificate from the hub.
func (j *Joining) Join(ctx context.Context) (*Identity, error) {
	ctx, cancel := context.WithTimeout(ctx, joinMax)
	defer cancel()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("join %s: key: %w", j.Name, err)
	}
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		return nil, fmt.Errorf("join %s: certificate request: %w", j.Name, err)
	}
	reply, err := ask(ctx, j.Dial.open, &tls.Config{
		MinVersion: tls.VersionTLS13, ServerName: protocol.HubServerName, NextProtos: []string{protocol.ALPNJoin},
		InsecureSkipVerify: true, //nolint:gosec // the authority is pinned below, by the token
		VerifyConnection:   j.pinned,
	}, protocol.JoinRequest{
		TokenID: j.Token.ID, Secret: j.Token.Secret, Address: protocol.Address{Agent: j.Name}, CSR: csr,
		Device: j.Device,
	})
	if err != nil {
		return nil, fmt.Errorf("join %s: %w", j.Name, err)
	}
	who, err := take(reply, key)
	if err != nil {
		return nil, fmt.Errorf("join %s: %w", j.Name, err)
	}
	return who, nil
}

// Renew returns i with the next certificate for its key, for which the old one asks: also one
// that has ended, for as long as the hub allows that. The device is as it is now.
func (i *Identity) Renew(ctx context.Context, device protocol.Device, open Opener) (*Identity, error) {
	ctx, cancel := context.WithTimeout(ctx, joinMax)
	defer cancel()
	fail := func(err error) (*Identity, error) { return nil, fmt.Errorf("renew %s: %w", i.Address, err) }
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, i.Cert.PrivateKey)
	if err != nil {
		return fail(err)
	}
	reply, err := ask(ctx, open, i.trust(protocol.ALPNJoin, ""), protocol.JoinRequest{
		Address: i.Address, Renew: true, CSR: csr, Device: device,
	})
	if err != nil {
		return fail(err)
	}
	if reply.Address != i.Address || reply.Epoch != i.Epoch {
		return fail(fmt.Errorf("the hub answers for %s of epoch %d, want epoch %d", reply.Address, reply.Epoch,
			i.Epoch))
	}
	next := *i
	if err := next.certified(&reply); err != nil {
		return fail(err)
	}
	next.ringed(&reply)
	return &next, nil
}

// certified takes the certificate of an answer.
func (i *Identity) certified(reply *protocol.JoinReply) error {
	leaf, err := x509.ParseCertificate(reply.Certificate)
	if err != nil {
		return fmt.Errorf("certificate: %w", err)
	}
	i.Cert = tls.Certificate{
		Certificate: [][]byte{reply.Certificate}, PrivateKey: i.Cert.PrivateKey, Leaf: leaf,
	}
	i.Given, i.Ends = time.UnixMilli(reply.Time), leaf.NotAfter
	return nil
}

// ringed takes the keyring of an answer, if it brings one that is not below what i believes.
func (i *Identity) ringed(reply *protocol.JoinReply) {
	if len(reply.Keyring) == 0 {
		return
	}
	if ring, err := credentials.Keyring(i.root, reply.Keyring); err == nil && ring.Version >= i.Ring.Version {
		i.Ring = ring
	}
}

// Dialer opens a bare connection to the hub.
type Dialer func(ctx context.Context) (net.Conn, error)

// Opener opens a connection to the hub with TLS on it.
type Opener func(ctx context.Context, config *tls.Config) (net.Conn, error)

// open puts TLS on what d opens.
func (d Dialer) open(ctx context.Context, config *tls.Config) (net.Conn, error) {
	return Secure(ctx, d, config)
}

// ask puts a request to the hub's join port.
func ask(ctx context.Context, open Opener, config *tls.Config, req protocol.JoinRequest,
) (reply protocol.JoinReply, err error) {
	conn, err := open(ctx, config)
	if err != nil {
		return reply, err
	}
	defer conn.Close()
	if reply, err = credentials.Ask(ctx, conn, req); err != nil {
		return reply, err
	}
	if reply.Error != nil {
		return reply, reply.Error
	}
	return reply, nil
}

// Secure opens a bare connection and puts TLS on it.
func Secure(ctx context.Context, dial func(context.Context) (net.Conn, error), config *tls.Config,
) (net.Conn, error) {
	bare, err := dial(ctx)
	if err != nil {
		return nil, err
	}
	conn := tls.Client(bare, config)
	if err := conn.HandshakeContext(ctx); err != nil {
		_ = bare.Close()
		return nil, err
	}
	return conn, nil
}

// pinned wants the chain to end in the authority of the token.
func (j *Joining) pinned(state tls.ConnectionState) error {
	chain := state.PeerCertificates
	if len(chain) < 2 || protocol.DigestOf(chain[len(chain)-1].Raw) != j.Token.CA {
		return errors.New("the hub has another authority than the token")
	}
	return chain[0].CheckSignatureFrom(chain[len(chain)-1])
}

// take reads what the hub answered.
func take(reply protocol.JoinReply, key *ecdsa.PrivateKey) (*Identity, error) {
	ca, err := x509.ParseCertificate(reply.CA)
	if err != nil {
		return nil, fmt.Errorf("authority: %w", err)
	}
	who := &Identity{
		Address: reply.Address, Epoch: reply.Epoch, CA: ca, root: reply.Root,
		Cert: tls.Certificate{PrivateKey: key},
	}
	if err := who.certified(&reply); err != nil {
		return nil, err
	}
	who.Ring, err = credentials.Keyring(who.root, reply.Keyring)
	return who, err
}

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
	"time"

	"github.com/stavily/stavily/protocol"
)

// identity is what a member got when it joined.
type identity struct {
	address protocol.Address
	epoch   uint64
	ring    protocol.Keyring
	cert    tls.Certificate
	pool    *x509.CertPool
}

// tls returns what the member connects with.
func (i *identity) tls() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13, ServerName: protocol.HubServerName, RootCAs: i.pool,
		Certificates: []tls.Certificate{i.cert}, NextProtos: []string{protocol.ALPNLink},
	}
}

// joinMax bounds one join.
const joinMax = 30 * time.Second

// join spends one use of the token: key made here, certificate from the hub.
func (m *member) join(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, joinMax)
	defer cancel()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return fmt.Errorf("join %s: key: %w", m.name, err)
	}
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		return fmt.Errorf("join %s: certificate request: %w", m.name, err)
	}
	token := m.of.cfg.Token
	reply, err := m.of.ask(ctx, protocol.JoinRequest{
		TokenID: token.ID, Secret: token.Secret, Address: protocol.Address{Agent: m.name}, CSR: csr,
		Device: device(),
	})
	if err != nil {
		return fmt.Errorf("join %s: %w", m.name, err)
	}
	return m.take(reply, key)
}

// ask puts a request to the hub's join port, which must have the authority that the
// token names.
func (s *swarm) ask(ctx context.Context, req protocol.JoinRequest) (reply protocol.JoinReply, err error) {
	conn, err := s.connect(ctx, &tls.Config{
		MinVersion: tls.VersionTLS13, ServerName: protocol.HubServerName, NextProtos: []string{protocol.ALPNJoin},
		InsecureSkipVerify: true, //nolint:gosec // the authority is pinned below, by the token
		VerifyConnection:   s.pinned,
	})
	if err != nil {
		return reply, err
	}
	defer conn.Close()
	if deadline, ok := ctx.Deadline(); ok {
		_ = conn.SetDeadline(deadline)
	}
	if err := protocol.WriteFrame(conn, req); err != nil {
		return reply, err
	}
	if err := protocol.ReadFrame(conn, protocol.JoinReplyMax, &reply); err != nil {
		return reply, err
	}
	if reply.Error != nil {
		return reply, reply.Error
	}
	return reply, nil
}

// pinned wants the chain to end in the authority of the token.
func (s *swarm) pinned(state tls.ConnectionState) error {
	chain := state.PeerCertificates
	if len(chain) < 2 || protocol.DigestOf(chain[len(chain)-1].Raw) != s.cfg.Token.CA {
		return errors.New("the hub has another authority than the token")
	}
	return chain[0].CheckSignatureFrom(chain[len(chain)-1])
}

// take keeps what the hub answered.
func (m *member) take(reply protocol.JoinReply, key *ecdsa.PrivateKey) error {
	ca, err := x509.ParseCertificate(reply.CA)
	if err != nil {
		return fmt.Errorf("join %s: authority: %w", m.name, err)
	}
	root := protocol.Keyring{Keys: []protocol.PublicKey{{Role: protocol.RoleRoot, Key: reply.Root}}}
	payload, err := protocol.Open(protocol.ContextKeyring, root, reply.Keyring)
	if err != nil {
		return fmt.Errorf("join %s: %w", m.name, err)
	}
	m.who = identity{
		address: reply.Address, epoch: reply.Epoch, pool: x509.NewCertPool(),
		cert: tls.Certificate{Certificate: [][]byte{reply.Certificate}, PrivateKey: key},
	}
	m.who.pool.AddCert(ca)
	return protocol.UnmarshalExact(payload, &m.who.ring)
}

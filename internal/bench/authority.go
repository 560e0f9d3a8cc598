package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/stavily/stavily/hub"
	"github.com/stavily/stavily/protocol"
)

// authority makes the certificates of both ends, as a hub does.
type authority struct{ ca *hub.CA }

// openAuthority opens the authority in a folder, or makes a new one there.
func openAuthority(dir string) (*authority, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	ca, err := hub.OpenCA(dir, time.Now())
	return &authority{ca}, err
}

// server returns what a broker needs to demand certificates of its agents.
func (a *authority) server() (*tls.Config, error) {
	cert, err := a.ca.Server(time.Now())
	if err != nil {
		return nil, err
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{cert}, ClientCAs: a.ca.Pool(),
		ClientAuth: tls.RequireAndVerifyClientCert, NextProtos: []string{protocol.ALPNLink},
	}, nil
}

// client returns what an agent with this certificate needs to connect.
func (a *authority) client(key *ecdsa.PrivateKey, certificate []byte) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13, RootCAs: a.ca.Pool(), ServerName: protocol.HubServerName,
		NextProtos:   []string{protocol.ALPNLink},
		Certificates: []tls.Certificate{{Certificate: [][]byte{certificate}, PrivateKey: key}},
	}
}

// issue makes a key and its certificate for an agent that joins nowhere.
func (a *authority) issue(to protocol.Address) (*tls.Config, error) {
	key, csr, err := newKey()
	if err != nil {
		return nil, err
	}
	cert, err := a.ca.Issue(csr, to, time.Now())
	if err != nil {
		return nil, err
	}
	return a.client(key, cert.Raw), nil
}

func newKey() (*ecdsa.PrivateKey, []byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	return key, csr, err
}

// dial connects to a broker on loopback.
func dial(address string, config *tls.Config) (net.Conn, error) {
	raw, err := net.Dial("tcp", address)
	if err != nil {
		return nil, err
	}
	conn := tls.Client(raw, config)
	if err := conn.Handshake(); err != nil {
		_ = raw.Close()
		return nil, fmt.Errorf("handshake with %s: %w", address, err)
	}
	return conn, nil
}

// agentAt names the agents of a row.
func agentAt(n int) protocol.Address {
	return protocol.Address{Site: "lab", Agent: protocol.AgentName(fmt.Sprintf("agent-%d", n))}
}

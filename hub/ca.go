package hub

import (
	"cmp"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/stavily/stavily/protocol"
)

const (
	caYears   = 30
	leafLife  = 365 * 24 * time.Hour
	agentLife = 90 * 24 * time.Hour
)

// begin is the NotBefore of every certificate of the hub. A device whose clock stands
// before today must still believe the hub that it pinned; nothing is won by refusing
// a certificate because it is young.
var begin = time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)

// CA is the hub's own certificate authority. It signs the hub's server certificate
// and the agents' client certificates.
type CA struct {
	Certificate *x509.Certificate
	// Life is how long agents' certificates last; 0: 90 days.
	Life time.Duration
	key  crypto.Signer
}

// OpenCA reads the authority from dir, or makes that of a new hub.
func OpenCA(dir string, now time.Time) (*CA, error) {
	key, err := openECKey(filepath.Join(dir, "ca.key"))
	if err != nil {
		return nil, err
	}
	path := filepath.Join(dir, "ca.der")
	der, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		der, err = makeCA(path, key, now)
	}
	if err != nil {
		return nil, fmt.Errorf("keys: %w", err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("keys: %s: %w", path, err)
	}
	return &CA{Certificate: cert, key: key}, nil
}

func makeCA(path string, key crypto.Signer, now time.Time) ([]byte, error) {
	der, err := sign(&x509.Certificate{
		Subject:  pkix.Name{CommonName: "stavily hub " + now.UTC().Format("2006-01-02")},
		NotAfter: now.AddDate(caYears, 0, 0), IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}, nil, key.Public(), key)
	if err != nil {
		return nil, err
	}
	return der, writeSecret(path, der)
}

// Digest is what join tokens pin.
func (ca *CA) Digest() protocol.Digest { return protocol.DigestOf(ca.Certificate.Raw) }

// Pool returns a pool with this authority alone.
func (ca *CA) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(ca.Certificate)
	return pool
}

// Server makes a server certificate with a fresh key, followed by the authority's own
// certificate, so that a joining agent can hold it against its token.
func (ca *CA) Server(now time.Time) (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("server certificate: %w", err)
	}
	der, err := sign(&x509.Certificate{
		Subject: pkix.Name{CommonName: protocol.HubServerName}, DNSNames: []string{protocol.HubServerName},
		NotAfter: now.Add(leafLife), KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}, ca.Certificate, key.Public(), ca.key)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("server certificate: %w", err)
	}
	return tls.Certificate{Certificate: [][]byte{der, ca.Certificate.Raw}, PrivateKey: key}, nil
}

// Issue makes the client certificate of the agent at a for the key of csr (PKCS #10,
// DER), which must be ECDSA P-256 and signed by itself. The names in csr are ignored.
func (ca *CA) Issue(csr []byte, a protocol.Address, now time.Time) (*x509.Certificate, error) {
	return ca.issue(csr, a, now, false)
}

// issue is Issue, also for a gateway: its certificate serves for neighbours of its site too.
func (ca *CA) issue(csr []byte, a protocol.Address, now time.Time, gateway bool) (*x509.Certificate, error) {
	req, err := x509.ParseCertificateRequest(csr)
	if err != nil {
		return nil, protocol.Errorf(protocol.CodeBadMessage, "certificate request of %s: %w", a, err)
	}
	if err := req.CheckSignature(); err != nil {
		return nil, protocol.Errorf(protocol.CodeBadMessage, "certificate request of %s: %w", a, err)
	}
	key, ok := req.PublicKey.(*ecdsa.PublicKey)
	if !ok || key.Curve != elliptic.P256() {
		return nil, protocol.Errorf(protocol.CodeRefused, "certificate request of %s: want an ECDSA P-256 key, "+
			"got %s",
			a, req.PublicKeyAlgorithm)
	}
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: string(a.Agent)}, URIs: []*url.URL{protocol.IdentityURI(a)},
		NotAfter: now.Add(cmp.Or(ca.Life, agentLife)), KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	if gateway {
		template.DNSNames = []string{protocol.GatewayServerName(a.Site)}
		template.ExtKeyUsage = append(template.ExtKeyUsage, x509.ExtKeyUsageServerAuth)
	}
	der, err := sign(template, ca.Certificate, key, ca.key)
	if err != nil {
		return nil, fmt.Errorf("certificate of %s: %w", a, err)
	}
	return x509.ParseCertificate(der)
}

// sign completes template with serial and beginning and signs it; a nil parent means
// itself.
func sign(template, parent *x509.Certificate, public crypto.PublicKey, signer crypto.Signer) ([]byte, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, err
	}
	template.SerialNumber, template.NotBefore = serial, begin
	if parent == nil {
		parent = template
	}
	return x509.CreateCertificate(rand.Reader, template, parent, public, signer)
}

func openECKey(path string) (crypto.Signer, error) {
	key, err := openKey(path, func() (crypto.PrivateKey, error) {
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	})
	if err != nil {
		return nil, err
	}
	private, ok := key.(*ecdsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("keys: %s: want an ECDSA key, got %T", path, key)
	}
	return private, nil
}

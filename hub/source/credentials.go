package source

import (
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"
)

// Credentials open a private repository. They never print: every verb, slog and encoder sees the same mask.
type Credentials struct {
	// User goes with Token; empty is "git", which GitHub and GitLab accept beside any token.
	User string
	// Token is sent by HTTP basic authentication, to the URL's own host and no other.
	Token string
	// SSHKeyPEM is an unencrypted private key, OpenSSH or PKCS form.
	SSHKeyPEM []byte
	// KnownHosts is the text of a known_hosts file; without it ssh is refused.
	KnownHosts []byte
	// CAPEM is trusted instead of the system's authorities, for https.
	CAPEM []byte
}

const mask = "credentials(hidden)"

// String is always the same text.
func (Credentials) String() string { return mask }

// Format hides the fields from every verb, %#v and %d too.
func (Credentials) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, mask) }

// LogValue hides the fields from slog.
func (Credentials) LogValue() slog.Value { return slog.StringValue(mask) }

// MarshalText hides the fields from JSON, YAML and their like.
func (Credentials) MarshalText() ([]byte, error) { return []byte(mask), nil }

// roots is the pool that https trusts; nil is the system's.
func (c Credentials) roots() (*x509.CertPool, error) {
	if len(c.CAPEM) == 0 {
		return nil, nil
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(c.CAPEM) {
		return nil, errors.New("credentials: ca: no certificate in the PEM")
	}
	return pool, nil
}

// sshConfig is the client's side of a connection to host ("name:port").
func (c Credentials) sshConfig(user, host string) (*ssh.ClientConfig, error) {
	if len(c.SSHKeyPEM) == 0 {
		return nil, fmt.Errorf("credentials: ssh needs a key: %w", ErrAuth)
	}
	key, err := ssh.ParsePrivateKey(c.SSHKeyPEM)
	var locked *ssh.PassphraseMissingError
	if errors.As(err, &locked) {
		return nil, errors.New("credentials: ssh key: has a passphrase: want a key without one")
	}
	if err != nil {
		return nil, errors.New("credentials: ssh key: not a private key in PEM")
	}
	check, err := c.hostCheck()
	if err != nil {
		return nil, err
	}
	algorithms := hostAlgorithms(check, host)
	if len(algorithms) == 0 {
		return nil, fmt.Errorf("credentials: known hosts: no key for %q", host)
	}
	return &ssh.ClientConfig{
		User:              user,
		Auth:              []ssh.AuthMethod{ssh.PublicKeys(key)},
		HostKeyCallback:   check,
		HostKeyAlgorithms: algorithms,
	}, nil
}

// hostCheck reads KnownHosts. The library wants a file, so it gets one for a moment.
func (c Credentials) hostCheck() (ssh.HostKeyCallback, error) {
	if len(c.KnownHosts) == 0 {
		return nil, errors.New("credentials: known hosts: empty: ssh needs the host's key")
	}
	f, err := os.CreateTemp("", "known-hosts-*")
	if err != nil {
		return nil, fmt.Errorf("credentials: known hosts: %w", err)
	}
	defer os.Remove(f.Name())
	_, werr := f.Write(c.KnownHosts)
	if err := errors.Join(werr, f.Close()); err != nil {
		return nil, fmt.Errorf("credentials: known hosts: %w", err)
	}
	check, err := knownhosts.New(f.Name())
	if err != nil {
		return nil, fmt.Errorf("credentials: known hosts: %w", err)
	}
	return check, nil
}

// hostAlgorithms asks the list with a key that nobody has, to learn which kinds of key it holds for host: the
// handshake must ask for one of these, or it may get a key that the list cannot judge.
func hostAlgorithms(check ssh.HostKeyCallback, host string) []string {
	var known *knownhosts.KeyError
	if !errors.As(check(host, &net.TCPAddr{}, nobody{}), &known) {
		return nil
	}
	var out []string
	for _, k := range known.Want {
		if t := k.Key.Type(); t == ssh.KeyAlgoRSA {
			out = append(out, ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256)
		} else {
			out = append(out, t)
		}
	}
	return out
}

// nobody is a public key that matches none.
type nobody struct{}

func (nobody) Type() string                        { return "nobody" }
func (nobody) Marshal() []byte                     { return []byte("nobody") }
func (nobody) Verify([]byte, *ssh.Signature) error { return errors.New("nobody signs nothing") }

var (
	_ fmt.Formatter  = Credentials{}
	_ slog.LogValuer = Credentials{}
	_ ssh.PublicKey  = nobody{}
)

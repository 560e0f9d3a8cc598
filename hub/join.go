package hub

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"net"
	"time"

	"github.com/stavily/stavily/protocol"
)

// joinMax bounds a join request in bytes: a certificate request and what a device says
// of itself.
const joinMax = 16 << 10

// ServeJoin answers the one request of an agent that joins or renews (SPEC.md, section
// 8): a length of four bytes, big endian, and a JoinRequest; back a JoinReply in the
// same form. decide is called once, between reading and writing; conn's deadlines are
// the caller's.
func ServeJoin(conn *tls.Conn, log *slog.Logger, decide func(protocol.JoinRequest,
	*x509.Certificate) protocol.JoinReply,
) {
	from := slog.String("from", conn.RemoteAddr().String())
	b, err := readFrame(conn, joinMax)
	if err != nil {
		log.Warn("join: no request", from, slog.String("error", err.Error()))
		return
	}
	var req protocol.JoinRequest
	var reply protocol.JoinReply
	if err := protocol.Unmarshal(b, &req); err != nil {
		reply.Error = protocol.AsError(err)
	} else {
		reply = decide(req, peerOf(conn))
	}
	if reply.Error != nil {
		log.Warn("join: refused", from, slog.String("agent", req.Address.String()), slog.String("error",
			reply.Error.Text))
	}
	if err := writeFrame(conn, protocol.MustMarshal(reply)); err != nil {
		log.Warn("join: no reply", from, slog.String("error", err.Error()))
	}
}

func peerOf(conn *tls.Conn) *x509.Certificate {
	if chain := conn.ConnectionState().PeerCertificates; len(chain) > 0 {
		return chain[0]
	}
	return nil
}

func readFrame(r io.Reader, longest uint32) ([]byte, error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(head[:])
	if n == 0 || n > longest {
		return nil, protocol.Errorf(protocol.CodeLimit, "frame of %d bytes, want 1 to %d", n, longest)
	}
	b := make([]byte, n)
	_, err := io.ReadFull(r, b)
	return b, err
}

func writeFrame(w io.Writer, b []byte) error {
	_, err := w.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(b))), b...))
	return err
}

// renewalGrace is how long after its end a certificate may still ask for the next one:
// a site may be away for a year.
const renewalGrace = 400 * 24 * time.Hour

// checkRenewal returns the agent that an old certificate names, if the authority
// signed it and it has not been over for longer than the grace.
func (ca *CA) checkRenewal(old *x509.Certificate, now time.Time) (protocol.Address, error) {
	if old == nil {
		return protocol.Address{}, protocol.Errorf(protocol.CodeRefused, "renew: no client certificate")
	}
	if now.After(old.NotAfter.Add(renewalGrace)) {
		return protocol.Address{}, protocol.Errorf(protocol.CodeRefused,
			"renew: certificate %q ended on %s, too long ago; join again with a token",
			old.Subject.CommonName, old.NotAfter.Format(time.DateOnly))
	}
	at := now
	if at.After(old.NotAfter) {
		at = old.NotAfter
	}
	_, err := old.Verify(x509.VerifyOptions{
		Roots: ca.Pool(), CurrentTime: at, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	if err != nil {
		return protocol.Address{}, protocol.Errorf(protocol.CodeRefused, "renew: %w", err)
	}
	return protocol.IdentityOf(old)
}

// closed reports whether err only says that a listener or connection was closed.
func closed(err error) bool {
	return err == nil || errors.Is(err, net.ErrClosed) || errors.Is(err, context.Canceled)
}

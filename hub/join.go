package hub

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log/slog"
	"net"
	"time"

	"github.com/stavily/stavily/protocol"
)

// ServeJoin answers the one request of an agent that joins or renews: a JoinRequest in, a
// JoinReply out, both framed as protocol.ReadFrame reads them. decide is called
// once, between reading and writing; conn's deadlines are the caller's.
func ServeJoin(conn *tls.Conn, log *slog.Logger, decide func(protocol.JoinRequest,
	*x509.Certificate) protocol.JoinReply,
) {
	from := slog.String("from", conn.RemoteAddr().String())
	var req protocol.JoinRequest
	var reply protocol.JoinReply
	switch err := protocol.ReadFrame(conn, protocol.JoinRequestMax, &req); {
	case err == nil:
		reply = decide(req, peerOf(conn))
	case protocol.CodeOf(err) == protocol.CodeBadMessage:
		reply.Error = protocol.AsError(err)
	default:
		log.Warn("join: no request", from, slog.String("error", err.Error()))
		return
	}
	if reply.Error != nil {
		log.Warn("join: refused", from, slog.String("agent", req.Address.String()), slog.String("error",
			reply.Error.Text))
	}
	if err := protocol.WriteFrame(conn, reply); err != nil {
		log.Warn("join: no reply", from, slog.String("error", err.Error()))
	}
}

func peerOf(conn *tls.Conn) *x509.Certificate {
	if chain := conn.ConnectionState().PeerCertificates; len(chain) > 0 {
		return chain[0]
	}
	return nil
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

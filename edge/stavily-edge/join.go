package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"
	"time"

	"github.com/stavily/stavily/edge/credentials"
	"github.com/stavily/stavily/edge/disk"
	"github.com/stavily/stavily/edge/mqtt"
	"github.com/stavily/stavily/edge/sysinfo"
	"github.com/stavily/stavily/protocol"
)

// exchangeMax bounds one join or renewal, from dialing to the reply.
const exchangeMax = 30 * time.Second

// runJoin is the command join.
func runJoin(ctx context.Context, o *options, out, _ io.Writer) error {
	id, err := disk.OpenIdentity(o.state)
	if err != nil {
		return err
	}
	if e, err := id.Enrolment(); err == nil && !o.again {
		return &failure{
			fmt.Errorf("join: this device is already agent %s of %s", e.Address, e.Hub),
			"use --again to join anew, or another --state", exitOther,
		}
	}
	if o.request != "" {
		return askByHand(o, id, out)
	}
	e, err := join(ctx, o, id)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "joined %s as %s\n", e.Hub, e.Address)
	return err
}

// enrolment returns who this agent is; the first time it joins to become that.
func enrolment(ctx context.Context, o *options, id *disk.Identity) (disk.Enrolment, error) {
	e, err := id.Enrolment()
	switch {
	case protocol.CodeOf(err) == protocol.CodeNotFound && (o.token == "" || o.hub == ""):
		return e, &failure{err, "the first time, give --hub mqtts://host:port and --join TOKEN", exitUsage}
	case protocol.CodeOf(err) == protocol.CodeNotFound || err == nil && o.again && o.token != "":
		return join(ctx, o, id)
	case err != nil:
		return e, err
	}
	if o.hub != "" && o.hub != e.Hub { // it moved; the pinned CA tells whether it is the same
		e.Hub = o.hub
		return e, id.Enrol(e)
	}
	return e, nil
}

// joining is a device that spends a token: the key is made here and stays here, the hub
// signs its public half.
type joining struct {
	o     *options
	id    *disk.Identity
	token protocol.JoinToken
	key   *ecdsa.PrivateKey
}

func newJoining(o *options, id *disk.Identity) (j joining, err error) {
	if o.hub == "" || o.token == "" {
		return j, usageError("join: want --hub and --join")
	}
	token, err := protocol.ParseJoinToken(o.token)
	if err != nil {
		return j, &failure{err, "copy the whole token as the hub printed it", exitUsage}
	}
	key, err := id.Key()
	return joining{o, id, token, key}, err
}

// request asks for an identity. It is not signed yet.
func (j *joining) request() protocol.JoinRequest {
	return protocol.JoinRequest{
		TokenID: j.token.ID, Secret: j.token.Secret, Device: sysinfo.Device(version, j.o.labels),
		Address: protocol.Address{Site: protocol.Site(j.o.site), Agent: protocol.AgentName(j.o.name)},
	}
}

// join joins over the line, or by the reply that was carried here.
func join(ctx context.Context, o *options, id *disk.Identity) (disk.Enrolment, error) {
	j, err := newJoining(o, id)
	if err != nil {
		return disk.Enrolment{}, err
	}
	var reply protocol.JoinReply
	if o.reply != "" {
		reply, err = j.carried()
	} else {
		reply, err = j.ask(ctx)
	}
	if err != nil {
		return disk.Enrolment{}, err
	}
	return j.accept(&reply)
}

// ask asks the hub over the line.
func (j *joining) ask(ctx context.Context) (protocol.JoinReply, error) {
	time := &clock{}
	time.raise(buildTime())
	t := trust{credentials.Trust{
		IsCA: func(cert *x509.Certificate) bool { return protocol.DigestOf(cert.Raw) == j.token.CA },
		Now:  time.now, ALPN: protocol.ALPNJoin,
	}, browse(j.o.mdnsPort, protocol.Site(j.o.site), slog.New(slog.DiscardHandler))}
	req := j.request()
	reply, err := exchange(ctx, j.o.hub, t, j.key, req)
	if protocol.CodeOf(err) == protocol.CodeBadName && j.o.name == "" { // nobody chose a name
		req.Address.Agent = hostName()
		reply, err = exchange(ctx, j.o.hub, t, j.key, req)
	}
	return reply, err
}

// accept holds a reply against the token and keeps what it says.
func (j *joining) accept(reply *protocol.JoinReply) (disk.Enrolment, error) {
	none := disk.Enrolment{}
	if protocol.DigestOf(reply.CA) != j.token.CA {
		return none, protocol.Errorf(protocol.CodeRefused, "join: hub answers with another CA than the token's")
	}
	e := disk.Enrolment{
		Hub: j.o.hub, Address: reply.Address, Epoch: reply.Epoch, Certificate: reply.Certificate, CA: reply.CA,
		Root: reply.Root, Keyring: reply.Keyring, Time: reply.Time, Labels: j.o.labels, Allow: j.o.allow,
	}
	if _, err := openKeyring(e); err != nil {
		return none, err
	}
	return e, j.id.Enrol(e)
}

// openKeyring opens the keyring with the root key that was pinned when joining.
func openKeyring(e disk.Enrolment) (protocol.Keyring, error) {
	return credentials.Keyring(e.Root, e.Keyring)
}

// hostName makes an agent name of the host's.
func hostName() protocol.AgentName {
	name, _ := os.Hostname()
	name, _, _ = strings.Cut(strings.ToLower(name), ".")
	name = strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return '-'
	}, name)
	return protocol.AgentName(strings.Trim(name[:min(len(name), protocol.NameMax)], "-"))
}

// exchange puts one request to the hub's join port and returns the reply. A hub that
// says no is a failure with exitRefused, one that is not reached with exitUnreachable.
func exchange(ctx context.Context, hub string, t trust, key *ecdsa.PrivateKey, req protocol.JoinRequest,
) (protocol.JoinReply, error) {
	var reply protocol.JoinReply
	ctx, cancel := context.WithTimeout(ctx, exchangeMax)
	defer cancel()
	if err := signed(&req, key); err != nil {
		return reply, err
	}
	conn, err := new(mqtt.Traffic).DialBrowsing(hub, t.Config(), t.look)(ctx)
	if err != nil {
		return reply, dialFailure(hub, err)
	}
	defer conn.Close()
	if reply, err = credentials.Ask(ctx, conn, req); err != nil {
		return reply, &failure{fmt.Errorf("join %s: %w", hub, err), "the line broke: try again", exitUnreachable}
	}
	if reply.Error != nil {
		return reply, &failure{reply.Error, hintFor(reply.Error.Code), exitRefused}
	}
	return reply, checkReply(&reply, key)
}

// signed puts the public half of key into the request.
func signed(req *protocol.JoinRequest, key *ecdsa.PrivateKey) (err error) {
	req.CSR, err = x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		return protocol.Errorf(protocol.CodeInternal, "join: certificate request: %w", err)
	}
	return nil
}

// checkReply looks whether the certificate is for the key of this device and for the
// agent that the hub says.
func checkReply(r *protocol.JoinReply, key *ecdsa.PrivateKey) error {
	cert, err := x509.ParseCertificate(r.Certificate)
	if err != nil {
		return protocol.Errorf(protocol.CodeBadMessage, "join: certificate: %w", err)
	}
	of, err := protocol.IdentityOf(cert)
	if err != nil {
		return err
	}
	if !key.PublicKey.Equal(cert.PublicKey) || of != r.Address || r.Epoch == 0 {
		return protocol.Errorf(protocol.CodeBadMessage, "join: certificate for %s, epoch %d: not for this agent",
			of, r.Epoch)
	}
	return nil
}

func dialFailure(hub string, err error) error {
	var alert tls.AlertError
	switch code := protocol.CodeOf(err); {
	case code == protocol.CodeBadInput:
		return &failure{err, "give --hub mqtts://host:port", exitUsage}
	case code == protocol.CodeRefused:
		return &failure{err, "is the token from this hub? Ask for a new one there", exitRefused}
	case code == protocol.CodeIncompatible || errors.As(err, &alert):
		return &failure{fmt.Errorf("hub %s: %w", hub, err), "is this the hub's MQTT port?", exitRefused}
	}
	hint := "is the hub running, and does this device reach it?"
	var dns *net.DNSError
	if errors.As(err, &dns) {
		hint = "is the name right, and has this device a name server?"
	}
	return &failure{fmt.Errorf("hub %s: not reached: %w", hub, err), hint, exitUnreachable}
}

func hintFor(code protocol.Code) string {
	switch code {
	case protocol.CodeExists:
		return "choose another --name, or remove the old agent at the hub"
	case protocol.CodeBadName:
		return "choose a --name of a-z, 0-9 and inner hyphens, and a --site if the token has none"
	case protocol.CodeRefused, protocol.CodeNotFound, protocol.CodeStale:
		return "tokens end and are used up: ask the hub for a new one"
	default:
		return ""
	}
}

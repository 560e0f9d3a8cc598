package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"errors"
	"io"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stavily/stavily/edge/credentials"
	"github.com/stavily/stavily/edge/disk"
	"github.com/stavily/stavily/protocol"
)

// joinHub is a hub's join port and nothing else: real TLS, real certificates.
type joinHub struct {
	t     *testing.T
	ca    *x509.Certificate
	caKey *ecdsa.PrivateKey
	root  protocol.SealKey
	addr  string
	token protocol.JoinToken

	mu     sync.Mutex // guards the fields below
	asked  []protocol.JoinRequest
	peers  []*x509.Certificate
	change func(*protocol.JoinReply)
}

func newJoinHub(t *testing.T) *joinHub {
	t.Helper()
	h := &joinHub{t: t, root: protocol.SealKey{
		Role: protocol.RoleRoot, Private: ed25519.NewKeyFromSeed(bytes.Repeat([]byte{1}, 32)),
	}}
	h.caKey = newKey(t)
	template := &x509.Certificate{
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
		Subject: pkix.Name{CommonName: "hub"},
	}
	h.ca = h.sign(template, &h.caKey.PublicKey, template)
	h.token = protocol.JoinToken{ID: make([]byte, 8), Secret: make([]byte, 16), CA: protocol.DigestOf(h.ca.Raw)}
	key := newKey(t)
	leaf := h.sign(&x509.Certificate{
		DNSNames: []string{protocol.HubServerName}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}, &key.PublicKey, h.ca)
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{
		MinVersion: tls.VersionTLS13, NextProtos: []string{protocol.ALPNJoin}, ClientAuth: tls.RequestClientCert,
		Certificates: []tls.Certificate{{Certificate: [][]byte{leaf.Raw, h.ca.Raw}, PrivateKey: key}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	h.addr = "mqtts://" + l.Addr().String()
	go h.serve(l)
	return h
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func (h *joinHub) sign(c *x509.Certificate, key *ecdsa.PublicKey, by *x509.Certificate) *x509.Certificate {
	h.t.Helper()
	c.SerialNumber = big.NewInt(time.Now().UnixNano())
	if c.NotBefore.IsZero() {
		c.NotBefore = time.Now().Add(-time.Hour)
	}
	if c.NotAfter.IsZero() {
		c.NotAfter = time.Now().Add(24 * time.Hour)
	}
	der, err := x509.CreateCertificate(rand.Reader, c, by, key, h.caKey)
	if err != nil {
		h.t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		h.t.Fatal(err)
	}
	return cert
}

func (h *joinHub) serve(l net.Listener) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		h.answer(conn.(*tls.Conn))
		_ = conn.Close()
	}
}

func (h *joinHub) answer(conn *tls.Conn) {
	var req protocol.JoinRequest
	if err := conn.Handshake(); err != nil {
		return // the agent hung up: it did not believe us
	}
	if err := protocol.ReadFrame(conn, protocol.JoinRequestMax, &req); err != nil {
		if !errors.Is(err, io.EOF) && !errors.As(err, new(*net.OpError)) {
			h.t.Error(err)
		}
		return
	}
	_ = protocol.WriteFrame(conn, h.decide(conn, req))
}

func (h *joinHub) decide(conn *tls.Conn, req protocol.JoinRequest) protocol.JoinReply {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.asked = append(h.asked, req)
	h.peers = append(h.peers, conn.ConnectionState().PeerCertificates...)
	a := protocol.Address{Site: "plant", Agent: req.Address.Agent}
	if err := a.Check(); err != nil {
		return protocol.JoinReply{Error: protocol.AsError(err)}
	}
	csr, err := x509.ParseCertificateRequest(req.CSR)
	if err != nil || csr.CheckSignature() != nil {
		h.t.Errorf("certificate request: %v", err)
	}
	key, _ := csr.PublicKey.(*ecdsa.PublicKey)
	cert := h.sign(&x509.Certificate{
		URIs: []*url.URL{protocol.IdentityURI(a)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}, key, h.ca)
	ring, err := protocol.Seal(protocol.ContextKeyring, h.root, protocol.MustMarshal(protocol.Keyring{Version: 1}))
	if err != nil {
		h.t.Error(err)
	}
	reply := protocol.JoinReply{
		Address: a, Epoch: 1, Certificate: cert.Raw, CA: h.ca.Raw, Root: h.root.Public().Key, Keyring: ring,
		Time: time.Now().UnixMilli(),
	}
	if h.change != nil {
		h.change(&reply)
	}
	return reply
}

func call(t *testing.T, args ...string) (code int, out, errs string) {
	t.Helper()
	var o, e bytes.Buffer
	code = run(context.Background(), args, &o, &e)
	return code, o.String(), e.String()
}

func TestJoin(t *testing.T) {
	h := newJoinHub(t)
	dir := t.TempDir()
	code, out, errs := call(t, "join", "--hub", h.addr, "--join", h.token.String(), "--name", "gw-1", "--state", dir,
		"--label", "env=prod", "--allow", "process.execute:uptime")
	if code != 0 || !strings.Contains(out, "plant/gw-1") {
		t.Fatalf("join: %d, %q, %q", code, out, errs)
	}
	id, err := disk.OpenIdentity(dir)
	if err != nil {
		t.Fatal(err)
	}
	e, err := id.Enrolment()
	if err != nil || e.Address.Agent != "gw-1" || e.Epoch != 1 || e.Labels["env"] != "prod" || len(e.Allow) != 1 {
		t.Fatalf("enrolment %+v, %v", e, err)
	}
	if req := h.asked[0]; req.Device.Platform == "" || req.Device.Labels["env"] != "prod" || req.Renew {
		t.Fatalf("asked with %+v", req)
	}
	if b, _ := os.ReadFile(filepath.Join(dir, "identity", "key.pem")); bytes.Contains(h.asked[0].CSR, b) || len(b) == 0 {
		t.Fatal("the key is not on the device, or left it")
	}
	if code, _, errs := call(t, "join", "--hub", h.addr, "--join", h.token.String(), "--state", dir); code != exitOther ||
		!strings.Contains(errs, "already agent plant/gw-1") || len(h.asked) != 1 {
		t.Fatalf("second join: %d, %q", code, errs)
	}
	// Renewal shows the old certificate and keeps the key.
	c, err := newIdentity(id, e, &clock{}, (&options{}).logger(io.Discard))
	if err != nil {
		t.Fatal(err)
	}
	if err := c.renew(context.Background()); err != nil {
		t.Fatal(err)
	}
	again, err := id.Enrolment()
	if err != nil || bytes.Equal(again.Certificate, e.Certificate) || again.Address != e.Address {
		t.Fatalf("after renewal: %+v, %v", again, err)
	}
	if !h.asked[1].Renew || len(h.asked[1].Secret) != 0 || len(h.peers) != 1 || !bytes.Equal(h.peers[0].Raw, e.Certificate) {
		t.Fatalf("renewed with %+v, showing %d certificates", h.asked[1], len(h.peers))
	}
	if !bytes.Equal(c.shown.Load().Certificate[0], again.Certificate) {
		t.Fatal("the new certificate is not shown")
	}
}

func TestJoinWithoutName(t *testing.T) {
	h := newJoinHub(t)
	code, out, errs := call(t, "join", "--hub", h.addr, "--join", h.token.String(), "--state", t.TempDir())
	if code != 0 || !strings.Contains(out, "plant/"+string(hostName())) {
		t.Fatalf("join: %d, %q, %q", code, out, errs)
	}
}

func TestJoinRefused(t *testing.T) {
	const nobody = "127.0.0.1:1" // tcpmux: nobody listens there
	for _, c := range []struct {
		name   string
		change func(h *joinHub, args map[string]string)
		exit   int
		text   string
	}{
		{"token of another hub", func(h *joinHub, args map[string]string) {
			token := h.token
			token.CA = protocol.DigestOf([]byte("other"))
			args["--join"] = token.String()
		}, exitRefused, "not the one that the join token is for"},
		{
			"token mistyped", func(_ *joinHub, args map[string]string) { args["--join"] = args["--join"][:40] },
			exitUsage, "cut off or mistyped",
		},
		{
			"hub not there", func(_ *joinHub, args map[string]string) { args["--hub"] = "mqtts://" + nobody },
			exitUnreachable, "hint: is the hub running",
		},
		{
			"bad address", func(_ *joinHub, args map[string]string) { args["--hub"] = "http://x/y" },
			exitUsage, "want mqtts://host:port",
		},
		{"name taken", func(h *joinHub, _ map[string]string) {
			h.change = func(r *protocol.JoinReply) {
				r.Error = protocol.AsError(protocol.Errorf(protocol.CodeExists, "agent gw is taken"))
			}
		}, exitRefused, "hint: choose another --name"},
		{"token used up", func(h *joinHub, _ map[string]string) {
			h.change = func(r *protocol.JoinReply) {
				r.Error = protocol.AsError(protocol.Errorf(protocol.CodeRefused, "token is used up"))
			}
		}, exitRefused, "ask the hub for a new one"},
		{"certificate for another key", func(h *joinHub, _ map[string]string) {
			h.change = func(r *protocol.JoinReply) { r.Certificate = h.ca.Raw }
		}, exitOther, "certificate"},
		{"another CA in the reply", func(h *joinHub, _ map[string]string) {
			h.change = func(r *protocol.JoinReply) { r.CA = r.Certificate }
		}, exitOther, "another CA"},
		{"keyring of another root", func(h *joinHub, _ map[string]string) {
			h.change = func(r *protocol.JoinReply) { r.Root = make([]byte, 32) }
		}, exitOther, "not in keyring"},
		{"bad flag", func(_ *joinHub, args map[string]string) { args["--label"] = "no" }, exitUsage, "key=value"},
		{"bad grant", func(_ *joinHub, args map[string]string) { args["--allow"] = "everything" }, exitUsage, "capabilities are"},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := newJoinHub(t)
			dir := t.TempDir()
			args := map[string]string{"--hub": h.addr, "--join": h.token.String(), "--name": "gw", "--state": dir}
			c.change(h, args)
			list := []string{"join"}
			for key, value := range args {
				list = append(list, key, value)
			}
			code, out, errs := call(t, list...)
			if code != c.exit || !strings.Contains(errs, c.text) {
				t.Fatalf("exit %d, want %d; %q %q, want %q", code, c.exit, out, errs, c.text)
			}
			if strings.Contains(errs, h.token.String()) {
				t.Error("the token is in the error")
			}
			id, err := disk.OpenIdentity(dir)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := id.Enrolment(); protocol.CodeOf(err) != protocol.CodeNotFound {
				t.Fatalf("after a refusal the device has an enrolment: %v", err)
			}
		})
	}
}

// A device in 1970 believes a pinned hub, and one that is not pinned is refused.
func TestTrustWithoutClock(t *testing.T) {
	h := newJoinHub(t)
	c := &clock{}
	for _, pinned := range []bool{true, false} {
		tr := credentials.Trust{Now: c.now, ALPN: protocol.ALPNJoin, IsCA: func(cert *x509.Certificate) bool {
			return pinned && cert.Equal(h.ca)
		}}
		conf := tr.Config()
		conf.Time = func() time.Time { return time.Unix(0, 0) }
		conn, err := tls.Dial("tcp", strings.TrimPrefix(h.addr, "mqtts://"), conf)
		if pinned != (err == nil) {
			t.Errorf("pinned %v: %v", pinned, err)
		}
		if conn != nil {
			_ = conn.Close()
		}
	}
}

// The agent starts offline, says how it is, and ends in order on a signal.
func TestRunOffline(t *testing.T) {
	h := newJoinHub(t)
	dir := t.TempDir()
	if code, _, errs := call(t, "join", "--hub", h.addr, "--join", h.token.String(), "--name", "gw", "--state", dir); code != 0 {
		t.Fatal(errs)
	}
	ctx, stop := context.WithCancel(context.Background())
	var log bytes.Buffer
	ended := make(chan int, 1)
	go func() { ended <- run(ctx, []string{"--hub", "mqtts://127.0.0.1:1", "--state", dir}, io.Discard, &log) }()
	deadline := time.Now().Add(30 * time.Second)
	for _, err := os.Stat(filepath.Join(dir, nameStatus)); errors.Is(err, os.ErrNotExist); {
		if time.Now().After(deadline) {
			t.Fatal("the agent never said how it is")
		}
		time.Sleep(10 * time.Millisecond) // waits for another goroutine's file, within a bound
		_, err = os.Stat(filepath.Join(dir, nameStatus))
	}
	code, out, _ := call(t, "status", "--state", dir)
	if code != 0 || !strings.Contains(out, "plant/gw") || !strings.Contains(out, "offline") || !strings.Contains(out, "nothing is deployed") {
		t.Errorf("status: %d, %q", code, out)
	}
	var said struct {
		Address  protocol.Address `json:"address"`
		Online   bool             `json:"online"`
		Floor    time.Time        `json:"time_floor"`
		Revision *uint64          `json:"revision"`
	}
	code, out, _ = call(t, "status", "--state", dir, "--output", "json")
	if err := json.Unmarshal([]byte(out), &said); code != 0 || err != nil || said.Address.Agent != "gw" || said.Revision == nil || said.Floor.IsZero() {
		t.Errorf("status for machines: %d, %v, %q", code, err, out)
	}
	if code, _, errs := call(t, "run", "--state", dir); code != exitOther || !strings.Contains(errs, "in use by another") {
		t.Errorf("second agent: %d, %q", code, errs)
	}
	stop()
	if code := <-ended; code != 0 {
		t.Fatalf("exit %d: %s", code, &log)
	}
}

func TestUsage(t *testing.T) {
	for _, c := range []struct {
		args []string
		exit int
		text string
	}{
		{[]string{"help"}, 0, "--hub mqtts"},
		{[]string{"--help"}, 0, "--hub mqtts"},
		{[]string{"version"}, 0, "stavily-edge"},
		{[]string{"fly"}, exitUsage, `"fly"`},
		{[]string{"--fly"}, exitUsage, "fly"},
		{[]string{"run", "now", "--state", "x"}, exitUsage, `"now"`},
		{[]string{"--log-format", "xml"}, exitUsage, "xml"},
		{[]string{"--state", t.TempDir()}, exitUsage, "has not joined"},
		{[]string{"status", "--state", t.TempDir()}, exitOther, "no agent has run"},
	} {
		code, out, errs := call(t, c.args...)
		if code != c.exit || !strings.Contains(out+errs, c.text) {
			t.Errorf("%q: %d, %q %q, want %d, %q", c.args, code, out, errs, c.exit, c.text)
		}
	}
}

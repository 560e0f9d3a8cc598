package source

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"
)

// sshServer is a real ssh server on loopback that runs the real git-upload-pack for the one key allowed.
type sshServer struct {
	t     *testing.T
	at    net.Listener
	cfg   *ssh.ServerConfig
	env   []string
	quiet bool // takes a session and never says a word
}

func newSSHServer(t *testing.T, l *lab) *sshServer {
	t.Helper()
	allowed := sshSigner(t, key("ada")).PublicKey().Marshal()
	cfg := &ssh.ServerConfig{
		PublicKeyCallback: func(c ssh.ConnMetadata, k ssh.PublicKey) (*ssh.Permissions, error) {
			if c.User() != "git" || !bytes.Equal(k.Marshal(), allowed) {
				return nil, errors.New("no")
			}
			return nil, nil
		},
	}
	cfg.AddHostKey(sshSigner(t, key("host")))
	at, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = at.Close() })
	s := &sshServer{t: t, at: at, cfg: cfg, env: l.env()}
	go s.serve()
	return s
}

func (s *sshServer) serve() {
	for {
		conn, err := s.at.Accept()
		if err != nil {
			return
		}
		go s.talk(conn)
	}
}

func (s *sshServer) talk(conn net.Conn) {
	defer conn.Close()
	_, channels, requests, err := ssh.NewServerConn(conn, s.cfg)
	if err != nil {
		return
	}
	go ssh.DiscardRequests(requests)
	for c := range channels {
		ch, reqs, err := c.Accept()
		if err != nil {
			return
		}
		for r := range reqs {
			_ = r.Reply(r.Type == "exec", nil)
			if r.Type == "exec" && !s.quiet {
				s.exec(ch, r.Payload)
			}
		}
	}
}

func (s *sshServer) exec(ch ssh.Channel, payload []byte) {
	var words struct{ Line string }
	if err := ssh.Unmarshal(payload, &words); err != nil {
		return
	}
	cmd := exec.Command("sh", "-c", words.Line)
	cmd.Env, cmd.Stdout, cmd.Stderr = s.env, ch, ch.Stderr()
	code := uint32(0)
	if in, err := cmd.StdinPipe(); err == nil {
		go func() { _, _ = io.Copy(in, ch) }()
	}
	if cmd.Run() != nil {
		code = 128
	}
	_, _ = ch.SendRequest("exit-status", false, ssh.Marshal(struct{ Code uint32 }{code}))
	_ = ch.Close()
}

// url is path on this server; options hold the client's key and the server's.
func (s *sshServer) url(path string) string { return "ssh://git@" + s.at.Addr().String() + path }

func (s *sshServer) options() Options {
	s.t.Helper()
	pem, err := MarshalKey(key("ada"), "ada")
	if err != nil {
		s.t.Fatal(err)
	}
	host := knownhosts.Line([]string{s.at.Addr().String()}, sshSigner(s.t, key("host")).PublicKey())
	return Options{Credentials: Credentials{SSHKeyPEM: pem, KnownHosts: []byte(host + "\n")}}
}

// O-01: a private repository over ssh with a key, its path safe from the shell at the other end.
func TestSSH(t *testing.T) {
	l := newLab(t)
	l.tag("v1.0.0", "ada")
	s := newSSHServer(t, l)
	names, err := Tags(t.Context(), s.url(l.dir), s.options())
	if err != nil || fmt.Sprint(names) != "[v1.0.0]" {
		t.Fatalf("tags %v, %v", names, err)
	}
	tree, err := Fetch(t.Context(), Ref{s.url(l.dir), "v1.0.0"}, s.options())
	if err != nil {
		t.Fatal(err)
	}
	if local := mustFetch(t, l.dir, "v1.0.0"); tree.Digest != local.Digest {
		t.Error("the remote's tree is not the local one")
	}
	if _, err := Fetch(t.Context(), Ref{s.url("/no/such"), "v1.0.0"}, s.options()); !errors.Is(err,
		ErrNotFound) {
		t.Errorf("no such repository: %v", err)
	}
	proof := t.TempDir() + "/proof"
	for _, path := range []string{"/x'; touch " + proof + "; '", "/$(touch " + proof + ")", "/!x;touch " +
		proof} {
		_, err := dialTest(t, s, path)
		if err == nil {
			t.Errorf("%s: opened", path)
		}
	}
	if _, err := os.Stat(proof); err == nil {
		t.Error("the path became a command")
	}
	tight := s.options()
	tight.Limits.PackBytes = 100
	if _, err := Fetch(t.Context(), Ref{s.url(l.dir), "v1.0.0"}, tight); !errors.Is(err, ErrLimit) {
		t.Errorf("limit of the pack: %v", err)
	}
}

func dialTest(t *testing.T, s *sshServer, path string) (any, error) {
	t.Helper()
	opt := s.options()
	opt.Limits = opt.Limits.filled()
	remote, err := dialSSH(t.Context(), place{
		kind: overSSH, user: "git", host: s.at.Addr().String(),
		path: path,
	}, opt)
	if err != nil {
		return nil, err
	}
	defer remote.close()
	return remote.tags(t.Context())
}

func TestSSHRefuses(t *testing.T) {
	l := newLab(t)
	l.tag("v1.0.0", "ada")
	s := newSSHServer(t, l)
	hostLine := func(k string) []byte {
		return []byte(knownhosts.Line([]string{s.at.Addr().String()}, sshSigner(t, key(k)).PublicKey()) + "\n")
	}
	eve, err := MarshalKey(key("eve"), "eve")
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		change func(*Credentials)
		want   string
	}{
		"no key":      {func(c *Credentials) { c.SSHKeyPEM = nil }, "ssh needs a key"},
		"bad key":     {func(c *Credentials) { c.SSHKeyPEM = []byte("x") }, "not a private key"},
		"another key": {func(c *Credentials) { c.SSHKeyPEM = eve }, "refused the credential"},
		"no hosts":    {func(c *Credentials) { c.KnownHosts = nil }, "needs the host's key"},
		"unknown host": {func(c *Credentials) {
			c.KnownHosts = []byte("other " + pubLine(t, key("host")) +
				"\n")
		}, "no key for"},
		"another's place": {func(c *Credentials) { c.KnownHosts = hostLine("mallory") }, "key mismatch"},
		"bad hosts":       {func(c *Credentials) { c.KnownHosts = []byte("nonsense\n") }, "known hosts"},
		"revoked host": {func(c *Credentials) {
			c.KnownHosts = append(hostLine("host"), []byte("@revoked * "+pubLine(t, key("host"))+"\n")...)
		}, "revoked"},
	} {
		t.Run(name, func(t *testing.T) {
			opt := s.options()
			c.change(&opt.Credentials)
			_, err := Fetch(t.Context(), Ref{s.url(l.dir), "v1.0.0"}, opt)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
	quiet := newSSHServer(t, l)
	quiet.quiet = true
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if _, err := Fetch(ctx, Ref{quiet.url(l.dir), "v1.0.0"}, quiet.options()); !errors.Is(err,
		context.DeadlineExceeded) {
		t.Errorf("silent host: %v", err)
	}
}

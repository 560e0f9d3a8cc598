package source

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
	"golang.org/x/crypto/ssh"
)

// sshRemote is a repository behind ssh: one connection, one run of git-upload-pack at the other end.
type sshRemote struct {
	client  *ssh.Client
	session *ssh.Session
	unhook  func() bool // stops watching the context
	in      io.Writer
	out     io.Reader
	said    *heard
	lim     Limits
	adv     *packp.AdvRefs
}

func dialSSH(ctx context.Context, at place, opt Options) (*sshRemote, error) {
	cfg, err := opt.Credentials.sshConfig(at.user, at.host)
	if err != nil {
		return nil, err
	}
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", at.host)
	if err != nil {
		return nil, fmt.Errorf("ssh: %w", err)
	}
	unhook := context.AfterFunc(ctx, func() { _ = conn.Close() })
	c, channels, requests, err := ssh.NewClientConn(conn, at.host, cfg)
	if err != nil {
		unhook()
		_ = conn.Close()
		if strings.Contains(err.Error(), "unable to authenticate") {
			return nil, fmt.Errorf("ssh: %q: %w", at.host, ErrAuth)
		}
		return nil, fmt.Errorf("ssh: %w", err)
	}
	s := &sshRemote{
		client: ssh.NewClient(c, channels, requests),
		unhook: unhook,
		said:   &heard{},
		lim:    opt.Limits,
	}
	if err := s.start(at.path); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

func (s *sshRemote) start(path string) error {
	session, err := s.client.NewSession()
	if err != nil {
		return fmt.Errorf("ssh: session: %w", err)
	}
	if s.in, err = session.StdinPipe(); err != nil {
		return fmt.Errorf("ssh: session: %w", err)
	}
	if s.out, err = session.StdoutPipe(); err != nil {
		return fmt.Errorf("ssh: session: %w", err)
	}
	session.Stderr = s.said
	s.session = session
	if err := session.Start(uploadPack + " " + quoted(path)); err != nil {
		return fmt.Errorf("ssh: %s: %w", uploadPack, err)
	}
	return nil
}

// quoted makes one word of path for the shell at the other end.
func quoted(path string) string {
	return "'" + strings.ReplaceAll(strings.ReplaceAll(path, "'", `'\''`), "!", `'\!'`) + "'"
}

func (s *sshRemote) tags(context.Context) (map[string]plumbing.Hash, error) {
	adv, err := readRefs(s.out, s.lim)
	if err != nil && strings.Contains(err.Error(), packp.ErrEmptyInput.Error()) {
		return nil, s.refused()
	}
	if err != nil {
		return nil, err
	}
	s.adv = adv
	return tagsOf(adv), nil
}

// refused explains a remote that hung up without a word on its standard output.
func (s *sshRemote) refused() error {
	_ = s.session.Wait() // until then the words may still be on their way
	if text := s.said.text(); text != "" {
		return remoteError(text)
	}
	return fmt.Errorf("repository: %w: remote ended without a word", ErrNotFound)
}

func (s *sshRemote) fetch(_ context.Context, id plumbing.Hash) (objects, error) {
	want, err := packRequest(s.adv, id)
	if err != nil {
		return nil, err
	}
	body, err := encodeRequest(want)
	if err != nil {
		return nil, err
	}
	if _, err := s.in.Write(body); err != nil {
		return nil, fmt.Errorf("ssh: request: %w", err)
	}
	return readAnswer(s.out, want, s.lim)
}

func (s *sshRemote) close() {
	s.unhook()
	_ = s.client.Close()
}

// heard keeps the first words of a remote's standard error and lets the rest go by.
type heard struct {
	buf bytes.Buffer
}

func (h *heard) Write(p []byte) (int, error) {
	if room := 512 - h.buf.Len(); room > 0 {
		h.buf.Write(p[:min(room, len(p))])
	}
	return len(p), nil
}

func (h *heard) text() string { return h.buf.String() }

var _ repository = (*sshRemote)(nil)

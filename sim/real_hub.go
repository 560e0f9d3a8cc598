package sim

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/stavily/stavily/hub"
	"github.com/stavily/stavily/hub/api"
	"github.com/stavily/stavily/sim/wire"
)

// inside is a hub in this process with no socket at all: what a bubble has.
type inside struct {
	home  string
	admit []hub.Built
	life  time.Duration // of agents' certificates; 0: the hub's default
	log   *slog.Logger
	moved func(hub.Moved)

	end   context.CancelFunc // both are the keeper's
	ended chan error

	mu        sync.Mutex // guards the fields below
	links     *wire.Listener
	operators *wire.Listener
	client    *api.Client
}

// newInside returns the site of w's hub, which seals its releases.
func newInside(w *World, log *slog.Logger) (*inside, error) {
	home, err := os.MkdirTemp("", "stavily-sim-")
	return &inside{
		home: home, admit: w.admitted, life: w.scenario.Certificates, log: log,
		moved: func(m hub.Moved) {
			w.alone(func() { w.tell.moved(&m) })
		},
	}, err
}

// config is what the hub at home is.
func (s *inside) config() hub.Config {
	c := hub.DefaultConfig(filepath.Join(s.home, "h"))
	c.Listen, c.RunsKept, c.Admit = "127.0.0.1:0", runsKept, s.admit
	c.Moved = s.moved
	if s.life > 0 {
		c.CertificateLife = s.life
	}
	return c
}

func (s *inside) start(ctx context.Context) error {
	links, operators := wire.NewListener(), wire.NewListener()
	c := s.config()
	c.Link, c.Operators = links, operators
	s.mu.Lock()
	s.links, s.operators, s.client = links, operators, api.Over("the simulation", operators.Dial)
	s.mu.Unlock()
	ctx, s.end = context.WithCancel(ctx)
	up := make(chan struct{})
	s.ended = make(chan error, 1)
	go func() { s.ended <- hub.Serve(ctx, c, s.log, func(hub.Bound) { close(up) }) }()
	select {
	case <-up:
		return nil
	case err := <-s.ended:
		return errors.Join(err, errors.New("the hub did not start"))
	}
}

// stop ends the hub. What its loop has not taken is lost either way.
func (s *inside) stop(bool) error {
	s.end()
	err := <-s.ended
	s.api().Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	return errors.Join(err, s.links.Close(), s.operators.Close())
}

func (s *inside) take(ctx context.Context, far net.Conn) error {
	err := s.listener().Hand(ctx, far)
	if err != nil {
		_ = far.Close()
	}
	return err
}

func (s *inside) books() string { return filepath.Join(s.home, "h", "books.db") }

func (s *inside) entrance() (*entrance, error) { return indoors(), nil }

func (s *inside) dial(ctx context.Context) (net.Conn, error) { return s.listener().Dial(ctx) }

func (s *inside) listener() *wire.Listener {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.links
}

func (s *inside) api() *api.Client {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.client
}

func (s *inside) close() error { return os.RemoveAll(s.home) }

var _ site = (*inside)(nil)

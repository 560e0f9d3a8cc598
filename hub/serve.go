package hub

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/stavily/stavily/broker"
	"github.com/stavily/stavily/hub/api"
	"github.com/stavily/stavily/hub/build"
	"github.com/stavily/stavily/hub/fleet"
	"github.com/stavily/stavily/hub/registry"
	"github.com/stavily/stavily/hub/store"
	"github.com/stavily/stavily/protocol"
	"github.com/stavily/stavily/wasmhost"
)

const (
	inboxSize = 4096 // jobs; an agent has few messages under way, so this is slack
	batchSize = 256  // jobs that one commit makes durable
	tasksMax  = 16   // differences that wait to be made
	socketMax = 103  // bytes of a socket's path, by the least that any system takes
)

// server owns the goroutines and the clock of one hub.
type server struct {
	cfg     Config
	log     *slog.Logger
	books   *store.Store
	keys    *Keys
	ca      *CA
	broker  *broker.Broker
	hub     *Hub
	publish *Publisher
	inbox   chan job
	tasks   chan task
	started time.Time
	bound   Bound
	// admitted is who may connect, with the fingerprint of each one's key.
	admitted atomic.Pointer[map[protocol.Address]string]
}

// job is one thing for the loop to do. alone wants the books for itself.
type job struct {
	do    func(now time.Time)
	alone bool
}

// task is work beside the loop, and what the loop does after it.
type task struct{ work, done func() }

// Bound is where a hub listens, as host:port with the ports that it really got.
type Bound struct {
	Link string // agents
	API  string // operators, besides the socket; empty when there is no such address
}

// Serve runs the hub at cfg.Home until ctx ends. ready is told once, when agents can
// connect and operators can ask.
func Serve(ctx context.Context, cfg Config, log *slog.Logger, ready func(Bound)) error {
	s, err := open(ctx, cfg, log)
	if err != nil {
		return err
	}
	defer s.books.Close()
	defer s.broker.Close()
	link := cfg.Link
	if link == nil {
		if link, err = net.Listen("tcp", cfg.Listen); err != nil {
			return protocol.Errorf(protocol.CodeUnavailable, "hub: listen: %w", err)
		}
	}
	defer link.Close()
	s.bound.Link = link.Addr().String()
	return s.run(ctx, link, ready)
}

func open(ctx context.Context, cfg Config, log *slog.Logger) (*server, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if err := cfg.makeDirs(); err != nil {
		return nil, err
	}
	s := &server{
		cfg: cfg, log: log, inbox: make(chan job, inboxSize), tasks: make(chan task, tasksMax),
		started: time.Now(),
	}
	var err error
	if s.books, err = store.Open(ctx, cfg.booksPath()); err != nil {
		return nil, err
	}
	if err := s.openRest(); err != nil {
		return nil, errors.Join(err, s.books.Close())
	}
	return s, nil
}

func (s *server) openRest() (err error) {
	if s.keys, err = OpenKeys(s.cfg.keysDir()); err != nil {
		return err
	}
	if s.ca, err = OpenCA(s.cfg.keysDir(), s.started); err != nil {
		return err
	}
	s.ca.Life = s.cfg.CertificateLife
	files, err := registry.OpenFiles(s.cfg.filesDir())
	if err != nil {
		return err
	}
	if err := os.RemoveAll(s.cfg.differencesDir()); err != nil {
		return err
	}
	differences, err := registry.OpenFiles(s.cfg.differencesDir())
	if err != nil {
		return err
	}
	if err := s.openBroker(); err != nil {
		return err
	}
	builder, err := build.New(build.Config{
		CacheDir: s.cfg.cacheDir(), Log: s.log, Compile: wasmhost.Compile{Command: s.cfg.Compile},
		AllowUnmeasured: s.cfg.Builds.AllowUnmeasured, AllowUnconfined: s.cfg.Builds.AllowUnconfined,
	})
	if err != nil {
		return err
	}
	s.hub = New(s.cfg, Deps{
		Log: s.log, Books: s.books, Files: files, Keys: s.keys, CA: s.ca, Link: s.broker,
		Differences: differences, Later: s.later,
	})
	s.publish = &Publisher{
		Config: s.cfg, Log: s.log, Keys: s.keys, Files: files, Build: builder, Clock: time.Now, Operate: s.operate,
	}
	err = s.hub.Operate(func(tx *store.Tx) error { return fleet.AllOffline(tx, s.started) })
	return errors.Join(err, s.takeIn(), s.admit())
}

// takeIn admits the releases that the configuration brings.
func (s *server) takeIn() error {
	for _, b := range s.cfg.Admit {
		if _, err := s.hub.Admit(s.started, b); err != nil {
			return fmt.Errorf("hub: admit %s: %w", b.Manifest.Plugin.Name, err)
		}
	}
	return nil
}

func (s *server) openBroker() error {
	serverTLS, err := s.serverTLS()
	if err != nil {
		return err
	}
	s.broker, err = broker.New(broker.Config{
		Log: s.log, TLS: serverTLS, Join: s.join, Allowed: s.allowed,
	})
	return err
}

// serverTLS makes a fresh server certificate at every start. Agents pin the authority
// and not the certificate.
func (s *server) serverTLS() (*tls.Config, error) {
	cert, err := s.ca.Server(s.started)
	if err != nil {
		return nil, err
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{cert}, ClientCAs: s.ca.Pool(),
	}, nil
}

// run starts what listens and runs the loop until ctx ends or a part fails.
func (s *server) run(ctx context.Context, link net.Listener, ready func(Bound)) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	for _, kind := range []protocol.Kind{
		protocol.UpPresence, protocol.UpReported, protocol.UpRecords, protocol.UpFetch, protocol.UpSecrets,
		protocol.UpRecord, protocol.UpReplay, protocol.UpHop, protocol.UpCarried,
	} {
		if err := s.broker.Listen(protocol.UpFilter(kind), s.deliver(ctx)); err != nil {
			return err
		}
	}
	parts, err := s.apiListeners()
	if err != nil {
		return err
	}
	parts = append(parts, s.work, s.follow, func(ctx context.Context) error { return s.broker.Serve(ctx, link) })
	var all sync.WaitGroup
	for _, part := range parts {
		all.Go(func() {
			if err := part(ctx); !closed(err) {
				cancel(err)
			}
		})
	}
	s.log.Info("hub is up", slog.String("link", s.bound.Link), slog.String("home", s.cfg.Home))
	ready(s.bound)
	s.loop(ctx)
	all.Wait()
	if err := context.Cause(ctx); !closed(err) {
		return err
	}
	return s.hub.Flush()
}

// deliver brings an agent's message to the loop. While the inbox is full it waits, and
// all agents with it: nothing is acknowledged that the loop did not take, and the broker
// cuts the lines that wait too long, whose agents then send again.
func (s *server) deliver(ctx context.Context) func(protocol.Message) {
	return func(m protocol.Message) {
		select {
		case s.inbox <- job{do: func(now time.Time) { s.hub.Handle(now, m) }}:
		case <-ctx.Done():
		}
	}
}

// later takes work that would hold up the loop.
func (s *server) later(work, done func()) bool {
	select {
	case s.tasks <- task{work, done}:
		return true
	default:
		return false
	}
}

// work does one task after the other.
func (s *server) work(ctx context.Context) error {
	for {
		select {
		case t := <-s.tasks:
			t.work()
			select {
			case s.inbox <- job{do: func(time.Time) { t.done() }}:
			case <-ctx.Done():
				return nil
			}
		case <-ctx.Done():
			return nil
		}
	}
}

// loop is the one caller of Hub. It commits once for all jobs that wait.
func (s *server) loop(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
			timer.Reset(time.Until(s.hub.Tick(time.Now())))
		case j := <-s.inbox:
			s.batch(j)
		}
	}
}

func (s *server) batch(j job) {
	for n := 1; ; n++ {
		if j.alone {
			s.flush()
		}
		j.do(time.Now())
		if n == batchSize || len(s.inbox) == 0 {
			break
		}
		j = <-s.inbox
	}
	s.flush()
}

func (s *server) flush() {
	if err := s.hub.Flush(); err != nil {
		s.log.Error("books", slog.String("error", err.Error()))
	}
}

// ask runs f in the loop and waits for it.
func (s *server) ask(ctx context.Context, f func(now time.Time) error) error {
	done := make(chan error, 1)
	select {
	case s.inbox <- job{do: func(now time.Time) { done <- f(now) }, alone: true}:
	case <-ctx.Done():
		return protocol.Errorf(protocol.CodeUnavailable, "hub is stopping")
	}
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return protocol.Errorf(protocol.CodeUnavailable, "hub is stopping")
	}
}

func (s *server) operate(ctx context.Context, f func(*store.Tx) error) error {
	return s.ask(ctx, func(time.Time) error { return s.hub.Operate(f) })
}

// join serves one connection of an agent without a certificate.
func (s *server) join(ctx context.Context, conn *tls.Conn) {
	ServeJoin(conn, s.log, func(req protocol.JoinRequest, old *x509.Certificate) protocol.JoinReply {
		return s.decide(ctx, req, old)
	})
}

// decide answers a request to join or to renew, and lets in at once who may.
func (s *server) decide(ctx context.Context, req protocol.JoinRequest, old *x509.Certificate,
) (reply protocol.JoinReply) {
	err := s.ask(ctx, func(now time.Time) error {
		reply = s.hub.Join(now, req, old)
		return s.admit()
	})
	if err != nil {
		return protocol.JoinReply{Error: protocol.AsError(err)}
	}
	return reply
}

// admit makes what the books say of who may connect hold for the next connection.
func (s *server) admit() error {
	keys, err := s.hub.Admitted()
	if err == nil {
		s.admitted.Store(&keys)
	}
	return err
}

// allowed is asked at every handshake and every login.
func (s *server) allowed(a protocol.Address, cert *x509.Certificate) bool {
	key, ok := (*s.admitted.Load())[a]
	return ok && (cert == nil || key == fingerprint(cert))
}

func (s *server) status() api.Status {
	return api.Status{
		Version: Version, Home: s.cfg.Home, Listen: s.bound.Link, CA: s.ca.Digest(),
		Connected: len(s.broker.Connected()), Started: s.started,
	}
}

// apiListeners opens the socket and, if wanted, the TCP address of the operator's API.
func (s *server) apiListeners() ([]func(context.Context) error, error) {
	if ln := s.cfg.Operators; ln != nil {
		return []func(context.Context) error{func(ctx context.Context) error {
			return s.serveAPI(ctx, ln, "")
		}}, nil
	}
	path := api.SocketPath(s.cfg.Home)
	if len(path) > socketMax {
		return nil, fmt.Errorf("hub: api: socket %q: %d bytes, the system takes %d; choose a shorter home",
			path, len(path), socketMax)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("hub: api: %w", err)
	}
	socket, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("hub: api: %w", err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, fmt.Errorf("hub: api: %w", err)
	}
	parts := []func(context.Context) error{func(ctx context.Context) error {
		return s.serveAPI(ctx, socket,
			"")
	}}
	if s.cfg.API == "" {
		return parts, nil
	}
	token, err := openToken(api.TokenPath(s.cfg.Home))
	if err != nil {
		return nil, err
	}
	tcp, err := net.Listen("tcp", s.cfg.API)
	if err != nil {
		return nil, protocol.Errorf(protocol.CodeUnavailable, "hub: api: %w", err)
	}
	s.bound.API = tcp.Addr().String()
	return append(parts, func(ctx context.Context) error { return s.serveAPI(ctx, tcp, token) }), nil
}

// lookEvery is how often the server looks whether a followed plugin is due.
const lookEvery = 10 * time.Second

// follow looks at the repositories of followed plugins until ctx ends.
func (s *server) follow(ctx context.Context) error {
	f := &Follower{Publish: s.publish, Hub: s.hub, Log: s.log, Do: s.ask}
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if err := f.Look(ctx); err != nil && ctx.Err() == nil {
			s.log.Error("followed plugins", slog.String("error", err.Error()))
		}
	}
}

package hub

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/stavily/stavily/hub/deploy"
	"github.com/stavily/stavily/protocol"
)

// Config is what an operator decides about a hub. DefaultConfig gives every field a
// value that serves.
type Config struct {
	// Home is the folder that holds everything: books, files, keys, caches.
	Home string
	// Listen is the TCP address of the link: MQTT over mutual TLS, and joining.
	Listen string
	// Link is where agents come from instead of Listen, such as pipes in this process. Serve
	// closes it.
	Link net.Listener
	// Operators is where operators come from instead of the socket in Home, such as pipes in
	// this process. Serve closes it.
	Operators net.Listener
	// Admit are releases built elsewhere, which are sealed as they are at every start: those
	// of a simulation. Nothing checks them.
	Admit []Built
	// API is a TCP address for the operator's API, empty for none; the socket in Home
	// is always there. It is plain HTTP with a token: loopback, or behind a proxy.
	API string
	// Cache holds what builds share; empty means a folder in Home. Several hubs of one
	// user may share one.
	Cache string
	// Approve is what the operator allows any plugin to be granted; a grant is the
	// manifest's wish cut by this and by the device's own policy.
	Approve []protocol.Grant
	// Builds is what may pass at a publication that the default does not let pass.
	Builds BuildPolicy
	// Overcommit is how often the limits of all that an agent runs may have what its device has.
	Overcommit deploy.Overcommit
	// Heartbeat is how often agents report though nothing has changed, Metrics how often they
	// measure their device; in whole seconds, 0 for the agents' own. How a change in waves fares
	// is seen by heartbeats.
	Heartbeat, Metrics time.Duration
	// CertificateLife is how long the certificate of an agent lasts that joins or renews; an
	// agent renews at half of it.
	CertificateLife time.Duration
	// RunsKept bounds how long a run is kept.
	RunsKept time.Duration
	// BuildTimeout bounds one build.
	BuildTimeout time.Duration
	// FetchTimeout bounds one fetch from Git.
	FetchTimeout time.Duration
	// Compile starts this program again to compile one module and end. Empty: modules that
	// nobody trusts yet are compiled in the hub's own process.
	Compile []string
	// Moved is told of each step of a rollout, within the commit that makes it: it must neither
	// wait nor call the hub. Nil: nobody asks.
	Moved func(Moved)
}

// DefaultConfig returns the configuration of a hub under home.
func DefaultConfig(home string) Config {
	return Config{
		Home: home, Listen: ":8883", RunsKept: 30 * 24 * time.Hour, Overcommit: deploy.DefaultOvercommit(),
		CertificateLife: agentLife,
		BuildTimeout:    5 * time.Minute, FetchTimeout: 2 * time.Minute,
	}
}

// Validate names the first field that cannot serve.
func (c Config) Validate() error {
	if c.Home == "" {
		return fmt.Errorf("hub config: home: empty, want a folder")
	}
	if _, _, err := net.SplitHostPort(c.Listen); err != nil {
		return fmt.Errorf("hub config: listen: %w", err)
	}
	if c.API != "" {
		host, _, err := net.SplitHostPort(c.API)
		if err != nil {
			return fmt.Errorf("hub config: api: %w", err)
		}
		if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
			return fmt.Errorf("hub config: api: %q is not a loopback address; put a TLS proxy before it", host)
		}
	}
	for _, d := range []struct {
		name string
		time.Duration
	}{
		{"runs kept", c.RunsKept},
		{"certificate life", c.CertificateLife},
		{"build timeout", c.BuildTimeout},
		{"fetch timeout", c.FetchTimeout},
	} {
		if d.Duration <= 0 {
			return fmt.Errorf("hub config: %s: %v, want more than 0", d.name, d.Duration)
		}
	}
	for _, d := range []struct {
		name string
		time.Duration
	}{{"heartbeat", c.Heartbeat}, {"metrics", c.Metrics}} {
		if d.Duration != 0 && (d.Duration < time.Second || d.Duration > 24*time.Hour) {
			return fmt.Errorf("hub config: %s: %v, want 1s to 24h, or 0", d.name, d.Duration)
		}
	}
	return nil
}

// The layout of a home. Everything that the hub keeps lies under these.
func (c Config) booksPath() string { return filepath.Join(c.Home, "books.db") }
func (c Config) filesDir() string  { return filepath.Join(c.Home, "files") }

// differencesDir has what can be made again.
func (c Config) differencesDir() string { return filepath.Join(c.Home, "differences") }

func (c Config) keysDir() string { return filepath.Join(c.Home, "keys") }

func (c Config) cacheDir() string {
	if c.Cache != "" {
		return c.Cache
	}
	return filepath.Join(c.Home, "cache")
}

func (c Config) makeDirs() error {
	for _, dir := range []string{c.Home, c.filesDir(), c.keysDir(), c.cacheDir()} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return fmt.Errorf("hub home: %w", err)
		}
	}
	return nil
}

// ParseApprovals adds "capability" and "capability:scope" texts to the default policy.
// The error has CodeBadInput.
func ParseApprovals(texts []string) ([]protocol.Grant, error) {
	grants := protocol.DefaultPolicy()
	for _, text := range texts {
		capability, scope, err := protocol.ParsePermission(text)
		if err != nil {
			return nil, err
		}
		g := protocol.Grant{Capability: capability}
		if scope != "" {
			g.Scopes = []string{scope}
		}
		grants = protocol.Union(grants, []protocol.Grant{g})
	}
	return grants, nil
}

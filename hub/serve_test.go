package hub

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stavily/stavily/hub/api"
	"github.com/stavily/stavily/hub/registry"
	"github.com/stavily/stavily/protocol"
)

// bound is how long a test waits for what must happen.
const bound = 20 * time.Second

// running is a hub as it is served.
type running struct {
	testing.TB
	home   string
	api    string // its TCP address
	link   string
	client *api.Client
	stop   context.CancelFunc
	ended  chan error
}

// shortDir is a folder whose path is short enough for a socket.
func shortDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "hub-")
	check(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func serve(t testing.TB, home string) *running {
	t.Helper()
	kept, err := cache()
	check(t, err)
	cfg := DefaultConfig(home)
	cfg.Listen, cfg.API, cfg.Cache = "127.0.0.1:0", "127.0.0.1:0", kept
	ctx, stop := context.WithCancel(context.Background())
	r := &running{TB: t, home: home, stop: stop, ended: make(chan error, 1)}
	up := make(chan Bound, 1)
	go func() { r.ended <- Serve(ctx, cfg, slog.New(slog.DiscardHandler), func(at Bound) { up <- at }) }()
	select {
	case at := <-up:
		r.link, r.api = at.Link, at.API
	case err := <-r.ended:
		t.Fatalf("the hub ended: %v", err)
	case <-time.After(bound):
		t.Fatal("the hub is not up")
	}
	r.client = api.OnSocket(api.SocketPath(home))
	t.Cleanup(func() { r.end() })
	return r
}

// end ends the hub and wants it to go in peace; it may be called twice.
func (r *running) end() {
	r.stop()
	select {
	case err := <-r.ended:
		if err != nil {
			r.Errorf("the hub ended with %v", err)
		}
		r.ended <- nil
	case <-time.After(bound):
		r.Error("the hub does not end")
	}
}

func (r *running) do(method, path string, in, out any) error {
	ctx, cancel := context.WithTimeout(context.Background(), bound)
	defer cancel()
	return r.client.Do(ctx, method, path, in, out)
}

// dial opens a TLS connection as an agent does; cert may be nil.
func (r *running) dial(protocolName string, cert *tls.Certificate) (*tls.Conn, error) {
	cfg := &tls.Config{
		InsecureSkipVerify: true, // the pin is checked by whoever calls
		MinVersion:         tls.VersionTLS13, ServerName: protocol.HubServerName, NextProtos: []string{protocolName},
	}
	if cert != nil {
		cfg.Certificates = []tls.Certificate{*cert}
	}
	conn, err := tls.DialWithDialer(&net.Dialer{Timeout: bound}, "tcp", r.link, cfg)
	if err == nil {
		err = conn.SetDeadline(time.Now().Add(bound))
	}
	return conn, err
}

// join speaks the wire of SPEC.md, section 8, from the agent's side.
func (r *running) join(req protocol.JoinRequest, cert *tls.Certificate) (reply protocol.JoinReply, pinned protocol.Digest) {
	r.Helper()
	conn, err := r.dial(protocol.ALPNJoin, cert)
	check(r, err)
	defer conn.Close()
	chain := conn.ConnectionState().PeerCertificates
	check(r, chain[0].VerifyHostname(protocol.HubServerName))
	body := protocol.MustMarshal(req)
	_, err = conn.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(body))), body...))
	check(r, err)
	var head [4]byte
	_, err = io.ReadFull(conn, head[:])
	check(r, err)
	answer := make([]byte, binary.BigEndian.Uint32(head[:]))
	_, err = io.ReadFull(conn, answer)
	check(r, err)
	check(r, protocol.Unmarshal(answer, &reply))
	return reply, protocol.DigestOf(chain[len(chain)-1].Raw)
}

// U-01: one process, no other service: an agent joins, renews and connects; a removed
// one is turned away.
func TestServeLetsAgentsJoin(t *testing.T) {
	r := serve(t, shortDir(t))
	var made api.Token
	check(t, r.do(http.MethodPost, api.PathTokens, api.NewToken{Site: "lab"}, &made))
	token, err := protocol.ParseJoinToken(made.Token)
	check(t, err)
	d := newDevice(t)
	req := protocol.JoinRequest{TokenID: token.ID, Secret: token.Secret, Address: protocol.Address{Agent: "pump"}, CSR: d.csr(t)}
	reply, pinned := r.join(req, nil)
	if reply.Error != nil || pinned != token.CA || protocol.DigestOf(reply.CA) != token.CA {
		t.Fatalf("reply %+v, pinned %s, token %s", reply, pinned, token.CA)
	}
	if again, _ := r.join(req, nil); again.Error == nil || again.Error.Code != protocol.CodeRefused {
		t.Errorf("the token is good twice: %+v", again)
	}
	mine := &tls.Certificate{Certificate: [][]byte{reply.Certificate}, PrivateKey: d.key}
	if renewed, _ := r.join(protocol.JoinRequest{Renew: true, CSR: d.csr(t)}, mine); renewed.Error != nil || renewed.Epoch != 1 {
		t.Errorf("renewed %+v", renewed)
	}
	if bare, _ := r.join(protocol.JoinRequest{Renew: true, CSR: d.csr(t)}, nil); bare.Error == nil {
		t.Error("renewed without a certificate")
	}
	if !r.admits(mine) {
		t.Error("the agent is not admitted")
	}
	if r.admits(nil) {
		t.Error("nobody in particular is admitted")
	}
	check(t, r.do(http.MethodDelete, api.Path(api.PathAgent, "pump"), nil, nil))
	if r.admits(mine) {
		t.Error("a removed agent is admitted")
	}
}

// admits reports whether the hub answers an MQTT CONNECT on the link.
func (r *running) admits(cert *tls.Certificate) bool {
	r.Helper()
	conn, err := r.dial(protocol.ALPNLink, cert)
	if err != nil {
		return false
	}
	defer conn.Close()
	const id = "lab/pump"
	packet := append([]byte{0x10, byte(12 + len(id)), 0, 4, 'M', 'Q', 'T', 'T', 4, 0, 0, 60, 0, byte(len(id))}, id...)
	if _, err := conn.Write(packet); err != nil {
		return false
	}
	ack := make([]byte, 4)
	_, err = io.ReadFull(conn, ack)
	return err == nil && ack[0] == 0x20 && ack[3] == 0
}

// What a stranger sends to the join port ends his connection and nothing else.
func TestServeJoinRefusesGarbage(t *testing.T) {
	r := serve(t, shortDir(t))
	for _, c := range []struct {
		name  string
		bytes []byte
		reply bool
	}{
		{"nothing", nil, false},
		{"no length", []byte{0}, false},
		{"length of nothing", []byte{0, 0, 0, 0}, false},
		{"too long", []byte{0xff, 0xff, 0xff, 0xff}, false},
		{"cut off", []byte{0, 0, 0, 9, 0xa1}, false},
		{"no CBOR", []byte{0, 0, 0, 3, 'a', 'b', 'c'}, true},
		{"another type", []byte{0, 0, 0, 1, 0x01}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			conn, err := r.dial(protocol.ALPNJoin, nil)
			check(t, err)
			defer conn.Close()
			_, err = conn.Write(c.bytes)
			check(t, err)
			if !c.reply { // an agent that sent all it has waits, and closes after the answer
				check(t, conn.CloseWrite())
			}
			got, err := io.ReadAll(conn)
			if !c.reply {
				if len(got) > 0 {
					t.Errorf("answered %x", got)
				}
				return
			}
			var reply protocol.JoinReply
			if err != nil || len(got) < 4 || protocol.Unmarshal(got[4:], &reply) != nil || reply.Error == nil ||
				reply.Error.Code != protocol.CodeBadMessage {
				t.Errorf("got %x, %v", got, err)
			}
		})
	}
	check(t, r.do(http.MethodGet, api.PathStatus, nil, nil))
}

// The API answers on the socket without a token, and over TCP with the right one only.
func TestServeAPI(t *testing.T) {
	r := serve(t, shortDir(t))
	var s api.Status
	check(t, r.do(http.MethodGet, api.PathStatus, nil, &s))
	if s.Version != Version || s.Listen != r.link || s.Home != r.home {
		t.Errorf("status %+v", s)
	}
	token, err := os.ReadFile(api.TokenPath(r.home))
	check(t, err)
	for _, path := range []string{api.SocketPath(r.home), api.TokenPath(r.home)} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", path, info.Mode(), err)
		}
	}
	for _, c := range []struct {
		token string
		code  protocol.Code
	}{{"", protocol.CodeRefused}, {"wrong", protocol.CodeRefused}, {string(token[:63]), protocol.CodeRefused}, {string(token), protocol.CodeOK}} {
		err := api.OnAddress("http://"+r.api, c.token).Do(t.Context(), http.MethodGet, api.PathStatus, nil, &s)
		if codeOf(err) != c.code {
			t.Errorf("token of %d: %v", len(c.token), err)
		}
	}
	for _, c := range []struct {
		method, path string
		in           any
		status       protocol.Code
		want         string
	}{
		{"GET", "/v1/nothing", nil, protocol.CodeNotFound, "api: GET /v1/nothing: no such path"},
		{"GET", "/v1/agents/pump", nil, protocol.CodeNotFound, `agent "pump"`},
		{"GET", "/v1/plugins/work", nil, protocol.CodeNotFound, `plugin "work": not registered`},
		{"POST", "/v1/plugins/work/releases", api.Publish{Version: "1.0.0"}, protocol.CodeNotFound, `plugin "work": not registered`},
		{"GET", "/v1/workflows/watch", nil, protocol.CodeNotFound, `workflow "watch": not deployed`},
		{"GET", "/v1/runs/" + runOne, nil, protocol.CodeNotFound, "run"},
		{"POST", "/v1/tokens", map[string]any{"sit": "x"}, protocol.CodeBadInput, `unknown field "sit"`},
		{"POST", "/v1/tokens", "text", protocol.CodeBadInput, "api: POST /v1/tokens: body"},
		{"POST", "/v1/tokens", api.NewToken{Site: "lab", Count: -1}, protocol.CodeBadInput, "-1 uses"},
		{"POST", "/v1/workflows", api.Deploy{File: "w.yaml", Text: "a: b"}, protocol.CodeBadInput, `w.yaml:1:1: a: unknown key "a"`},
		{"POST", "/v1/workflows", api.Deploy{Text: strings.Repeat("x", bodyMax)}, protocol.CodeBadInput, "too large"},
	} {
		err := r.do(c.method, c.path, c.in, nil)
		if codeOf(err) != c.status || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s %s: %v, want %s %q", c.method, c.path, err, c.status, c.want)
		}
	}
	var place *api.Error
	if err := r.do("POST", "/v1/workflows", api.Deploy{File: "w.yaml", Text: "a: b"}, nil); !errors.As(err, &place) || place.Place == nil ||
		place.Place.Line != 1 {
		t.Errorf("no place in %#v", err)
	}
}

func codeOf(err error) protocol.Code {
	var answer *api.Error
	if errors.As(err, &answer) {
		return answer.Code
	}
	return protocol.CodeOf(err)
}

// The whole way of an operator over the API: register, publish with progress, deploy.
func TestServeOperator(t *testing.T) {
	if testing.Short() {
		t.Skip("publishes three plugins, which takes a minute under the race detector; TestPublish is raced")
	}
	w := newWorld(t) // for its repositories and its signer
	r := serve(t, shortDir(t))
	for name, kind := range map[string]protocol.PluginType{"tick": protocol.Trigger, "work": protocol.Action, "note": protocol.Output} {
		in := api.AddPlugin{Repository: w.repository(plugin{name: name, version: "1.0.0", kind: kind}), AllowedSigners: w.signers()}
		check(t, r.do(http.MethodPost, api.PathPlugins, in, nil))
		var stages []registry.StageName
		var last api.Progress
		check(t, r.client.Publish(t.Context(), name, api.Publish{Version: "v1.0.0"}, func(p api.Progress) {
			if last = p; p.Stage != nil {
				stages = append(stages, p.Stage.Name)
			}
		}))
		if len(stages) != len(registry.StageNames()) || last.Release == nil || last.Release.Version != "1.0.0" {
			t.Errorf("%s: stages %v, %+v", name, stages, last)
		}
	}
	err := r.client.Publish(t.Context(), "work", api.Publish{Version: "1.0.0"}, func(api.Progress) {})
	if codeOf(err) != protocol.CodeExists {
		t.Errorf("twice: %v", err)
	}
	err = r.client.Publish(t.Context(), "work", api.Publish{Version: "3.0.0"}, func(api.Progress) {})
	if codeOf(err) != protocol.CodeNotFound {
		t.Errorf("no such tag: %v", err)
	}
	var shown api.Plugin // P-07: the verdicts of a failed version can be seen
	check(t, r.do(http.MethodGet, api.Path(api.PathPlugin, "work"), nil, &shown))
	if len(shown.Releases) != 2 || shown.Releases[0].Version != "3.0.0" || shown.Releases[0].State != registry.Failed ||
		shown.Releases[0].Stages[0].Verdict != registry.StageFailed {
		t.Errorf("shown %+v", shown.Releases)
	}
	var d api.Deployed
	check(t, r.do(http.MethodPost, api.PathWorkflows, api.Deploy{File: "watch.yaml", Text: workflowText}, &d))
	if d.Workflow != "watch" || len(d.Releases) != 3 {
		t.Errorf("deployed %+v", d)
	}
}

// A home belongs to one hub; after a clean end the next one finds all of it.
func TestServeOwnsItsHome(t *testing.T) {
	home := shortDir(t)
	r := serve(t, home)
	cfg := DefaultConfig(home)
	cfg.Listen = "127.0.0.1:0"
	err := Serve(t.Context(), cfg, slog.New(slog.DiscardHandler), func(Bound) { t.Error("a second hub is up") })
	if protocol.CodeOf(err) != protocol.CodeUnavailable || !strings.Contains(err.Error(), home) {
		t.Errorf("second hub: %v", err)
	}
	check(t, r.do(http.MethodGet, api.PathStatus, nil, nil)) // the first one goes on
	var before, after api.Status
	check(t, r.do(http.MethodGet, api.PathStatus, nil, &before))
	r.end()
	var away *api.UnreachableError
	if err := r.do(http.MethodGet, api.PathStatus, nil, nil); !errors.As(err, &away) {
		t.Errorf("it answers after its end: %v", err)
	}
	next := serve(t, home)
	check(t, next.do(http.MethodGet, api.PathStatus, nil, &after))
	if before.CA != after.CA {
		t.Error("another authority after a restart")
	}
}

// What keeps a hub from starting is said.
func TestServeRefusesToStart(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	defer taken.Close()
	for _, c := range []struct {
		name   string
		change func(*Config)
		want   string
	}{
		{"no home", func(c *Config) { c.Home = "" }, "hub config: home: empty"},
		{"bad address", func(c *Config) { c.Listen = "8883" }, "hub config: listen:"},
		{"address taken", func(c *Config) { c.Listen = taken.Addr().String() }, "hub: listen: listen tcp"},
		{"API to everybody", func(c *Config) { c.API = "0.0.0.0:80" }, `"0.0.0.0" is not a loopback address`},
		{"API address taken", func(c *Config) { c.API = taken.Addr().String() }, "hub: api: listen tcp"},
		{"no time", func(c *Config) { c.RunsKept = 0; c.BuildTimeout = 0 }, "hub config: runs kept: 0s"},
		{"home is a file", func(c *Config) { c.Home = filepath.Join(c.Home, "f"); check(t, os.WriteFile(c.Home, nil, 0o600)) }, "hub home:"},
		{"long home", func(c *Config) { c.Home = filepath.Join(c.Home, strings.Repeat("x", 120)) }, "choose a shorter home"},
		{"empty token", func(c *Config) {
			c.API = "127.0.0.1:0"
			check(t, c.makeDirs())
			check(t, os.WriteFile(api.TokenPath(c.Home), nil, 0o600))
		}, "0 characters, want 32 or more"},
		{"broken key", func(c *Config) {
			check(t, c.makeDirs())
			check(t, os.WriteFile(filepath.Join(c.keysDir(), "release.key"), []byte("x"), 0o600))
		}, "release.key: no PEM block in it"},
		{"foreign keyring", func(c *Config) {
			check(t, c.makeDirs())
			_, err := OpenKeys(c.keysDir())
			check(t, err)
			check(t, os.WriteFile(filepath.Join(c.keysDir(), "root.pub"), bytes.Repeat([]byte{1}, 32), 0o600))
		}, "keyring.cbor"},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := DefaultConfig(shortDir(t))
			cfg.Listen = "127.0.0.1:0"
			c.change(&cfg)
			err := Serve(t.Context(), cfg, slog.New(slog.DiscardHandler), func(Bound) { t.Error("it is up") })
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %s", err, c.want)
			}
		})
	}
}

// Keys that were cut off while they were made are made whole at the next start.
func TestKeysSurviveACut(t *testing.T) {
	dir := t.TempDir()
	first, err := OpenKeys(dir)
	check(t, err)
	for _, name := range []string{"keyring.cbor", "root.pub", "desired.key"} {
		check(t, os.Remove(filepath.Join(dir, name)))
		if name == "root.pub" { // without its keyring it is made again
			check(t, os.Remove(filepath.Join(dir, "keyring.cbor")))
		}
		if name == "desired.key" {
			continue
		}
		again, err := OpenKeys(dir)
		if err != nil || !bytes.Equal(again.Root.Key, first.Root.Key) || !bytes.Equal(again.Sealed, first.Sealed) {
			t.Errorf("without %s: %v", name, err)
		}
	}
	if _, err := OpenCA(dir, day); err != nil {
		t.Fatal(err)
	}
	ca, err := OpenCA(dir, day.AddDate(1, 0, 0))
	check(t, err)
	leaf, err := ca.Server(day)
	check(t, err)
	cert, err := x509.ParseCertificate(leaf.Certificate[0])
	check(t, err)
	// C-3: a device whose clock stands at its epoch believes the hub all the same.
	_, err = cert.Verify(x509.VerifyOptions{Roots: ca.Pool(), DNSName: protocol.HubServerName, CurrentTime: begin.Add(time.Hour)})
	check(t, err)
	left, err := filepath.Glob(filepath.Join(dir, ".new-*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left %v, %v", left, fmt.Sprint(err))
	}
}

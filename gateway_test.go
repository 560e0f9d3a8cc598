package main

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stavily/stavily/hub/api"
)

// uplink is the line between a site and the hub: it counts what comes down, and may be cut or
// slowed.
type uplink struct {
	ln   net.Listener
	dial func() (net.Conn, error) // to the hub
	down atomic.Int64             // bytes from the hub
	pace atomic.Int64             // bytes a second, each way; 0: all there are

	mu    sync.Mutex // guards the fields below
	cut   bool
	conns []net.Conn
}

func newUplink(t *testing.T, to string) *uplink {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return uplinkAt(t, ln, func() (net.Conn, error) { return net.Dial("tcp", to) })
}

func uplinkAt(t *testing.T, ln net.Listener, dial func() (net.Conn, error)) *uplink {
	u := &uplink{ln: ln, dial: dial}
	t.Cleanup(func() {
		_ = ln.Close()
		u.set(true)
	})
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			go u.serve(conn)
		}
	}()
	return u
}

func (u *uplink) serve(conn net.Conn) {
	defer conn.Close()
	far, err := u.dial()
	if err != nil {
		return
	}
	defer far.Close()
	u.mu.Lock()
	if u.cut {
		u.mu.Unlock()
		return
	}
	u.conns = append(u.conns, conn, far)
	u.mu.Unlock()
	go func() {
		u.pour(far, conn)
		_ = far.Close()
	}()
	u.pour(io.MultiWriter(conn, (*counter)(&u.down)), far)
}

// pour copies at the line's pace.
func (u *uplink) pour(to io.Writer, from io.Reader) {
	buf := make([]byte, 4<<10)
	for {
		n, err := from.Read(buf)
		if pace := u.pace.Load(); n > 0 && pace > 0 {
			timer := time.NewTimer(time.Duration(n) * time.Second / time.Duration(pace))
			<-timer.C
		}
		if _, bad := to.Write(buf[:n]); bad != nil || err != nil {
			return
		}
	}
}

// set cuts the line, or mends it.
func (u *uplink) set(cut bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.cut = cut
	for _, c := range u.conns {
		_ = c.Close()
	}
	u.conns = nil
}

type counter atomic.Int64

func (c *counter) Write(p []byte) (int, error) {
	(*atomic.Int64)(c).Add(int64(len(p)))
	return len(p), nil
}

// siteText is two workflows: the steps of the first are at three neighbours, the second needs
// nobody. There are no more because each agent compiles each module that it runs.
const siteText = `
  plugin: system-health@1
  with: { metric: memory.percent, above: 0, every: 500ms, repeat: 500ms }
  at: { agent: AT }
actions:
  - name: describe
    plugin: system-command@1
    with: { run: [uname, -srm] }
    allow: { process.execute: [uname] }
    on: ON
outputs:
  - plugin: append-file@1
`

// site is a hub and a site behind two gateways: its agents know no other way.
type site struct {
	*world
	lines  map[string]*uplink // by gateway
	behind string             // the addresses of the gateways
	pumps  []string
	write  []string // those of them that deliver
	asks   *api.Client
	start  time.Time
}

func newSite(t *testing.T) *site {
	t.Helper()
	edge, gateway := buildEdge(t), buildGateway(t)
	s := &site{world: newWorld(t, edge), lines: map[string]*uplink{}, start: time.Now()}
	s.startHub()
	s.asks = api.OnSocket(api.SocketPath(s.path("home")))
	t.Cleanup(s.asks.Close)
	var at []string
	for _, name := range []string{"gw-1", "gw-2"} {
		s.lines[name] = newUplink(t, s.listen)
		address := lastingAddress(t)
		at = append(at, "mqtts://"+address)
		s.begin(name, gateway, s.lines[name].ln.Addr().String(), "--gateway", address)
	}
	s.behind = strings.Join(at, ",")
	for i := range 4 {
		name := fmt.Sprintf("pump-%d", i+1)
		s.pumps = append(s.pumps, name)
		s.begin(name, edge, s.behind)
	}
	s.write = []string{"pump-1", "pump-3"}
	return s
}

func buildGateway(t *testing.T) string {
	t.Helper()
	out := filepath.Join(t.TempDir(), "stavily-gateway")
	cmd := exec.Command("go", "build", "-trimpath", "-tags=gateway", "-o", out, "./edge/stavily-edge")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, text)
	}
	return out
}

// begin starts an agent that joins, with a token for a gateway when it is to be one.
func (s *site) begin(name, program, hub string, more ...string) {
	s.t.Helper()
	wish, kind := []string{"agent", "token", "--site", "lab"}, "head"
	if len(more) > 0 {
		wish = append(wish, "--gateway")
	} else if name == "pump-2" || name == "pump-4" {
		kind = "hand"
	}
	p := &part{name: name, log: s.path(name + ".log")}
	p.args = append([]string{
		program, "--hub", hub, "--join", ask[api.Token](s.world, wish...).Token, "--name", name, "--state", s.path(name),
		"--label", "kind=" + kind, "--allow", "process.execute:uname",
	}, more...)
	s.agents[name] = p
	_ = p.start(s.t)
	s.until(name+" online", func() bool { return s.agent(name).Presence.Online })
}

// agent is what the hub knows of an agent; nothing while it has not joined. It asks the hub
// itself: a process for each look would be most of what this test does.
func (s *site) agent(name string) (out api.Agent) {
	var all []api.Agent
	if err := s.asks.Do(s.t.Context(), http.MethodGet, api.PathAgents, nil, &all); err != nil {
		s.t.Fatal(err)
	}
	for _, a := range all {
		if string(a.Address.Agent) == name {
			out = a
		}
	}
	return out
}

// moreLines waits until each agent has delivered n more.
func (s *site) moreLines(what string, n int, names ...string) {
	s.t.Helper()
	defer func() { s.t.Logf("%s, %v after the start", what, time.Since(s.start).Round(time.Second)) }()
	for _, name := range names {
		before := len(s.delivered(name))
		s.until(what+": lines of "+name, func() bool { return len(s.delivered(name)) >= before+n })
	}
}

func (s *site) allBy(gateway string) {
	s.t.Helper()
	s.until("all to be online by "+gateway, func() bool {
		return !slices.ContainsFunc(s.pumps, func(name string) bool {
			a := s.agent(name)
			return !a.Presence.Online || string(a.Presence.Via) != gateway
		})
	})
}

// bytesIn returns the bytes of the files in a folder of an agent.
func (s *site) bytesIn(name, folder string) (total int64) {
	s.t.Helper()
	found, err := os.ReadDir(filepath.Join(s.path(name), folder))
	if err != nil {
		s.t.Fatal(err)
	}
	for _, f := range found {
		if info, err := f.Info(); err == nil {
			total += info.Size()
		}
	}
	return total
}

// begins deploys both workflows and holds what came down for it to what it takes once.
func (s *site) begins() {
	s.t.Helper()
	before := s.lines["gw-1"].down.Load()
	for _, w := range [][3]string{{"beside", "pump-1", "{ group: { kind: hand } }"}, {"alone", "pump-3", "affected"}} {
		file, text := s.path(w[0]+".yaml"), strings.NewReplacer("AT", w[1], "ON", w[2]).Replace(siteText)
		if err := os.WriteFile(file, []byte("workflow: "+w[0]+"\ntrigger:"+text), 0o600); err != nil {
			s.t.Fatal(err)
		}
		s.must("deploy", file)
	}
	s.moreLines("deployed", 1, s.write...)
	down, once, held := s.lines["gw-1"].down.Load()-before, s.bytesIn("gw-1", "site"), int64(0)
	for _, name := range s.pumps {
		held += s.bytesIn(name, "files")
	}
	if down > once*5/4 || once < 100_000 || held < 4*once {
		s.t.Errorf("%d bytes came down, the gateway holds %d, its neighbours %d", down, once, held)
	}
	s.t.Logf("%d bytes came down; the gateway holds %d, its neighbours %d", down, once, held)
}

// TestSiteBehindGateways is a site whose agents reach nothing but two gateways: they join, are
// deployed to and report through them, go on when the line to the hub is cut and when a gateway
// is killed, and in the end every run is at the hub once. A file comes over the uplink once (U-09, U-12).
func TestSiteBehindGateways(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes and builds plugins")
	}
	s := newSite(t)
	s.allBy("gw-1")
	t.Logf("joined, %v after the start", time.Since(s.start).Round(time.Second))
	if list := s.must("agent", "list"); !strings.Contains(list, "online by gateway gw-1") {
		t.Errorf("agent list says not by whom:\n%s", list)
	}
	s.publish()
	s.begins()
	for _, line := range s.lines { // the site is alone
		line.set(true)
	}
	s.until("the hub to miss them", func() bool { return !s.agent("pump-1").Presence.Online })
	s.moreLines("without the hub", 4, s.write...)
	for _, line := range s.lines {
		line.set(false)
	}
	s.until("the hub to have them again", func() bool { return s.agent("pump-1").Presence.Online })
	s.agents["gw-1"].kill()
	s.moreLines("with a gateway killed", 4, s.write...)
	s.allBy("gw-2")
	delete(s.agents, "gw-1") // what it alone said goes with it
	s.settleSite()
	s.turnsAway("pump-4", s.agents["gw-2"])
}

// turnsAway removes an agent at the hub: its gateway cuts it, and lets it in no more without the
// hub, also after a restart.
func (s *site) turnsAway(name string, gateway *part) {
	s.t.Helper()
	logged := func(what string) bool {
		text, err := os.ReadFile(gateway.log)
		if err != nil {
			s.t.Fatal(err)
		}
		return bytes.Contains(text, []byte(what))
	}
	s.must("agent", "remove", name)
	s.until(name+" to be cut", func() bool {
		return logged(`msg="agent disconnected" agent=lab/` + name + ` reason=gone`)
	})
	s.lines["gw-2"].set(true)
	gateway.kill()
	if err := os.Remove(gateway.log); err != nil {
		s.t.Fatal(err)
	}
	_ = gateway.start(s.t)
	s.until(name+" to be refused", func() bool { return logged("agent lab/" + name + ": not allowed") })
}

// settleSite ends both workflows and holds the hub's runs to what was delivered.
func (s *site) settleSite() {
	s.t.Helper()
	s.must("workflow", "remove", "beside")
	s.must("workflow", "remove", "alone")
	s.until("all to have settled", func() bool {
		return !slices.ContainsFunc(s.pumps, func(name string) bool {
			a := s.agent(name)
			return a.Reported == nil || len(a.Reported.Assignments) > 0 || a.Reported.Revision != a.Desired.Revision
		})
	})
	atHub := map[string]int{}
	s.until("each run to be at the hub", func() bool {
		var all []api.Run
		if err := s.asks.Do(s.t.Context(), http.MethodGet, api.PathRuns+"?limit=1000", nil, &all); err != nil {
			s.t.Fatal(err)
		}
		clear(atHub)
		for _, r := range all {
			atHub[r.ID]++
		}
		return !slices.ContainsFunc(s.write, func(name string) bool {
			for id := range s.delivered(name) {
				if atHub[id] == 0 {
					return true
				}
			}
			return false
		})
	})
	total := 0
	for _, name := range s.write {
		for id := range s.delivered(name) {
			total++
			if atHub[id] != 1 {
				s.t.Errorf("run %s of %s is at the hub %d times", id, name, atHub[id])
			}
		}
		if a := s.agent(name); a.Reported.Dropped > 0 {
			s.t.Errorf("%s dropped %d records", name, a.Reported.Dropped)
		}
	}
	if total < 20 {
		s.t.Errorf("%d runs only", total)
	}
	s.t.Logf("%d runs, each at the hub once, %v after the start", total, time.Since(s.start).Round(time.Second))
}

// An agent that no operator has made a gateway is none: its neighbours turn away from it, and
// the program without a broker says which one is needed.
func TestNoGateway(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes")
	}
	edge := buildEdge(t)
	w := newWorld(t, edge)
	w.startHub()
	w.join("plain")
	w.agents["plain"].kill()
	var said bytes.Buffer
	cmd := exec.Command(edge, "--state", w.path("plain"), "--gateway", "127.0.0.1:0")
	cmd.Stderr = &said
	if err := cmd.Run(); err == nil || !strings.Contains(said.String(), "stavily-gateway") {
		t.Errorf("%v: %s", err, said.String())
	}
}

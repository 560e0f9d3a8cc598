package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/stavily/stavily/hub/api"
)

// stateMax is the room for an agent's state in bytes, of those whose disk is to be filled.
const stateMax = 128 << 20

// harsh is a site in nets of its own, where anything may happen.
type harsh struct {
	*site
	nets  *nets
	draw  *rand.Rand
	heads []string // agents that detect and deliver; the others do steps for them
	small []string // agents whose disk is filled
	mends []func() // what ends the accidents under way, the oldest first
}

// TestSiteWithAccidents is a hub, two gateways and six agents as processes, each device in a
// network namespace of its own. Most find the gateways by multicast DNS. Then everything
// happens at moments that the seed draws: processes lose power, lines are cut and slowed, cables
// pulled, disks filled. In the end each run that was promised is at the hub, once, and ended.
func TestSiteWithAccidents(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes and builds plugins")
	}
	n := newNets(t)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	s := newHarsh(t, n, rand.New(rand.NewPCG(seed, 0)))
	s.work()
	for _, happen := range s.accidents() {
		s.pause(time.Second)
		s.mends = append(s.mends, happen())
		if s.pause(2 * time.Second); len(s.mends) > 1 { // two at a time
			s.mend()
		}
	}
	for len(s.mends) > 0 {
		s.mend()
	}
	s.moreLines("all mended", 2, s.heads...)
	s.settles()
}

func newHarsh(t *testing.T, n *nets, draw *rand.Rand) *harsh {
	t.Helper()
	edge, gateway := buildEdge(t), buildGateway(t)
	s := &harsh{
		site: &site{world: newWorld(t, edge), lines: map[string]*uplink{}, start: time.Now()}, nets: n, draw: draw,
		heads: []string{"pump-1", "pump-3", "pump-5"}, small: []string{"pump-3", "pump-4"},
	}
	s.listen, s.around = hubAt, n.around(hubNet)
	s.startHub()
	s.asks = api.OnSocket(api.SocketPath(s.path("home")))
	t.Cleanup(s.asks.Close)
	var at []string
	for _, name := range []string{"gw-1", "gw-2"} {
		n.device(name)
		at = append(at, fmt.Sprintf("mqtts://10.78.0.%d:8883", n.hosts))
		line, hub := n.uplink(name)
		s.lines[name] = line
		s.launch(name, gateway, hub, "--gateway", "0.0.0.0:8883")
	}
	for _, name := range []string{"gw-1", "gw-2"} {
		s.until(name+" to be found", func() bool {
			return strings.Contains(s.agents[name].tail(), "gateway is found by mdns")
		})
	}
	for i := range 6 {
		name := fmt.Sprintf("pump-%d", i+1)
		s.pumps = append(s.pumps, name)
		n.device(name)
		if slices.Contains(s.small, name) {
			s.tmpfs(name)
		}
		hub := "mdns"
		switch name {
		case "pump-5":
			hub = strings.Join(at, ",") // by configuration
		case "pump-6": // has a line of its own, and neighbours for when that is cut
			s.lines[name], hub = n.uplink(name)
			hub += ",mdns"
		}
		s.launch(name, edge, hub)
	}
	return s
}

// launch starts an agent, which joins by itself, in its own net.
func (s *harsh) launch(name, program, hub string, more ...string) {
	s.t.Helper()
	wish, label := []string{"agent", "token", "--site", "lab"}, "pool=hands"
	if len(more) > 0 {
		wish, label = append(wish, "--gateway"), "kind=gateway"
	} else if slices.Contains(s.heads, name) {
		label = "kind=head"
	}
	p := &part{name: name, log: s.path(name + ".log")}
	p.args = append(s.nets.around(name),
		program, "--hub", hub, "--join", ask[api.Token](s.world, wish...).Token, "--name", name, "--site", "lab",
		"--state", s.path(name), "--label", label, "--allow", "process.execute:uname",
		"--allow", "mqtt.publish:site/call", "--allow", "mqtt.listen:site/+")
	p.args = append(p.args, more...)
	s.agents[name] = p
	_ = p.start(s.t)
}

// tmpfs gives an agent a small disk of its own for its state.
func (s *harsh) tmpfs(name string) {
	s.t.Helper()
	if err := os.Mkdir(s.path(name), 0o700); err != nil {
		s.t.Fatal(err)
	}
	if err := unix.Mount("tmpfs", s.path(name), "tmpfs", 0, fmt.Sprintf("size=%d", stateMax)); err != nil {
		s.t.Skipf("no mounts here: %v", err)
	}
	s.t.Cleanup(func() { _ = unix.Unmount(s.path(name), unix.MNT_DETACH) })
}

// siteTexts are a workflow that its agent does by itself, and one whose step a neighbour
// takes. Each agent compiles each module that it runs, so there are few.
const siteTexts = `workflow: alone
trigger:
  plugin: system-health@1
  with: { metric: memory.percent, above: 0, every: 500ms, repeat: 500ms }
  at: { agent: pump-3 }
actions:
  - name: describe
    plugin: system-command@1
    with: { run: [uname, -srm] }
    allow: { process.execute: [uname] }
outputs:
  - plugin: append-file@1
    retry: { times: 9, wait: 200ms }
---
workflow: beside
trigger:
  plugin: system-health@1
  with: { metric: memory.percent, above: 0, every: 500ms, repeat: 500ms }
  at: { group: { kind: head } }
actions:
  - name: describe
    plugin: system-command@1
    with: { run: [uname, -srm] }
    allow: { process.execute: [uname] }
    on: { pool: hands, within: 5m }
outputs:
  - plugin: append-file@1
    retry: { times: 9, wait: 200ms }
`

// work publishes plugins and has all agents at work.
func (s *harsh) work() {
	s.t.Helper()
	s.publish()
	s.t.Logf("published, %v after the start", time.Since(s.start).Round(time.Second))
	for _, name := range s.pumps {
		s.until(name+" online", func() bool { return s.agent(name).Presence.Online })
	}
	for _, name := range s.pumps[:5] {
		if via := s.agent(name).Presence.Via; via == "" {
			s.t.Errorf("%s came by no gateway", name)
		}
	}
	s.deployAll(siteTexts)
	s.moreLines("deployed", 2, s.heads...)
	s.calls()
}

// callTexts are a plugin that says to its neighbours what it is told, and one that hears that.
const (
	callMain = `package main

import "github.com/stavily/stavily/plugins/sdk/go"

func main() {
	stavily.Output("call", func(ctx *stavily.Context, d stavily.Delivery) error {
		return ctx.Publish("site/call", d.Event.Data)
	}).Main()
}
`
	hearMain = `package main

import "github.com/stavily/stavily/plugins/sdk/go"

func main() {
	stavily.Trigger("hear", func(_ *stavily.Context, w stavily.Wake) (stavily.Fired, error) {
		f := stavily.Fired{Topics: []string{"site/+"}}
		if w.Message != nil {
			f.Events = []any{map[string]any{"topic": w.Message.Topic, "heard": w.Message.Data}}
		}
		return f, nil
	}).Main()
}
`
	callManifest = `plugin: { name: %s, version: 1.0.0, type: %s, description: x, author: { name: Ada } }
runtime: { language: go }
execution_limits: { max_memory_mb: 64 }
sandbox_mode: true
allow_network_access: false
allow_filesystem_access: none
permissions: { system: [%s] }
`
	callTexts = `workflow: calls
trigger:
  plugin: schedule@1
  with: { every: 500ms }
  at: { agent: pump-2 }
actions:
  - name: describe
    plugin: system-command@1
    with: { run: [uname, -srm] }
    allow: { process.execute: [uname] }
outputs:
  - plugin: call@1
    allow: { mqtt.publish: [site/call] }
---
workflow: hears
trigger:
  plugin: hear@1
  allow: { mqtt.listen: [site/+] }
  at: { agent: pump-1 }
actions:
  - name: describe
    plugin: system-command@1
    with: { run: [uname, -srm] }
    allow: { process.execute: [uname] }
    on: { pool: hands, within: 5m }
outputs:
  - plugin: append-file@1
    retry: { times: 9, wait: 200ms }
`
)

// calls has a neighbour fire by a schedule and call the site, and another one hear that by the
// gateway, with its line to the hub cut.
func (s *harsh) calls() {
	s.t.Helper()
	s.publishOwn("call", map[string]string{
		"main.go": callMain, "stavily-plugin.yaml": fmt.Sprintf(callManifest, "call", "output", "mqtt.publish"),
	})
	s.publishOwn("hear", map[string]string{
		"main.go": hearMain, "stavily-plugin.yaml": fmt.Sprintf(callManifest, "hear", "trigger", "mqtt.listen"),
	})
	s.deployAll(callTexts)
	heard := func() int {
		text, err := os.ReadFile(filepath.Join(s.path("pump-1"), "data", "append-file", "runs.jsonl"))
		if err != nil {
			s.t.Fatal(err)
		}
		return strings.Count(string(text), `"schedule":"every 500ms"`)
	}
	s.until("calls to be heard", func() bool { return heard() > 0 })
	for _, l := range s.lines {
		l.set(true)
	}
	before := heard()
	s.until("calls to be heard without the hub", func() bool { return heard() > before+2 })
	for _, l := range s.lines {
		l.set(false)
	}
	s.must("workflow", "remove", "calls")
	s.must("workflow", "remove", "hears")
	s.say("calls were heard")
}

func (s *harsh) deployAll(texts string) {
	s.t.Helper()
	for text := range strings.SplitSeq(texts, "---\n") {
		file := s.path("workflow.yaml")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			s.t.Fatal(err)
		}
		s.must("deploy", file)
	}
}

// pause waits, for at most so long: the time in which things happen.
func (s *harsh) pause(most time.Duration) {
	timer := time.NewTimer(time.Duration(s.draw.Int64N(int64(most))))
	<-timer.C
}

func (s *harsh) mend() {
	s.mends[0]()
	s.mends = s.mends[1:]
}

// accidents returns what happens, in an order that is drawn. Each begins at once and returns
// what mends it.
func (s *harsh) accidents() []func() (mend func()) {
	drawn := func() string { return s.pumps[s.draw.IntN(len(s.pumps))] }
	lines := func(what string, begin, end func(*uplink)) func() func() {
		return func() func() {
			s.say(what)
			for _, l := range s.lines {
				begin(l)
			}
			return func() {
				s.say("no more: " + what)
				for _, l := range s.lines {
					end(l)
				}
			}
		}
	}
	all := []func() func(){
		lines("uplinks cut", func(l *uplink) { l.set(true) }, func(l *uplink) { l.set(false) }),
		lines("uplinks slow", func(l *uplink) { l.pace.Store(32 << 10) }, func(l *uplink) { l.pace.Store(0) }),
		s.killed("gw-1"), s.killed("gw-2"), s.killed(drawn()), s.killed(drawn()), s.killed("hub"), s.unplugged(drawn()),
	}
	for _, name := range s.small {
		all = append(all, s.filled(name))
	}
	s.draw.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all
}

func (s *harsh) say(what string) {
	s.t.Logf("%v: %s", time.Since(s.start).Round(100*time.Millisecond), what)
}

func (s *harsh) killed(name string) func() func() {
	return func() func() {
		s.say(name + " killed")
		p := s.agents[name]
		if name == "hub" {
			s.hub.kill()
			return s.startHub
		}
		p.kill()
		return func() { _ = p.start(s.t) }
	}
}

func (s *harsh) unplugged(name string) func() func() {
	return func() func() {
		s.say(name + " unplugged")
		s.nets.plug(name, false)
		return func() { s.nets.plug(name, true) }
	}
}

func (s *harsh) filled(name string) func() func() {
	return func() func() {
		s.say("disk of " + name + " filled")
		file := filepath.Join(s.path(name), "filler")
		f, err := os.Create(file)
		if err != nil {
			s.t.Fatal(err)
		}
		for buf := make([]byte, 1<<20); err == nil; { // tmpfs takes what it can of the last
			_, err = f.Write(buf)
		}
		_ = f.Close()
		if !errors.Is(err, syscall.ENOSPC) {
			s.t.Fatal(err)
		}
		return func() {
			s.say("disk of " + name + " has room")
			if err := os.Remove(file); err != nil {
				s.t.Fatal(err)
			}
		}
	}
}

// settles ends the workflows and holds the hub's runs to what was delivered.
func (s *harsh) settles() {
	s.t.Helper()
	s.must("workflow", "remove", "beside")
	s.must("workflow", "remove", "alone")
	s.until("all to have settled", func() bool {
		return !slices.ContainsFunc(s.pumps, func(name string) bool {
			a := s.agent(name)
			return a.Reported == nil || len(a.Reported.Assignments) > 0 || a.Reported.Revision != a.Desired.Revision
		})
	})
	var all []api.Run
	s.until("each run to be at the hub, and its end", func() bool {
		if err := s.asks.Do(s.t.Context(), http.MethodGet, api.PathRuns+"?limit=1000", nil, &all); err != nil {
			s.t.Fatal(err)
		}
		there := map[string]bool{}
		for _, r := range all {
			there[r.ID] = r.Status != "running"
		}
		return !slices.ContainsFunc(s.heads, func(name string) bool {
			for id := range s.delivered(name) {
				if !there[id] {
					return true
				}
			}
			return false
		}) && !slices.ContainsFunc(all, func(r api.Run) bool { return r.Status == "running" })
	})
	s.compares(all)
}

func (s *harsh) compares(all []api.Run) {
	s.t.Helper()
	atHub, status := map[string]int{}, map[string]int{}
	for _, r := range all {
		atHub[r.ID]++
		status[string(r.Workflow)+" "+string(r.Status)]++
		if r.Status != "ok" {
			shown := s.must("run", "show", r.ID)
			if !strings.Contains(shown, "workflow is no longer assigned here") {
				s.t.Errorf("run %s of %s is %s:\n%s", r.ID, r.Agent, r.Status, shown)
			}
		}
	}
	total, again := 0, 0
	for _, name := range s.heads {
		lines := s.delivered(name)
		for id, times := range lines {
			total, again = total+1, again+times-1
			if atHub[id] != 1 {
				s.t.Errorf("run %s of %s is at the hub %d times", id, name, atHub[id])
			}
		}
		for _, r := range all {
			if string(r.Agent) == name && r.Status == "ok" && lines[r.ID] == 0 {
				s.t.Errorf("run %s of %s is ok at the hub and was not delivered", r.ID, name)
			}
		}
		if a := s.agent(name); a.Reported.Dropped > 0 {
			s.t.Errorf("%s dropped %d records", name, a.Reported.Dropped)
		}
	}
	if total < 50 {
		s.t.Errorf("%d runs only", total)
	}
	s.t.Logf("%d runs delivered, %d again after a kill; at the hub %v; %v after the start", total, again, status,
		time.Since(s.start).Round(time.Second))
}

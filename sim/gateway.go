package sim

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/stavily/stavily/edge/gateway"
	"github.com/stavily/stavily/protocol"
)

const (
	// relayEvery is how often a gateway tries again what found no way.
	relayEvery = time.Second
	// addressStays is how long a line must have lasted for its gateway to come in its turn again.
	addressStays = time.Minute
)

// post is what a device has that is a gateway: the real relay and its shelf, and in the place of
// a broker the lines of its neighbours.
type post struct {
	d          *device
	neighbours []*device
	relay      *gateway.Relay // nil: off, or at a level at which a door has it
	shelf      gateway.Shelf
	dir        string // of the shelf
	hearers    []hearer
	gone       map[protocol.Gone]bool // whom it lets in no more; only looked up
	blocked    int                    // partitions of its site's side
	ticking    bool                   // a tick is planned
	dark       bool                   // its neighbours have not noticed yet that its power went: see dim
}

// stations makes gateways of the devices that others are behind of.
func (w *World) stations() {
	for i, a := range w.scenario.Agents() {
		d := w.devices[i]
		for _, n := range a.Gateways {
			g := w.devices[n]
			if g.post == nil {
				g.post = &post{d: g}
				g.post.hearers = []hearer{{"#", g.post.hear}}
				g.line.hearers = []hearer{{protocol.DownFilter(g.addr), g.post.hub}}
			}
			g.post.neighbours = append(g.post.neighbours, d)
			d.line.gates = append(d.line.gates, g)
		}
	}
}

// appoint tells the hub who is a gateway.
func (w *World) appoint() error {
	for _, d := range w.devices {
		if d.post == nil {
			continue
		}
		if _, err := w.hub.hub.SetGateway(w.start, d.addr.Agent, true); err != nil {
			return err
		}
	}
	return nil
}

// start begins the gateway's part of a process that starts.
func (p *post) start() (err error) {
	if p.shelf, err = p.open(); err != nil {
		return err
	}
	p.relay = gateway.New(gateway.Config{
		Address: p.d.addr, Site: p, Send: p.up, Own: p.own, Shelf: p.shelf, Log: slog.New(p.d.w.logs(p.d)),
	})
	return nil
}

// open opens the shelf that the gateway's disk has.
func (p *post) open() (gateway.Shelf, error) {
	dir, err := p.d.w.hub.scratch()
	if err != nil {
		return nil, err
	}
	p.dir = filepath.Join(dir, fmt.Sprint("site-", p.d.id))
	all, err := gateway.OpenFolder(p.dir, gateway.ShelfMax)
	if err != nil {
		return nil, err
	}
	p.d.w.uplinks.started(p.d)
	return &siteShelf{all, p.d, p.d.boots}, nil
}

// stop ends it. Those who are connected notice at once when its process ends, and when its power
// goes as late as they do for any line that falls silent.
func (p *post) stop() {
	if p.d.body != nil {
		p.dim()
		return
	}
	p.relay, p.shelf, p.ticking = nil, nil, false
	for _, n := range p.neighbours {
		delete(n.line.sessions, p.d)
		if n.line.at != p.d {
			continue
		}
		n.line.dropped(wayDown)
		switch {
		case !n.line.up:
		case p.d.off > 0:
			n.line.hold(wayUp)
		default:
			n.line.cut("gateway gone")
		}
	}
}

// welcome has the neighbours look for the gateway that is there again.
func (p *post) welcome() {
	for _, n := range p.neighbours {
		if n.line.up && n.line.severed() {
			n.line.cut("gateway anew")
		}
		n.line.retry()
	}
}

// block parts the gateway from its neighbours, or lets them reach it again.
func (p *post) block(by int) {
	p.blocked += by
	if p.d.body != nil {
		p.part(by)
		return
	}
	for _, n := range p.neighbours {
		here := n.line.up && n.line.at == p.d
		switch {
		case here && p.blocked > 0:
			n.line.hold(wayUp)
			n.line.hold(wayDown)
		case here && !n.line.severed():
			n.line.release(wayUp)
			n.line.release(wayDown)
		case !n.line.up:
			n.line.retry()
		}
	}
}

// serves reports whether n, a neighbour of d, gets there when it tries to connect.
func (d *device) serves(n *device) bool {
	return d.agent != nil && d.post.relay != nil && d.post.blocked == 0 && d.post.lets(n)
}

// hear takes what a neighbour says.
func (p *post) hear(m protocol.Message) {
	if p.relay == nil {
		return
	}
	p.relay.Neighbour(p.d.now(), m)
	p.arm()
}

// hub takes what the gateway's line brings.
func (p *post) hub(m protocol.Message) {
	if p.relay == nil {
		return
	}
	p.relay.Hub(p.d.now(), m)
	p.arm()
}

// up takes what the relay has for the hub.
func (p *post) up(m protocol.Message) error {
	err := p.d.line.Send(m)
	if err == nil {
		p.d.w.uplinks.fetched(p.d, &m)
	}
	return err
}

// own takes what the relay has for the gateway's own agent, which is not to be asked from within
// the relay.
func (p *post) own(m protocol.Message) {
	d, boots := p.d, p.d.boots
	d.w.do(max(d.w.now, d.busy), func() {
		if d.boots == boots {
			d.hear(m)
		}
	})
}

// tell says to the gateway's own agent whether the hub is reached; its neighbours always are.
func (p *post) tell(up bool) {
	d := p.d
	d.agent.Handle(d.now(), protocol.Message{
		Topic: protocol.Topic(d.addr, protocol.DownUplink), Payload: protocol.MustMarshal(protocol.Uplink{Up: up}),
	})
	d.settle()
}

// uplink takes whether the gateway's line is up.
func (p *post) uplink(up bool) {
	p.tell(up)
	if p.relay == nil {
		return // the power went meanwhile
	}
	p.relay.Uplink(up)
	p.arm()
}

// arm plans the relay's next tick, if it wants any.
func (p *post) arm() {
	if p.ticking || p.relay == nil || p.relay.Idle() {
		return
	}
	p.ticking = true
	relay := p.relay
	p.d.w.after(relayEvery, func() {
		if relay != p.relay {
			return // of another life
		}
		p.ticking = false
		relay.Tick(p.d.now())
		p.arm()
	})
}

// Send takes what the relay has for a neighbour.
func (p *post) Send(m protocol.Message) error {
	to, k, err := protocol.ParseTopic(m.Topic)
	if err != nil {
		return err
	}
	n := p.d.w.byAddress[to]
	if n == nil || n.line.at != p.d || !n.line.up || n.line.life != p.d.boots {
		return protocol.Errorf(protocol.CodeUnavailable, "send %q: not connected here", m.Topic)
	}
	return n.line.down(&parsed{n.spoilt(k, m), to, k})
}

// Connected returns the neighbours that are connected here.
func (p *post) Connected() (out []protocol.Address) {
	for _, n := range p.neighbours {
		if n.line.up && n.line.at == p.d && n.line.life == p.d.boots {
			out = append(out, n.addr)
		}
	}
	slices.SortFunc(out, func(a, b protocol.Address) int {
		return strings.Compare(string(a.Agent), string(b.Agent))
	})
	return out
}

// postLink is the link of the gateway's own agent.
type postLink struct{ *post }

// Send takes what the agent says.
func (p postLink) Send(m protocol.Message) error {
	if p.relay == nil {
		return protocol.Errorf(protocol.CodeUnavailable, "send %q: the gateway ends", m.Topic)
	}
	err := p.relay.Say(p.d.now(), m)
	p.arm()
	return err
}

// Listen has nothing to do: what is for the agent comes by own.
func (p postLink) Listen(string, func(protocol.Message)) error { return nil }

// siteShelf is that of one start of a gateway, with the check of uplinks looking on.
type siteShelf struct {
	gateway.Shelf
	d    *device
	life uint64 // of the device's starts
}

// Keep keeps a chunk while the gateway lives.
func (s *siteShelf) Keep(c *protocol.Chunk) error {
	lives := false
	s.d.w.alone(func() { lives = s.d.boots == s.life && s.d.agent != nil })
	if !lives {
		return errPower
	}
	err := s.Shelf.Keep(c)
	s.d.w.alone(func() { s.d.w.uplinks.kept(s.d, c, err == nil) })
	return err
}

// rot changes the n-th file on the shelf, as old flash does.
func (p *post) rot(n int) {
	all, err := os.ReadDir(p.dir)
	if err != nil || len(all) == 0 {
		return // it has none
	}
	path := filepath.Join(p.dir, all[n%len(all)].Name())
	b, err := os.ReadFile(path)
	if err == nil && len(b) > 0 {
		b[0] ^= 1
		err = os.WriteFile(path, b, 0o600)
	}
	if err != nil {
		p.d.w.broken(err)
	}
	p.d.w.uplinks.rotted(p.d)
}

// far are those who hear at the other end of a line.
func (l *line) far() []hearer {
	if l.at != nil {
		return l.at.post.hearers
	}
	return l.w.hub.hearers
}

// severed reports whether the gateway that the line leads to is gone, or the way to it.
func (l *line) severed() bool {
	return l.at != nil && (l.at.agent == nil || l.at.boots != l.life || l.at.post.blocked > 0)
}

// choose has a line that comes up lead to a gateway: the first that takes it, beginning behind
// the one that it was lost to soon after it had come up, as the agents' dialer does. The session
// with the one before stays there.
func (l *line) choose() {
	if len(l.gates) == 0 {
		return
	}
	from := 0
	if l.at != nil && l.w.now-l.since < int64(addressStays) {
		from = slices.Index(l.gates, l.at) + 1
	}
	for n := range l.gates {
		g := l.gates[(from+n)%len(l.gates)]
		if !g.serves(l.d) {
			continue
		}
		if l.at != g {
			if l.sessions == nil {
				l.sessions = map[*device]flow{}
			}
			if l.at != nil {
				l.sessions[l.at] = l.flows[wayDown]
			}
			l.flows[wayDown] = l.sessions[g]
			delete(l.sessions, g)
		}
		l.at, l.life, l.since = g, g.boots, l.w.now
		return
	}
}

// leave has the broker at the other end tell in a while what the agent left as its Will.
func (l *line) leave() {
	if l.at == nil {
		l.w.push(item{at: l.w.now + int64(willAfter), kind: kindWill, d: l.d, n: l.w.hub.life, arg: l.will})
		return
	}
	g, life, will := l.at, l.life, l.will
	l.w.after(willAfter, func() {
		if g.boots == life && g.agent != nil && will != nil {
			l.w.trace.note(l.w.now, l.d, "will", will)
			g.post.hear(protocol.Message{Topic: protocol.Topic(l.d.addr, protocol.UpPresence), Payload: will})
		}
	})
}

// uncarried returns a message as the agent sent it, or is to get it, that a gateway carries.
func (m parsed) uncarried() parsed {
	if m.kind != protocol.UpCarried && m.kind != protocol.DownCarried {
		return m
	}
	var c protocol.Carried
	if protocol.Unmarshal(m.Payload, &c) != nil || c.Check(m.kind == protocol.UpCarried) != nil {
		return m
	}
	of := protocol.Address{Site: m.of.Site, Agent: c.Agent}
	return parsed{protocol.Message{Topic: protocol.Topic(of, c.Kind), Payload: c.Payload}, of, c.Kind}
}

// parsed is a message with its topic taken apart. Of one whose topic is none the kind is empty.
type parsed struct {
	protocol.Message
	of   protocol.Address
	kind protocol.Kind
}

func parsedOf(m protocol.Message) parsed {
	of, k, err := protocol.ParseTopic(m.Topic)
	if err != nil {
		return parsed{Message: m}
	}
	return parsed{m, of, k}
}

var (
	_ gateway.Site  = (*post)(nil)
	_ gateway.Shelf = (*siteShelf)(nil)
	_ protocol.Link = postLink{}
)

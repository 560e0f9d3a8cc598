package edge

import (
	"log/slog"
	"slices"
	"strings"
	"time"

	"golang.org/x/time/rate"

	"github.com/stavily/stavily/protocol"
	"github.com/stavily/stavily/wasmhost"
)

const (
	// publishBurst messages may come of one plugin at once, then publishPerSecond.
	publishBurst     = 32
	publishPerSecond = 8
	// publishedMax bounds the messages that wait for the agent, heardMax those that wait for
	// one trigger; the oldest of these go first.
	publishedMax = 256
	heardMax     = 32
	// heardTries is how often a wake with one message is tried.
	heardTries = 3
)

// Publication is a message that a plugin published on a local topic. It is not kept on the
// disk: it wakes the triggers that wait for it now, or nobody.
type Publication struct {
	From    Instance // none of one that a neighbour's plugin published
	Message wasmhost.Message
	// Depth counts the messages that led to this one: from 1.
	Depth uint8
}

// publisher holds one plugin to its rate, and tells how deep what it publishes lies. One
// caller at a time.
type publisher struct {
	from  Instance
	depth uint8 // of the request under way
	rate  *rate.Limiter
	to    func(Publication) error
}

func newPublisher(from Instance, to func(Publication) error) *publisher {
	return &publisher{from: from, to: to, rate: rate.NewLimiter(publishPerSecond, publishBurst)}
}

func (p *publisher) publish(now time.Time, m wasmhost.Message) error {
	if p.depth >= protocol.PublishDepthMax {
		return protocol.Errorf(protocol.CodeLimit, "mqtt.publish %q: the %d. message that follows from another, "+
			"limit PublishDepthMax %d", m.Topic, p.depth+1, protocol.PublishDepthMax)
	}
	if !p.rate.AllowN(now, 1) {
		return protocol.Errorf(protocol.CodeLimit, "mqtt.publish %q: more than %d messages a second",
			m.Topic, publishPerSecond)
	}
	return p.to(Publication{From: p.from, Message: m, Depth: p.depth + 1})
}

// asked notes how deep the requests lie that are put together now.
func (p *publisher) asked(together []Call) {
	p.depth = 0
	for _, c := range together {
		p.depth = max(p.depth, c.Depth)
	}
}

// Publish takes what a plugin published. The error has CodeLimit when too much waits.
func (i *Inbox) Publish(p Publication) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	if len(i.published) >= publishedMax {
		return protocol.Errorf(protocol.CodeLimit, "mqtt.publish %q: %d messages wait already", p.Message.Topic,
			publishedMax)
	}
	i.published = append(i.published, p)
	i.bell()
	return nil
}

// Published takes messages of this device's plugins. Each goes to every trigger that waits
// for it and may, and one for the whole site to the site's gateway too.
func (a *Agent) Published(now time.Time, all []Publication) {
	if !a.begin(now) {
		a.log.Warn("local messages lost: the disk refuses", slog.Int("messages", len(all)))
		return
	}
	for _, p := range all {
		a.spread(p)
		if a.beside && strings.HasPrefix(p.Message.Topic, protocol.SiteTopics) {
			a.send(protocol.UpLocal, protocol.MustMarshal(protocol.Local{
				Topic: p.Message.Topic, Data: p.Message.Data, Depth: p.Depth,
			}))
		}
	}
	a.settle()
}

// local takes what a plugin of a neighbour has published for the whole site.
func (a *Agent) local(payload []byte) error {
	var l protocol.Local
	if err := protocol.Unmarshal(payload, &l); err != nil {
		return err
	}
	if err := l.Check(); err != nil {
		return err
	}
	a.spread(Publication{Message: wasmhost.Message{Topic: l.Topic, Data: l.Data}, Depth: l.Depth})
	return nil
}

// spread gives a message to the triggers.
func (a *Agent) spread(p Publication) {
	dropped := 0
	for _, w := range a.works {
		dropped += w.trigger.hear(p)
	}
	if dropped > 0 {
		a.log.Warn("local messages dropped: triggers do not keep up", slog.Int("messages", dropped))
	}
}

// hear keeps a message that the trigger waits for, and returns how many older ones it dropped.
func (t *trigger) hear(p Publication) (dropped int) {
	may := func(filter string) bool { return protocol.Match(filter, p.Message.Topic) }
	if !slices.ContainsFunc(t.topics, may) {
		return 0
	}
	if len(t.heard) == heardMax {
		t.heard, dropped = slices.Delete(t.heard, 0, 1), 1
	}
	t.heard = append(t.heard, p)
	return dropped
}

// next makes the oldest message the reason of the next wake, if the trigger is to be woken
// by none else first: an arming's own wake comes before all messages.
func (t *trigger) next(now time.Time) {
	if t.message != nil || len(t.heard) == 0 || t.call != 0 || t.why == wasmhost.WhyStart {
		return
	}
	first := t.heard[0]
	t.heard = slices.Delete(t.heard, 0, 1)
	t.message, t.why, t.at = &first, wasmhost.WhyMessage, now
}

// depth is how many messages led to a request.
func (w *work) depth(kind callKind, req *wasmhost.Request) uint8 {
	if kind == forWake {
		return w.trigger.depth()
	}
	for _, r := range w.runs {
		if &r.Event == req.Event {
			return r.Depth
		}
	}
	return 0
}

// depth is how many messages led to what the trigger does now.
func (t *trigger) depth() uint8 {
	if t.message == nil {
		return 0
	}
	return t.message.Depth
}

// listens takes what a trigger wants to be woken by. Filters beyond its grants are left out,
// and counted as denials.
func (a *Agent) listens(w *work, filters []string) {
	t := &w.trigger
	t.topics = nil
	scopes, granted := wasmhost.Grants(w.loads[0].Step.Grants).Scopes(protocol.CapListen)
	for _, filter := range filters {
		within := func(scope string) bool { return protocol.FilterWithin(scope, filter) }
		if granted && (len(scopes) == 0 || slices.ContainsFunc(scopes, within)) {
			t.topics = append(t.topics, filter)
			continue
		}
		if slices.Contains(t.refused, filter) {
			continue // the hub knows
		}
		t.refused = append(t.refused[:min(len(t.refused), protocol.FiltersMax-1)], filter)
		a.tell(protocol.LaneAudit, protocol.Audit{
			Plugin: w.loads[0].Manifest.Plugin.Name, Workflow: w.of.Workflow, Capability: protocol.CapListen,
			Denied: 1, Subject: filter,
		})
		a.log.Warn("trigger may not listen", slog.String("workflow", string(w.of.Workflow)),
			slog.String("filter", filter))
	}
}

// unheard gives up a message after a wake with it failed too often.
func (t *trigger) unheard() {
	if t.message != nil && t.tries >= heardTries {
		t.message, t.why = nil, wasmhost.WhyTimer
	}
}

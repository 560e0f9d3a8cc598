package deploy

import (
	"fmt"
	"slices"
	"strings"

	"github.com/stavily/stavily/hub/workflow"
	"github.com/stavily/stavily/protocol"
)

// CheckCircle refuses a deployment that closes a circle of workflows which trigger each
// other: a step of each may publish on a local topic that the trigger of the next may listen
// to, at a site of both. among are the deployments that hold already. What a step may say and
// hear is what its configuration names under topic, topics, filter or filters, and else the
// scopes of its grant; a grant without scopes tells nothing, and such circles end on the
// device, at protocol.PublishDepthMax. A workflow that allows circles, at its limit's pace,
// ends each circle that it is part of.
func CheckCircle(d *Deployment, among []Deployment, agents []Agent, approve []protocol.Grant) error {
	c := circles{
		agents: agents, approve: approve, all: []*Deployment{d},
		home: map[protocol.AgentName]protocol.Site{},
	}
	for i := range agents {
		c.home[agents[i].Address.Agent] = agents[i].Address.Site
	}
	for i := range among {
		for of := &among[i]; of != nil; of = of.Base {
			if of.Workflow.Name != d.Workflow.Name && !of.Workflow.Circle {
				c.all = append(c.all, of)
			}
		}
	}
	if d.Workflow.Circle {
		return nil
	}
	found := c.through(d)
	if found == nil {
		return nil
	}
	var words []string
	for _, l := range found {
		words = append(words, fmt.Sprintf("workflow %q (%s) publishes on %q in step %q", l.from.Workflow.Name,
			l.from.Workflow.Place(l.step.Path), l.topic, l.step.Name))
	}
	return d.Workflow.Errorf(found[0].step.Path,
		"a circle of workflows that trigger each other: %s, which triggers "+
			"%q (%s) again; let the topics differ, say fewer with allow, or say allow-circle with a limit in one "+
			"of them",
		strings.Join(words, ", which triggers "), d.Workflow.Name, d.Workflow.Place("trigger"))
}

// circles looks for the ways from workflow to workflow.
type circles struct {
	all     []*Deployment
	agents  []Agent
	approve []protocol.Grant
	home    map[protocol.AgentName]protocol.Site
}

// link is one workflow that triggers another.
type link struct {
	from, to *Deployment
	step     *workflow.Step
	topic    string
}

// through returns the shortest circle through d, from d on; nil when there is none.
func (c *circles) through(d *Deployment) []link {
	ways := [][]link{nil}
	seen := map[*Deployment]bool{}
	for len(ways) > 0 {
		way := ways[0]
		ways = ways[1:]
		end := d
		if len(way) > 0 {
			end = way[len(way)-1].to
		}
		for _, l := range c.from(end) {
			next := append(slices.Clone(way), l)
			if l.to == d {
				return next
			}
			if !seen[l.to] {
				seen[l.to] = true
				ways = append(ways, next)
			}
		}
	}
	return nil
}

// from returns whom d triggers.
func (c *circles) from(d *Deployment) (out []link) {
	for i, s := range d.Workflow.StepsInOrder() {
		said := c.topics(s, &d.Releases[i], protocol.CapMQTT)
		if len(said) == 0 {
			continue
		}
		for _, to := range c.all {
			heard := c.topics(&to.Workflow.Trigger, &to.Releases[0], protocol.CapListen)
			if topic := meet(said, heard); topic != "" && c.near(d, s, to) {
				out = append(out, link{d, to, s, topic})
			}
		}
	}
	return out
}

func meet(said, heard []string) string {
	for _, topic := range said {
		if slices.ContainsFunc(heard, func(filter string) bool { return protocol.FiltersMeet(filter, topic) }) {
			return topic
		}
	}
	return ""
}

// topics returns what a step may say or hear, as far as that can be seen.
func (c *circles) topics(s *workflow.Step, r *Release, capability string) []string {
	wishes, _ := r.Manifest.Wishes() // checked when the release was published
	grants := protocol.Intersect(wishes, protocol.Union(c.approve, s.Allow))
	at := slices.IndexFunc(grants, func(g protocol.Grant) bool { return g.Capability == capability })
	if at < 0 {
		return nil
	}
	scopes := grants[at].Scopes
	named := slices.DeleteFunc(namedTopics(s.With), func(topic string) bool {
		meets := func(scope string) bool { return protocol.FiltersMeet(scope, topic) }
		return protocol.CheckLocalFilter(topic) != nil || len(scopes) > 0 && !slices.ContainsFunc(scopes, meets)
	})
	if len(named) > 0 {
		return named
	}
	return scopes
}

// namedTopics returns the topics that a configuration names.
func namedTopics(with any) (out []string) {
	fields, _ := with.(map[string]any)
	for _, key := range []string{"topic", "topics", "filter", "filters"} {
		switch v := fields[key].(type) {
		case string:
			out = append(out, v)
		case []any:
			for _, one := range v {
				if text, ok := one.(string); ok {
					out = append(out, text)
				}
			}
		}
	}
	return out
}

// near reports whether a step of d and the trigger of another workflow are at one site.
// Somewhere without an agent today there may be one tomorrow.
func (c *circles) near(d *Deployment, s *workflow.Step, to *Deployment) bool {
	said := c.sites(func(a *Agent) bool {
		if s.Type == protocol.Trigger || d.affected(s) {
			return watches(a, d.Workflow.Trigger.Target)
		}
		return meant(a, s.Target)
	})
	heard := c.sites(func(a *Agent) bool { return watches(a, to.Workflow.Trigger.Target) })
	if len(said) == 0 || len(heard) == 0 {
		return true
	}
	for site := range said { // whether there is one: order does not matter
		if heard[site] {
			return true
		}
	}
	return false
}

// sites returns those of the agents that are meant, and of those that run their steps.
func (c *circles) sites(named func(*Agent) bool) map[protocol.Site]bool {
	out := map[protocol.Site]bool{}
	for i := range c.agents {
		a := &c.agents[i]
		if !named(a) {
			continue
		}
		out[a.Address.Site] = true
		if site, ok := c.home[protocol.AgentName(a.Labels[LabelActionAgent])]; ok {
			out[site] = true
		}
	}
	return out
}

package scenario

import (
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// GatewaysMax bounds the gateways of one agent.
const GatewaysMax = 8

func readBehind(v value, g *Group) {
	read := func(_ int, item value) {
		if name, ok := item.scalar("the name of a group"); ok {
			g.Behind = append(g.Behind, name)
		}
	}
	if v.node.Kind == yaml.SequenceNode {
		v.each(read)
		return
	}
	read(0, v)
}

// IsGateway reports whether agents of group i are gateways.
func (s *Scenario) IsGateway(i int) bool {
	return slices.ContainsFunc(s.Fleet, func(g Group) bool { return slices.Contains(g.Behind, s.Fleet[i].Name) })
}

// connect gives the agents their gateways, once all groups are read.
func (s *Scenario) connect(v value) {
	v.each(func(i int, item value) {
		at, has := item.lookup("behind")
		if !has || i >= len(s.Fleet) {
			return
		}
		before := len(v.r.Errors())
		var groups []int
		for _, name := range s.Fleet[i].Behind {
			of := slices.IndexFunc(s.Fleet, func(g Group) bool { return g.Name == name })
			switch {
			case of < 0:
				at.errorf("no group %q; groups are %s", name, strings.Join(s.groups(), ", "))
			case of == i:
				at.errorf("group %q is not its own gateway", name)
			case len(s.Fleet[of].Behind) > 0:
				at.errorf("group %q is behind a gateway itself: a gateway has its own line to the hub", name)
			default:
				groups = append(groups, of)
			}
		}
		if before == len(v.r.Errors()) {
			s.behind(at, i, groups)
		}
	})
}

// behind gives each agent of group i the gateways of its site.
func (s *Scenario) behind(v value, i int, groups []int) {
	at := map[string][]int{}
	for _, of := range groups {
		for n := range s.agents {
			if a := &s.agents[n]; a.Group == of {
				at[a.Site] = append(at[a.Site], n)
			}
		}
	}
	for n := range s.agents {
		a := &s.agents[n]
		if a.Group != i {
			continue
		}
		switch a.Gateways = at[a.Site]; {
		case len(a.Gateways) == 0:
			v.errorf("agent %s: no gateway at its site %s", a.Name, a.Site)
			return
		case len(a.Gateways) > GatewaysMax:
			v.errorf("agent %s: %d gateways at its site %s, limit %d", a.Name, len(a.Gateways), a.Site, GatewaysMax)
			return
		}
	}
}

func (s *Scenario) groups() (names []string) {
	for _, g := range s.Fleet {
		names = append(names, g.Name)
	}
	return names
}

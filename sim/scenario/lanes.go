package scenario

import (
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/stavily/stavily/protocol"
	"github.com/stavily/stavily/text/strict"
)

// drops are what a lane can do without room.
var drops = []string{"", "oldest", "newest", "none", "downsample"}

// laneMin is the least that a lane can keep: two records of the largest size.
const laneMin = 2 * protocol.RecordMax

func readLanes(v value, g *Group) {
	v.pairs(func(name string, at *yaml.Node, item value) {
		text, ok := item.scalar("a size and what goes, such as 256KB downsample")
		if !ok {
			return
		}
		size, drop, _ := strings.Cut(text, " ")
		bytes, err := parseSize(size)
		lane := Lane{Of: laneNamed(name), Bytes: bytes, Drop: strings.TrimSpace(drop)}
		switch {
		case lane.Of == 0:
			v.r.at(at, item.path, "%q is no lane; lanes are %s", strict.Clip(name), laneNames())
		case err != nil:
			item.errorf("%v", err)
		case bytes < laneMin:
			item.errorf("%d bytes, want %d or more", bytes, laneMin)
		case !slices.Contains(drops, lane.Drop):
			item.errorf("%q: want%s", strict.Clip(drop), strings.Join(drops, " "))
		}
		g.Lanes = append(g.Lanes, lane)
	})
}

func laneNamed(name string) protocol.Lane {
	for _, of := range protocol.Lanes() {
		if of.String() == name {
			return of
		}
	}
	return 0
}

func laneNames() string {
	var names []string
	for _, of := range protocol.Lanes() {
		names = append(names, of.String())
	}
	return strings.Join(names, ", ")
}

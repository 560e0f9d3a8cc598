package scenario

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/stavily/stavily/text/nearest"
	"github.com/stavily/stavily/text/strict"
)

// profiles are lines that people have. The numbers are round: what matters is their
// order of magnitude.
var profiles = map[string]Link{
	"ethernet": {Latency: Spread{2 * time.Millisecond, time.Millisecond}, Bandwidth: 12.5e6},
	"wifi":     {Latency: Spread{8 * time.Millisecond, 6 * time.Millisecond}, Loss: 0.005, Bandwidth: 2.5e6},
	"lte": {
		Latency:   Spread{60 * time.Millisecond, 30 * time.Millisecond},
		Loss:      0.01,
		Bandwidth: 1.25e6,
		MTU:       1400,
	},
	"umts": {
		Latency:   Spread{150 * time.Millisecond, 80 * time.Millisecond},
		Loss:      0.02,
		Bandwidth: 125e3,
		MTU:       1400,
	},
	"nb-iot": {
		Latency:   Spread{1600 * time.Millisecond, 1200 * time.Millisecond},
		Loss:      0.03,
		Bandwidth: 3000,
		MTU:       1280,
	},
	"satellite": {
		Latency:   Spread{600 * time.Millisecond, 50 * time.Millisecond},
		Loss:      0.01,
		Bandwidth: 60e3,
		MTU:       1400,
	},
}

// profileNames are the names of profiles, in order.
func profileNames() []string {
	var names []string
	for name := range profiles {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

var linkKeys = []key[Link]{
	{"profile", "a line to start from; the other keys change it", enum(profileNames()...), false, readProfile},
	{"latency", "one way", formSpread, false, set(parseSpread, func(l *Link) *Spread { return &l.Latency })},
	{
		"loss",
		"the part of messages that must be sent again",
		formShare,
		false,
		set(parseShare, func(l *Link) *float64 { return &l.Loss }),
	},
	{
		"duplicate",
		"the part of messages that come twice",
		formShare,
		false,
		set(parseShare, func(l *Link) *float64 { return &l.Duplicate }),
	},
	{
		"reorder",
		"the part of messages that overtake the one before",
		formShare,
		false,
		set(parseShare, func(l *Link) *float64 { return &l.Reorder }),
	},
	{
		"bandwidth",
		"each way",
		formBandwidth,
		false,
		set(parseBandwidth, func(l *Link) *float64 { return &l.Bandwidth }),
	},
	{"mtu", "bytes of one packet", formCount, false, set(parseMTU, func(l *Link) *int { return &l.MTU })},
	{
		"data_cap",
		"how much goes through in so long",
		formCap,
		false,
		set(parseCap, func(l *Link) *Cap { return &l.Cap }),
	},
}

func readLink(v value, g *Group) {
	g.Link.Pos = v.pos()
	if v.node.Kind == yaml.ScalarNode {
		readProfile(v, &g.Link)
		return
	}
	fields(v, linkKeys, &g.Link)
	checkWire(v)
	if g.Link.Loss >= 1 {
		v.errorf("loss of 100%% is no line; use a partition fault or online windows")
	}
}

func readProfile(v value, l *Link) {
	name, ok := v.scalar("a profile")
	if !ok {
		return
	}
	p, known := profiles[name]
	if !known {
		v.errorf("unknown profile %q%s", strict.Clip(name), nearest.Suggest(name, profileNames()))
		return
	}
	p.Profile, p.Pos = name, l.Pos
	*l = p
}

const mtuMin, mtuMax = 256, 65535

func parseMTU(text string) (int, error) {
	n, err := strconv.Atoi(strings.TrimSuffix(text, "B"))
	if err != nil || n < mtuMin || n > mtuMax {
		return 0, errRange(text, mtuMin, mtuMax)
	}
	return n, nil
}

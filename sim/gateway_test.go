package sim

import (
	"strings"
	"testing"
	"time"

	"github.com/stavily/stavily/protocol"
)

// shop is a site of two gateways and three neighbours whose only way to the hub they are.
const shop = `stavily: sim/v1
name: shop
seed: 3
start: 2026-05-01
duration: 4h
sample: 5m
fleet:
  - {group: first, count: 1, site: shop, link: lte}
  - {group: second, count: 1, site: shop, link: lte}
  - {group: till, count: 3, site: shop, labels: {kind: till}, link: wifi, behind: [first, second]}
plugins:
  timer: {model: timer}
  pass: {model: pass, takes: 2ms}
  sink: {model: sink}
deploy:
  - at: 1m
    workflow:
      workflow: beat
      trigger: {plugin: timer@1, with: {every: 1m}, at: {agent: till-0}}
      actions: [{plugin: pass@1, on: {agent: till-1}}]
      outputs: [{plugin: sink@1, on: {agent: till-2}}]
faults: [FAULTS]
`

// worldOf makes the shop with some faults.
func worldOf(t *testing.T, faults string) *World {
	t.Helper()
	w, err := newWorld(t.Context(), parse(t, strings.Replace(shop, "FAULTS", faults, 1)), Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.close(); err != nil {
			t.Error(err)
		}
	})
	return w
}

// to lets the world's time pass up to a moment.
func to(t *testing.T, w *World, at time.Duration) {
	t.Helper()
	if err := w.runTo(int64(at)); err != nil {
		t.Fatal(err)
	}
	for _, v := range w.violations {
		t.Errorf("%s: %s: %s", v.Invariant, v.Agent, v.Text)
	}
}

// A site's files come over its uplink once, whoever wants them; the gateway's own agent, which
// runs nothing here, fetches its own desired document alone.
func TestGatewayFetchesOnce(t *testing.T) {
	w := worldOf(t, "")
	to(t, w, 10*time.Minute)
	var files int64
	for at, h := range w.uplinks.files {
		if at.at != w.devices[0] || h.have.Count() != h.count {
			t.Errorf("file %s: %d of %d chunks at %s", at.digest.Short(), h.have.Count(), h.count, at.at.addr)
		}
		_, size, ok := w.devices[0].post.shelf.Chunk(at.digest, 0)
		if !ok {
			t.Errorf("file %s is not on the shelf", at.digest.Short())
		}
		files += size
	}
	c := w.devices[0].post.relay.Counts()
	if files == 0 || int64(c.Fetched) != files || int64(c.Served) < files {
		t.Errorf("fetched %d bytes and served %d, want %d fetched: each file once", c.Fetched, c.Served, files)
	}
}

// Steps hop from agent to agent inside the site while the hub is away, and the hub hears of all
// of it afterwards.
func TestGatewayHopsWithoutHub(t *testing.T) {
	w := worldOf(t, "{at: 30m, for: 2h, what: partition, where: \"group in ['first', 'second']\"}")
	to(t, w, 40*time.Minute)
	before := w.tell.totals
	to(t, w, 140*time.Minute)
	if n := w.tell.totals.Delivered - before.Delivered; n < 95 {
		t.Errorf("%d runs took effect in 100 minutes without the hub, want 95 at least", n)
	}
	if w.tell.totals.Ended != before.Ended {
		t.Errorf("the hub heard of %d runs while nobody reached it", w.tell.totals.Ended-before.Ended)
	}
	to(t, w, 4*time.Hour)
	if got := w.tell.totals; got.Ended+3 < got.Fired || got.Lost > 0 || got.Dropped > 0 {
		t.Errorf("%d runs fired, %d ended, %d lost, %d dropped", got.Fired, got.Ended, got.Lost, got.Dropped)
	}
}

// When a gateway is lost the second takes over within the time in which a silent line is given
// up, and the first has its neighbours back only when they lose the second.
func TestGatewaySecondTakesOver(t *testing.T) {
	for name, fault := range map[string]string{
		"power":     "{at: 30m, for: 1h, what: power-cut, where: \"group == 'first'\"}",
		"partition": "{at: 30m, for: 1h, what: partition, side: site, where: \"group == 'first'\"}",
	} {
		t.Run(name, func(t *testing.T) {
			w := worldOf(t, fault)
			reaches := func(n int) {
				t.Helper()
				for _, d := range w.devices[2:] {
					if !d.line.up || d.line.at != w.devices[n] || d.line.severed() {
						t.Errorf("+%s: %s: up %t by %v, want by %s", time.Duration(w.now), d.addr, d.line.up,
							d.line.at.addr, w.devices[n].addr)
					}
				}
			}
			to(t, w, 29*time.Minute)
			reaches(0)
			to(t, w, 33*time.Minute)
			reaches(1)
			to(t, w, 2*time.Hour)
			reaches(1)
			w.devices[1].kill()
			to(t, w, 2*time.Hour+time.Minute)
			reaches(0)
		})
	}
}

// A neighbour has no way to the hub but its gateways.
func TestGatewayOnlyWay(t *testing.T) {
	w := worldOf(t, "{at: 30m, for: 1h, what: power-cut, where: \"group in ['first', 'second']\"}")
	to(t, w, 80*time.Minute)
	for _, d := range w.devices[2:] {
		if d.line.up {
			t.Errorf("%s is connected with no gateway there", d.addr)
		}
	}
}

func TestUplinkCheck(t *testing.T) {
	w := worldOf(t, "")
	c, d := newUplinkCheck(w), w.devices[0]
	digest := protocol.DigestOf([]byte("a file"))
	chunk := func(i uint32) *protocol.Chunk {
		return &protocol.Chunk{Digest: digest, Index: i, Size: 2 * protocol.ChunkSize}
	}
	asks := func(first, count uint32, want uint64) {
		t.Helper()
		c.fetched(d, &protocol.Message{
			Topic:   protocol.Topic(d.addr, protocol.UpFetch),
			Payload: protocol.MustMarshal(protocol.FetchRequest{Digest: digest, First: first, Count: count}),
		})
		if c.broken != want {
			t.Errorf("asked for %d from %d: broken %d times, want %d", count, first, c.broken, want)
		}
	}
	asks(0, 2, 0)
	c.kept(d, chunk(0), true)
	asks(1, 1, 0)
	asks(0, 2, 1)
	c.started(d) // it was half a file
	asks(0, 1, 1)
	c.kept(d, chunk(0), true)
	c.kept(d, chunk(1), true)
	c.started(d)
	asks(0, 2, 3)
	c.rotted(d)
	asks(0, 2, 3)
}

func TestGatewaySelection(t *testing.T) {
	s := parse(t, strings.Replace(shop, "FAULTS", "", 1))
	want := []int{0, 1}
	if got := s.Agents()[2].Gateways; len(got) != 2 || got[0] != want[0] || got[1] != want[1] {
		t.Errorf("gateways of till-0 are %v, want %v", got, want)
	}
}

// Who is removed is let in by nobody: not by the hub, nor by gateways, which hear of it, and also
// not by one that was off meanwhile.
func TestRetiredAreLetInByNobody(t *testing.T) {
	text := strings.NewReplacer("FAULTS", "{at: 55m, for: 20m, what: power-cut, where: \"agent == 'first-0'\"}",
		"faults:", "  - {at: 1h, retire: \"agent in ['till-2', 'loner-0']\"}\nfaults:",
		"plugins:", "  - {group: loner, count: 1, labels: {kind: loner}}\nplugins:").Replace(shop)
	r, err := Run(t.Context(), parse(t, text), Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range r.Invariants {
		if i.Broken > 0 || i.Name == "retired" && i.Checked != 2 {
			t.Errorf("%s was looked at %d times and broken %d times", i.Name, i.Checked, i.Broken)
		}
	}
	for _, v := range r.Violations {
		t.Errorf("%s: %s: %s", v.Invariant, v.Agent, v.Text)
	}
	for _, a := range r.Fleet {
		if want := a.Name != "till-2" && a.Name != "loner-0"; a.Online != want {
			t.Errorf("%s is online: %t", a.Name, a.Online)
		}
	}
}

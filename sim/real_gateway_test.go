package sim

import (
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stavily/stavily/sim/report"
	"github.com/stavily/stavily/sim/scenario"
)

// realShop is a site of two gateways and two neighbours that reach the hub by them alone.
const realShop = `stavily: sim/v1
name: shop
seed: 3
level: bubble
start: 2026-05-01
duration: 90m
settle: 20m
sample: 1m
fleet:
  - {group: first, count: 1, site: shop, link: {latency: 40ms±10ms}}
  - {group: second, count: 1, site: shop, link: {latency: 40ms±10ms}}
  - {group: till, count: 2, site: shop, labels: {kind: till}, link: {latency: 2ms}, behind: [first, second]}
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
      outputs: [{plugin: sink@1}]
FAULTS
expect:
  - eventually: {cond: "fleet.active('beat') >= 100%", within: 10m}
  - never: "alerts.lost > 0 || alerts.duplicated > 0"
`

// The door of a gateway as it is in the field, with its broker and TLS: neighbours that reach the
// hub by it alone, steps that hop while the hub is away, and a second gateway that takes over from
// one that crashes, loses its power, or is not reached by its neighbours.
func TestBubbleGateways(t *testing.T) {
	r := inBubble(t, strings.NewReplacer("plugins:", `  - {group: spy, count: 1, site: shop, link: {latency: 2ms}, behind: [first, second]}
plugins:`, "FAULTS", `  - {at: 8m, retire: "group == 'spy'"}
faults:
  - {at: 10m, what: crash, where: "group == 'first'"}
  - {at: 20m, for: 10m, what: power-cut, where: "group == 'first'"}
  - {at: 40m, for: 10m, what: partition, side: site, where: "group == 'second'"}
  - {at: 55m, for: 10m, what: partition, where: "group in ['first', 'second']"}
  - {at: 70m, for: 2m, what: hub-crash}
  - {at: 75m, for: 2m, what: corrupt, where: "group == 'first'"}`).Replace(realShop))
	if a := r.Fleet[slices.IndexFunc(r.Fleet, func(a report.Agent) bool { return a.Name == "spy-0" })]; a.Online {
		t.Error("who was removed is still connected")
	}
	if r.Totals.Fired < 85 || r.Totals.Fired != r.Totals.Ended {
		t.Errorf("%d runs fired, %d ended, want the same, 85 at least", r.Totals.Fired, r.Totals.Ended)
	}
}

// While no gateway reaches the hub, steps hop from neighbour to neighbour by the gateway; one that
// has no power is left after a while, and not taken again while the second one lasts.
func TestBubbleGatewayTakesOver(t *testing.T) {
	text := strings.Replace(realShop, "FAULTS", `faults:
  - {at: 5m, what: crash, where: "group == 'second'"} # whoever found it first has the other now
  - {at: 10m, for: 20m, what: partition, where: "group in ['first', 'second']"}
  - {at: 40m, for: 20m, what: power-cut, where: "group == 'first'"}`, 1)
	s, err := scenario.Parse("shop.yaml", []byte(text), nil)
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		w, err := newWorld(t.Context(), s, Options{halt: new(atomic.Bool)})
		if err != nil {
			t.Fatal(err)
		}
		reaches := func(at time.Duration, n int) (delivered, ended uint64) {
			if err := w.runTo(int64(at)); err != nil {
				t.Error(err)
			}
			w.alone(func() {
				for _, d := range w.devices[2:] {
					if !d.line.up || d.line.at != w.devices[n] {
						t.Errorf("+%s: %s is up: %v, at %v, want %s", at, d.addr, d.line.up, d.line.at.addr, w.devices[n].addr)
					}
				}
				delivered, ended = w.tell.totals.Delivered, w.tell.totals.Ended
			})
			return delivered, ended
		}
		before, known := reaches(12*time.Minute, 0)
		after, still := reaches(28*time.Minute, 0)
		if after < before+14 || still != known {
			t.Errorf("without the hub %d runs were delivered, of which it heard %d, want 14 at least and 0", after-before,
				still-known)
		}
		reaches(44*time.Minute, 1)
		reaches(70*time.Minute, 1)
		if err := w.close(); err != nil {
			t.Error(err)
		}
	})
}

// The same door on sockets, in real time.
func TestLiveGateways(t *testing.T) {
	if testing.Short() {
		t.Skip("takes real time")
	}
	text := strings.NewReplacer("FAULTS", `faults: [{at: 4s, what: crash, where: "group == 'first'"}]`, "bubble", "live",
		"90m", "10s", "20m", "2m", "sample: 1m", "sample: 1s", "at: 1m", "at: 0s", "every: 1m", "every: 1s",
		"within: 10m", "within: 10s").Replace(realShop)
	s, err := scenario.Parse("shop.yaml", []byte(text), nil)
	if err != nil {
		t.Fatal(err)
	}
	own, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	r, err := (&runFlags{}).simulate(t.Context(), s, Options{HubCommand: []string{own, hubWord}})
	if err != nil {
		t.Fatal(err)
	}
	if r.Broken() || r.Totals.Ended < 3 {
		t.Errorf("%+v\n%+v\n%+v\n%+v", r.Totals, r.Violations, r.Pending, r.Expects)
	}
	if _, err := (&runFlags{hub: "h:1", token: "x"}).simulate(t.Context(), s, Options{}); exitOf(err) != exitBadScenario {
		t.Errorf("gateways at another hub: %v", err)
	}
}

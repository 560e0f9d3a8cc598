package sim

import (
	"os"
	"testing"

	"github.com/stavily/stavily/hub"
	"github.com/stavily/stavily/protocol"
	"github.com/stavily/stavily/wasmhost/meter"
)

// realPlugins is a fleet on which real modules run in wazero.
const realPlugins = `stavily: sim/v1
name: real
duration: 20m
fleet:
  - group: amd
    count: 40
    class: linux-amd64
    labels: {env: production}
    link: {latency: 20ms±5ms}
  - group: mips
    count: 2
    class: linux-mipsle
    labels: {env: production}
    link: {latency: 20ms±5ms}
plugins:
  bench-trigger: {model: timer} # the names; their modules come from the test
  bench-action: {model: pass}
  bench-output: {model: sink}
deploy:
  - at: 10s
    workflow:
      workflow: beat
      trigger: {plugin: bench-trigger@1, with: {events: 1, every_ms: 120000, above: 79.5}, at: {group: {env: production}}}
      actions: [{plugin: bench-action@1}]
      outputs: [{plugin: bench-output@1}]
faults:
  - {what: power-cut, rate: 1/h, torn_write: true}
`

// modules are the small guests that wasmhost's tests have, as a build leaves them.
func modules(t *testing.T) map[string]hub.Built {
	t.Helper()
	out := map[string]hub.Built{}
	for _, kind := range []protocol.PluginType{protocol.Trigger, protocol.Action, protocol.Output} {
		plain, err := os.ReadFile("../wasmhost/testdata/c/" + string(kind) + ".wasm")
		if err != nil {
			t.Fatal(err)
		}
		metered, err := meter.Instrument(plain)
		if err != nil {
			t.Fatal(err)
		}
		name := "bench-" + string(kind)
		out[name] = hub.Built{Module: metered, Manifest: protocol.Manifest{
			Plugin:  protocol.PluginInfo{Name: protocol.PluginName(name), Version: "1.0.0", Type: kind, Description: "x"},
			Runtime: protocol.Runtime{Language: "c"},
		}}
	}
	return out
}

// More instances than are kept warm, power cuts among them: the same run twice, and what
// the guests burned decides when they answer.
func TestRealModules(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles and runs modules for minutes under the race detector")
	}
	s := parse(t, realPlugins)
	first := runOnce(t, s, Options{Modules: modules(t)})
	if again := runOnce(t, s, Options{Modules: modules(t)}); again.Trace != first.Trace {
		t.Errorf("the same seed gave %s and then %s", first.Trace, again.Trace)
	}
	held(t, first)
	if first.Totals.Delivered < 350 || first.Totals.Failed > 0 {
		t.Errorf("totals: %+v", first.Totals)
	}
	if fast, slow := first.Groups[0].P50MS, first.Groups[1].P50MS; fast >= slow {
		t.Errorf("a desktop takes %d ms and a router %d", fast, slow)
	}
}

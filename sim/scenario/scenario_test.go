package scenario

import (
	"errors"
	"flag"
	"os"
	"reflect"
	"strings"
	"testing"
	"testing/fstest"
	"time"
)

var update = flag.Bool("update", false, "write golden files anew")

// sink has every key of the language at least once.
const sink = `stavily: sim/v1
name: freezer-rollout
seed: 42
start: 2026-11-01T06:00:00Z
duration: 36h
level: model
settle: 20m
sample: 5m
fleet:
  - group: stores
    count: 20
    name: "store-{i/5}-{i%5}"
    class: {armv7-128: 70%, linux-arm64: 30%}
    site: "store-{i/5}"
    labels: {env: production, rack: "r{i%2+1}"}
    link: {profile: lte, latency: 80ms±40ms, loss: 1%, bandwidth: 1Mbit/s, duplicate: 0.1%, reorder: 0.2%, mtu: 1400, data_cap: 50MB/30d}
    online: {schedule: ["06:00-22:00"], jitter: 20m}
    clock: {none: false, drift: 50ppm, offset: -5m}
    disk: {size: 8MB, latency: 5ms±2ms}
    signals:
      temp: {walk: {start: -18, step: 0.2, min: -25, max: 6, every: 30s}}
      door: {poisson: 12/h}
      sun: {sine: {mean: 20, amplitude: 5, period: 1d, phase: 6h}}
      load: {step: {from: 0.1, to: 0.9, at: 10:00}}
      rated: {constant: 5}
      room: {replay: traces/room.csv, speed: 25x, offset: random, column: temp, gaps: hold}
  - group: depots
    count: 3
    platform: linux-amd64
    link: ethernet
    online: "22:00-04:00"
    budget: 1MB/d
  - {group: shelves, count: 6, site: depots, behind: depots, lanes: {alarm: 2MB, metric: 100KiB downsample}}
plugins:
  threshold: {model: threshold, version: 1.4.0, takes: 2ms±1ms, fails: 1%, bytes: 200B, memory: 8MiB}
  pass: {model: pass}
  filter: {module: filter.wasm}
  sink: {folder: plugins/sink}
deploy:
  - at: 08:00
    workflow:
      workflow: freezer
      trigger:
        plugin: threshold@1
        at: {group: {env: production}}
      actions:
        - plugin: filter@1
      outputs:
        - plugin: sink@1
  - {at: 9h, workflow: other.yaml}
  - {at: 30h, remove: other}
  - {at: 31h, retire: "sample(1)"}
faults:
  - {at: 09:10, for: 45m, what: partition, way: up, side: hub, where: "site in ['store-1', 'store-2']"}
  - {at: 10:00, for: 2m, what: hub-restart}
  - {at: 12:00, what: power-cut, where: "sample(5%)", torn_write: true}
  - {at: 13:00, what: clock-jump, by: -2h, where: "sample(1%)"}
  - {at: 15:00, for: 1h, what: disk-full, where: "group == 'depots' && sample(3)"}
  - {what: slow-cpu, rate: 0.5/d, at: 1h, until: 20h, for: 10m, factor: 8x}
  - {what: bad-release, at: 11h, for: 1h, plugin: threshold}
expect:
  - always: "agent.disk <= agent.class.flash * 0.5"
  - eventually: {cond: "fleet.active('freezer') >= 99.5%", within: 34h}
  - never: "alerts.lost > 0"
  - after_faults: {cond: "outbox.max_age == 0s", within: 20m}
  - slo: {metric: run_ms, p50: 100, p90: 200, p95: 250, p99: 300, max: 5000, group: stores}
  - eventually: "fleet.converged == 100%"
report: {html: out/report.html, junit: out/junit.xml, json: out/result.json, trace: out/run.cbor}
`

const otherWorkflow = `workflow: other
trigger: {plugin: timer@1, at: {group: {env: production}}}
actions: [{plugin: pass@1}]
outputs: [{plugin: sink@1}]
`

func sinkFiles() fstest.MapFS {
	return fstest.MapFS{
		"traces/room.csv":                  {Data: []byte("time,hum,temp\n0,40,20\n60,41,20.5\n120,42,21\n300,43,20\n")},
		"traces/hole.csv":                  {Data: []byte("time,temp\n0,20\n60,\n120,21\n")},
		"traces/text.csv":                  {Data: []byte("time,temp\n0,20\n60,  warm\n120,21\n")},
		"traces/gap.csv":                   {Data: []byte("time,temp\n0,20\n60,20\n120,21\n180,21\n240,2\n300,2\n360,2\n420,2\n480,2\n540,2\n600,2\n1200,21\n")},
		"traces/back.csv":                  {Data: []byte("time,temp\n0,20\n60,20\n50,21\n")},
		"traces/short.csv":                 {Data: []byte("time,temp\n0,20\n60\n")},
		"traces/nohead.csv":                {Data: []byte("0,20\n60,3\n")},
		"broken.yaml":                      {Data: []byte("workflow: a\ntrigger: [b\n")},
		"twice.yaml":                       {Data: []byte("workflow: a\n\nworkflow: b\n")},
		"filter.wasm":                      {Data: []byte("\x00asm\x01\x00\x00\x00")},
		"plugins/sink/main.go":             {Data: []byte("package main")},
		"other.yaml":                       {Data: []byte(otherWorkflow)},
		"nameless.yaml":                    {Data: []byte("trigger: {}\n")},
		"plugins/sink/stavily-plugin.yaml": {Data: []byte("x")},
	}
}

func TestParseReadsEveryKey(t *testing.T) {
	s, err := Parse("s.yaml", []byte(sink), sinkFiles())
	if err != nil {
		t.Fatal(err)
	}
	if len(s.Agents()) != 29 || len(s.Fleet) != 3 || len(s.Plugins) != 4 || len(s.Faults) != 7 || len(s.Expects) != 6 {
		t.Fatalf("got %+v", s)
	}
	a := s.Agents()[7]
	if a.Name != "store-1-2" || a.Site != "store-1" || a.Labels[1] != (Pair{"rack", "r2"}) {
		t.Errorf("agent %+v", a)
	}
	armv7 := 0
	for _, a := range s.Agents()[:20] {
		if a.Class.Platform == "linux-armv7" {
			armv7++
		}
	}
	if armv7 != 14 {
		t.Errorf("%d of 20 are armv7, want 14", armv7)
	}
	g := s.Fleet[0]
	wantLink := Link{
		Profile: "lte", Latency: Spread{80 * time.Millisecond, 40 * time.Millisecond}, Loss: 0.01, Duplicate: 0.001,
		Reorder: 0.002, Bandwidth: 125e3, MTU: 1400, Cap: Cap{50e6, 30 * day}, Pos: g.Link.Pos,
	}
	if g.Link != wantLink {
		t.Errorf("link %+v\nwant %+v", g.Link, wantLink)
	}
	if g.Online.Windows[0] != (Window{6 * time.Hour, 22 * time.Hour}) || g.Clock.Drift != 50e-6 || g.Disk.Size != 8e6 {
		t.Errorf("group %+v", g)
	}
	if d := s.Deploys[0]; d.At != 2*time.Hour || d.Name != "freezer" || d.File != "s.yaml" {
		t.Errorf("deploy %+v", d)
	}
	if f := s.Faults[0]; f.At != 3*time.Hour+10*time.Minute || f.Way != "up" {
		t.Errorf("fault %+v", f)
	}
	if got := s.Select(s.Faults[0].Where, func(int) int { return 0 }); len(got) != 10 || got[0] != 5 {
		t.Errorf("partition befalls %v", got)
	}
	if e := s.Expects[0]; !e.PerAgent() || e.Kind != Always || s.Expects[2].PerAgent() {
		t.Errorf("expect %+v", e)
	}
	if e := s.Expects[4]; e.Text != "run_ms p50 <= 100 p90 <= 200 p95 <= 250 p99 <= 300 p100 <= 5000 in stores" {
		t.Errorf("slo %q", e.Text)
	}
	room := s.Fleet[0].Signals[3]
	if room.Name != "room" || len(room.Trace.Points) != 4 || room.Trace.Length != 360*time.Second || !room.Random {
		t.Errorf("signal %+v %+v", room, room.Trace)
	}
}

// An inline workflow keeps its lines and columns, so that what is wrong with it is found
// in the scenario.
func TestInlineWorkflowKeepsItsPlace(t *testing.T) {
	s, err := Parse("s.yaml", []byte(sink), sinkFiles())
	if err != nil {
		t.Fatal(err)
	}
	got, whole := strings.Split(string(s.Deploys[0].Workflow), "\n"), strings.Split(sink, "\n")
	for i, line := range got {
		if line != "" && line != whole[i] {
			t.Errorf("line %d is %q, want %q", i+1, line, whole[i])
		}
	}
	if !strings.Contains(s.Errorf(s.Deploys[0].Pos, "x").Error(), "s.yaml:40:5: x") {
		t.Errorf("got %v", s.Errorf(s.Deploys[0].Pos, "x"))
	}
}

func TestParseRefuses(t *testing.T) {
	for _, c := range []struct{ name, old, new, want string }{
		{"unknown key", "seed: 42", "sead: 42", `s.yaml:3:1: sead: unknown key "sead"; did you mean "seed"?`},
		{"unknown key in group", "count: 20", "cuont: 20", `s.yaml:11:5: fleet[0].cuont: unknown key "cuont"; did you mean "count"?`},
		{"and what is missing", "count: 20", "cuont: 20", `s.yaml:10:5: fleet[0]: key "count" is missing`},
		{"key twice", "seed: 42", "seed: 42\nseed: 43", `s.yaml:4:1: seed: key "seed" twice, first on line 3`},
		{"after the end", "at: 30h", "at: 40h", "s.yaml:51:10: deploy[2].at: 40h is after the end: the scenario lasts 1d12h"},
		{"negative", "at: 30h", "at: -1h", "s.yaml:51:10: deploy[2].at: -1h is before the start"},
		{"before the start", "at: 30h", "at: 2026-10-31", "is before the start"},
		{"no time", "at: 30h", "at: soon", `"soon" is no time`},
		{"ends after the end", "at: 15:00, for: 1h", "at: 15:00, for: 30h", "lasts until 1d15h, after the end"},
		{"negative duration", "duration: 36h", "duration: -1h", "s.yaml:5:11: duration: -1h is negative"},
		{"matches nobody", "'store-1', 'store-2'", "'store-12'", "s.yaml:54:71: faults[0].where: matches none of the 29 agents; groups are stores, depots"},
		{"misspelt selector", "group == 'depots'", "gruop == 'depots'", `s.yaml:58:51: faults[4].where: unknown figure "gruop"; did you mean "group"?`},
		{"hole", "traces/room.csv", "traces/hole.csv", "traces/hole.csv:3:4: a hole: the cell is empty (replayed on line 26 of s.yaml)"},
		{"text in trace", "traces/room.csv", "traces/text.csv", `traces/text.csv:3:4: a hole: "warm" is no number`},
		{
			"gap", "traces/room.csv, speed: 25x, offset: random, column: temp, gaps: hold", "traces/gap.csv",
			"traces/gap.csv:13:1: a hole: 10m since the row before, where rows come each 1m",
		},
		{"back", "traces/room.csv", "traces/back.csv", "traces/back.csv:4:1: time 50 is not after the row before"},
		{"short row", "traces/room.csv", "traces/short.csv", "traces/short.csv:3:1: 1 cells, the head has 2"},
		{"no head", "traces/room.csv", "traces/nohead.csv", "traces/nohead.csv:1:1: the first row is data"},
		{"no trace", "traces/room.csv", "traces/none.csv", "file does not exist"},
		{"no column", "column: temp", "column: tmp", `no column "tmp"; there are hum, temp`},
		{"unknown class", "linux-arm64: 30%", "linux-arm65: 30%", `s.yaml:13:29: fleet[0].class.linux-arm65: unknown class "linux-arm65"; did you mean`},
		{"unknown profile", "link: ethernet", "link: ethernt", `unknown profile "ethernt"; did you mean "ethernet"?`},
		{"waves", "at: 08:00", "at: 08:00\n    waves: [{pct: 1}]", "deploy[0].waves: unknown key \"waves\": deployments in waves are not built yet"},
		{"boards", "level: model", "level: boards", "s.yaml:6:8: level: boards in QEMU are not built yet"},
		{
			"certificates at level model", "level: model", "certificates: 4h",
			"s.yaml:6:15: certificates: not at level model: only level bubble has certificates of a hub of its own",
		},
		{
			"short certificates", "level: model", "level: bubble\ncertificates: 3h59m",
			"s.yaml:7:15: certificates: 3h59m, want 4h or more",
		},
		{"level", "level: model", "level: dream", `"dream", want model, bubble or live`},
		{"gateway", "what: hub-restart", "what: gateway-crash", "a gateway is an agent; want crash"},
		{"no lane", "alarm: 2MB", "alert: 2MB", `"alert" is no lane; lanes are control, alarm, result`},
		{"small lane", "alarm: 2MB", "alarm: 2kB", "2000 bytes, want 65536 or more"},
		{"lane without a size", "alarm: 2MB", "alarm: none", "fleet[2].lanes.alarm: "},
		{"lane that does what", "100KiB downsample", "100KiB sometimes", `"sometimes": want oldest newest none downsample`},
		{"behind nobody", "budget: 1MB/d", "behind: store", `fleet[1].behind: no group "store"; groups are stores, depots`},
		{"behind another site", "budget: 1MB/d", "behind: [stores]", "agent depots-0: no gateway at its site depots"},
		{"behind itself", "budget: 1MB/d", "behind: depots", `group "depots" is not its own gateway`},
		{"gateway behind a gateway", "budget: 1MB/d", "behind: stores", `fleet[2].behind: group "depots" is behind a gateway itself`},
		{"side of no gateway", "way: up, side: hub", "side: site", "side: site: matches no gateway"},
		{"side and way", "side: hub", "side: site", "side: site goes both ways"},
		{"no side", "side: hub", "side: left", `"left", want hub or site`},
		{"unknown fault", "what: disk-full", "what: disk-ful", `unknown fault "disk-ful"; did you mean "disk-full"?`},
		{"key of another fault", "what: hub-restart", "what: hub-restart, where: \"sample(1)\"", `a hub-restart has no "where"`},
		{"needed key", "at: 09:10, for: 45m,", "at: 09:10,", `a partition needs "for"`},
		{"no when", "at: 10:00, for: 2m,", "for: 2m,", "when? want at: for one time, or rate:"},
		{"backup", "what: bad-release, at: 11h, for: 1h, plugin: threshold", "what: hub-restore, at: 11h, by: 12h", "want the backup's age, no older than the start"},
		{"unknown figure", "alerts.lost > 0", "alerts.lots > 0", `s.yaml:64:13: expect[2].never: unknown figure "alerts.lots"; did you mean "alerts.lost"?`},
		{"kinds", "outbox.max_age == 0s", "outbox.max_age == 0", `s.yaml:65:45: expect[3].after_faults.cond: outbox.max_age is a duration and 0 is a number`},
		{"unknown workflow", "active('freezer')", "active('freezr')", `the scenario has no such workflow; did you mean "freezer"?`},
		{"within", "within: 34h", "within: 37h", "within 1d13h is longer than the scenario"},
		{"no group of slo", "group: stores}", "group: store}", `no group "store"`},
		{"signal kinds", "door: {poisson: 12/h}", "door: {poisson: 12/h, constant: 3}", "this one has constant and poisson"},
		{"no signal kind", "door: {poisson: 12/h}", "door: {}", "no kind of signal"},
		{"walk", "start: -18", "start: -28", "walk: want min <= start <= max"},
		{"same name", `name: "store-{i/5}-{i%5}"`, `name: "store-{i/5}"`, `agent name "store-0" twice`},
		{"bad name", `name: "store-{i/5}-{i%5}"`, `name: "Store-{i}"`, `fleet[0]: agent 0: agent name "Store-0"`},
		{"pattern", "store-{i/5}\"\n", "store-{i/0}\"\n", "{i/0}: division by 0"},
		{"two answers", "{module: filter.wasm}", "{module: filter.wasm, model: pass}", "2 of model, module and folder, want one"},
		{"no module", "filter.wasm", "filtr.wasm", "s.yaml:37:20: plugins.filter.module:"},
		{"model's key", "{folder: plugins/sink}", "{folder: plugins/sink, fails: 1%}", "only a model has it"},
		{"unknown model", "model: pass", "model: past", `unknown model "past"; did you mean "pass"?`},
		{"no workflow name", "other.yaml", "nameless.yaml", "nameless.yaml: workflow name"},
		{"workflow that is no YAML", "other.yaml", "broken.yaml", "broken.yaml:1:1: did not find expected ',' or ']'"},
		{"workflow with a key twice", "other.yaml", "twice.yaml", `twice.yaml:3:1: workflow: key "workflow" twice, first on line 1`},
		{"reorder in real time", "level: model", "level: live", "s.yaml:16:102: fleet[0].link.reorder: not at level live"},
		{"nothing to do", "remove: other", "where: \"group == 'depots'\"", "s.yaml:51:5: deploy[2]: 0 of workflow, remove, labels and retire, want one"},
		{"two at once", "remove: other", "remove: other, labels: {ring: early}", "s.yaml:51:5: deploy[2]: 2 of workflow, remove, labels and retire, want one"},
		{"where with a removal", "remove: other", "remove: other, where: \"group == 'depots'\"", "s.yaml:51:37: deploy[2].where: only labels have it"},
		{"labels for nobody", "remove: other", "labels: {ring: early}, where: \"group == 'shops'\"", "s.yaml:51:45: deploy[2].where: "},
		{"retire nobody", "retire: \"sample(1)\"", "retire: \"group == 'shops'\"", "s.yaml:52:23: deploy[3].retire: matches none of the 29 agents"},
		{"no label", "remove: other", "labels: {Ring: early}", `s.yaml:51:24: deploy[2].labels.Ring: "Ring" is no label`},
		{"labels that are none", "remove: other", "labels: {}", "s.yaml:51:23: deploy[2].labels: empty: which labels?"},
		{"a label's value", "remove: other", "labels: {ring: [early]}", "s.yaml:51:30: deploy[2].labels.ring: "},
		{"remove", "remove: other", "remove: another", `no workflow "another" is deployed by then`},
		{"alias", "seed: 42", "seed: &x 42", "anchors and aliases"},
		{"nothing", "seed: 42", "seed:", "nothing after the colon"},
		{"share", "loss: 1%", "loss: 1", `"1" is no share`},
		{"spread", "80ms±40ms", "80ms±90ms", "goes below 0"},
		{"count", "count: 20", "count: 999999", "want a whole number from 1 to 200000"},
		{"two expectations", "- never: \"alerts.lost > 0\"", "- {never: \"alerts.lost > 0\", always: \"hub.up\"}", "2 kinds of expectation"},
		{"version", "sim/v1", "sim/v2", `"sim/v2", want sim/v1`},
	} {
		t.Run(c.name, func(t *testing.T) {
			if !strings.Contains(sink, c.old) {
				t.Fatalf("the sample lost %q", c.old)
			}
			_, err := Parse("s.yaml", []byte(strings.Replace(sink, c.old, c.new, 1)), sinkFiles())
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got  %v\nwant %s", err, c.want)
			}
			var all Errors
			errors.As(err, &all)
			for _, e := range all {
				if e.File == "" || e.Line == 0 || e.Column == 0 {
					t.Errorf("no place: %v", e)
				}
			}
		})
	}
}

// All errors come at once, in the order of the file, each with its line.
func TestParseTellsAllErrors(t *testing.T) {
	text := strings.NewReplacer("seed: 42", "sead: 42", "mtu: 1400", "mtu: 14", "12/h", "often", "alerts.lost >", "alerts.lost &").Replace(sink)
	_, err := Parse("s.yaml", []byte(text), sinkFiles())
	var all Errors
	if !errors.As(err, &all) || len(all) != 4 {
		t.Fatalf("got %v", err)
	}
	last := 0
	for _, e := range all {
		if e.Line < last || e.Caret() == "" {
			t.Errorf("%v after line %d", e, last)
		}
		last = e.Line
	}
	if want := "   22 |       door: {poisson: often}\n      |                       ^"; all[2].Caret() != want {
		t.Errorf("caret\n%s\nwant\n%s", all[2].Caret(), want)
	}
}

// A scenario written again reads as the same.
func TestTextRoundTrip(t *testing.T) {
	first, err := Parse("s.yaml", []byte(sink), sinkFiles())
	if err != nil {
		t.Fatal(err)
	}
	again, err := Parse("s.yaml", first.Text(), sinkFiles())
	if err != nil {
		t.Fatalf("%v\n%s", err, first.Text())
	}
	if !reflect.DeepEqual(first.Agents(), again.Agents()) {
		t.Error("other agents")
	}
	if got, want := string(again.Text()), string(first.Text()); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(sink))
	f.Add([]byte("stavily: sim/v1\nname: a\nduration: 1h\nfleet: [{group: g, count: 2}]\n"))
	f.Add([]byte("fleet: [{group: g, class: {a: &x 1, b: *x}}]\nexpect: [{always: 'a.b == ('}]"))
	files := sinkFiles()
	f.Fuzz(func(t *testing.T, text []byte) {
		s, err := Parse("f.yaml", text, files)
		if err != nil {
			return
		}
		again, err := Parse("f.yaml", s.Text(), files)
		if err != nil {
			t.Fatalf("%v\n%s", err, s.Text())
		}
		if len(again.Agents()) != len(s.Agents()) || len(again.Faults) != len(s.Faults) {
			t.Fatalf("not the same:\n%s", s.Text())
		}
	})
}

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(m.Run())
}

func TestBudget(t *testing.T) {
	with := func(budget string) (*Scenario, error) {
		text := strings.Replace(sink, "count: 20", "count: 20\n    budget: "+budget, 1)
		return Parse("s.yaml", []byte(text), sinkFiles())
	}
	for text, want := range map[string]int64{"2MB/d": 2e6, "64KiB/24h": 64 << 10} {
		s, err := with(text)
		if err != nil || s.Fleet[0].Budget != want || s.Fleet[1].Budget != 1e6 {
			t.Errorf("%s: %v", text, err)
		}
	}
	for _, text := range []string{"2MB/30d", "2MB", "0B/d", "much/d", "{per-day: 2MB}"} {
		if _, err := with(text); err == nil || !strings.HasPrefix(err.Error(), "s.yaml:12:13: fleet[0].budget: ") {
			t.Errorf("%s: %v", text, err)
		}
	}
}

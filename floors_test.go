package main

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/stavily/stavily"

// Every heavy dependency and the tree of ours that most others must not reach.
const (
	celGo    = "cel.dev/cel-go"
	cbor     = "github.com/fxamacker/cbor/v2"
	cose     = "github.com/veraison/go-cose"
	esbuild  = "github.com/evanw/esbuild"
	goGit    = "github.com/go-git"
	gopsutil = "github.com/shirou/gopsutil"
	mochi    = "github.com/mochi-mqtt/server/v2"
	paho     = "github.com/eclipse/paho.mqtt.golang"
	wazero   = "github.com/tetratelabs/wazero"

	anyHub = module + "/hub"
	anySim = module + "/sim"
)

// A floor says on what one package stands.
type floor struct {
	pkg   string   // path under the module root
	on    []string // packages of ours that it may import
	never []string // what must not be linked into it, not even by another's hand
	why   string   // the reason, told to whoever breaks it
}

// floors lists who may stand on whom, the ground first.
var floors = []floor{
	{
		"protocol", nil,
		[]string{"net/http", wazero, paho, mochi, goGit, gopsutil},
		"what travels is shared by every program, the smallest too",
	},
	{
		"protocol/linktest",
		[]string{"protocol"},
		[]string{wazero, paho, mochi, goGit},
		"the promises of a link are told without any link",
	},
	{
		"protocol/bundle",
		[]string{"protocol"},
		[]string{"net/http", wazero, paho, mochi, goGit},
		"what is carried by hand is read alike by hub and device",
	},
	{
		"protocol/condition",
		[]string{"protocol"},
		[]string{"net/http", wazero, paho, mochi, goGit, celGo},
		"a device evaluates conditions and never reads their text",
	},
	{
		"broker",
		[]string{"protocol"},
		[]string{goGit, anyHub},
		"mochi stays behind one door, and a gateway has the same door as the hub",
	},
	{
		"protocol/delta",
		[]string{"protocol"},
		[]string{"net/http", wazero, paho, mochi, goGit},
		"a difference is made for any file and applied on the smallest device",
	},
	{
		"firmware-targets", nil,
		[]string{wazero, paho, mochi, goGit},
		"a table of platforms needs nothing",
	},
	{
		"text/nearest", nil,
		[]string{"go.yaml.in/yaml", wazero, paho, mochi, goGit},
		"a misspelt word needs nothing but the words that were meant",
	},
	{
		"text/strict", nil,
		[]string{wazero, paho, mochi, goGit, anyHub, anySim},
		"how a file is read is the same for all who write one",
	},
	{
		"wasmhost/meter", nil,
		[]string{wazero},
		"what rewrites modules does not trust the engine that runs them",
	},
	{
		"wasmhost",
		[]string{"protocol", "wasmhost/meter"},
		[]string{paho, mochi, goGit},
		"the room where a plugin runs has no door to the network",
	},
	{
		"wasmhost/conform",
		[]string{"protocol", "wasmhost", "wasmhost/meter"},
		[]string{paho, mochi, goGit, anyHub},
		"whoever writes an SDK holds it to the contract without a hub",
	},
	{
		"wasmhost/native",
		[]string{"protocol", "wasmhost"}, // one conversation and one set of host calls for both carriers
		[]string{paho, mochi, goGit, anyHub},
		"the sandbox holds a plugin and nothing that could talk for it",
	},
	{
		"edge",
		[]string{"protocol", "protocol/condition", "protocol/delta", "wasmhost"},
		[]string{paho, gopsutil, celGo, anyHub},
		"an agent is the same on a device and in the simulator",
	},
	{
		"edge/storetest",
		[]string{"protocol", "edge"},
		[]string{anyHub},
		"the promises of a store are told without any disk",
	},
	{
		"edge/gateway",
		[]string{"protocol"},
		[]string{wazero, paho, mochi, goGit, anyHub},
		"what a gateway passes on needs neither broker nor socket to be understood",
	},
	{
		"edge/gateway/door",
		[]string{"protocol", "broker", "edge/credentials", "edge/gateway"},
		[]string{wazero, paho, goGit, anyHub},
		"a gateway's broker has the same door on a device and in a simulation",
	},
	{
		"edge/credentials",
		[]string{"protocol"},
		[]string{wazero, paho, mochi, goGit, anyHub},
		"whom an agent believes is the same on a device and in a simulation",
	},
	{
		"edge/discover",
		[]string{"protocol"},
		[]string{wazero, paho, mochi, goGit, anyHub},
		"where to dial is found without knowing what is said there",
	},
	{
		"edge/mqtt",
		[]string{"protocol"},
		[]string{anyHub},
		"a link knows messages, not who sends them",
	},
	{
		"edge/disk",
		[]string{"protocol", "wasmhost", "edge"},
		[]string{anyHub},
		"a disk keeps records and verdicts, and knows neither hub nor line",
	},
	{
		"edge/sysinfo",
		[]string{"protocol"},
		[]string{anyHub},
		"gopsutil stays behind one door",
	},
	{
		"edge/stavily-edge",
		[]string{
			"protocol", "protocol/bundle", "wasmhost", "wasmhost/native", "edge", "edge/credentials", "edge/mqtt", "edge/disk", "edge/sysinfo",
			"edge/discover",
		},
		[]string{
			goGit, mochi, anyHub, module + "/firmware-targets",
			"go.yaml.in/yaml", "gopkg.in/yaml.v2", "gopkg.in/yaml.v3",
			"text/template", "html/template",
		},
		"the program on a device stays small: see make edges",
	},
	{
		"hub/source",
		[]string{"protocol"},
		[]string{mochi},
		"go-git stays behind one door",
	},
	{
		"hub/store",
		[]string{"protocol"},
		[]string{mochi, goGit},
		"the books are kept without knowing where entries come from",
	},
	{
		"hub/cases",
		[]string{"protocol", "wasmhost", "hub/document"},
		[]string{mochi, goGit},
		"a plugin is held to its cases on any desk",
	},
	{
		"hub/build/sdk", nil,
		[]string{mochi, goGit},
		"the packed SDK is bytes",
	},
	{
		"hub/build",
		[]string{"protocol", "firmware-targets", "wasmhost", "wasmhost/meter", "hub/build/sdk", "hub/document"},
		[]string{mochi},
		"a build takes a tree and gives artifacts, with nobody listening",
	},
	{
		"hub/document",
		[]string{"text/nearest", "text/strict"},
		[]string{mochi, goGit},
		"how people's files are read has nothing to do with what they say",
	},
	{
		"hub/condition",
		[]string{"protocol", "protocol/condition"},
		[]string{mochi, goGit},
		"cel-go stays behind one door",
	},
	{
		"hub/version",
		[]string{"protocol"},
		[]string{mochi, goGit},
		"what a range of versions takes is the same for whoever writes it and whoever chooses",
	},
	{
		"hub/workflow",
		[]string{"protocol", "protocol/condition", "hub/condition", "hub/document", "hub/version"},
		[]string{mochi, goGit},
		"a workflow can be checked on any desk",
	},
	{
		"hub/registry",
		[]string{"protocol", "hub/store", "hub/version"},
		[]string{mochi, goGit},
		"a book knows neither how releases are made nor how they travel",
	},
	{
		"hub/fleet",
		[]string{"protocol", "hub/store"},
		[]string{mochi, goGit},
		"a book knows agents, not connections",
	},
	{
		"hub/runs",
		[]string{"protocol", "hub/store"},
		[]string{mochi, goGit},
		"a book knows results, not how they arrived",
	},
	{
		"hub/secret",
		[]string{"protocol", "hub/fleet", "hub/store"},
		[]string{mochi, goGit},
		"secrets lie in the books, and in no file or log beside them",
	},
	{
		"hub/deploy",
		[]string{"protocol", "protocol/condition", "firmware-targets", "hub/document", "hub/fleet", "hub/registry", "hub/workflow"},
		[]string{mochi, goGit},
		"a plan is a pure function",
	},
	{
		"hub/rollout",
		[]string{"protocol", "hub/workflow"},
		[]string{mochi, goGit},
		"whether a wave goes on is a pure function",
	},
	{
		"hub/api",
		[]string{
			"protocol", "hub/deploy", "hub/document", "hub/fleet", "hub/registry", "hub/rollout", "hub/runs",
			"hub/secret",
		},
		[]string{mochi, goGit},
		"what the hub is asked by HTTP is shared with those who ask",
	},
	{
		"hub/console",
		[]string{"protocol"},
		[]string{mochi, goGit},
		"the console shows what the hub hands it",
	},
	{
		"hub",
		[]string{
			"protocol", "protocol/bundle", "protocol/delta", "broker", "wasmhost", "edge", "edge/mqtt",
			"hub/api", "hub/cases", "hub/document", "hub/source", "hub/store", "hub/build", "hub/workflow",
			"hub/registry", "hub/fleet", "hub/runs", "hub/secret", "hub/deploy", "hub/rollout", "hub/console",
			"hub/version",
		},
		[]string{anySim, anyHub + "/cli"},
		"the hub runs without the simulator and is not its own client",
	},
	{
		"hub/cli",
		[]string{
			"protocol", "protocol/bundle", "firmware-targets", "wasmhost", "wasmhost/conform", "wasmhost/meter", "hub/api", "hub/cases",
			"hub/document", "hub/source", "hub/workflow", "hub/build",
		},
		[]string{mochi},
		"a command speaks to a hub by HTTP and never becomes one",
	},
	{
		"hub/demo",
		[]string{"protocol", "hub/api", "hub/build", "hub/cli", "hub/registry", "hub/source"},
		[]string{anySim},
		"the demonstration does what an operator does, by the same commands",
	},
	{
		"sim/expr",
		[]string{"text/nearest"},
		[]string{wazero, mochi, goGit, paho, "go.yaml.in/yaml"},
		"a condition is text and numbers",
	},
	{
		"sim/scenario",
		[]string{"protocol", "firmware-targets", "text/nearest", "text/strict", "sim/expr"},
		[]string{wazero, mochi, goGit, anyHub},
		"a scenario can be checked without a simulator",
	},
	{
		"sim/report",
		[]string{"protocol"},
		[]string{wazero, mochi, goGit, anyHub},
		"a report is written from figures alone",
	},
	{
		"sim",
		[]string{
			"protocol", "wasmhost", "firmware-targets", "edge", "edge/credentials", "edge/gateway", "edge/gateway/door", "edge/mqtt",
			"hub", "hub/api", "sim/expr", "sim/scenario", "sim/report", "sim/swarm", "sim/wire",
		},
		[]string{"testing/synctest"},
		"the simulator uses the hub whole: its rooms are reached through it",
	},
	{
		"sim/wire", nil,
		[]string{wazero, paho, mochi, goGit},
		"bad weather befalls bytes, whatever they mean",
	},
	{
		"sim/stavily-sim",
		[]string{"hub", "hub/cli", "sim"},
		nil,
		"the level bubble links the package testing, which no other program should",
	},
	{
		"sim/swarm",
		[]string{"protocol", "wasmhost", "edge", "edge/credentials", "edge/mqtt", "hub", "hub/api", "sim/wire"},
		nil,
		"the swarm is real agents, real sockets and a real hub",
	},
	{
		"internal/housekeeping",
		[]string{"firmware-targets"},
		nil,
		"the checks of the build need the table of platforms",
	},
	{
		"internal/sdkpack",
		[]string{"hub/build/sdk"},
		[]string{anySim},
		"what packs the SDK needs the place where it is kept",
	},
	{
		"internal/bench/station",
		[]string{"protocol", "wasmhost", "edge", "edge/disk"},
		[]string{goGit, mochi, anyHub, anySim},
		"a process that is an agent links what an agent does, or its start says nothing",
	},
	{
		"internal/bench/agent",
		[]string{"internal/bench/station"},
		[]string{goGit, mochi, anyHub, anySim},
		"it is a station in a process of its own",
	},
	{
		"internal/bench",
		[]string{
			"internal/bench/station",
			"protocol", "protocol/delta", "firmware-targets", "wasmhost", "wasmhost/meter",
			"edge", "edge/mqtt", "edge/disk", "edge/storetest", "edge/sysinfo",
			"hub", "hub/api", "broker", "hub/build", "hub/deploy", "hub/fleet", "hub/registry",
			"hub/source", "hub/store", "hub/workflow", "sim", "sim/swarm",
		},
		nil, "a benchmark measures every room by itself",
	},
	{
		".",
		[]string{"hub", "hub/cli", "hub/demo", "sim", "sim/swarm"},
		[]string{"testing/synctest"},
		"main.go is a table of subcommands",
	},
}

// rooms names, for each heavy dependency, the packages that import it. Whoever needs
// what it does asks the room, so that it can be replaced in one place.
var rooms = []struct {
	dep   string
	in    []string
	named bool // named in the project's charter: it must be in use (U-14)
}{
	{cbor, []string{"protocol"}, true},
	{cose, []string{"protocol"}, false},
	{paho, []string{"edge/mqtt"}, true},
	{mochi, []string{"broker", "internal/bench"}, true}, // bare, as a baseline
	{goGit + "/go-git/v5", []string{"hub/source"}, true},
	{wazero, []string{"wasmhost", "internal/bench"}, true},
	{gopsutil + "/v3", []string{"edge/sysinfo"}, true},
	{celGo, []string{"hub/condition"}, false},
	{esbuild, []string{"hub/build"}, false},
}

func TestFloors(t *testing.T) {
	house := readHouse(t)
	for _, f := range floors {
		t.Run(f.pkg, func(t *testing.T) {
			pkg, ok := house[full(f.pkg)]
			if !ok {
				t.Skip("there is no such package yet")
			}
			for _, imp := range pkg.Imports {
				if ours, ok := strings.CutPrefix(imp, module+"/"); ok && !slices.Contains(f.on, ours) {
					t.Errorf("%s imports %s: it stands on %q only: %s", f.pkg, ours, f.on, f.why)
				}
			}
			for _, bad := range f.never {
				if chain := house.chain(full(f.pkg), bad); chain != nil {
					t.Errorf("%s links %s by %s: %s", f.pkg, bad, strings.Join(chain, " > "), f.why)
				}
			}
		})
	}
}

func TestEveryPackageHasItsFloor(t *testing.T) {
	known := map[string]bool{}
	for _, f := range floors {
		if known[f.pkg] {
			t.Errorf("%s has two rows", f.pkg)
		}
		known[f.pkg] = true
	}
	for path := range readHouse(t) {
		if inside(path, module) && !known[short(path)] {
			t.Errorf("%s stands on no floor: add a row", short(path))
		}
	}
	for _, f := range floors {
		for _, on := range f.on {
			if !known[on] {
				t.Errorf("%s stands on %s, which has no row", f.pkg, on)
			}
		}
	}
}

// The protocol is what firmware in other languages has to match: besides the standard
// library it links its two codecs and what they bring.
func TestProtocolLinksItsCodecsOnly(t *testing.T) {
	house := readHouse(t)
	for path := range house.linked(full("protocol")) {
		if house[path].Standard || inside(path, module) {
			continue
		}
		if !inside(path, cbor) && !inside(path, cose) && !inside(path, "github.com/x448/float16") {
			t.Errorf("protocol links %s", path)
		}
	}
}

// U-14: each dependency that the project names is in use, and in its own room only.
func TestRooms(t *testing.T) {
	house := readHouse(t)
	for _, r := range rooms {
		used := false
		for path, pkg := range house {
			imports := slices.ContainsFunc(pkg.Imports, func(imp string) bool { return inside(imp, r.dep) })
			if !inside(path, module) || !imports {
				continue
			}
			used = true
			if !slices.Contains(r.in, short(path)) {
				t.Errorf("%s imports %s: only %q may: ask there for what you need", short(path), r.dep, r.in)
			}
		}
		if r.named && !used {
			t.Errorf("%s is named as a part of the project and nothing imports it", r.dep)
		}
	}
}

// U-14: the top of the tree is as listed.
func TestLayout(t *testing.T) {
	for _, name := range []string{
		"hub", "edge", "wasmhost", "protocol", "plugins", "firmware-targets",
		"go.mod", "Makefile", "README.md",
	} {
		if _, err := os.Stat(name); err != nil {
			t.Error(err)
		}
	}
}

// A house is every package of the module and every package below one, by path.
type house map[string]listed

type listed struct {
	ImportPath string
	Standard   bool
	Imports    []string
}

// readHouse asks the toolchain once for all that the module's packages import. What
// does not compile is for the compiler to say.
func readHouse(t *testing.T) house {
	t.Helper()
	cmd := exec.Command("go", "list", "-e", "-deps", "-json=ImportPath,Standard,Imports", "./...")
	cmd.Env = append(os.Environ(), "GOOS=linux", "CGO_ENABLED=0") // as it is shipped
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %v", cmd.Args, err)
	}
	h := house{}
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p listed
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return h
		} else if err != nil {
			t.Fatalf("%v: %v", cmd.Args, err)
		}
		h[p.ImportPath] = p
	}
}

// linked returns every package that stands in a program with pkg, each with the one
// that first brought it.
func (h house) linked(pkg string) map[string]string {
	by := map[string]string{pkg: ""}
	for queue := []string{pkg}; len(queue) > 0; queue = queue[1:] {
		for _, imp := range h[queue[0]].Imports {
			if _, seen := by[imp]; !seen {
				by[imp] = queue[0]
				queue = append(queue, imp)
			}
		}
	}
	return by
}

// chain returns the shortest way of imports from pkg into bad, nil when there is none.
func (h house) chain(pkg, bad string) []string {
	by := h.linked(pkg)
	var best []string
	for path := range by {
		if !inside(path, bad) {
			continue
		}
		var way []string
		for p := path; p != ""; p = by[p] {
			way = append(way, short(p))
		}
		slices.Reverse(way)
		if best == nil || len(way) < len(best) {
			best = way
		}
	}
	return best
}

// inside reports whether path is root or below it.
func inside(path, root string) bool { return path == root || strings.HasPrefix(path, root+"/") }

// full returns the import path of a package of ours; short undoes it.
func full(pkg string) string {
	if pkg == "." {
		return module
	}
	return module + "/" + pkg
}

func short(path string) string {
	if path == module {
		return "."
	}
	return strings.TrimPrefix(path, module+"/")
}

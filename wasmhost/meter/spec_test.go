package meter

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
)

// The WebAssembly spec suite, as wazero carries it, is run twice, plain and metered, and nothing that can
// be seen from outside may differ: values, traps, and which modules are refused.

type specValue struct {
	Type  string `json:"type"`
	Lane  string `json:"lane_type"`
	Value any    `json:"value"`
}

type specAction struct {
	Type   string      `json:"type"`
	Module string      `json:"module"`
	Field  string      `json:"field"`
	Args   []specValue `json:"args"`
}

type specCommand struct {
	Type     string     `json:"type"`
	Line     int        `json:"line"`
	Name     string     `json:"name"`
	Filename string     `json:"filename"`
	As       string     `json:"as"`
	Action   specAction `json:"action"`
}

// specWorld is one side of the comparison.
type specWorld struct {
	*world
	metered bool
	named   map[string]api.Module
	last    api.Module
}

func TestSpecSuite(t *testing.T) {
	if testing.Short() {
		t.Skip("runs the WebAssembly spec suite four times")
	}
	root := filepath.Join(wazeroDir(t), "internal", "integration_test", "spectest")
	var files []string
	for _, dir := range []string{"v1", "v2", "tail-call", "extended-const"} {
		found, _ := filepath.Glob(filepath.Join(root, dir, "testdata", "*.json"))
		files = append(files, found...)
	}
	if len(files) < 200 {
		t.Fatalf("%d files of the spec suite under %s, want 200 and more", len(files), root)
	}
	for name, config := range engines() {
		t.Run(name, func(t *testing.T) {
			var total specTally
			for _, f := range files {
				total.file(t, config, f)
			}
			t.Logf("%+v", total)
			if total.Refused > 0 || total.Modules < 1000 || total.Calls < 20_000 || total.Idle > 100 {
				t.Errorf("%+v: want no valid module refused, and the whole suite run", total)
			}
		})
	}
}

// specTally counts, so that a suite that did not run cannot pass.
type specTally struct{ Modules, Calls, Idle, Invalid, Refused int }

func (c *specTally) file(t *testing.T, config wazero.RuntimeConfig, path string) {
	var script struct {
		Commands []specCommand `json:"commands"`
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &script); err != nil {
		t.Fatal(err)
	}
	plain, metered := newSpecWorld(t, config, path, false), newSpecWorld(t, config, path, true)
	defer func() { _, _ = plain.rt.Close(context.Background()), metered.rt.Close(context.Background()) }()
	for i, cmd := range script.Commands {
		where := fmt.Sprintf("%s:%d", filepath.Base(path), cmd.Line)
		switch {
		case cmd.Action.Field != "":
			c.Calls++
			want, got := plain.act(cmd), metered.act(cmd)
			if cmd.Type == "assert_exhaustion" && want != "" && got != "" {
				continue // both overflow, each in its own words
			}
			if want != got {
				t.Errorf("%s: plain %q, metered %q", where, want, got)
			}
			if strings.HasPrefix(want, "no ") {
				c.Idle++
			}
		case strings.HasSuffix(cmd.Filename, ".wasm"):
			c.module(t, [2]*specWorld{plain, metered}, module{
				where: where, as: alias(script.Commands[i:]), cmd: cmd, dir: filepath.Dir(path),
			})
		}
	}
}

type module struct {
	where, as, dir string
	cmd            specCommand
}

// module instantiates on both sides. What is refused plain must be refused metered.
func (c *specTally) module(t *testing.T, w [2]*specWorld, m module) {
	b, err := os.ReadFile(filepath.Join(m.dir, m.cmd.Filename))
	if err != nil {
		t.Fatal(err)
	}
	after, refusal := Instrument(b)
	if refusal == nil {
		if err := Check(after); err != nil {
			t.Errorf("%s: %v", m.where, err)
		}
	}
	if Check(b) == nil {
		t.Errorf("%s: the plain module passes as metered", m.where)
	}
	valid := w[0].compiles(b)
	switch {
	case valid && refusal != nil:
		c.Refused++
		t.Errorf("%s: valid module refused: %v", m.where, refusal)
	case !valid:
		c.Invalid++
		if refusal == nil && w[1].compiles(after) {
			t.Errorf("%s: invalid module became valid", m.where)
		}
		return
	}
	c.Modules++
	want, got := w[0].instantiate(b, m), w[1].instantiate(after, m)
	if want != got {
		t.Errorf("%s: plain %q, metered %q", m.where, want, got)
	}
}

// alias finds the name under which the first module of these commands is registered, if it is.
func alias(cmds []specCommand) string {
	for _, c := range cmds[1:] {
		if c.Type == "module" {
			break
		}
		if c.Type == "register" {
			return c.As
		}
	}
	return strings.TrimPrefix(cmds[0].Name, "$")
}

func newSpecWorld(t *testing.T, config wazero.RuntimeConfig, path string, metered bool) *specWorld {
	w := &specWorld{world: newWorld(t, config, 1<<60, 1<<20), metered: metered, named: map[string]api.Module{}}
	lib, err := os.ReadFile(filepath.Join(filepath.Dir(path), "..", "..", "testdata", "spectest.wasm"))
	if err != nil {
		t.Fatal(err)
	}
	c := wazero.NewModuleConfig().WithName("spectest")
	if _, err := w.rt.InstantiateWithConfig(context.Background(), lib, c); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *specWorld) compiles(b []byte) bool {
	c, err := w.rt.CompileModule(context.Background(), b)
	if err == nil {
		_ = c.Close(context.Background())
	}
	return err == nil
}

func (w *specWorld) instantiate(b []byte, m module) string {
	mod, err := w.rt.InstantiateWithConfig(context.Background(), b, wazero.NewModuleConfig().WithName(m.as))
	if err != nil {
		return scrub(firstLine(err))
	}
	w.last = mod
	w.mods = append(w.mods, mod)
	if m.cmd.Name != "" {
		w.named[m.cmd.Name] = mod
	}
	return ""
}

// scrub removes function numbers, which the import shifts.
func scrub(line string) string {
	var out []string
	for _, f := range strings.Fields(line) {
		if !strings.Contains(f, "[") && strings.Trim(f, "0123456789:") != "" {
			out = append(out, f)
		}
	}
	return strings.Join(out, " ")
}

// act runs one action and says what came of it.
func (w *specWorld) act(cmd specCommand) string {
	m := w.last
	if cmd.Action.Module != "" {
		m = w.named[cmd.Action.Module]
	}
	if m == nil {
		return "no module"
	}
	if cmd.Action.Type == "get" {
		return fmt.Sprint(m.ExportedGlobal(cmd.Action.Field).Get())
	}
	f := m.ExportedFunction(cmd.Action.Field)
	if f == nil {
		return "no function"
	}
	w.refillStacks()
	var args []uint64
	for _, a := range cmd.Action.Args {
		args = append(args, a.bits()...)
	}
	res, err := f.Call(context.Background(), args...)
	if err != nil {
		return firstLine(err)
	}
	return results(f.Definition().ResultTypes(), res)
}

// refillStacks undoes what traps left behind: the suite goes on with an instance after a trap.
func (w *specWorld) refillStacks() {
	for _, m := range w.mods {
		if g, ok := m.ExportedGlobal(StackGlobal).(api.MutableGlobal); ok && w.metered {
			g.Set(StackUnits)
		}
	}
}

// results prints values; of function references, which are addresses, only whether they are null.
func results(types []api.ValueType, res []uint64) string {
	out := ""
	for i, r := range res {
		if i < len(types) && types[i] == 0x70 && r != 0 {
			r = 1
		}
		out += fmt.Sprintf("%x ", r)
	}
	return out
}

func (v specValue) bits() []uint64 {
	if v.Type != "v128" {
		s, _ := v.Value.(string)
		n, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			return []uint64{0}
		}
		return []uint64{n}
	}
	var raw [16]byte
	lanes, _ := v.Value.([]any)
	width := 16 / max(len(lanes), 1)
	for i, l := range lanes {
		s, _ := l.(string)
		n, _ := strconv.ParseUint(s, 10, 64)
		if n == 0 && strings.HasPrefix(s, "-") {
			m, _ := strconv.ParseInt(s, 10, 64)
			n = uint64(m)
		}
		for k := range width {
			raw[i*width+k] = byte(n >> (8 * k))
		}
	}
	var out [2]uint64
	for i, c := range raw {
		out[i/8] |= uint64(c) << (8 * (i % 8))
	}
	return out[:]
}

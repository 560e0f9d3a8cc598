package platform

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

// U-05, U-13: the platforms that an agent is built for.
func TestAll(t *testing.T) {
	all, err := load(files)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, p := range all {
		names = append(names, p.Name)
	}
	want := []string{
		"linux-386", "linux-amd64", "linux-arm64", "linux-armv6",
		"linux-armv7", "linux-mipsle", "linux-riscv64",
	}
	if !slices.Equal(names, want) {
		t.Errorf("want %v, got %v", want, names)
	}
}

func TestToolchainKnowsEveryPlatform(t *testing.T) {
	out, err := exec.Command("go", "tool", "dist", "list").Output()
	if err != nil {
		t.Fatal(err)
	}
	known := strings.Fields(string(out))
	for _, p := range All() {
		if !slices.Contains(known, p.GOOS+"/"+p.GOARCH) {
			t.Errorf("%s: the toolchain knows no %s/%s", p.Name, p.GOOS, p.GOARCH)
		}
	}
}

// U-05: the sizes that the agent is held to.
func TestBudgets(t *testing.T) {
	for name, most := range map[string]int{"linux-armv7": 10_000, "linux-arm64": 11_000} {
		if p, ok := Lookup(name); !ok || p.EdgeKB > most {
			t.Errorf("%s: want an agent of at most %d kB, got %d", name, most, p.EdgeKB)
		}
	}
}

func TestLookup(t *testing.T) {
	p, ok := Lookup("linux-armv7")
	if !ok || p.Arch != "arm/v7" || p.Engine != EngineInterpreter {
		t.Errorf("linux-armv7: got %+v, %v", p, ok)
	}
	want := []string{"CGO_ENABLED=0", "GOOS=linux", "GOARCH=arm", "GOARM=7"}
	if got := p.Environ(); !slices.Equal(got, want) {
		t.Errorf("linux-armv7: want environ %v, got %v", want, got)
	}
	if p, ok := Lookup("../linux-armv7"); ok {
		t.Errorf("found %+v by a path", p)
	}
}

func TestParseRefuses(t *testing.T) {
	good, err := files.ReadFile("linux-mipsle/target.json")
	if err != nil {
		t.Fatal(err)
	}
	cases := []struct{ name, old, new, want string }{
		{"unknown field", `"ram_mib"`, `"rom_mib": 1, "ram_mib"`, `unknown field "rom_mib"`},
		{"wrong type", `64`, `"64"`, "ram_mib"},
		{"two values", "}\n", "}{}", "more than one JSON value"},
		{"cut short", "}\n", "", "unexpected EOF"},
		{"other system", `"linux",`, `"plan9",`, `goos: want "linux", got "plan9"`},
		{"arch", `"arch": "mipsle"`, `"arch": "mips"`, `arch: want "mipsle", got "mips"`},
		{"name", `"linux-mipsle"`, `"mips"`, `name: want "linux-mipsle", got "mips"`},
		{"engine", `"interpreter"`, `"compiler"`, `engine: want "interpreter", got "compiler"`},
		{"float", `"softfloat"`, `"hardfloat"`, `gomips: want "softfloat", got "hardfloat"`},
		{"goarm elsewhere", `"gomips"`, `"goarm": "7", "gomips"`, `arch: want "mipsle7"`},
		{"no memory", `64`, `0`, "ram_mib: want 1 to 1048576, got 0"},
		{"two agents do not fit", `11500`, `17000`, "edge_kb: want 1 to 16777, got 17000"},
		{"module too large", `256`, `1024`, "module_kib: want 1 to 728, got 1024"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			text := strings.Replace(string(good), c.old, c.new, 1)
			if text == string(good) {
				t.Fatalf("%q is not in the file", c.old)
			}
			_, err := parse([]byte(text))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("want an error with %q, got %v", c.want, err)
			}
		})
	}
}

func TestLoadNamesTheFolder(t *testing.T) {
	good, err := files.ReadFile("linux-386/target.json")
	if err != nil {
		t.Fatal(err)
	}
	_, err = load(fstest.MapFS{"linux-i386/target.json": {Data: good}})
	const want = `linux-i386/target.json: name: want the folder's, "linux-i386", got "linux-386"`
	if err == nil || err.Error() != want {
		t.Errorf("want %q, got %v", want, err)
	}
}

// The README's table is for people; it must say what the files say.
func TestReadmeNamesEveryPlatform(t *testing.T) {
	b, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range All() {
		if row := p.row(); !strings.Contains(string(b), row) {
			t.Errorf("README.md: no row %q", row)
		}
	}
}

func TestUnit(t *testing.T) {
	const unit = "stavily-edge.service"
	b, err := os.ReadFile(unit)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(b), "\n")
	for _, want := range []string{
		"ProtectSystem=strict", "StateDirectory=stavily-edge", "NoNewPrivileges=yes",
		"CapabilityBoundingSet=", "Restart=always", "Type=notify", "WantedBy=multi-user.target",
	} {
		if !slices.Contains(lines, want) {
			t.Errorf("%s: no line %q", unit, want)
		}
	}
	analyse, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("systemd-analyze is not installed: the unit's exposure is not measured")
	}
	path, err := filepath.Abs(unit)
	if err != nil {
		t.Fatal(err)
	}
	// The scale goes from 0 to 100; without any of the settings it says 96.
	cmd := exec.Command(analyse, "security", "--offline=true", "--no-pager", "--threshold=30", path)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("%s security: %v\n%s", analyse, err, out)
	}
}

// row is the platform's line in README.md's table.
func (p Platform) row() string {
	return fmt.Sprintf("| `%s` | %s | %s | %d | %d | %d | %d |",
		p.Name, p.Arch, p.Engine, p.RAMMiB, p.FlashMiB, p.ModuleKiB, p.EdgeKB)
}

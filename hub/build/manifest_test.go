package build

import (
	"errors"
	"os"
	"reflect"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stavily/stavily/hub/document"
	"github.com/stavily/stavily/protocol"
)

// seed is the manifest on the product's page, with its indentation put back.
func seed(t testing.TB) string {
	t.Helper()
	text, err := os.ReadFile("testdata/seed/" + ManifestFile)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// X-13, M-01 to M-31: the seed's own sample parses whole and every field is kept.
func TestSeedManifestIsKeptWhole(t *testing.T) {
	m, _, err := ReadManifest(os.DirFS("testdata/seed"))
	if err != nil {
		t.Fatal(err)
	}
	want := &protocol.Manifest{
		Plugin: protocol.PluginInfo{
			Name: "system-command-action", Version: "1.2.0", Type: protocol.Action,
			Description: "Execute system commands with configurable timeout and error handling",
			Author:      protocol.Author{Name: "Stavily Team"},
		},
		Runtime: protocol.Runtime{
			Language: "python", MinVersion: "3.8", Dependencies: []string{"psutil>=5.8.0", "subprocess32>=3.5.4"},
		},
		Compatibility: protocol.Compatibility{
			Language:  protocol.LanguageRange{Name: "python", MinVersion: ">=3.8.0", MaxVersion: "<4.0.0"},
			Libraries: map[string]string{"psutil": ">=5.8.0,<6.0.0", "subprocess32": ">=3.5.4,<4.0.0"},
		},
		OS: protocol.OS{
			Supported: []string{"linux", "darwin", "windows"}, Architectures: []string{"amd64", "arm64"},
			MinKernel: "4.15.0", Libraries: []string{"libc6"},
		},
		Limits:  protocol.Limits{MemoryMB: 128, CPUCores: 0.5, Seconds: 600, Files: 50, Connections: 5},
		Sandbox: true, Network: false, Filesystem: "restricted",
		SystemCalls: []string{"read", "write", "open", "close", "execve", "fork", "wait"},
		Permissions: protocol.Permissions{
			System: []string{"process.execute", "filesystem.read"}, Network: []string{"dns.resolve"},
		},
		Configuration: protocol.Configuration{Schema: "config-schema.json", Examples: "examples/"},
		Testing:       protocol.Testing{Suite: "tests/", Coverage: 80},
	}
	if !reflect.DeepEqual(m, want) {
		t.Errorf("got  %+v\nwant %+v", m, want)
	}
	// It travels in a release: nothing of it is lost on the way.
	var again protocol.Manifest
	if err := protocol.UnmarshalExact(protocol.MustMarshal(m), &again); err != nil || !reflect.DeepEqual(&again, want) {
		t.Errorf("after CBOR: %+v, %v", again, err)
	}
}

// G-1, G-2, G-3, G-4, G-5, G-6, G-10: each trap of the sample has its warning.
func TestSeedManifestWarnings(t *testing.T) {
	_, got, err := ParseManifest("m", []byte(seed(t)))
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		`warning: runtime.min_version "3.8" and compatibility.programming_language.min_version ">=3.8.0": both must hold`,
		`warning: runtime.dependencies[1]: subprocess32 is a backport for Python 2 and does nothing on Python 3`,
		`warning: runtime.dependencies and compatibility.library_dependencies both bound psutil, subprocess32: both must hold`,
		`warning: os_requirements.required_libraries[0]: libc6 is a package's name of glibc; no WebAssembly module needs it`,
		`warning: os_requirements.supported_architectures limits native artifacts; WebAssembly runs on every agent`,
		`warning: native only: allowed_system_calls has execve, which no module can make; what the runtime of python needs is allowed besides`,
		`warning: permissions.network asks for 1, but allow_network_access is false: all denied`,
		`warning: max_network_connections is 5, but allow_network_access is false: none allowed`,
		`warning: process.execute runs programs outside the sandbox: each must be allowed by the operator and by the device`,
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// G-1: the most restrictive word wins: the permission is kept and not wished for.
func TestSeedManifestWishesNoNetwork(t *testing.T) {
	m, _, err := ParseManifest("m", []byte(seed(t)))
	if err != nil {
		t.Fatal(err)
	}
	got, err := m.Wishes()
	want := []protocol.Grant{{Capability: protocol.CapRead}, {Capability: protocol.CapProcess}}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
}

// edit is the sample with one thing changed.
type edit struct{ name, old, new, want string }

func refuses(t *testing.T, edits []edit) {
	t.Helper()
	base := seed(t)
	for _, e := range edits {
		t.Run(e.name, func(t *testing.T) {
			if strings.Count(base, e.old) == 0 {
				t.Fatalf("the sample has no %q", e.old)
			}
			_, _, err := ParseManifest("m.yaml", []byte(strings.Replace(base, e.old, e.new, 1)))
			if err == nil || !strings.Contains(err.Error(), e.want) {
				t.Fatalf("got  %v\nwant %s", err, e.want)
			}
			var place *document.Error
			if !errors.As(err, &place) || place.Line == 0 || place.Column == 0 || place.Source == "" {
				t.Errorf("no place in %#v", err)
			}
		})
	}
}

// M-01 to M-05.
func TestManifestRefusesBadIdentity(t *testing.T) {
	refuses(t, []edit{
		{"M-01 path", `"system-command-action"`, `"../evil"`, `m.yaml:2:9: plugin.name: plugin name "../evil"`},
		{"M-01 upper case", `"system-command-action"`, `"System"`, `m.yaml:2:9: plugin.name: plugin name "System"`},
		{"M-01 empty", `"system-command-action"`, `""`, `m.yaml:2:9: plugin.name:`},
		{"M-01 too long", `"system-command-action"`, strings.Repeat("a", 65), `m.yaml:2:9: plugin.name:`},
		{"M-01 number", `"system-command-action"`, `7`, `m.yaml:2:9: plugin.name: want text, got the number 7`},
		{"M-02 short", `"1.2.0"`, `"1.2"`, `m.yaml:3:12: plugin.version: "1.2": want a version such as 1.2.0`},
		{"M-02 v", `"1.2.0"`, `"v1.2.0"`, `m.yaml:3:12: plugin.version: "v1.2.0": want a version`},
		{"M-02 number", `"1.2.0"`, `1.2`, `m.yaml:3:12: plugin.version: want text, got the number 1.2`},
		{"M-03", `"action"`, `"filter"`, `m.yaml:4:9: plugin.type: plugin type "filter": want trigger, action or output`},
		{
			"M-04 empty", `"Execute system commands with configurable timeout and error handling"`, `""`,
			`m.yaml:5:16: plugin.description: 0 characters, want 1 to 280`,
		},
		{
			"M-04 long", `"Execute system commands with configurable timeout and error handling"`,
			strings.Repeat("ä", 281), `m.yaml:5:16: plugin.description: 281 characters, want 1 to 280`,
		},
		{
			"M-04 escape", `"Execute system commands with configurable timeout and error handling"`, `"a\e[2J"`,
			`m.yaml:5:16: plugin.description: a control character at byte 2, want plain text`,
		},
		{"M-05", `"Stavily Team"`, `"  "`, `m.yaml:7:11: plugin.author.name: empty`},
	})
}

// M-06 to M-12.
func TestManifestRefusesBadLanguage(t *testing.T) {
	refuses(t, []edit{
		{"M-06", `"python"`, `"cobol"`, `m.yaml:9:13: runtime.language: "cobol": want one of go, javascript, python, rust, typescript`},
		{"M-07", `"3.8"`, `"three"`, `m.yaml:10:16: runtime.min_version: "three": want a version or a range`},
		{"M-08 no name", `"psutil>=5.8.0"`, `">=5.8.0"`, `m.yaml:12:7: runtime.dependencies[0]: ">=5.8.0": want a name and a range`},
		{"M-08 range", `"psutil>=5.8.0"`, `"psutil>=five"`, `m.yaml:12:7: runtime.dependencies[0]: ">=five": want a version or a range`},
		{
			"M-09", "programming_language:\n    name: \"python\"", "programming_language:\n    name: \"go\"",
			`m.yaml:16:11: compatibility.programming_language.name: "go", but runtime.language is "python"`,
		},
		{"M-10 range", `">=3.8.0"`, `">>3"`, `m.yaml:17:18: compatibility.programming_language.min_version: ">>3": want a version`},
		{
			"M-10 with M-07", `">=3.8.0"`, `"<3.8"`,
			`m.yaml:17:18: compatibility.programming_language.min_version: "<3.8": no version is also ">=3.8", as runtime.min_version wants`,
		},
		{
			"M-11 with M-07", `"<4.0.0"`, `"<3.0.0"`,
			`m.yaml:18:18: compatibility.programming_language.max_version: "<3.0.0": no version is also ">=3.8", as runtime.min_version wants`,
		},
		{
			"M-11 bare", `"<4.0.0"`, `"3.7.9"`,
			`m.yaml:18:18: compatibility.programming_language.max_version: "<=3.7.9": no version is also ">=3.8"`,
		},
		{"M-12 range", `">=5.8.0,<6.0.0"`, `"new"`, `m.yaml:20:13: compatibility.library_dependencies.psutil: "new": want a version`},
		{
			"M-12 conflict", `">=5.8.0,<6.0.0"`, `"<5.0.0"`,
			`m.yaml:20:13: compatibility.library_dependencies.psutil: "<5.0.0": no version is also ">=5.8.0", as runtime.dependencies[0] wants`,
		},
		{"M-12 edge", `">=5.8.0,<6.0.0"`, `"<5.8.0"`, `"<5.8.0": no version is also ">=5.8.0"`},
	})
}

// M-10, M-11, M-12: ranges that share a version pass, however they are written.
func TestManifestTakesRangesThatMeet(t *testing.T) {
	for _, e := range []edit{
		{name: "same", old: `">=3.8.0"`, new: `"3.8"`},
		{name: "bare maximum", old: `"<4.0.0"`, new: `"3.8"`},
		{name: "equal", old: `"psutil>=5.8.0"`, new: `"psutil==5.9.1"`},
		{name: "touching", old: `">=5.8.0,<6.0.0"`, new: `"<=5.8.0"`},
		{name: "one of two", old: `">=5.8.0,<6.0.0"`, new: `"<5.0.0 || ^7"`},
		{name: "no range", old: `"psutil>=5.8.0"`, new: `"psutil"`},
	} {
		t.Run(e.name, func(t *testing.T) {
			if _, _, err := ParseManifest("m", []byte(strings.Replace(seed(t), e.old, e.new, 1))); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestMeet(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want bool
	}{
		{">=1.0.0", "<1.0.0", false},
		{">=1.0.0", "<=1.0.0", true},
		{">1.0.0", "<1.0.2", true},
		{">1.0.0", "<1.0.1", false},
		{">1", "<2", false},
		{">1.2", "<1.3", false},
		{"^1.2", "~1.9", true},
		{"^1.2", "^2", false},
		{"!=1.0.0", "=1.0.0", false},
		{">=1.0.0, !=1.0.0, !=1.0.1", "<1.0.3", true},
		{">=1.0.0, !=1.0.0, !=1.0.1", "<1.0.2", false},
		{"<0.0.1", ">=0", true},
		{"1.x", "<1.0.1", true},
		{">=2.0.0-rc.1", "<2.0.1", true},
		{"<1 || >=3", ">=2, <3", false},
		{"<1 || >=3", ">=2", true},
	} {
		for _, pair := range [][]string{{c.a, c.b}, {c.b, c.a}} {
			if got := meet(pair); got != c.want {
				t.Errorf("%q: got %v, want %v", pair, got, c.want)
			}
		}
	}
}

// M-13 to M-21.
func TestManifestRefusesBadPlatformsAndLimits(t *testing.T) {
	refuses(t, []edit{
		{"M-13", `"darwin"`, `"plan9"`, `m.yaml:23:27: os_requirements.supported_os[1]: "plan9": want one of linux, darwin, windows`},
		{"M-14", `"arm64"`, `"sparc"`, `m.yaml:24:38: os_requirements.supported_architectures[1]: "sparc": want one of amd64`},
		{"M-15", `"4.15.0"`, `"new"`, `m.yaml:25:23: os_requirements.min_kernel_version: "new": want a version such as 4.15.0`},
		{"M-17 zero", `_mb: 128`, `_mb: 0`, `m.yaml:28:18: execution_limits.max_memory_mb: 0, want 1 to 4096`},
		{"M-17 negative", `_mb: 128`, `_mb: -1`, `m.yaml:28:18: execution_limits.max_memory_mb: want a whole number, 0 or more`},
		{"M-17 huge", `_mb: 128`, `_mb: 99999999999`, `m.yaml:28:18: execution_limits.max_memory_mb: want a whole number`},
		{"M-18", `cores: 0.5`, `cores: 65`, `m.yaml:29:18: execution_limits.max_cpu_cores: 65, want 0.01 to 64`},
		{"M-18 not a number", `cores: 0.5`, `cores: .nan`, `m.yaml:29:18: execution_limits.max_cpu_cores: want a finite number`},
		{"M-19", `seconds: 600`, `seconds: 86401`, `m.yaml:30:31: execution_limits.max_execution_time_seconds: 86401, want 1 to 86400`},
		{"M-20", `descriptors: 50`, `descriptors: 0`, `m.yaml:31:25: execution_limits.max_file_descriptors: 0, want 1 to 4096`},
		{"M-21", `connections: 5`, `connections: 5000`, `m.yaml:32:28: execution_limits.max_network_connections: 5000, want 0 to 4096`},
	})
}

// M-22 to M-31.
func TestManifestRefusesBadRightsAndFiles(t *testing.T) {
	refuses(t, []edit{
		{"M-22", `sandbox_mode: true`, `sandbox_mode: false`, `m.yaml:33:15: sandbox_mode: false: this hub publishes sandboxed plugins only`},
		{"M-23", `network_access: false`, `network_access: "no"`, `m.yaml:34:23: allow_network_access: want true or false, got the text "no"`},
		{"M-24", `"restricted"`, `"some"`, `m.yaml:35:26: allow_filesystem_access: "some": want one of none, restricted, full`},
		{"M-24 full", `"restricted"`, `"full"`, `m.yaml:35:26: allow_filesystem_access: full: this hub publishes none or restricted only`},
		{"M-25", `["read", "write"`, `[{a: b}, "write"`, `m.yaml:36:24: allowed_system_calls[0]: want text, got a mapping`},
		{"M-26", `"filesystem.read"`, `"root"`, `m.yaml:40:7: permissions.system[1]: permission "root": no such capability; known are dns.resolve`},
		{"M-27", `"dns.resolve"`, `"everything"`, `m.yaml:42:7: permissions.network[0]: permission "everything": no such capability`},
		{"M-28", `"config-schema.json"`, `"/etc/passwd"`, `m.yaml:44:11: configuration.schema: "/etc/passwd": want a path within the source`},
		{"M-29", `"examples/"`, `"../x"`, `m.yaml:45:13: configuration.examples: "../x": want a path within the source`},
		{"M-30", `"tests/"`, `"/tests"`, `m.yaml:47:15: testing.test_suite: "/tests": want a path within the source`},
		{"M-31", `threshold: 80`, `threshold: 101`, `m.yaml:48:23: testing.coverage_threshold: 101, want 0 to 100`},
		{"unknown key", `sandbox_mode: true`, `sandbox_mod: true`, `m.yaml:33:1: sandbox_mod: unknown key "sandbox_mod"; did you mean "sandbox_mode"?`},
		{"unknown nested key", `    name: "Stavily Team"`, `    mail: "x"`, `m.yaml:7:5: plugin.author.mail: unknown key "mail"`},
		{"key twice", `sandbox_mode: true`, "sandbox_mode: true\nsandbox_mode: true", `m.yaml:34:1: sandbox_mode: key "sandbox_mode" twice, first on line 33`},
		{"alias", `sandbox_mode: true`, `sandbox_mode: &a true`, `m.yaml:33:15: sandbox_mode: anchors and aliases are not allowed`},
	})
}

// Each key that a manifest cannot do without is named when it is missing.
func TestManifestNamesWhatIsMissing(t *testing.T) {
	lines := map[string]string{
		"plugin.name":             "  name: \"system-command-action\"\n",
		"plugin.version":          "  version: \"1.2.0\"\n",
		"plugin.type":             "  type: \"action\"\n",
		"plugin.description":      "  description: \"Execute system commands with configurable timeout and error handling\"\n",
		"plugin.author.name":      "  author:\n    name: \"Stavily Team\"\n",
		"runtime.language":        "  language: \"python\"\n",
		"sandbox_mode":            "sandbox_mode: true\n",
		"allow_network_access":    "allow_network_access: false\n",
		"allow_filesystem_access": "allow_filesystem_access: \"restricted\"\n",
		"permissions":             "permissions:\n  system:\n    - \"process.execute\"\n    - \"filesystem.read\"\n  network:\n    - \"dns.resolve\"\n",
	}
	for _, key := range required {
		line, ok := lines[key]
		if !ok || !strings.Contains(seed(t), line) {
			t.Errorf("%s: the sample has no %q", key, line)
			continue
		}
		_, _, err := ParseManifest("m.yaml", []byte(strings.Replace(seed(t), line, "", 1)))
		if err == nil || !strings.HasPrefix(err.Error(), "m.yaml:") || !strings.HasSuffix(err.Error(), ": "+key+": missing") {
			t.Errorf("without %s: %v", key, err)
		}
	}
}

func TestReadManifestNamesTheFile(t *testing.T) {
	if _, _, err := ReadManifest(fstest.MapFS{}); protocol.CodeOf(err) != protocol.CodeBadInput ||
		!strings.Contains(err.Error(), "stavily-plugin.yaml: the source has none at its top") {
		t.Errorf("got %v", err)
	}
	large := fstest.MapFS{ManifestFile: {Data: []byte("plugin: " + strings.Repeat("x", document.SizeMax))}}
	if _, _, err := ReadManifest(large); err == nil || !strings.Contains(err.Error(), "limit 262144") {
		t.Errorf("got %v", err)
	}
}

// M-28: the schema is there, and bounded.
func TestReadSchema(t *testing.T) {
	m := &protocol.Manifest{Configuration: protocol.Configuration{Schema: "c.json"}}
	if _, err := ReadSchema(fstest.MapFS{}, m); err == nil || !strings.Contains(err.Error(), `no file "c.json"`) {
		t.Errorf("got %v", err)
	}
	large := fstest.MapFS{"c.json": {Data: make([]byte, schemaMax+1)}}
	if _, err := ReadSchema(large, m); protocol.CodeOf(err) != protocol.CodeLimit {
		t.Errorf("got %v", err)
	}
	if text, err := ReadSchema(fstest.MapFS{}, new(protocol.Manifest)); text != nil || err != nil {
		t.Errorf("got %q, %v", text, err)
	}
}

// M-31: 79.9 is blocked, 80.0 passes.
func TestCovered(t *testing.T) {
	m := &protocol.Manifest{Testing: protocol.Testing{Coverage: 80}, Runtime: protocol.Runtime{Language: "rust"}}
	b := &Builder{}
	for coverage, ok := range map[float64]bool{0: false, 79.9: false, 80.0: true, 100: true} {
		if _, err := b.covered(m, tested{measured: true, coverage: coverage}); (err == nil) != ok {
			t.Errorf("%v: %v", coverage, err)
		}
	}
	want := "coverage 79.9 %, the manifest wants 80.0 %"
	_, err := b.covered(m, tested{measured: true, coverage: 79.9})
	if !strings.Contains(err.Error(), want) || protocol.CodeOf(err) != protocol.CodeRefused {
		t.Errorf("got %v", err)
	}
}

// M-31: what cannot be measured passes by policy only, and is said.
func TestUnmeasured(t *testing.T) {
	m := &protocol.Manifest{Testing: protocol.Testing{Coverage: 80}, Runtime: protocol.Runtime{Language: "rust"}}
	_, err := new(Builder).covered(m, tested{coverage: 100})
	wantError(t, err, protocol.CodeRefused, "wants 80.0 % coverage, which was not measured: not possible in rust")
	said, err := (&Builder{cfg: Config{AllowUnmeasured: true}}).covered(m, tested{})
	if err != nil || said != "coverage not measured: not possible in rust" {
		t.Errorf("got %q, %v", said, err)
	}
	_, err = new(Builder).covered(m, tested{why: "no such syntax"})
	wantError(t, err, protocol.CodeRefused, "not measured: no such syntax; this hub's policy")
	m.Testing.Coverage = 0
	if said, err := new(Builder).covered(m, tested{}); err != nil || !strings.HasPrefix(said, "coverage not measured") {
		t.Errorf("nothing promised: got %q, %v", said, err)
	}
}

// M-31: the coverage is read from the test's own words and never guessed.
func TestCoverageOf(t *testing.T) {
	for text, want := range map[string]float64{
		"PASS\ncoverage: 79.9% of statements\n": 79.9, "coverage: 100.0% of statements": 100,
		"PASS\n": -1, "my coverage: 99% of statements": -1, "coverage: [no statements]": -1,
	} {
		got, err := coverageOf([]byte(text))
		if want < 0 && err == nil || want >= 0 && (err != nil || got != want) {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
}

// M-07, M-10, M-11: the toolchain is held to the language's range.
func TestFits(t *testing.T) {
	for _, c := range []struct {
		min, low, high, toolchain string
		ok                        bool
	}{
		{"", "", "", "go1.26.8", true},
		{"1.24", ">=1.24", "<2.0.0", "go1.26.8", true},
		{"1.27", "", "", "go1.26.8", false},
		{"", ">=1.26.9", "", "go1.26.8", false},
		{"", "", "<1.26", "go1.26.8", false},
		{"", "", "1.26.8", "go1.26.8", true},
		{"", "", "1.26.7", "go1.26.8", false},
		{"99", "", "", "devel", true},
	} {
		m := &protocol.Manifest{
			Plugin: protocol.PluginInfo{Name: "x", Version: "1.0.0"}, Runtime: protocol.Runtime{Language: "go", MinVersion: c.min},
			Compatibility: protocol.Compatibility{Language: protocol.LanguageRange{MinVersion: c.low, MaxVersion: c.high}},
		}
		err := fits(m, c.toolchain)
		if (err == nil) != c.ok {
			t.Errorf("%+v: %v", c, err)
		}
		if err != nil && (protocol.CodeOf(err) != protocol.CodeIncompatible || !strings.Contains(err.Error(), c.toolchain)) {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

// The manifest comes from a stranger's repository.
func FuzzParseManifest(f *testing.F) {
	f.Add(seed(f))
	f.Add("plugin: {name: a}\nruntime: {dependencies: [\"x>=1||<0\"]}\n")
	f.Add(strings.Replace(seed(f), `"<4.0.0"`, `"^3 || ~4.x, !=5.0.0-rc.1+b"`, 1))
	f.Fuzz(func(t *testing.T, text string) {
		m, _, err := ParseManifest("f.yaml", []byte(text))
		if err != nil {
			var place *document.Error
			if !errors.As(err, &place) {
				t.Fatalf("%v is no *document.Error", err)
			}
			return
		}
		if _, err := m.Wishes(); err != nil {
			t.Fatalf("a manifest that was taken has bad wishes: %v", err)
		}
		var again protocol.Manifest
		if err := protocol.UnmarshalExact(protocol.MustMarshal(m), &again); err != nil {
			t.Fatalf("a manifest that was taken does not travel: %v", err)
		}
	})
}

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	platform "github.com/stavily/stavily/firmware-targets"
)

// A whole module with an agent in it, small enough to build in a test.
func writeModule(t *testing.T, source string) string {
	t.Helper()
	root := t.TempDir()
	if err := os.MkdirAll(filepath.Join(root, "edge", "stavily-edge"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"go.mod":                    "module example.com/house\n\ngo 1.26\n",
		"edge/stavily-edge/main.go": source,
	} {
		if err := os.WriteFile(filepath.Join(root, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func TestBuildEdge(t *testing.T) {
	amd64, ok := platform.Lookup("linux-amd64")
	if !ok {
		t.Fatal("there is no linux-amd64")
	}
	cases := []struct{ name, source, want string }{
		{"plain", "package main\n\nfunc main() { println(1) }\n", ""},
		{
			"by name",
			"package main\n\nimport (\n\t\"os\"\n\t\"reflect\"\n)\n\n" +
				"func main() { reflect.ValueOf(os.Stdout).MethodByName(os.Args[0]).Call(nil) }\n",
			"reflect.Value.MethodByName is reached: main.main",
		},
		{"broken", "package main\n\nfunc main() { lost() }\n", "undefined: lost"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			root := writeModule(t, c.source)
			size, err := buildEdge(root, amd64, filepath.Join(root, "agent"))
			if c.want == "" && (err != nil || size < 100_000) {
				t.Fatalf("got %d bytes, %v", size, err)
			}
			if c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Fatalf("want an error with %q, got %v", c.want, err)
			}
		})
	}
}

func TestDepsSilentLinker(t *testing.T) {
	deps, err := readDeps(strings.NewReader("# example.com/house\n"))
	if err != nil {
		t.Fatal(err)
	}
	if err := deps.check(); err == nil {
		t.Error("a linker that listed nothing was believed")
	}
}

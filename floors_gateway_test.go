package main

import (
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// A gateway is the agent's program with a broker in it and nothing else that a device has no
// room for.
func TestGatewayLinksABrokerMore(t *testing.T) {
	cmd := exec.Command("go", "list", "-deps", "-tags", "gateway", "./edge/stavily-edge")
	cmd.Env = append(os.Environ(), "GOOS=linux", "CGO_ENABLED=0")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %v", cmd.Args, err)
	}
	linked := strings.Fields(string(out))
	for _, p := range linked {
		for _, bad := range []string{goGit, anyHub, anySim, "go.yaml.in/yaml", "text/template", "html/template"} {
			if inside(p, bad) {
				t.Errorf("it links %s", p)
			}
		}
	}
	if !slices.Contains(linked, module+"/broker") {
		t.Error("it links no broker: does the tag do nothing?")
	}
}

package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"

	platform "github.com/stavily/stavily/firmware-targets"
)

// edgePackage is the program that a device runs.
const edgePackage = "./edge/stavily-edge"

// edges builds the agent of the module at root for every platform, into root's dist,
// and prints their sizes. It fails when one is over its platform's budget, or when a
// program reaches reflect.Value.MethodByName: from there on the linker keeps every
// exported method, which costs megabytes.
func edges(out io.Writer, root string) error {
	dir := filepath.Join(root, "dist")
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return err
	}
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "platform\tMB\tbudget\tverdict")
	var bad []error
	for _, p := range platform.All() {
		size, err := buildEdge(root, p, filepath.Join(dir, "stavily-edge-"+p.Name))
		verdict := "ok"
		if err == nil && size > int64(p.EdgeKB)*1000 {
			err = fmt.Errorf("want at most %d bytes, got %d", p.EdgeKB*1000, size)
		}
		if err != nil {
			verdict = "no"
			bad = append(bad, fmt.Errorf("%s: %w", p.Name, err))
		}
		fmt.Fprintf(table, "%s\t%.2f\t%.2f\t%s\n",
			p.Name, float64(size)/1e6, float64(p.EdgeKB)/1e3, verdict)
	}
	for _, name := range gatewayPlatforms {
		size, err := buildGateway(root, name, dir)
		if err != nil {
			bad = append(bad, fmt.Errorf("gateway of %s: %w", name, err))
		}
		fmt.Fprintf(table, "%s, gateway\t%.2f\n", name, float64(size)/1e6)
	}
	return errors.Join(table.Flush(), errors.Join(bad...))
}

// gatewayPlatforms are those for which the program of a gateway is built: the agent with a
// broker in it. gatewayKB is what that may weigh beyond the agent's own budget.
var gatewayPlatforms = []string{"linux-amd64", "linux-arm64", "linux-armv7"}

const gatewayKB = 2300

func buildGateway(root, name, dir string) (int64, error) {
	p, ok := platform.Lookup(name)
	if !ok {
		return 0, errors.New("no such platform")
	}
	size, err := buildEdge(root, p, filepath.Join(dir, "stavily-gateway-"+name), "-tags=gateway")
	if most := int64(p.EdgeKB+gatewayKB) * 1000; err == nil && size > most {
		err = fmt.Errorf("want at most %d bytes, got %d", most, size)
	}
	return size, err
}

// buildEdge builds the agent for p into file, an absolute path, with more flags, and returns
// its size in bytes.
func buildEdge(root string, p platform.Platform, file string, flags ...string) (int64, error) {
	// Without the old file the linker surely runs, and says what it linked.
	if err := os.Remove(file); err != nil && !errors.Is(err, os.ErrNotExist) {
		return 0, err
	}
	args := append([]string{"build"}, platform.BuildFlags(p.Engine)...)
	args = append(args, flags...)
	args = append(args, "-ldflags=-s -w -buildid= -dumpdep", "-o", file, edgePackage)
	cmd := exec.Command("go", args...)
	cmd.Dir = root
	cmd.Env = append(os.Environ(), p.Environ()...)
	said, err := cmd.StderrPipe()
	if err != nil {
		return 0, err
	}
	cmd.Stdout = cmd.Stderr // one pipe: go passes the linker's words on by either
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	deps, readErr := readDeps(said)
	if err := cmd.Wait(); err != nil {
		return 0, fmt.Errorf("go build: %w\n%s", err, strings.Join(deps.other, "\n"))
	}
	if readErr != nil {
		return 0, readErr
	}
	if err := deps.check(); err != nil {
		return 0, err
	}
	info, err := os.Stat(file)
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// depsRead is what a linker under -dumpdep said.
type depsRead struct {
	edges   int      // lines of the form "a -> b"
	reflect []string // functions that switch dead code elimination off, repeatedly
	other   []string // the first lines of another form: errors
}

// methodMark stands behind the name of a function that may call any method.
const methodMark = " <ReflectMethod>"

// marked returns that name from a line "a -> b".
func marked(line string) string {
	before, _, _ := strings.Cut(line, methodMark)
	if _, b, ok := strings.Cut(before, " -> "); ok {
		return b
	}
	return before
}

// otherMax bounds the lines of a failed build that are shown.
const otherMax = 20

// readDeps reads what the linker says until it ends.
func readDeps(r io.Reader) (depsRead, error) {
	var d depsRead
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20) // generic instances have names of many kilobytes
	for lines.Scan() {
		line := lines.Text()
		switch {
		case strings.Contains(line, methodMark):
			d.edges++
			d.reflect = append(d.reflect, marked(line))
		case strings.Contains(line, " -> "):
			d.edges++
		case len(d.other) < otherMax:
			d.other = append(d.other, line)
		}
	}
	_, _ = io.Copy(io.Discard, r) // after an error, so that the linker can end
	return d, lines.Err()
}

// check refuses a program that reaches MethodByName, and one of which the linker
// said nothing.
func (d depsRead) check() error {
	if d.edges == 0 {
		return errors.New("go build -ldflags=-dumpdep: no dependency was listed")
	}
	if len(d.reflect) > 0 {
		return fmt.Errorf("reflect.Value.MethodByName is reached: %s",
			strings.Join(slices.Compact(d.reflect), ", "))
	}
	return nil
}

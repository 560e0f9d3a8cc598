package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync"
)

// fuzzEach is how long a target is fuzzed where FUZZTIME says nothing.
const fuzzEach = "10s"

// fuzz runs every fuzz target of the module at root, as long each as FUZZTIME in the
// environment says (one of Go's durations, or a count such as 100x). A package is compiled
// once for all its targets, and as many targets run as there are cores: go test -fuzz would
// link a program for each. New inputs are kept where go test keeps them.
func fuzz(out io.Writer, root string) error {
	packages, err := fuzzed(os.DirFS(root))
	if err != nil {
		return err
	}
	work, err := os.MkdirTemp("", "stavily-fuzz")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(work) }()
	f := fuzzer{root: root, work: work, each: os.Getenv("FUZZTIME"), out: out}
	if f.each == "" {
		f.each = fuzzEach
	}
	where := exec.Command("go", "list", "-m")
	where.Dir = root
	module, err := where.Output()
	if err != nil {
		return fmt.Errorf("go list -m: %w", err)
	}
	cache, err := exec.Command("go", "env", "GOCACHE").Output()
	if err != nil {
		return fmt.Errorf("go env GOCACHE: %w", err)
	}
	f.cache = filepath.Join(strings.TrimSpace(string(cache)), "fuzz", strings.TrimSpace(string(module)))
	var bad []error
	for _, p := range packages {
		bad = append(bad, f.pkg(p))
	}
	return errors.Join(bad...)
}

var fuzzTarget = regexp.MustCompile(`(?m)^func Fuzz`)

// fuzzed lists the folders of a tree with fuzz targets, in order. Those of plugins are
// modules of their own.
func fuzzed(tree fs.FS) ([]string, error) {
	var out []string
	err := fs.WalkDir(tree, ".", func(name string, d fs.DirEntry, err error) error {
		dir := filepath.ToSlash(filepath.Dir(name))
		switch {
		case err != nil:
			return err
		case d.IsDir() && (name == "plugins" || name == "dist" || d.Name() == "testdata" || d.Name() == ".git"):
			return fs.SkipDir
		case d.IsDir() || !strings.HasSuffix(name, "_test.go") || len(out) > 0 && out[len(out)-1] == dir:
			return nil
		}
		text, err := fs.ReadFile(tree, name)
		if fuzzTarget.Match(text) {
			out = append(out, dir)
		}
		return err
	})
	return out, err
}

// fuzzer runs targets.
type fuzzer struct {
	root, work, cache string
	each              string

	mu  sync.Mutex // guards the field below
	out io.Writer
}

// pkg compiles one package and runs all its targets.
func (f *fuzzer) pkg(dir string) error {
	program := filepath.Join(f.work, strings.ReplaceAll(dir, "/", "-")+".test")
	compile := exec.Command("go", "test", "-c", "-fuzz=.", "-o", program, "./"+dir)
	compile.Dir = f.root
	if said, err := compile.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", dir, err, said)
	}
	defer func() { _ = os.Remove(program) }()
	list := exec.Command(program, "-test.list", "^Fuzz")
	list.Dir = filepath.Join(f.root, dir)
	names, err := list.Output()
	if err != nil {
		return fmt.Errorf("%s: list: %w", dir, err)
	}
	var running sync.WaitGroup
	slots := make(chan struct{}, runtime.GOMAXPROCS(0))
	bad := make([]error, len(strings.Fields(string(names))))
	for i, name := range strings.Fields(string(names)) {
		slots <- struct{}{}
		running.Go(func() {
			bad[i] = f.target(program, dir, name)
			<-slots
		})
	}
	running.Wait()
	return errors.Join(bad...)
}

// target fuzzes one. That its time ended amid an input is no finding.
func (f *fuzzer) target(program, dir, name string) error {
	run := exec.Command(program, "-test.run=^$", "-test.fuzz=^"+name+"$", "-test.fuzztime="+f.each,
		"-test.fuzzminimizetime=10x", "-test.parallel=1", "-test.fuzzcachedir="+filepath.Join(f.cache, dir))
	run.Dir = filepath.Join(f.root, dir)
	said, err := run.CombinedOutput()
	found := bytes.Contains(said, []byte("Failing input written"))
	if err != nil && (found || !bytes.Contains(said, []byte("context deadline exceeded"))) {
		return fmt.Errorf("%s %s: %w\n%s", dir, name, err, said)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	_, err = fmt.Fprintf(f.out, "fuzz %s %s: ok\n", dir, name)
	return err
}

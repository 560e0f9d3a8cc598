package build

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	platform "github.com/stavily/stavily/firmware-targets"
	"github.com/stavily/stavily/protocol"
)

// pipHint is how to get what fetches Python's packages.
const pipHint = "install Python 3.8 or newer with pip, on Debian `apt-get install python3-pip`"

// cpython is one CPython of this machine.
type cpython struct {
	program string
	prefix  []string // where its library lies
	version string   // such as 3.11.2
}

// findPython finds the first CPython, of PATH and of the system, that serves.
func findPython(ctx context.Context, serves func(context.Context, cpython) error) (cpython, error) {
	var why error
	for _, name := range []string{"python3", "/usr/bin/python3"} {
		found, err := askPython(ctx, name)
		if err == nil {
			err = serves(ctx, found)
		}
		if err == nil {
			return found, nil
		}
		why = errors.Join(why, fmt.Errorf("%s: %w", name, err))
	}
	return cpython{}, why
}

// askPython asks a program that may be a link or a wrapper what it stands for.
func askPython(ctx context.Context, name string) (cpython, error) {
	path, err := exec.LookPath(name)
	if err != nil {
		return cpython{}, errors.New("not installed")
	}
	out, err := exec.CommandContext(ctx, path, "-I", "-c", "import sys; print(sys.executable, sys.prefix, "+
		"sys.base_prefix, '%d.%d.%d' % sys.version_info[:3], sep='\\n')").Output()
	said := strings.Split(strings.TrimSpace(string(out)), "\n")
	if err != nil || len(said) != 4 {
		return cpython{}, overtime(ctx, name, fmt.Errorf("it does not say where it is: %w", err))
	}
	return cpython{program: said[0], prefix: slices.Compact(said[1:3]), version: said[3]}, nil
}

func hasPip(ctx context.Context, p cpython) error {
	said, err := exec.CommandContext(ctx, p.program, "-I", "-m", "pip", "--version").CombinedOutput()
	if err != nil {
		return fmt.Errorf("it has no pip: %s", tail(said))
	}
	return nil
}

// pipTool is what the row of Python says of pip.
func pipTool(ctx context.Context) (string, error) {
	found, err := findPython(ctx, hasPip)
	return "pip of Python " + found.version, err
}

// wheels returns the packages of a lock for a platform, from the cache or by pip. Nothing
// is built and nothing of a package is run: only wheels are taken, by digest.
func (w *workspace) wheels(ctx context.Context, lock pipLock, p platform.Platform) ([]wheel, error) {
	if len(lock.pins) == 0 {
		return nil, nil
	}
	tags, err := pythonTags(w.m)
	if err != nil {
		return nil, err
	}
	key := protocol.DigestOf(fmt.Append(nil, lock.pins, tags)).String()[len("sha256:"):]
	kept := filepath.Join(w.b.cfg.CacheDir, "wheels", key[:32]+"-"+p.Name)
	if found, err := lock.takeWheels(os.DirFS(kept)); err == nil {
		return found, nil
	}
	dir := filepath.Join(w.dir, "wheels", p.Name)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("build: %w", err)
	}
	if err := w.pip(ctx, lock, dir, append(tags, manylinux(p)...)); err != nil {
		return nil, err
	}
	found, err := lock.takeWheels(os.DirFS(dir))
	if err != nil {
		return nil, err
	}
	return found, keepFolder(dir, kept)
}

// keepFolder copies a folder of the workspace into the cache, whole or not at all.
func keepFolder(dir, kept string) error {
	if err := os.MkdirAll(filepath.Dir(kept), 0o700); err != nil {
		return fmt.Errorf("build: cache: %w", err)
	}
	half, err := os.MkdirTemp(filepath.Dir(kept), ".new-")
	if err != nil {
		return fmt.Errorf("build: cache: %w", err)
	}
	defer os.RemoveAll(half)
	if err := os.CopyFS(half, os.DirFS(dir)); err != nil {
		return fmt.Errorf("build: cache: %w", err)
	}
	if err := os.RemoveAll(kept); err != nil {
		return fmt.Errorf("build: cache: %w", err)
	}
	return os.Rename(half, kept)
}

// pip downloads what the lock names into dir, confined, with the network. The lock that it
// reads is written by us, so that nothing of the source is read as pip's options.
func (w *workspace) pip(ctx context.Context, lock pipLock, dir string, tags []string) error {
	tool, err := findPython(ctx, hasPip)
	if err != nil {
		return protocol.Errorf(protocol.CodeUnavailable, "%s: its packages are fetched by pip: %w; %s", lock.file,
			err,
			pipHint)
	}
	var text strings.Builder
	for _, pin := range lock.pins {
		fmt.Fprintf(&text, "%s==%s", pin.name, pin.version)
		for _, h := range pin.hashes {
			text.WriteString(" --hash=sha256:" + h)
		}
		text.WriteString("\n")
	}
	list := filepath.Join(w.dir, "wheels", "lock.txt")
	if err := os.WriteFile(list, []byte(text.String()), 0o600); err != nil {
		return fmt.Errorf("build: %w", err)
	}
	argv := append([]string{
		tool.program, "-I", "-m", "pip", "download", "--isolated", "--no-cache-dir", "--no-deps", "--no-input",
		"--quiet",
		"--only-binary=:all:", "--require-hashes", "--implementation=cp", "--requirement=" + w.inside(list),
		"--dest=" + w.inside(dir),
	}, tags...)
	settings, reads := pipSettings(ctx, tool)
	home := w.inside(filepath.Join(w.dir, "wheels"))
	env := append([]string{"PATH=/usr/bin:/bin", "HOME=" + home, "TMPDIR=" + home, "LC_ALL=C.UTF-8"},
		proxies()...)
	err = w.run(ctx, command{
		what: "pip download", argv: append(argv, settings...), env: env, dir: w.inside(w.dir),
		reads: unseen(append(reads, tool.folders()...)...), network: true, asHub: true,
	})
	if missing := noWheel.FindStringSubmatch(fmt.Sprint(err)); missing != nil {
		return fmt.Errorf("%s: %s: %w", lock.file, missing[1], errNoWheel)
	}
	if err != nil {
		err = protocol.Errorf(codeOfInput(err), "%s: %w", lock.file, err)
	}
	return err
}

// errNoWheel says that the index has a package not as a wheel that is asked for.
var errNoWheel = errors.New("there is no wheel of it for this platform and these versions of CPython")

var noWheel = regexp.MustCompile(`No matching distribution found for ([A-Za-z0-9._-]+==[^\s(;]+)`)

// unseen are those of the paths that a confined program does not see without asking.
func unseen(paths ...string) (out []string) {
	slices.Sort(paths)
	seen := []string{"/usr", "/etc/ssl", "/etc/ca-certificates", "/etc/pki"} // of system, see confine_linux.go
	for _, path := range slices.Compact(paths) {
		in := func(dir string) bool { return path == dir || strings.HasPrefix(path, dir+"/") }
		if !slices.ContainsFunc(seen, in) {
			out, seen = append(out, path), append(seen, path)
		}
	}
	return out
}

// folders are what a confined program needs to see of a CPython.
func (p cpython) folders() []string { return append([]string{p.program}, p.prefix...) }

// pipPassed are the settings of pip that say from where packages come.
var pipPassed = []string{"index-url", "extra-index-url", "find-links", "trusted-host", "cert", "proxy"}

// pipSettings passes on from where the hub's user has packages, and no other wish.
func pipSettings(ctx context.Context, p cpython) (args, reads []string) {
	out, _ := exec.CommandContext(ctx, p.program, "-m", "pip", "config", "list").Output() // none is none
	for line := range strings.Lines(string(out)) {
		key, value, ok := strings.Cut(strings.TrimSpace(line), "=")
		key = key[strings.LastIndexByte(key, '.')+1:]
		if !ok || !slices.Contains(pipPassed, key) {
			continue
		}
		for one := range strings.FieldsSeq(strings.ReplaceAll(strings.Trim(value, `'"`), `\n`, " ")) {
			args = append(args, "--"+key+"="+one)
			if filepath.IsAbs(one) {
				reads = append(reads, one)
			}
		}
	}
	slices.Sort(args)
	return slices.Compact(args), reads
}

// manylinux are the kinds of a wheel that run on a platform with glibc 2.17, which every
// distribution has since 2014, or newer.
func manylinux(p platform.Platform) []string {
	arch := map[string]string{"amd64": "x86_64", "arm64": "aarch64", "386": "i686", "riscv64": "riscv64"}[p.Arch]
	var out []string
	for _, kind := range []string{
		"manylinux_2_17", "manylinux2014", "manylinux_2_12", "manylinux2010", "manylinux_2_5", "manylinux1",
	} {
		out = append(out, "--platform="+kind+"_"+arch)
	}
	return out
}

// pythonMinors are the CPythons of today's systems.
var pythonMinors = []int{6, 7, 8, 9, 10, 11, 12, 13, 14}

// pythonTags are the kinds of a wheel that run on every CPython that m allows: those for
// the lowest with the stable interface, or its own when it is the only one.
func pythonTags(m *protocol.Manifest) ([]string, error) {
	var fit []int
	for _, minor := range pythonMinors {
		these := fmt.Sprintf(">=3.%d.0,<3.%d.0", minor, minor+1)
		if meet(append(m.LanguageRanges(), these)) {
			fit = append(fit, minor)
		}
	}
	if len(fit) == 0 {
		return nil, protocol.Errorf(protocol.CodeIncompatible, "plugin %s: no CPython from 3.%d to 3.%d is %s", m,
			pythonMinors[0], pythonMinors[len(pythonMinors)-1], strings.Join(m.LanguageRanges(), " and "))
	}
	tags := []string{fmt.Sprintf("--python-version=3.%d", fit[0]), "--abi=abi3", "--abi=none"}
	if len(fit) == 1 {
		tags = append(tags, fmt.Sprintf("--abi=cp3%d", fit[0]))
	}
	return tags, nil
}

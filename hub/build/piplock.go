package build

import (
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"slices"
	"strings"

	"github.com/Masterminds/semver/v3"

	"github.com/stavily/stavily/protocol"
)

// pipLocks are the files that may lock a source's Python packages, the first that is there
// counts: what `pip-compile --generate-hashes` and `pip freeze` with hashes write.
var pipLocks = []string{"requirements.lock", "requirements.txt"}

const (
	pipLockMax     = 1 << 20 // bytes
	pipPackagesMax = 100
	pipHashesMax   = 400 // of one package
)

// pipPin is one package that a lock names, at one version and with the digests of the
// files that may be taken for it.
type pipPin struct {
	name    string // as PyPA normalizes it: lower case, dashes
	version string // as written
	line    int
	hashes  []string // sha256, 64 hexadecimal digits
}

// pipLock is a lock with its file's name; no pins when the source has none.
type pipLock struct {
	file string
	pins []pipPin
}

// readPipLock reads the lock of a source. The error names file and line.
func readPipLock(tree fs.FS) (pipLock, error) {
	for _, name := range pipLocks {
		text, err := fs.ReadFile(tree, name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return pipLock{}, fmt.Errorf("build: %w", err)
		}
		pins, err := parsePipLock(string(text))
		if err != nil {
			return pipLock{}, protocol.Errorf(codeOfInput(err), "%s:%w", name, err)
		}
		return pipLock{name, pins}, nil
	}
	return pipLock{}, nil
}

var (
	pipPinLine = regexp.MustCompile(`^([A-Za-z0-9][A-Za-z0-9._-]{0,99}) ?== ?` +
		`([0-9][A-Za-z0-9.!+_-]{0,63})((?: --hash=\S+)*)$`)
	pipHash = regexp.MustCompile(`^--hash=sha256:([0-9a-f]{64})$`)
)

// parsePipLock reads lines of a name, "==", a version and one or more "--hash=sha256:"; a
// backslash goes on in the next line, "#" begins a comment. Everything else that pip would
// read, such as options and paths, is refused: it would lock nothing.
func parsePipLock(text string) ([]pipPin, error) {
	if len(text) > pipLockMax {
		return nil, protocol.Errorf(protocol.CodeLimit, "1: %d bytes, limit %d", len(text), pipLockMax)
	}
	var pins []pipPin
	seen := map[string]int{}
	for at, line := range joinLines(text) {
		pin, err := parsePin(line)
		if err != nil {
			return nil, fmt.Errorf("%d: %w", at, err)
		}
		if before := seen[pin.name]; before > 0 {
			return nil, fmt.Errorf("%d: %s: line %d has it already", at, pin.name, before)
		}
		pin.line, seen[pin.name] = at, at
		if pins = append(pins, pin); len(pins) > pipPackagesMax {
			return nil, protocol.Errorf(protocol.CodeLimit, "%d: more than %d packages", at, pipPackagesMax)
		}
	}
	return pins, nil
}

// joinLines yields each logical line that says something, with the number of its first.
func joinLines(text string) func(yield func(int, string) bool) {
	return func(yield func(int, string) bool) {
		whole, first := "", 0
		for i, line := range strings.Split(text+"\n", "\n") {
			if at := strings.IndexByte(line, '#'); at == 0 || at > 0 && (line[at-1] == ' ' || line[at-1] == '\t') {
				line = line[:at]
			}
			if whole == "" {
				first = i + 1
			}
			part, more := strings.CutSuffix(strings.TrimSpace(line), `\`)
			whole += " " + part
			if more {
				continue
			}
			if said := strings.Join(strings.Fields(whole), " "); said != "" && !yield(first, said) {
				return
			}
			whole = ""
		}
	}
}

func parsePin(line string) (pipPin, error) {
	m := pipPinLine.FindStringSubmatch(line)
	if m == nil {
		return pipPin{}, fmt.Errorf("%q: want NAME==VERSION --hash=sha256:DIGEST, without options or markers; a "+
			"lock is what `pip-compile --generate-hashes` writes. Or commit pure packages in the folder vendor",
			clipText(line))
	}
	pin := pipPin{name: pipName(m[1]), version: m[2]}
	for _, field := range strings.Fields(m[3]) {
		h := pipHash.FindStringSubmatch(field)
		if h == nil {
			return pin, fmt.Errorf("%s: %q: want --hash=sha256: and 64 hexadecimal digits", pin.name, clipText(field))
		}
		pin.hashes = append(pin.hashes, h[1])
	}
	if n := len(pin.hashes); n == 0 || n > pipHashesMax {
		return pin, fmt.Errorf("%s: %d hashes, want 1 to %d: a package without one is not locked; "+
			"`pip-compile --generate-hashes` writes them, or commit it in the folder vendor", pin.name, n,
			pipHashesMax)
	}
	return pin, nil
}

var pipSeparators = regexp.MustCompile(`[-_.]+`)

// pipName is the one spelling of a package's name.
func pipName(name string) string {
	return strings.ToLower(pipSeparators.ReplaceAllString(name, "-"))
}

// clipText cuts a text from a source for an error.
func clipText(s string) string { return s[:min(len(s), 120)] }

// obsolete are packages that a manifest may name and that Python 3 has no use for: no lock
// can have them, since they refuse to be installed (G-3).
var obsolete = map[string]string{
	"subprocess32": "a backport for Python 2: use subprocess", "futures": "a backport for Python 2: use " +
		"concurrent.futures",
	"enum34": "a backport for Python 2: use enum", "pathlib2": "a backport for Python 2: use pathlib",
}

// pipSDK is the SDK, which comes from the hub and is in no lock.
const pipSDK = "stavily"

// satisfies holds the lock to every range of the manifest (M-08, M-12): each package that
// the manifest wants must be locked, or lie in vendor, at a version that all of them allow.
// It returns what is odd.
func (l pipLock) satisfies(tree fs.FS, m *protocol.Manifest) (warnings []string, err error) {
	for _, want := range pipWishes(m) {
		if why, ok := obsolete[want.name]; ok {
			warnings = append(warnings, fmt.Sprintf("%s is left out, it is %s", want.name, why))
			continue
		}
		i := slices.IndexFunc(l.pins, func(p pipPin) bool { return p.name == want.name })
		if i < 0 {
			if want.name == pipSDK || vendored(tree, want.name) {
				continue
			}
			return nil, protocol.Errorf(protocol.CodeBadInput, "%s: %s: %s wants %s, which no lock has: commit "+
				"requirements.lock, as `pip-compile --generate-hashes` writes it, or the package in the folder vendor",
				ManifestFile, want.name, want.bounds[0].path, want.name+want.bounds[0].text)
		}
		if err := l.allows(l.pins[i], want.bounds); err != nil {
			return nil, err
		}
	}
	return warnings, nil
}

// allows wants a locked version in all ranges, and names those that it is not in.
func (l pipLock) allows(pin pipPin, bounds []bound) error {
	version, err := pipVersion(pin.version)
	if err != nil {
		return protocol.Errorf(protocol.CodeBadInput, "%s:%d: %s: version %q is not one that can be compared",
			l.file, pin.line, pin.name, pin.version)
	}
	var broken []string
	for _, b := range bounds {
		c, err := semver.NewConstraint(b.text)
		if err == nil && c.Check(version) {
			continue
		}
		broken = append(broken, fmt.Sprintf("%s wants %s", b.path, b.text))
	}
	if len(broken) == 0 {
		return nil
	}
	return protocol.Errorf(protocol.CodeBadInput, "%s:%d: %s is locked at %s, but %s", l.file, pin.line,
		pin.name,
		pin.version, strings.Join(broken, " and "))
}

// pipWish is a package that a manifest wants, and all that it says of its version.
type pipWish struct {
	name   string
	bounds []bound // not empty; a text may be
}

// pipWishes gathers what runtime.dependencies and compatibility.library_dependencies say.
// The manifest has been checked.
func pipWishes(m *protocol.Manifest) []pipWish {
	var out []pipWish
	add := func(name string, b bound) {
		i := slices.IndexFunc(out, func(w pipWish) bool { return w.name == name })
		if i < 0 {
			out = append(out, pipWish{name: name})
			i = len(out) - 1
		}
		if b.text != "" || len(out[i].bounds) == 0 {
			out[i].bounds = append(out[i].bounds, b)
		}
	}
	for i, dep := range m.Runtime.Dependencies {
		name := dependencyName.FindString(dep)
		add(pipName(name), bound{fmt.Sprintf("runtime.dependencies[%d]", i), equals(strings.TrimPrefix(dep, name))})
	}
	names := make([]string, 0, len(m.Compatibility.Libraries))
	for name := range m.Compatibility.Libraries {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		add(pipName(name), bound{
			"compatibility.library_dependencies." + name, equals(m.Compatibility.Libraries[name]),
		})
	}
	for i := range out {
		if len(out[i].bounds) > 1 { // an empty one bounds nothing
			out[i].bounds = slices.DeleteFunc(out[i].bounds, func(b bound) bool { return b.text == "" })
		}
	}
	return out
}

// vendored reports whether a package of that name lies in the folder vendor.
func vendored(tree fs.FS, name string) bool {
	entries, err := fs.ReadDir(tree, "vendor")
	if err != nil {
		return false
	}
	return slices.ContainsFunc(entries, func(e fs.DirEntry) bool {
		base, _, _ := strings.Cut(strings.TrimSuffix(e.Name(), ".py"), "-")
		return pipName(base) == name
	})
}

var pepVersion = regexp.MustCompile(
	`^(?:\d+!)?(\d+(?:\.\d+)*)(?:[-_.]?(a|b|c|rc|alpha|beta|pre)[-_.]?(\d*))?` +
		`(\.?post\d*)?(\.?dev\d*)?(\+[a-z0-9.]+)?$`)

// pipVersion reads a version as Python's packagers write it: at most three numbers of it
// count, and what comes before a release is before it.
func pipVersion(text string) (*semver.Version, error) {
	m := pepVersion.FindStringSubmatch(strings.ToLower(text))
	if m == nil {
		return nil, fmt.Errorf("%q: want a version such as 5.9.8", text)
	}
	numbers := strings.Split(m[1], ".")
	short := strings.Join(numbers[:min(len(numbers), 3)], ".")
	if m[2] != "" {
		short = padded(numbers) + "-" + m[2] + "." + m[3] + "0"
	} else if m[5] != "" {
		short = padded(numbers) + "-dev"
	}
	return semver.NewVersion(short)
}

// padded is three numbers, which a version before a release must have.
func padded(numbers []string) string {
	return strings.Join(append(slices.Clone(numbers), "0", "0")[:3], ".")
}

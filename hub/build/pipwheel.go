package build

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/stavily/stavily/protocol"
)

// The bounds of what a source's wheels unpack to, as an agent unpacks it.
const (
	wheelFilesMax = 8_000
	wheelBytesMax = 192 << 20
	wheelMax      = 64 << 20 // bytes of one, packed
)

// wheel is one package as it is installed: a zip archive.
type wheel struct {
	file string // its name, which says what it is for
	pin  pipPin
	pure bool // the same for every machine and every Python 3
	body []byte
}

// takeWheels holds the files of a folder to the lock: one wheel for each pin, with one of
// its digests, and nothing else.
func (l pipLock) takeWheels(dir fs.FS) ([]wheel, error) {
	entries, err := fs.ReadDir(dir, ".")
	if err != nil {
		return nil, fmt.Errorf("wheels: %w", err)
	}
	var out []wheel
	for _, e := range entries {
		w, err := l.takeWheel(dir, e.Name())
		if err != nil {
			return nil, err
		}
		out = append(out, w)
	}
	for _, pin := range l.pins {
		n := 0
		for _, w := range out {
			if w.pin.name == pin.name {
				n++
			}
		}
		if n != 1 {
			return nil, protocol.Errorf(protocol.CodeBadInput, "%s:%d: %s==%s: %d wheels came, want one", l.file,
				pin.line, pin.name, pin.version, n)
		}
	}
	return out, nil
}

func (l pipLock) takeWheel(dir fs.FS, file string) (wheel, error) {
	none := wheel{}
	name, tags, err := wheelName(file)
	if err != nil {
		return none, err
	}
	i := slices.IndexFunc(l.pins, func(p pipPin) bool { return p.name == name })
	if i < 0 {
		return none, protocol.Errorf(protocol.CodeBadInput, "%s: wheel %s: nobody asked for it", l.file, file)
	}
	f, err := dir.Open(file)
	if err != nil {
		return none, fmt.Errorf("wheel %s: %w", file, err)
	}
	defer f.Close()
	body, err := io.ReadAll(io.LimitReader(f, wheelMax+1))
	if err != nil {
		return none, fmt.Errorf("wheel %s: %w", file, err)
	}
	if len(body) > wheelMax {
		return none, protocol.Errorf(protocol.CodeLimit, "wheel %s: more than %d bytes", file, wheelMax)
	}
	sum := sha256.Sum256(body)
	if got := hex.EncodeToString(sum[:]); !slices.Contains(l.pins[i].hashes, got) {
		return none, protocol.Errorf(protocol.CodeDigest, "%s:%d: wheel %s has sha256 %s, which the lock does "+
			"not have",
			l.file, l.pins[i].line, file, got[:12])
	}
	pure := strings.HasSuffix(tags, "-none-any") && strings.Contains(tags, "py3")
	return wheel{file: file, pin: l.pins[i], pure: pure, body: body}, nil
}

// wheelName reads NAME-VERSION[-BUILD]-PYTHON-ABI-PLATFORM.whl.
func wheelName(file string) (name, tags string, err error) {
	stem, ok := strings.CutSuffix(file, ".whl")
	parts := strings.Split(stem, "-")
	if n := len(parts); !ok || n != 5 && n != 6 {
		return "", "", protocol.Errorf(protocol.CodeBadInput, "%q is no wheel: packages that would have to be "+
			"built are not taken", clipText(file))
	}
	return pipName(parts[0]), strings.Join(parts[len(parts)-3:], "-"), nil
}

// files returns what the wheels put beside a plugin, by path. Scripts and data that an
// installation would put elsewhere are left out, and nothing of a wheel is run.
func wheelFiles(wheels []wheel) (map[string][]byte, error) {
	out, room := map[string][]byte{}, int64(wheelBytesMax)
	for _, w := range wheels {
		z, err := zip.NewReader(bytes.NewReader(w.body), int64(len(w.body)))
		if err != nil {
			return nil, protocol.Errorf(protocol.CodeBadInput, "wheel %s: %w", w.file, err)
		}
		for _, f := range z.File {
			if err := wheelFile(out, f, &room); err != nil {
				return nil, protocol.Errorf(codeOfInput(err), "wheel %s: %w", w.file, err)
			}
		}
	}
	return out, nil
}

func wheelFile(out map[string][]byte, f *zip.File, room *int64) error {
	name := strings.TrimSuffix(f.Name, "/")
	if !fs.ValidPath(name) || f.Mode()&fs.ModeType&^fs.ModeDir != 0 || strings.ContainsAny(name, "\\\x00") {
		return fmt.Errorf("%q: want files and folders within it", clipText(f.Name))
	}
	name, wanted := wheelPlace(name)
	if f.FileInfo().IsDir() || !wanted {
		return nil
	}
	if out[name] != nil {
		return fmt.Errorf("%q: two packages have it", clipText(name))
	}
	*room -= int64(min(f.UncompressedSize64, wheelBytesMax+1))
	if *room < 0 || len(out) >= wheelFilesMax {
		return protocol.Errorf(protocol.CodeLimit, "all packages together: more than %d files or %d bytes",
			wheelFilesMax, wheelBytesMax)
	}
	r, err := f.Open()
	if err != nil {
		return err
	}
	defer r.Close()
	b, err := io.ReadAll(io.LimitReader(r, int64(f.UncompressedSize64)))
	out[name] = append([]byte{}, b...) // an empty file is one too
	return err
}

// wheelPlace is where a file of a wheel belongs; wanted is false for what is not imported.
func wheelPlace(name string) (place string, wanted bool) {
	top, rest, _ := strings.Cut(name, "/")
	if !strings.HasSuffix(top, ".data") {
		return name, path.Base(name) != "RECORD"
	}
	kind, rest, _ := strings.Cut(rest, "/")
	return rest, rest != "" && (kind == "purelib" || kind == "platlib")
}

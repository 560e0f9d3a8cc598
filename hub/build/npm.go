package build

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/stavily/stavily/protocol"
)

// The bounds of what a source may depend on.
const (
	npmPackagesMax = 200
	npmTarballMax  = 16 << 20 // bytes, packed
	npmFilesMax    = 20_000   // of all packages
	npmBytesMax    = 128 << 20
	npmWait        = time.Minute // for one package
)

// sdkPackage is served by the hub and needs no lock.
const sdkPackage = "@stavily/sdk"

// npmLock is what is read of package-lock.json, version 2 or 3.
type npmLock struct {
	Version  int                `json:"lockfileVersion"`
	Packages map[string]npmPack `json:"packages"`
}

type npmPack struct {
	Resolved  string `json:"resolved"`
	Integrity string `json:"integrity"`
	Dev       bool   `json:"dev"`
	Link      bool   `json:"link"`
	// Scripts says that the package wants to run something when it is installed. It never
	// does: packages are unpacked and nothing else.
	Scripts bool `json:"hasInstallScript"`
}

// npmFetch brings the packages that package-lock.json names into the build, each held to
// its integrity. Dependencies without a lock are refused unless they lie in vendor.
func npmFetch(ctx context.Context, w *workspace) error {
	p, err := readPackage(w.tree)
	if err != nil {
		return err
	}
	var wanted []string
	for name := range p.Dependencies {
		if _, err := fs.Stat(w.tree, path.Join("vendor", name)); err != nil && name != sdkPackage {
			wanted = append(wanted, name)
		}
	}
	if len(wanted) == 0 {
		return nil
	}
	slices.Sort(wanted)
	lock, err := readLock(w.tree, wanted)
	if err != nil {
		return err
	}
	at := make([]string, 0, len(lock.Packages))
	for where, pack := range lock.Packages {
		if where != "" && !pack.Dev && !strings.HasSuffix(where, "node_modules/"+sdkPackage) {
			at = append(at, where)
		}
	}
	slices.Sort(at)
	room := &unpacking{files: npmFilesMax, bytes: npmBytesMax}
	for _, where := range at {
		if err := w.npmInstall(ctx, where, lock.Packages[where], room); err != nil {
			return overtime(ctx, "fetch", protocol.Errorf(codeOfInput(err),
				"package-lock.json: %s: %w", where, err))
		}
	}
	return nil
}

// codeOfInput returns the code that err has; what has none is about the source.
func codeOfInput(err error) protocol.Code {
	if code := protocol.CodeOf(err); code != protocol.CodeInternal {
		return code
	}
	return protocol.CodeBadInput
}

// readLock reads the lock and wants every name in it.
func readLock(tree fs.FS, wanted []string) (npmLock, error) {
	var lock npmLock
	b, err := fs.ReadFile(tree, "package-lock.json")
	if errors.Is(err, fs.ErrNotExist) {
		return lock, protocol.Errorf(protocol.CodeBadInput, "package.json: depends on %s without a lock: commit "+
			"package-lock.json, or the packages in the folder vendor", strings.Join(wanted, ", "))
	}
	if err == nil {
		err = json.Unmarshal(b, &lock)
	}
	switch {
	case err != nil:
		return lock, protocol.Errorf(protocol.CodeBadInput, "package-lock.json: %w", err)
	case lock.Version != 2 && lock.Version != 3:
		return lock, protocol.Errorf(protocol.CodeBadInput, "package-lock.json: lockfileVersion %d, want 2 or 3",
			lock.Version)
	case len(lock.Packages) > npmPackagesMax:
		return lock, protocol.Errorf(protocol.CodeLimit, "package-lock.json: %d packages, limit %d",
			len(lock.Packages), npmPackagesMax)
	}
	for _, name := range wanted {
		if _, ok := lock.Packages["node_modules/"+name]; !ok {
			return lock, protocol.Errorf(protocol.CodeBadInput, "package-lock.json: package.json depends on %s, "+
				"which is not locked", name)
		}
	}
	return lock, nil
}

// npmInstall fetches one package and unpacks it.
func (w *workspace) npmInstall(ctx context.Context, where string, pack npmPack, room *unpacking) error {
	if !fs.ValidPath(where) || !strings.HasPrefix(where, "node_modules/") || pack.Link {
		return errors.New("want a package in node_modules that is no link")
	}
	want, err := sha512Of(pack.Integrity)
	if err != nil {
		return err
	}
	tarball, err := w.npmTarball(ctx, pack.Resolved, want)
	if err != nil {
		return err
	}
	return room.unpack(tarball, filepath.Join(w.dir, filepath.FromSlash(where)))
}

// sha512Of reads an integrity, of which only SHA-512 counts.
func sha512Of(integrity string) ([]byte, error) {
	for _, one := range strings.Fields(integrity) {
		text, ok := strings.CutPrefix(one, "sha512-")
		if sum, err := base64.StdEncoding.DecodeString(text); ok && err == nil && len(sum) == sha512.Size {
			return sum, nil
		}
	}
	return nil, fmt.Errorf("integrity %q: want sha512-", integrity[:min(len(integrity), 100)])
}

// npmTarball returns a package's archive from the cache or from where the lock says.
func (w *workspace) npmTarball(ctx context.Context, from string, want []byte) ([]byte, error) {
	dir := filepath.Join(w.b.cfg.CacheDir, "npm")
	kept := filepath.Join(dir, hex.EncodeToString(want)+".tgz")
	if b, err := os.ReadFile(kept); err == nil {
		if sum := sha512.Sum512(b); bytes.Equal(sum[:], want) {
			return b, nil
		}
	}
	b, err := w.npmGet(ctx, from)
	if err != nil {
		return nil, err
	}
	if sum := sha512.Sum512(b); !bytes.Equal(sum[:], want) {
		return nil, protocol.Errorf(protocol.CodeDigest, "has integrity sha512-%s, want sha512-%s",
			base64.StdEncoding.EncodeToString(sum[:]), base64.StdEncoding.EncodeToString(want))
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("cache: %w", err)
	}
	return b, keep(kept, b)
}

func (w *workspace) npmGet(ctx context.Context, from string) ([]byte, error) {
	u, err := url.Parse(from)
	if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil {
		return nil, fmt.Errorf("resolved %q: want an https address", from[:min(len(from), 200)])
	}
	ctx, cancel := context.WithTimeout(ctx, npmWait)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, from, http.NoBody)
	if err != nil {
		return nil, err
	}
	client := w.b.cfg.Client
	if client == nil {
		client = http.DefaultClient
	}
	res, err := client.Do(req)
	if err != nil {
		return nil, protocol.Errorf(protocol.CodeUnavailable, "fetch: %w", err)
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusOK {
		return nil, protocol.Errorf(protocol.CodeUnavailable, "fetch %s: %s", from, res.Status)
	}
	b, err := io.ReadAll(io.LimitReader(res.Body, npmTarballMax+1))
	switch {
	case err != nil:
		return nil, protocol.Errorf(protocol.CodeUnavailable, "fetch: %w", err)
	case len(b) > npmTarballMax:
		return nil, protocol.Errorf(protocol.CodeLimit, "more than %d bytes packed", npmTarballMax)
	}
	return b, nil
}

// unpacking is what all packages of a build may still unpack to.
type unpacking struct {
	files int
	bytes int64
}

// unpack writes a package's regular files below dir, without the archive's own first
// folder. Links, devices and paths that climb are refused.
func (u *unpacking) unpack(tarball []byte, dir string) error {
	z, err := gzip.NewReader(bytes.NewReader(tarball))
	if err != nil {
		return err
	}
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if h.Typeflag == tar.TypeDir || h.Typeflag == tar.TypeXGlobalHeader {
			continue
		}
		_, name, found := strings.Cut(h.Name, "/")
		if h.Typeflag != tar.TypeReg || !found || !fs.ValidPath(h.Name) {
			return fmt.Errorf("%q: not a regular file within the package", h.Name)
		}
		u.files--
		u.bytes -= h.Size
		if u.files < 0 || u.bytes < 0 || h.Size < 0 {
			return protocol.Errorf(protocol.CodeLimit, "all packages together: more than %d files or %d bytes",
				npmFilesMax, npmBytesMax)
		}
		if err := writeFile(filepath.Join(dir, filepath.FromSlash(name)), io.LimitReader(r, h.Size)); err != nil {
			return err
		}
	}
}

func writeFile(at string, from io.Reader) error {
	if err := os.MkdirAll(filepath.Dir(at), 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(at, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, from)
	return errors.Join(err, f.Close())
}

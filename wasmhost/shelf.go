//go:build amd64 || arm64

package wasmhost

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/tetratelabs/wazero"

	"github.com/stavily/stavily/protocol"
)

// shelf keeps compiled code in a directory, where the engine writes and reads it. The
// engine believes what it finds there; so nothing is found that the shelf's list does not
// name with its SHA-256, and the list is sealed. Several processes may use one directory:
// a lock is held while a module is compiled, so that none is compiled twice, another while
// the list is read or written. A nil shelf keeps nothing.
type shelf struct {
	dir  string
	key  []byte
	max  int64
	log  *slog.Logger
	now  func() time.Time
	home string // the engine's own folder in dir, named after its version
	door *watched
}

// compiles says that the engine has a compiler for this kind of machine.
const compiles = true

const (
	shelfMax  = 256 << 20 // bytes, without Config.CacheMax
	listName  = "list"
	listMax   = 1 << 20
	codesMax  = 4096 // that a list names
	lockList  = "list.lock"
	lockBuild = "compile.lock"
)

// shelved is one line of the list: a module and the file that holds its code.
type shelved struct {
	Module protocol.Digest `cbor:"1,keyasint"`
	Name   string          `cbor:"2,keyasint"`
	SizeB  int64           `cbor:"3,keyasint"`
	Sum    protocol.Digest `cbor:"4,keyasint"` // of the file: see shelf.sum
	// Hollow says that the file lies where the engine looks for the module's hollow form.
	Hollow bool   `cbor:"5,keyasint,omitempty"`
	Nonce  uint64 `cbor:"6,keyasint,omitempty"` // of Sum; 0 for none
}

// openShelf opens the directory of compiled code, which must be ours alone. It returns
// nil when there is nothing to keep.
func openShelf(cfg *Config) (*shelf, error) {
	if cfg.CacheDir == "" || cfg.Interpreter {
		return nil, nil //nolint:nilnil // a nil shelf is one that keeps nothing
	}
	if err := ownDir(cfg.CacheDir); err != nil {
		return nil, protocol.Errorf(protocol.CodeStorage, "compile cache: %w", err)
	}
	dir, err := filepath.Abs(cfg.CacheDir)
	if err != nil {
		return nil, protocol.Errorf(protocol.CodeStorage, "compile cache: %w", err)
	}
	s := &shelf{dir: dir, key: cfg.CacheKey, max: cfg.CacheMax, log: cfg.Log, now: cfg.Clock}
	if s.max <= 0 {
		s.max = shelfMax
	}
	return s, nil
}

// shelfAt is the shelf of a child, which only writes.
func shelfAt(dir string) *shelf {
	if dir == "" {
		return nil
	}
	return &shelf{dir: dir}
}

// ownDir makes dir, and checks that nobody else may write there.
func ownDir(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	info, err := os.Stat(dir)
	if err != nil {
		return err
	}
	if mode := info.Mode().Perm(); mode&0o022 != 0 {
		return protocol.Errorf(protocol.CodeStorage, "%s: mode %o lets others write, want 700", dir, mode)
	}
	if !ownedByUs(info) {
		return protocol.Errorf(protocol.CodeStorage, "%s: belongs to another user", dir)
	}
	return nil
}

// openCache returns the engine's cache over the shelf.
func openCache(s *shelf) (wazero.CompilationCache, error) {
	if s == nil {
		return wazero.NewCompilationCache(), nil
	}
	cache, err := wazero.NewCompilationCacheWithDir(s.dir)
	if err == nil {
		err = s.findHome()
	}
	if err == nil {
		s.door, err = watch(cache)
	}
	if err != nil {
		return nil, protocol.Errorf(protocol.CodeStorage, "compile cache: %w", err)
	}
	return cache, nil
}

// findHome learns what this version of the engine calls its folder, which it has made by now:
// the only one that is there, or, where others left theirs, the one that it makes elsewhere.
func (s *shelf) findHome() error {
	there, err := folders(s.dir)
	if err == nil && len(there) != 1 {
		there, err = s.probe()
	}
	if err != nil {
		return err
	}
	if len(there) != 1 {
		return protocol.Errorf(protocol.CodeStorage, "engine made %d folders, want 1", len(there))
	}
	s.home = there[0]
	return nil
}

// probe has the engine make its folder in an empty one.
func (s *shelf) probe() ([]string, error) {
	empty, err := os.MkdirTemp(s.dir, "probe")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(empty) }()
	if _, err := wazero.NewCompilationCacheWithDir(empty); err != nil {
		return nil, err
	}
	return folders(empty)
}

// folders returns the names of the folders in dir.
func folders(dir string) (names []string, err error) {
	all, err := os.ReadDir(dir)
	for _, e := range all {
		if e.IsDir() {
			names = append(names, e.Name())
		}
	}
	return names, err
}

// root returns the shelf's directory, none for a shelf that keeps nothing.
func (s *shelf) root() string {
	if s == nil {
		return ""
	}
	return s.dir
}

// take has the engine read a module's code, if that is on the shelf as it was put there.
// It returns nil without an error when it is not.
func (s *shelf) take(
	ctx context.Context, d protocol.Digest, r wazero.Runtime, wasm []byte,
) (wazero.CompiledModule, error) {
	if s == nil {
		return nil, nil //nolint:nilnil // nothing is found on no shelf
	}
	lock, err := lockFile(filepath.Join(s.dir, lockList), false)
	if err != nil {
		return nil, protocol.Errorf(protocol.CodeStorage, "compile cache: %w", err)
	}
	defer lock.Close()
	list, err := s.read()
	if err != nil {
		s.log.Warn("compile cache thrown away", slog.String("error", err.Error()))
		return nil, nil //nolint:nilnil // it is compiled again
	}
	i := s.find(list, d)
	if i < 0 {
		return nil, nil //nolint:nilnil // not there
	}
	if err := s.inspect(list[i]); err != nil {
		s.log.Warn("compiled code thrown away", slog.String("module", d.Short()), slog.String("error", err.Error()))
		return nil, nil //nolint:nilnil // it is compiled again
	}
	module, err := s.open(ctx, r, shelvedCode{list[i], wasm})
	if module != nil {
		now := s.now()
		_ = os.Chtimes(s.path(list[i].Name), now, now) // what cannot be marked as used is only evicted sooner
	}
	return module, err
}

func (s *shelf) find(list []shelved, d protocol.Digest) int {
	return slices.IndexFunc(list, func(l shelved) bool {
		return l.Module == d && filepath.Dir(l.Name) == s.home
	})
}

func (s *shelf) path(name string) string { return filepath.Join(s.dir, name) }

// inspect shows that a file is as the list says.
func (s *shelf) inspect(l shelved) error {
	got, size, err := s.sum(l.Name, l.Nonce)
	switch {
	case err != nil:
		return err
	case size != l.SizeB || got != l.Sum:
		return protocol.Errorf(protocol.CodeDigest, "%s: %d bytes with digest %s, want %d with %s",
			filepath.Base(l.Name), size, got.Short(), l.SizeB, l.Sum.Short())
	}
	return nil
}

// read reads the list. One that is not there is empty.
func (s *shelf) read() ([]shelved, error) {
	b, err := os.ReadFile(s.path(listName))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, err
	case len(b) < sha256.Size || len(b) > listMax:
		return nil, protocol.Errorf(protocol.CodeDigest, "list of %d bytes", len(b))
	case !hmac.Equal(b[:sha256.Size], s.seal(b[sha256.Size:])):
		return nil, protocol.Errorf(protocol.CodeDigest, "list was changed by someone else")
	}
	var list []shelved
	err = protocol.Unmarshal(b[sha256.Size:], &list)
	return list, err
}

// seal is what stands before the list: nobody without the key makes one up.
func (s *shelf) seal(list []byte) []byte {
	mac := hmac.New(sha256.New, s.key)
	mac.Write(list)
	return mac.Sum(nil)
}

// put is the right to put one module on the shelf, until close.
type put struct {
	s      *shelf
	module protocol.Digest
	lock   io.Closer
}

// clear waits until nobody else compiles, in any process, and removes what the list does
// not name: what is found afterwards is new.
func (s *shelf) clear(d protocol.Digest) (*put, error) {
	if s == nil {
		return &put{}, nil
	}
	p := &put{s: s, module: d}
	var err error
	if p.lock, err = lockFile(s.path(lockBuild), true); err != nil {
		return nil, protocol.Errorf(protocol.CodeStorage, "compile cache: %w", err)
	}
	err = s.change(func(list []shelved) []shelved {
		if i := s.find(list, d); i >= 0 && s.inspect(list[i]) != nil {
			list = slices.Delete(list, i, i+1)
		}
		s.sweep(list)
		return list
	})
	if err != nil {
		p.close()
		return nil, protocol.Errorf(protocol.CodeStorage, "compile cache: %w", err)
	}
	return p, nil
}

// sweep removes what the engine made since clear.
func (p *put) sweep() {
	if p.s == nil {
		return
	}
	_ = p.s.change(func(list []shelved) []shelved { // what cannot be removed is not kept either
		p.s.sweep(list)
		return list
	})
}

// sweep removes what the list does not name.
func (s *shelf) sweep(list []shelved) {
	for _, name := range s.foreign(list) {
		_ = os.RemoveAll(s.path(name)) // what stays is not found: the engine writes over it
	}
}

// close lets others compile.
func (p *put) close() {
	if p.lock != nil {
		_ = p.lock.Close()
	}
}

// keep takes up what the engine wrote since clear as the module's code, under its hollow
// form's name if that can be. What cannot be kept is compiled again another time.
func (p *put) keep(ctx context.Context, cfg wazero.RuntimeConfig, wasm []byte) {
	if p.s == nil {
		return
	}
	err := p.s.change(func(list []shelved) []shelved {
		fresh := p.s.foreign(list)
		if len(fresh) != 1 {
			return list // the engine interprets, or the code was there already
		}
		line := shelved{Module: p.module, Name: fresh[0], Nonce: newNonce()}
		if name := p.s.hollowName(ctx, cfg, hollowOf{p.module, wasm}); name != "" {
			if os.Rename(p.s.path(fresh[0]), p.s.path(name)) == nil {
				line.Name, line.Hollow = name, true
			}
		}
		var err error
		if line.Sum, line.SizeB, err = p.s.sum(line.Name, line.Nonce); err != nil {
			return list
		}
		list = slices.DeleteFunc(list, func(l shelved) bool { return l.Name == line.Name || l.Module == p.module })
		return p.s.evict(append(list, line))
	})
	if err != nil {
		p.s.log.Warn("compiled code not kept",
			slog.String("module", p.module.Short()), slog.String("error", err.Error()))
	}
}

// change replaces the list by what f makes of it. One that cannot be read is empty.
func (s *shelf) change(f func([]shelved) []shelved) error {
	lock, err := lockFile(s.path(lockList), true)
	if err != nil {
		return err
	}
	defer lock.Close()
	old, err := s.read()
	if err != nil {
		old = nil
	}
	list := f(slices.Clone(old))
	if err == nil && slices.Equal(old, list) {
		return nil
	}
	b, err := protocol.Marshal(list)
	if err != nil {
		return err
	}
	return writeDurably(s.dir, listName, append(s.seal(b), b...))
}

// foreign returns the files in the engines' folders that the list does not name.
func (s *shelf) foreign(list []shelved) (out []string) {
	homes, _ := filepath.Glob(filepath.Join(s.dir, "wazero-*"))
	for _, home := range homes {
		out = append(out, s.foreignIn(filepath.Base(home), list)...)
	}
	return out
}

func (s *shelf) foreignIn(home string, list []shelved) (out []string) {
	files, _ := os.ReadDir(s.path(home))
	for _, f := range files {
		name := filepath.Join(home, f.Name())
		if !slices.ContainsFunc(list, func(l shelved) bool { return l.Name == name }) {
			out = append(out, name)
		}
	}
	return out
}

// evict drops what was used longest ago until the rest is within the bound. The last line
// is the newest.
func (s *shelf) evict(list []shelved) []shelved {
	used := map[string]time.Time{}
	var all int64
	for _, l := range list {
		all += l.SizeB
		if info, err := os.Stat(s.path(l.Name)); err == nil {
			used[l.Name] = info.ModTime()
		}
	}
	newest := list[len(list)-1].Name
	slices.SortStableFunc(list, func(a, b shelved) int { return used[a.Name].Compare(used[b.Name]) })
	i := slices.IndexFunc(list, func(l shelved) bool { return l.Name == newest })
	last := list[i]
	list = append(slices.Delete(list, i, i+1), last)
	for len(list) > 0 && (all > s.max || len(list) > codesMax) {
		all -= list[0].SizeB
		_ = os.Remove(s.path(list[0].Name)) // what stays is foreign and goes another time
		list = list[1:]
	}
	return slices.Clip(list)
}

// writeDurably replaces a file so that a power cut leaves the old one or the new one.
func writeDurably(dir, name string, b []byte) error {
	f, err := os.CreateTemp(dir, name+".*.new")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	if _, err = f.Write(b); err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), filepath.Join(dir, name)); err != nil {
		return err
	}
	return syncDir(dir)
}

package hub

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path"
	"path/filepath"
	"slices"

	"github.com/stavily/stavily/hub/build"
	"github.com/stavily/stavily/hub/document"
	"github.com/stavily/stavily/protocol"
	"github.com/stavily/stavily/wasmhost"
)

// folder is a plugin's source as it lies on a disk, without what git keeps and without
// links.
type folder struct {
	fs.FS
	dir string
}

// WriteTo copies the source to a folder that is there.
func (f folder) WriteTo(dir string) error {
	return f.each(func(name string, text []byte) error {
		to := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			return err
		}
		return os.WriteFile(to, text, 0o644)
	})
}

// each calls do with every regular file, in the order of names.
func (f folder) each(do func(name string, text []byte) error) error {
	return fs.WalkDir(f.FS, ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == ".git" || d.Name() == "node_modules" || d.Name() == "target"):
			return fs.SkipDir
		case !d.Type().IsRegular():
			return nil
		}
		text, err := fs.ReadFile(f.FS, name)
		if err != nil {
			return err
		}
		return do(name, text)
	})
}

func (f folder) digest() (digest protocol.Digest, err error) {
	h := sha256.New()
	err = f.each(func(name string, text []byte) error {
		fmt.Fprintf(h, "%d %s %d\n", len(name), name, len(text))
		_, err := h.Write(text)
		return err
	})
	return protocol.Digest(h.Sum(nil)), err
}

// ReadManifest reads the manifest of a plugin's source in dir, and the paths of its
// configuration examples, ascending.
func ReadManifest(dir string) (m *protocol.Manifest, examples []string, err error) {
	tree := os.DirFS(dir)
	if m, _, err = build.ReadManifest(tree); err != nil {
		return nil, nil, fmt.Errorf("%s: %w", dir, err)
	}
	if m.Configuration.Examples == "" {
		return m, nil, nil
	}
	names, err := fs.Glob(tree, path.Join(path.Clean(m.Configuration.Examples), "*.yaml"))
	slices.Sort(names)
	for i := range names {
		names[i] = filepath.Join(dir, filepath.FromSlash(names[i]))
	}
	return m, names, err
}

// ReadConfig reads a plugin's configuration from a file of YAML or JSON, and returns it
// as JSON.
func ReadConfig(file string) ([]byte, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	doc, err := document.Parse(file, text)
	if err != nil {
		return nil, err
	}
	var value any
	if err := doc.Decode(&value); err != nil {
		return nil, err
	}
	return json.Marshal(value)
}

// BuildFolder builds the plugin in dir as a publication does, from source to metered
// module, without Git and without its author's signature: for a plugin's author, at the
// desk. cache keeps what builds share.
func BuildFolder(ctx context.Context, dir, cache string) (Built, error) {
	tree := folder{os.DirFS(dir), dir}
	m, _, err := build.ReadManifest(tree)
	if err != nil {
		return Built{}, fmt.Errorf("%s: %w", dir, err)
	}
	out := Built{Manifest: *m}
	if out.Schema, err = build.ReadSchema(tree, m); err != nil {
		return Built{}, fmt.Errorf("%s: %w", dir, err)
	}
	digest, err := tree.digest()
	if err != nil {
		return Built{}, err
	}
	builder, err := build.New(build.Config{CacheDir: cache, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return Built{}, err
	}
	made, err := builder.Build(ctx, build.Request{Tree: tree, TreeDigest: digest, Manifest: m})
	if err != nil {
		return Built{}, fmt.Errorf("build %s: %w", dir, err)
	}
	if made.Module == nil {
		return Built{}, protocol.Errorf(protocol.CodeIncompatible, "build %s: %s is built for %s only, and a "+
			"simulation runs modules", dir, m, made.Outputs[0].Platform)
	}
	err = out.meter(made.Module)
	return out, err
}

// ReadModule reads a module with its manifest beside it.
func ReadModule(file string) (Built, error) {
	dir := filepath.Dir(file)
	m, _, err := build.ReadManifest(os.DirFS(dir))
	if err != nil {
		return Built{}, fmt.Errorf("%s: its manifest: %w", file, err)
	}
	out := Built{Manifest: *m}
	if out.Schema, err = build.ReadSchema(os.DirFS(dir), m); err != nil {
		return Built{}, fmt.Errorf("%s: %w", file, err)
	}
	open, err := os.Open(file)
	if err != nil {
		return Built{}, err
	}
	defer open.Close()
	module, err := io.ReadAll(io.LimitReader(open, protocol.ArtifactMax+1))
	if err != nil {
		return Built{}, err
	}
	err = out.meter(module)
	return out, err
}

// meter takes a module through the last stages: verified, metered, verified again.
func (b *Built) meter(module []byte) error {
	if _, err := wasmhost.Verify(module, &b.Manifest); err != nil {
		return err
	}
	metered, err := build.Meter(module)
	if err != nil {
		return err
	}
	_, err = wasmhost.Verify(metered, &b.Manifest)
	b.Module = metered
	return err
}

package cli

import (
	"bytes"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/stavily/stavily/hub/build"
	"github.com/stavily/stavily/protocol"
	"github.com/stavily/stavily/wasmhost"
)

// desk is a plugin at the desk: what is known of it, and what it is loaded from.
type desk struct {
	path     string
	manifest *protocol.Manifest
	warnings []string
	module   []byte // before it is metered: the engine's where one runs the plugin
	script   []byte // what the engine runs; nil without one
	engine   *build.Engine
	origin   *origin // nil for a file
}

// origin is the folder that a plugin was built from.
type origin struct {
	request build.Request
	builder *build.Builder
	result  *build.Result
}

// deskFlags are the flags of the commands that take a plugin as a folder or as a file.
type deskFlags struct{ manifest, engine string }

func (f *deskFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.manifest, "manifest", "",
		"of a built file (default "+build.ManifestFile+" beside it)")
	cmd.Flags().StringVar(&f.engine, "engine", "",
		"folder with the engine of a script (default where make engines and packages put it)")
	_ = cmd.MarkFlagFilename("manifest", "yaml")
	_ = cmd.MarkFlagDirname("engine")
}

// open builds the plugin of a folder, or takes it from a built file.
func (f *deskFlags) open(cmd *cobra.Command, path string) (*desk, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, hinted(fmt.Errorf("plugin: %w", err),
			"name the folder of a plugin, or the .wasm or .zip that \"stavily plugin build\" wrote")
	}
	d := &desk{path: path}
	if info.IsDir() {
		err = f.folder(cmd, d)
	} else {
		err = f.file(d)
	}
	if err != nil {
		return nil, err
	}
	return d, nil
}

// folder builds what the folder has, or takes it from the cache.
func (f *deskFlags) folder(cmd *cobra.Command, d *desk) error {
	if f.manifest != "" {
		return usage(cmd, fmt.Errorf("--manifest %q: a folder has its own", f.manifest))
	}
	s, warnings, err := openFolder(cmd, d.path)
	if err != nil {
		return err
	}
	d.origin, d.manifest, d.warnings = s, s.request.Manifest, warnings
	s.result, err = s.builder.Build(cmd.Context(), s.request)
	if protocol.CodeOf(err) == protocol.CodeUnavailable {
		return hinted(err, "\"stavily doctor\" says what this machine can build and what is missing")
	}
	if err != nil {
		return err
	}
	first := s.result.Outputs[0]
	if first.Platform != protocol.PlatformWASM {
		return protocol.Errorf(protocol.CodeIncompatible, "plugin %s: built for %s only; at the desk it is tried "+
			"as WebAssembly", d.manifest, first.Platform)
	}
	if first.Engine == "" {
		d.module = first.Bytes
		return nil
	}
	d.script = first.Bytes
	return f.findEngine(d, first.Engine)
}

func openFolder(cmd *cobra.Command, dir string) (*origin, []string, error) {
	tree, digest, err := build.Folder(dir)
	if err != nil {
		return nil, nil, err
	}
	m, warnings, err := build.ReadManifest(tree)
	if err != nil {
		return nil, nil, err
	}
	cache, err := deskCache()
	if err != nil {
		return nil, nil, err
	}
	log := slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), &slog.HandlerOptions{Level: slog.LevelError}))
	b, err := build.New(build.Config{CacheDir: cache, Log: log, AllowUnconfined: true, AllowUnmeasured: true})
	if err != nil {
		return nil, nil, err
	}
	req := build.Request{Tree: tree, TreeDigest: digest, Manifest: m}
	return &origin{builder: b, request: req}, warnings, nil
}

// deskCache is where this user keeps what was built and compiled.
func deskCache() (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("cache: %w", err)
	}
	return filepath.Join(cache, "stavily"), nil
}

// file takes a module, or a script with its engine.
func (f *deskFlags) file(d *desk) error {
	if err := f.readManifest(d); err != nil {
		return err
	}
	b, err := readBounded(d.path, protocol.ArtifactMax)
	if err != nil {
		return err
	}
	if bytes.HasPrefix(b, []byte("\x00asm")) {
		d.module = b
		return nil
	}
	if d.script = b; !bytes.HasPrefix(b, []byte("PK")) {
		return hinted(protocol.Errorf(protocol.CodeBadInput, "%s: neither a WebAssembly module nor a packed script",
			d.path), "\"stavily plugin build\" writes one")
	}
	name, err := build.EngineOf(b)
	if err != nil {
		return fmt.Errorf("%s: %w", d.path, err)
	}
	return f.findEngine(d, name)
}

func (f *deskFlags) readManifest(d *desk) error {
	name := f.manifest
	if name == "" {
		name = filepath.Join(filepath.Dir(d.path), build.ManifestFile)
	}
	text, err := readDocument(name)
	if err != nil {
		return hinted(err, "say where the plugin's manifest is with --manifest")
	}
	d.manifest, d.warnings, err = build.ParseManifest(name, text)
	return err
}

func (f *deskFlags) findEngine(d *desk, name string) (err error) {
	if d.engine, err = build.EngineAt(name, f.engine); err != nil {
		return hinted(err, "run make engines, or name the folder that has it with --engine")
	}
	d.module = d.engine.Module
	return nil
}

// spec is the plugin as an agent loads it, metered, without a step of its own.
func (d *desk) spec() (s wasmhost.Spec, err error) {
	s = wasmhost.Spec{Workflow: "desk", Step: protocol.Step{Name: "desk"}, Manifest: *d.manifest}
	if s.Wasm, err = wasmhost.Metered(d.module); err != nil {
		return s, fmt.Errorf("%s: %w", d.path, err)
	}
	s.Digest = protocol.DigestOf(s.Wasm)
	if d.engine != nil {
		s.Args = d.engine.Args
		s.Mounts, err = d.engine.Mounts(d.script)
	}
	return s, err
}

// tree is the plugin's source, nil for a file.
func (d *desk) tree() fs.FS {
	if d.origin == nil {
		return nil
	}
	return d.origin.request.Tree
}

// compiled is where the code of modules is kept that were compiled at the desk.
func compiled() (string, error) {
	cache, err := deskCache()
	return filepath.Join(cache, "code"), err
}

// hintError is an error with what to do about it, on a line of its own.
type hintError struct {
	err  error
	hint string
}

func (e *hintError) Error() string { return e.err.Error() + "\nhint: " + e.hint }
func (e *hintError) Unwrap() error { return e.err }

func hinted(err error, hint string) error { return &hintError{err, hint} }

// folderOrFile completes the one argument of the commands at the desk.
func folderOrFile(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return []string{"wasm", "zip"}, cobra.ShellCompDirectiveFilterFileExt
}

// folderArg completes a folder.
func folderArg(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return nil, cobra.ShellCompDirectiveFilterDirs
}

// here is the first argument, or the folder that the command is in.
func here(args []string) string {
	if len(args) == 0 {
		return "."
	}
	return args[0]
}

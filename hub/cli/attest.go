package cli

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/stavily/stavily/hub/api"
	"github.com/stavily/stavily/hub/build"
	"github.com/stavily/stavily/hub/source"
)

// attesting gives "plugin build" the flag --attest: build the signed tag of the folder's
// version, and sign what came out.
func attesting(c *connection, cmd *cobra.Command) *cobra.Command {
	var keyFile string
	cmd.Flags().StringVar(&keyFile, "attest", "", "build the signed tag of this version, not the folder, and "+
		"sign what came out with the builder's SSH `key`, for \"plugin publish --artifact\"")
	plain := cmd.RunE
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if keyFile == "" {
			return plain(cmd, args)
		}
		if skip, _ := cmd.Flags().GetBool("no-tests"); skip {
			return usage(cmd, errors.New("--attest: a builder vouches for the tests too: leave --no-tests out"))
		}
		dir := "."
		if len(args) == 1 {
			dir = args[0]
		}
		done, err := attest(cmd, dir, keyFile)
		if err != nil {
			return fmt.Errorf("attest %s: %w", dir, err)
		}
		if done.File, _ = cmd.Flags().GetString("file"); done.File == "" {
			done.File = string(done.attestation.Plugin) + "-" + done.attestation.Version + ".bundle"
		}
		if err := os.WriteFile(done.File, done.packed, 0o600); err != nil {
			return fmt.Errorf("attest: %w", err)
		}
		return c.print(cmd.OutOrStdout(), done, done.show)
	}
	return cmd
}

// attestedBuild is what "plugin build --attest" tells.
type attestedBuild struct {
	File      string   `json:"file"`
	Plugin    string   `json:"plugin"`
	Commit    string   `json:"commit"`
	Tree      string   `json:"tree"`
	Platforms []string `json:"platforms"`
	Tests     string   `json:"tests,omitempty"`
	// Builder is the line that the hub needs in one of its files of allowed builders.
	Builder string `json:"builder"`

	attestation build.Attestation
	packed      []byte
}

func (b attestedBuild) show(w io.Writer) {
	row(w, "plugin", b.Plugin)
	row(w, "bundle", b.File, fmt.Sprintf("%d bytes", len(b.packed)))
	row(w, "commit", b.Commit)
	row(w, "tree", b.Tree)
	row(w, "platforms", strings.Join(b.Platforms, ", "))
	row(w, "tests", b.Tests)
	row(w, "builder", b.Builder)
}

// attest builds and tests the signed tag of the version that the folder's manifest says,
// and signs a statement about it.
func attest(cmd *cobra.Command, dir, keyFile string) (*attestedBuild, error) {
	key, err := readSigningKey(keyFile)
	if err != nil {
		return nil, err
	}
	m, _, err := build.ReadManifest(os.DirFS(dir))
	if err != nil {
		return nil, err
	}
	tag := "v" + m.Plugin.Version
	tree, err := source.Fetch(cmd.Context(), source.Ref{URL: absolute(dir), Tag: tag}, source.Options{})
	if err != nil {
		return nil, fmt.Errorf("%w; what is attested is a signed tag: see \"stavily plugin sign\"", err)
	}
	if m, _, err = build.ReadManifest(tree); err != nil {
		return nil, err
	}
	a, err := builtFor(cmd, build.Request{Tree: tree, TreeDigest: tree.Digest, Manifest: m})
	if err != nil {
		return nil, err
	}
	a.Commit, a.Tree = tree.Commit, tree.Digest
	bundle := build.Bundle{}
	if bundle.Statement, err = a.Statement(); err != nil {
		return nil, err
	}
	if bundle.Signature, err = source.Attest(bundle.Statement, key); err != nil {
		return nil, err
	}
	host, err := os.Hostname()
	if err != nil {
		host = "builder"
	}
	public, _ := key.Public().(ed25519.PublicKey)
	line, err := source.BuilderLine("builder@"+host, public)
	if err != nil {
		return nil, err
	}
	out := &attestedBuild{
		Plugin: m.String(), Commit: a.Commit, Tree: a.Tree.String(), Tests: a.Tests,
		Builder:     strings.TrimSpace(line),
		attestation: *a,
	}
	for _, o := range a.Outputs {
		out.Platforms = append(out.Platforms, o.Platform)
	}
	out.packed, err = bundle.Pack(a.Outputs)
	return out, err
}

// builtFor builds and tests as a hub does, by the hub's own default policy.
func builtFor(cmd *cobra.Command, req build.Request) (*build.Attestation, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return nil, err
	}
	log := slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), &slog.HandlerOptions{Level: slog.LevelWarn}))
	b, err := build.New(build.Config{CacheDir: filepath.Join(cache, "stavily"), Log: log})
	if err != nil {
		return nil, err
	}
	r, err := b.Build(cmd.Context(), req)
	if err != nil {
		return nil, err
	}
	a := &build.Attestation{
		Plugin: req.Manifest.Plugin.Name, Version: req.Manifest.Plugin.Version, Builder: r.Builder,
		Outputs: r.Outputs,
	}
	if req.Manifest.Testing.Suite != "" {
		a.Tests, err = b.Test(cmd.Context(), req)
	}
	if errors.Is(err, build.ErrEmptySuite) && req.Manifest.Testing.Coverage == 0 {
		a.Tests, err = "none in its language", nil // the hub holds it to the cases
	}
	return a, err
}

// keyMax bounds a key's file in bytes.
const keyMax = 64 << 10

func readSigningKey(file string) (ed25519.PrivateKey, error) {
	info, err := os.Stat(file)
	if err != nil {
		return nil, fmt.Errorf("key: %w", err)
	}
	if info.Size() > keyMax {
		return nil, fmt.Errorf("key %s: %d bytes, limit %d", file, info.Size(), keyMax)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("key: %w", err)
	}
	return source.ParseKey(text)
}

// withArtifact gives "plugin publish" the flag --artifact: publish what was built elsewhere.
func withArtifact(c *connection, cmd *cobra.Command) *cobra.Command {
	var file string
	cmd.Flags().StringVar(&file, "artifact", "", "publish this `bundle`, as \"plugin build --attest\" wrote "+
		"it, and build nothing here; its builder must be one that the hub allows")
	plain := cmd.RunE
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		name, version, ok := strings.Cut(args[0], "@")
		if file == "" || !ok || version == "" {
			return plain(cmd, args)
		}
		packed, err := readBundle(file)
		if err != nil {
			return fmt.Errorf("artifact %s: %w", file, err)
		}
		older, _ := cmd.Flags().GetBool("older")
		return publish(cmd, c, name, api.Publish{Version: version, Older: older, Bundle: packed})
	}
	return cmd
}

// readBundle reads a file that is a bundle: what is none is found here, without a hub.
func readBundle(file string) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	packed, err := io.ReadAll(io.LimitReader(f, build.BundleMax+1))
	if err != nil {
		return nil, err
	}
	_, err = build.ReadBundle(packed)
	return packed, err
}

package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/stavily/stavily/hub/source"
	"github.com/stavily/stavily/protocol"
)

// signing are the flags of plugin sign.
type signing struct{ key, version, signers, message string }

func pluginSign(c *connection) *cobra.Command {
	var f signing
	cmd := &cobra.Command{
		Use:   "sign [FOLDER]",
		Short: "Make the signed tag of a plugin's version with your git; nothing is pushed",
		Long: "Make the annotated tag vVERSION of the manifest's version, signed by your git with an SSH key\n" +
			"(gpg.format ssh and user.signingkey, or --key) or by what else it is set up with. Before that, the\n" +
			"tree must be clean and the version higher than every tag's; after it, the tag is fetched and\n" +
			"verified as a hub does it, against --allowed-signers, the repository's file allowed_signers, or\n" +
			"git's gpg.ssh.allowedSignersFile, and taken back when that fails.",
		Example: "  stavily plugin sign\n" +
			"  stavily plugin sign overheat --key ~/.ssh/id_ed25519 --allowed-signers team.signers",
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: folderArg,
		RunE: func(cmd *cobra.Command, args []string) error {
			out, err := f.sign(cmd, here(args))
			if err != nil {
				return err
			}
			return c.print(cmd.OutOrStdout(), out, out.show)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&f.key, "key", "",
		"SSH key to sign with, its private or its public file when an agent has it")
	flags.StringVar(&f.version, "version", "", "refuse to sign any other version than this")
	flags.StringVar(&f.signers, "allowed-signers", "", "file of allowed signers that must accept the tag")
	flags.StringVarP(&f.message, "message", "m", "", "of the tag (default NAME VERSION)")
	return cmd
}

// signed is what "plugin sign" tells.
type signed struct {
	Plugin      string `json:"plugin"`
	Tag         string `json:"tag"`
	TagObject   string `json:"tag_object"`
	Commit      string `json:"commit"`
	Signer      string `json:"signer,omitempty"` // empty when there was nobody to ask
	Fingerprint string `json:"fingerprint,omitempty"`
	Checked     string `json:"checked"` // the file of allowed signers, or why it was not
	Push        string `json:"push"`
}

func (s *signed) show(w io.Writer) {
	row(w, "signed", s.Plugin, s.Tag, s.TagObject[:12])
	row(w, "commit", s.Commit)
	if s.Signer != "" {
		row(w, "signer", s.Signer, s.Fingerprint)
	}
	row(w, "checked", s.Checked)
	row(w, "push it with", s.Push)
}

func (f *signing) sign(cmd *cobra.Command, dir string) (*signed, error) {
	o, _, err := openFolder(cmd, dir)
	if err != nil {
		return nil, err
	}
	m := o.request.Manifest
	if f.version != "" && strings.TrimPrefix(f.version, "v") != m.Plugin.Version {
		return nil, usage(cmd, fmt.Errorf("--version %s: the manifest says %s", f.version, m.Plugin.Version))
	}
	g := repository{dir: dir, in: cmd.InOrStdin()}
	tag := "v" + m.Plugin.Version
	if err := g.ready(cmd.Context(), tag); err != nil {
		return nil, err
	}
	how, err := f.how(cmd.Context(), &g)
	if err != nil {
		return nil, err
	}
	message := f.message
	if message == "" {
		message = string(m.Plugin.Name) + " " + m.Plugin.Version
	}
	if _, err := g.git(cmd.Context(), append(how, "tag", "-s", "-m", message, tag)...); err != nil {
		return nil, hinted(fmt.Errorf("sign %s: %w", tag, err), "git signs it: see that it can sign with "+
			"\"git tag -s\", or name a key with --key")
	}
	out, err := f.verify(cmd.Context(), &g, tag)
	if err != nil {
		_, undo := g.git(cmd.Context(), "tag", "-d", tag)
		return nil, errors.Join(err, undo)
	}
	out.Plugin, out.Push = m.String(), g.push(cmd.Context(), tag)
	return out, nil
}

// how returns git's options to sign with.
func (f *signing) how(ctx context.Context, g *repository) ([]string, error) {
	if f.key != "" {
		key, err := filepath.Abs(f.key)
		if err == nil {
			_, err = os.Stat(key)
		}
		if err != nil {
			return nil, fmt.Errorf("--key: %w", err)
		}
		return []string{"-c", "gpg.format=ssh", "-c", "user.signingkey=" + key}, nil
	}
	format, _ := g.git(ctx, "config", "--get", "gpg.format")
	key, _ := g.git(ctx, "config", "--get", "user.signingkey")
	if key == "" && format != "openpgp" {
		return nil, hinted(protocol.Errorf(protocol.CodeUnavailable, "sign: git has no user.signingkey"),
			"name an SSH key with --key ~/.ssh/id_ed25519, or tell git once:\n"+
				"  git config --global gpg.format ssh\n  git config --global user.signingkey ~/.ssh/id_ed25519.pub")
	}
	return nil, nil
}

// verify fetches the tag and verifies it as a hub does.
func (f *signing) verify(ctx context.Context, g *repository, tag string) (*signed, error) {
	at, err := filepath.Abs(g.dir)
	if err != nil {
		return nil, err
	}
	tree, err := source.Fetch(ctx, source.Ref{URL: at, Tag: tag}, source.Options{})
	if err != nil {
		return nil, hinted(fmt.Errorf("a hub would refuse %s: %w", tag, err), "the tag was taken back")
	}
	out := &signed{Tag: tag, TagObject: tree.TagObject, Commit: tree.Commit}
	file, err := f.allowed(ctx, g)
	if err != nil {
		return nil, err
	}
	if file == "" {
		out.Checked = "not against allowed signers: none named, and no file allowed_signers"
		return out, nil
	}
	text, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("allowed signers: %w", err)
	}
	defer text.Close()
	signers, err := source.ParseAllowedSigners(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	who, err := source.VerifyTag(tree, signers, time.Now())
	if err != nil {
		err = protocol.Errorf(protocol.CodeBadSeal, "a hub with %s would refuse %s: %w", file, tag, err)
		return nil, hinted(err, "the tag was taken back; see who may sign in "+file+
			", and with what your git signs")
	}
	out.Signer, out.Fingerprint, out.Checked = who.Principal, who.Fingerprint, "accepted by "+file
	return out, nil
}

// allowed finds the file of allowed signers, empty for none.
func (f *signing) allowed(ctx context.Context, g *repository) (string, error) {
	if f.signers != "" {
		return f.signers, nil
	}
	own := filepath.Join(g.dir, "allowed_signers")
	if _, err := os.Stat(own); err == nil {
		return own, nil
	}
	return g.git(ctx, "config", "--type=path", "--default", "", "--get", "gpg.ssh.allowedSignersFile")
}

// repository is the user's own git on a folder.
type repository struct {
	dir string
	in  io.Reader // for a passphrase
}

// git runs git in the folder and returns what it says.
func (g *repository) git(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "git", append([]string{"-C", g.dir}, args...)...)
	cmd.Stdin = g.in
	out, err := cmd.Output()
	said := strings.TrimSpace(string(out))
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		err = fmt.Errorf("git %s: %w: %s", verb(args), err, strings.TrimSpace(string(exit.Stderr)))
	}
	return said, err
}

// verb is what git is asked to do, without its options.
func verb(args []string) string {
	for len(args) > 2 && args[0] == "-c" {
		args = args[2:]
	}
	return args[0]
}

// ready refuses to sign what is not as it would be pushed.
func (g *repository) ready(ctx context.Context, tag string) error {
	top, err := g.git(ctx, "rev-parse", "--show-prefix")
	if errors.Is(err, exec.ErrNotFound) {
		return hinted(protocol.Errorf(protocol.CodeUnavailable, "sign: %w", err), "install git")
	}
	if err != nil {
		return hinted(fmt.Errorf("sign: %w", err), "make it a repository: git init && git add . && git commit")
	}
	if top != "" {
		return protocol.Errorf(protocol.CodeBadInput, "sign: the manifest is in %s of its repository, want it "+
			"at the top", top)
	}
	if _, err := g.git(ctx, "rev-parse", "--verify", "HEAD"); err != nil {
		return hinted(fmt.Errorf("sign: no commit yet: %w", err), "git add . && git commit")
	}
	changed, err := g.git(ctx, "status", "--porcelain")
	if err != nil {
		return fmt.Errorf("sign: %w", err)
	}
	if changed != "" {
		lines := strings.Split(changed, "\n")
		err := protocol.Errorf(protocol.CodeRefused, "sign: %d files are not committed, such as %q", len(lines),
			strings.TrimSpace(lines[0]))
		return hinted(err, "commit them, or list them in .gitignore: what is signed is the commit")
	}
	return g.newer(ctx, tag)
}

// newer wants the tag's version to be above all that are there.
func (g *repository) newer(ctx context.Context, tag string) error {
	at, err := filepath.Abs(g.dir)
	if err != nil {
		return err
	}
	tags, err := source.Tags(ctx, at, source.Options{})
	if err != nil {
		return fmt.Errorf("sign: %w", err)
	}
	hint := "raise plugin.version in the manifest and commit it"
	if slices.Contains(tags, tag) {
		err := protocol.Errorf(protocol.CodeExists, "sign: tag %s is there: a version is never signed twice", tag)
		return hinted(err, hint)
	}
	if len(tags) == 0 {
		return nil
	}
	if err := source.CheckNewer(tag, tags[len(tags)-1]); err != nil {
		return hinted(protocol.Errorf(protocol.CodeStale, "sign: %w", err), hint)
	}
	return nil
}

// push is the command that publishes the tag.
func (g *repository) push(ctx context.Context, tag string) string {
	at := ""
	if g.dir != "." {
		at = " -C " + g.dir
	}
	remotes, _ := g.git(ctx, "remote")
	remote, _, _ := strings.Cut(remotes, "\n")
	if slices.Contains(strings.Split(remotes, "\n"), "origin") {
		remote = "origin"
	}
	if remote == "" {
		return "git" + at + " remote add origin URL && git" + at + " push origin HEAD " + tag
	}
	return "git" + at + " push " + remote + " HEAD " + tag
}

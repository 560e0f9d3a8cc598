package cli

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/stavily/stavily/hub/api"
	"github.com/stavily/stavily/protocol"
)

func pluginCommand(c *connection) *cobra.Command {
	cmd := &cobra.Command{Use: "plugin", Short: "Register, publish and list plugins"}
	cmd.AddCommand(pluginAdd(c), withArtifact(c, pluginPublish(c)), pluginList(c), pluginShow(c),
		pluginRemove(c), pluginConform(c), pluginRecord(c), pluginReplay(c), pluginNew(),
		attesting(c, pluginBuild(c)), pluginRun(c),
		pluginTest(c), pluginInspect(c), pluginSign(c), pluginSDK())
	cmd.AddCommand(withdrawCommands(c)...)
	cmd.AddCommand(pluginFollow(c), pluginUnfollow(c), pluginFollowing(c))
	return cmd
}

func pluginAdd(c *connection) *cobra.Command {
	var signers, credential string
	cmd := &cobra.Command{
		Use:   "add REPOSITORY --allowed-signers FILE",
		Short: "Register a Git repository and who may sign its tags",
		Long: "Register a Git repository. Its newest tag that is a version says which plugin it is,\n" +
			"and must be signed by one of the allowed signers (a file as ssh-keygen(1) describes it).\n\n" +
			"A private repository is opened by a credential: a folder credentials/NAME in the hub's home,\n" +
			"mode 700, with the files token (and user) or ssh_key and known_hosts, and ca.pem if need be.",
		Example: "  stavily plugin add https://git.example.com/system-health --allowed-signers team.signers",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			text, err := os.ReadFile(signers)
			if err != nil {
				return fmt.Errorf("allowed signers: %w", err)
			}
			in := api.AddPlugin{Repository: absolute(args[0]), AllowedSigners: string(text), Credential: credential}
			return ask(cmd, c, question{http.MethodPost, api.PathPlugins, in}, func(w io.Writer, p api.Registered) {
				row(w, "registered", p.Name, p.Type, p.Repository)
			})
		},
	}
	cmd.Flags().StringVar(&signers, "allowed-signers", "", "file of allowed signers (required)")
	cmd.Flags().StringVar(&credential, "credential", "",
		"folder under credentials/ in the hub's home that opens a private repository")
	_ = cmd.MarkFlagRequired("allowed-signers")
	return cmd
}

// absolute makes a folder's path one that the hub, in another folder, can find.
func absolute(repository string) string {
	if strings.Contains(repository, ":") {
		return repository
	}
	if _, err := os.Stat(repository); err != nil {
		return repository
	}
	path, err := filepath.Abs(repository)
	if err != nil {
		return repository
	}
	return path
}

func pluginPublish(c *connection) *cobra.Command {
	var older bool
	cmd := &cobra.Command{
		Use:     "publish NAME@VERSION",
		Short:   "Verify, build and seal one version",
		Example: "  stavily plugin publish system-health@1.2.0",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			name, version, ok := strings.Cut(args[0], "@")
			if !ok || version == "" {
				return usage(cmd, fmt.Errorf("%q: want NAME@VERSION such as system-health@1.2.0", args[0]))
			}
			return publish(cmd, c, name, api.Publish{Version: version, Older: older})
		},
		ValidArgsFunction: pluginNames(c),
	}
	cmd.Flags().BoolVar(&older, "older", false, "publish although a higher version was published before")
	return cmd
}

func publish(cmd *cobra.Command, c *connection, name string, in api.Publish) error {
	client, err := c.client()
	if err != nil {
		return err
	}
	var release *api.Published
	err = client.Publish(cmd.Context(), name, in, func(p api.Progress) {
		if p.Stage != nil && c.output == "table" {
			fmt.Fprintln(cmd.OutOrStdout(), StageLine(*p.Stage))
		}
		if p.Release != nil {
			release = p.Release
		}
	})
	if err != nil {
		return err
	}
	return c.print(cmd.OutOrStdout(), release, func(w io.Writer) {
		row(w, "published", fmt.Sprintf("%s@%s", release.Plugin, release.Version), release.Digest.Short())
	})
}

// StageLine returns one stage's verdict as a line for people.
func StageLine(s api.Stage) string {
	first, _, _ := strings.Cut(s.Detail, "\n")
	return fmt.Sprintf("  %-13s  %-7s  %6d ms  %s", s.Name, s.Verdict, s.TookMS, strings.Map(printable, first))
}

func pluginList(c *connection) *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List registered plugins", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return ask(cmd, c, question{http.MethodGet, api.PathPlugins, nil}, func(w io.Writer,
				list []api.Registered,
			) {
				row(w, "NAME", "TYPE", "ADDED", "REPOSITORY", "DESCRIPTION")
				for _, p := range list {
					row(w, p.Name, p.Type, when(p.Added), p.Repository, p.Description)
				}
			})
		},
	}
}

func pluginShow(c *connection) *cobra.Command {
	return &cobra.Command{
		Use: "show NAME", Short: "Show a plugin, its releases and every stage's verdict", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return ask(cmd, c, question{http.MethodGet, api.Path(api.PathPlugin, args[0]), nil}, showPlugin)
		},
		ValidArgsFunction: pluginNames(c),
	}
}

func showPlugin(w io.Writer, p api.Plugin) {
	row(w, "name", p.Name)
	row(w, "type", p.Type)
	row(w, "description", p.Description)
	row(w, "repository", p.Repository)
	row(w, "added", when(p.Added))
	for _, r := range p.Releases {
		row(w, "")
		row(w, "release", r.Version, r.State, when(r.Created))
		row(w, "  digest", r.Digest)
		row(w, "  tag", r.Tag, r.TagObject)
		row(w, "  commit", r.Commit)
		row(w, "  tree", r.Tree)
		row(w, "  signer", r.Signer, r.SignerKey)
		for _, a := range r.Artifacts {
			row(w, "  artifact", a.Platform, a.Digest, fmt.Sprintf("%d bytes", a.Size))
		}
		for _, s := range r.Stages {
			row(w, "  "+string(s.Name), s.Verdict, s.Detail)
		}
	}
}

func pluginRemove(c *connection) *cobra.Command {
	return &cobra.Command{
		Use: "remove NAME", Short: "End a plugin's registration; its releases stay", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return ask(cmd, c, question{http.MethodDelete, api.Path(api.PathPlugin, args[0]), nil},
				func(w io.Writer, _ struct{}) { row(w, "removed", args[0]) })
		},
		ValidArgsFunction: pluginNames(c),
	}
}

// pluginNames completes the names of plugins.
func pluginNames(c *connection) cobra.CompletionFunc {
	return names(c, api.PathPlugins, func(p api.Registered) protocol.PluginName { return p.Name })
}

// names completes the first argument with what a listing of the hub has.
func names[T any, N ~string](c *connection, path string, of func(T) N) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		client, err := c.client()
		if err != nil || len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		var list []T
		if err := client.Do(cmd.Context(), http.MethodGet, path, nil, &list); err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		out := make([]string, len(list))
		for i := range list {
			out[i] = string(of(list[i]))
		}
		return out, cobra.ShellCompDirectiveNoFileComp
	}
}

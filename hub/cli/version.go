package cli

import (
	"fmt"
	"io"
	"net/http"
	"os/user"
	"strings"

	"github.com/spf13/cobra"

	"github.com/stavily/stavily/hub/api"
)

// workflowUpdate moves the lock of workflows.
func workflowUpdate(c *connection, complete cobra.CompletionFunc) *cobra.Command {
	var in api.Update
	cmd := &cobra.Command{
		Use:   "update [NAME]",
		Short: "Move a deployed workflow, or all of them, to the newest releases that its ranges take",
		Long: "Move a deployed workflow, or all of them, to the newest published releases that its ranges\n" +
			"take, and say what moves. Until then it keeps the releases that it was deployed with.\n" +
			"It goes in the waves that the workflow names.",
		Args: cobra.MaximumNArgs(1), ValidArgsFunction: complete,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return updateAll(cmd, c, in)
			}
			q := question{http.MethodPost, api.Path(api.PathUpdate, args[0]), in}
			return ask(cmd, c, q, showUpdated)
		},
	}
	cmd.Flags().BoolVar(&in.Downgrade, "downgrade", false, "also to a version below the one that is held")
	cmd.Flags().BoolVar(&in.DryRun, "dry-run", false, "say what would move; nothing is sent")
	return cmd
}

func updateAll(cmd *cobra.Command, c *connection, in api.Update) error {
	client, err := c.client()
	if err != nil {
		return err
	}
	var all []api.Workflow
	if err := client.Do(cmd.Context(), http.MethodGet, api.PathWorkflows, nil, &all); err != nil {
		return err
	}
	out := make([]api.Deployed, len(all))
	for i := range all {
		path := api.Path(api.PathUpdate, string(all[i].Workflow))
		if err := client.Do(cmd.Context(), http.MethodPost, path, in, &out[i]); err != nil {
			return err
		}
	}
	return c.print(cmd.OutOrStdout(), out, func(w io.Writer) {
		for i := range out {
			showUpdated(w, out[i])
		}
	})
}

func showUpdated(w io.Writer, d api.Deployed) {
	if len(d.Moved) == 0 {
		row(w, "unchanged", d.Workflow, "it holds the newest that its ranges take")
		return
	}
	showMoved(w, d)
}

// showMoved says what a deployment moves, and what it warns of.
func showMoved(w io.Writer, d api.Deployed) {
	for _, m := range d.Moved {
		row(w, "moves", d.Workflow, m.Step, fmt.Sprintf("%s %s -> %s", m.Plugin, m.From, m.To))
	}
	for _, text := range d.Warnings {
		row(w, "warning", text)
	}
}

// showLock says which releases a deployment is held to.
func showLock(w io.Writer, prefix string, lock []api.Locked) {
	for _, l := range lock {
		within, state := l.Range, ""
		if within == "" {
			within = "any"
		}
		if l.State != "" && l.State != "published" {
			state = ", " + strings.ToUpper(string(l.State))
		}
		fmt.Fprintf(w, "%s%s: %s@%s (of %s%s), release %s, commit %.12s, tree %s\n", prefix, clean(string(l.Step)),
			clean(string(l.Plugin)), clean(l.Version), clean(within), state, l.Release.Short(), clean(l.Commit),
			l.Tree.Short())
		for _, a := range l.Artifacts {
			fmt.Fprintf(w, "%s  %s %s\n", prefix, clean(a.Platform), a.Digest.Short())
		}
	}
}

// pluginWithdraw is the command of one kind of withdrawal.
func pluginWithdraw(c *connection, do api.Withdrawal, short, long string) *cobra.Command {
	in := api.Withdraw{Do: do, By: whoami()}
	cmd := &cobra.Command{
		Use: string(do) + " NAME@VERSION", Short: short, Long: long, Args: cobra.ExactArgs(1),
		ValidArgsFunction: pluginNames(c),
		RunE: func(cmd *cobra.Command, args []string) error {
			name, version, ok := strings.Cut(args[0], "@")
			if !ok || version == "" {
				return usage(cmd, fmt.Errorf("%q: want NAME@VERSION such as system-health@1.2.0", args[0]))
			}
			in.Version = version
			return ask(cmd, c, question{http.MethodPost, api.Path(api.PathWithdraw, name), in}, showWithdrawn)
		},
	}
	cmd.Flags().StringVar(&in.Reason, "reason", "", "why, for those who read it later")
	if do != api.Restore {
		_ = cmd.MarkFlagRequired("reason")
	}
	return cmd
}

func showWithdrawn(w io.Writer, d api.Withdrawn) {
	row(w, d.State, fmt.Sprintf("%s@%s", d.Plugin, d.Version))
	for _, hit := range d.Hits {
		names := make([]string, len(hit.Agents))
		for i, a := range hit.Agents {
			names[i] = string(a)
		}
		became := "keeps it"
		switch {
		case hit.Error != "":
			became = hit.Error
		case len(hit.Moved) > 0:
			became = "moved to " + hit.Moved[0].To
		}
		row(w, "used by", hit.Workflow, fmt.Sprintf("%d agents: %s", len(names), abridged(names)), became)
	}
}

// abridgedMax bounds the names of one line.
const abridgedMax = 8

func abridged(names []string) string {
	if len(names) > abridgedMax {
		return strings.Join(names[:abridgedMax], ", ") + ", ..."
	}
	return strings.Join(names, ", ")
}

// whoami is the operator by their own word.
func whoami() string {
	u, err := user.Current()
	if err != nil {
		return ""
	}
	return u.Username
}

func noticesCommand(c *connection) *cobra.Command {
	var limit int
	cmd := &cobra.Command{
		Use: "notices", Short: "Show what the hub found and did by itself, and what was withdrawn by whom",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			q := question{http.MethodGet, fmt.Sprintf("%s?limit=%d", api.PathNotices, limit), nil}
			return ask(cmd, c, q, func(w io.Writer, list []api.Notice) {
				row(w, "AT", "KIND", "SUBJECT", "BY", "TEXT")
				for _, n := range list {
					by := n.By
					if by == "" {
						by = "the hub"
					}
					row(w, when(n.At), n.Kind, n.Subject, by, n.Text)
				}
			})
		},
	}
	cmd.Flags().IntVar(&limit, "limit", 50, "how many")
	return cmd
}

func withdrawCommands(c *connection) []*cobra.Command {
	return []*cobra.Command{
		pluginWithdraw(c, api.Yank, "Let no new deployment choose a release; what runs stays",
			"Let no new deployment choose a release. Workflows that hold it keep it, and are warned.\n"+
				"\"stavily plugin restore\" undoes it."),
		pluginWithdraw(c, api.Revoke, "Stop a release on every agent",
			"Stop a release on every agent: they end it, let go of its files and never start it again,\n"+
				"not after a restart and not without a line. Workflows with \"update: automatic\" move to the\n"+
				"newest release that is left; the others stand still, and are named.\n"+
				"\"stavily plugin restore\" undoes it."),
		pluginWithdraw(c, api.Restore, "Publish a yanked or revoked release again", ""),
	}
}

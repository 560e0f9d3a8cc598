package cli

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/stavily/stavily/hub/api"
	"github.com/stavily/stavily/hub/document"
	"github.com/stavily/stavily/hub/workflow"
	"github.com/stavily/stavily/protocol"
)

func deployCommand(c *connection) *cobra.Command {
	var checkOnly, dry bool
	var conditions string
	var moves api.Moves
	cmd := &cobra.Command{
		Use:   "deploy WORKFLOW.yaml",
		Short: "Check a workflow and send it to its agents",
		Long: "Check a workflow, resolve its plugins to published releases, plan, and send every agent\n" +
			"whose work changes its new revision. A workflow of the same name is replaced.",
		Example: "  stavily deploy overheat-guard.yaml",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			text, err := readDocument(args[0])
			if err != nil {
				return err
			}
			// A slip of the pen is found here, without a hub.
			if _, err := workflow.Parse(args[0], text); err != nil || checkOnly {
				return err
			}
			if conditions != "" {
				return rehearse(cmd, args[0], conditions)
			}
			in := api.Deploy{File: args[0], Text: string(text), DryRun: dry, Moves: moves}
			show := showDeployed
			if dry {
				show = showDryRun
			}
			return ask(cmd, c, question{http.MethodPost, api.PathWorkflows, in}, show)
		},
	}
	cmd.Flags().BoolVar(&checkOnly, "check", false, "check the text only; no hub is asked")
	cmd.Flags().StringVar(&conditions, "simulate", "",
		"rehearse it on the hub's own fleet under this scenario; nothing is sent")
	cmd.Flags().BoolVar(&dry, "dry-run", false, "say who would get what and what it costs; nothing is sent")
	cmd.Flags().BoolVar(&moves.Update, "update", false,
		"move to the newest releases that its ranges take, and not keep those that it holds")
	cmd.Flags().BoolVar(&moves.Downgrade, "downgrade", false, "a version below the one that it holds is meant")
	return cmd
}

func readDocument(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, document.SizeMax+1))
}

func showDeployed(w io.Writer, d api.Deployed) {
	row(w, "deployed", d.Workflow, strings.Join(d.Releases, " -> "))
	showMoved(w, d)
	showUrgent(w, d)
	if d.Rollout != nil {
		row(w, "in waves", d.Rollout.Progress.Where,
			fmt.Sprintf("follow it with \"stavily rollout show %s\"", d.Workflow))
	}
	if len(d.Agents) == 0 {
		row(w, "no agent", "is named by it now")
		return
	}
	row(w, "AGENT", "REVISION", "DESIRED", "STATE")
	for _, a := range d.Agents {
		state := "unchanged"
		switch {
		case a.Excluded != nil:
			state = "excluded: " + a.Excluded.Text
		case a.Changed:
			state = "sent"
		}
		row(w, a.Agent, a.Revision, a.Digest.Short(), state)
	}
}

func workflowCommand(c *connection) *cobra.Command {
	cmd := &cobra.Command{Use: "workflow", Short: "List, show and remove deployed workflows"}
	complete := names(c, api.PathWorkflows, func(w api.Workflow) protocol.WorkflowName { return w.Workflow })
	list := &cobra.Command{
		Use: "list", Short: "List deployed workflows", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return ask(cmd, c, question{http.MethodGet, api.PathWorkflows, nil}, func(w io.Writer,
				list []api.Workflow,
			) {
				row(w, "WORKFLOW", "DEPLOYED", "PLUGINS")
				for _, x := range list {
					row(w, x.Workflow, when(x.At), strings.Join(x.Releases, " -> "))
				}
			})
		},
	}
	show := &cobra.Command{
		Use: "show NAME", Short: "Show a workflow as it was deployed", Args: cobra.ExactArgs(1),
		ValidArgsFunction: complete,
		RunE: func(cmd *cobra.Command, args []string) error {
			q := question{http.MethodGet, api.Path(api.PathWorkflow, args[0]), nil}
			return ask(cmd, c, q, func(w io.Writer, x api.Workflow) {
				fmt.Fprintf(w, "# %s, deployed %s: %s\n", clean(x.File), when(x.At), strings.Join(x.Releases, " -> "))
				showLock(w, "# ", x.Lock)
				if x.Limited+x.Repeated > 0 {
					fmt.Fprintf(w, "# events that became no run: %d over its limit, %d that meant what another had\n",
						x.Limited, x.Repeated)
				}
				fmt.Fprint(w, clean(x.Text))
			})
		},
	}
	remove := &cobra.Command{
		Use: "remove NAME", Short: "End a workflow on all agents", Args: cobra.ExactArgs(1),
		ValidArgsFunction: complete,
		RunE: func(cmd *cobra.Command, args []string) error {
			q := question{http.MethodDelete, api.Path(api.PathWorkflow, args[0]), nil}
			return ask(cmd, c, q, func(w io.Writer, agents []api.AgentChange) {
				row(w, "removed", args[0], fmt.Sprintf("%d agents told", len(agents)))
			})
		},
	}
	cmd.AddCommand(list, show, remove, workflowUpdate(c, complete))
	return cmd
}

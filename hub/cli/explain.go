package cli

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/spf13/cobra"

	"github.com/stavily/stavily/hub/api"
	"github.com/stavily/stavily/protocol"
)

// showDryRun prints what a deployment would do.
func showDryRun(w io.Writer, d api.Deployed) {
	row(w, "would deploy", d.Workflow, strings.Join(d.Releases, " -> "))
	showMoved(w, d)
	showUrgent(w, d)
	showLock(w, "  ", d.Locked)
	if len(d.Agents) == 0 {
		row(w, "no agent", "is named by it now")
		return
	}
	row(w, "AGENT", "STATE", "DOWNLOAD", "ALL THAT IT RUNS")
	for _, a := range d.Agents {
		switch {
		case a.Excluded != nil:
			row(w, a.Agent, "excluded: "+a.Excluded.Text)
		case a.Cost == nil:
			row(w, a.Agent, "unchanged")
		default:
			row(w, a.Agent, fmt.Sprintf("revision %d", a.Revision), fmt.Sprintf("%d kB", (a.Cost.DownloadB+999)/1000),
				a.Cost.Sums)
		}
		for _, l := range a.Loads {
			row(w, "", l.Text())
		}
		for _, x := range a.Configs {
			row(w, "", fmt.Sprintf("step %s: with %s", x.Step, clean(string(x.Config))))
		}
	}
}

// showUrgent says of an urgent workflow what that means.
func showUrgent(w io.Writer, d api.Deployed) {
	if d.Urgent {
		row(w, "urgent", "its events and results go to the hub before others, and are kept longer")
	}
}

// rehearse hands over to "rehearse", which the program has when it has a simulator.
func rehearse(cmd *cobra.Command, file, conditions string) error {
	other, _, err := cmd.Root().Find([]string{"rehearse"})
	if err != nil || other.Name() != "rehearse" {
		return errors.New("--simulate: this program has no simulator")
	}
	if err := other.Flags().Set("scenario", conditions); err != nil {
		return err
	}
	other.SetContext(cmd.Context())
	return other.RunE(other, []string{file})
}

// explainCommand is "stavily explain".
func explainCommand(c *connection) *cobra.Command {
	return &cobra.Command{
		Use: "explain WORKFLOW AGENT", Short: "Say why an agent runs a workflow or does not",
		Long: "Say why an agent runs a workflow or does not: each rule of the plan up to the first that fails,\n" +
			"and, where it is placed, how far the agent is.",
		Args: cobra.ExactArgs(2), ValidArgsFunction: explainNames(c),
		RunE: func(cmd *cobra.Command, args []string) error {
			path := api.Path(api.PathExplain, args[0]) + "?agent=" + url.QueryEscape(args[1])
			return ask(cmd, c, question{http.MethodGet, path, nil}, func(w io.Writer, x api.Explained) {
				row(w, map[bool]string{true: "placed", false: "excluded"}[x.Placed], x.Workflow, "on", x.Agent)
				for _, r := range x.Rules {
					row(w, map[bool]string{true: "ok", false: "no"}[r.OK], r.Name, r.Text)
				}
			})
		},
	}
}

// explainNames completes a workflow and then an agent.
func explainNames(c *connection) cobra.CompletionFunc {
	workflows := names(c, api.PathWorkflows, func(w api.Workflow) protocol.WorkflowName { return w.Workflow })
	agents := agentNames(c)
	return func(cmd *cobra.Command, args []string, begin string) ([]string, cobra.ShellCompDirective) {
		if len(args) == 0 {
			return workflows(cmd, args, begin)
		}
		return agents(cmd, nil, begin)
	}
}

package cli

import (
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/spf13/cobra"

	"github.com/stavily/stavily/hub/api"
	"github.com/stavily/stavily/protocol"
)

// rolloutCommand is "stavily rollout".
func rolloutCommand(c *connection) *cobra.Command {
	cmd := &cobra.Command{
		Use: "rollout", Short: "Watch and steer changes that go through the fleet in waves",
		Long: "Watch and steer changes that go through the fleet in waves, as a workflow says under\n" +
			"\"rollout\". A wave goes on by what its agents say, and a change that fares badly is taken back by\n" +
			"itself.",
	}
	list := &cobra.Command{
		Use: "list", Short: "List workflows that were deployed in waves", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return ask(cmd, c, question{http.MethodGet, api.PathRollouts, nil}, func(w io.Writer, all []api.Rollout) {
				row(w, "WORKFLOW", "STATE", "WHERE", "WELL", "WAITING", "FAILED", "AWAY")
				for i := range all {
					r := &all[i]
					p := &r.Progress
					well := fmt.Sprintf("%d of %d", p.Well, p.Goal)
					row(w, r.Workflow, r.Phase, p.Where, well, p.Waiting, p.Failed, p.Away)
				}
			})
		},
	}
	show := &cobra.Command{
		Use: "show WORKFLOW", Short: "Show how far a change is and what it waits for", Args: cobra.ExactArgs(1),
		ValidArgsFunction: rolloutNames(c),
		RunE: func(cmd *cobra.Command, args []string) error {
			return ask(cmd, c, question{http.MethodGet, api.Path(api.PathRollout, args[0]), nil}, showRollout)
		},
	}
	cmd.AddCommand(list, show,
		steerCommand(c, api.Pause, "Give the change to nobody else for now"),
		steerCommand(c, api.Resume, "Go on with the wave that was paused"),
		steerCommand(c, api.Abort, "Take the change back from everybody"),
		steerCommand(c, api.Promote, "Give the change to everybody now, whatever the waves say"))
	return cmd
}

func steerCommand(c *connection, do api.Steering, short string) *cobra.Command {
	return &cobra.Command{
		Use: string(do) + " WORKFLOW", Short: short, Args: cobra.ExactArgs(1), ValidArgsFunction: rolloutNames(c),
		RunE: func(cmd *cobra.Command, args []string) error {
			q := question{http.MethodPost, api.Path(api.PathRollout, args[0]), api.Steer{Do: do}}
			return ask(cmd, c, q, showRollout)
		},
	}
}

func rolloutNames(c *connection) cobra.CompletionFunc {
	return names(c, api.PathRollouts, func(r api.Rollout) protocol.WorkflowName { return r.Workflow })
}

func showRollout(w io.Writer, r api.Rollout) {
	row(w, "workflow", r.Workflow, strings.Join(r.Releases, " -> "))
	row(w, "state", r.Phase, r.Reason)
	row(w, "waves", strings.Join(append(r.Waves, "the rest"), ", then "))
	p := &r.Progress
	row(w, "now", p.Where, "since "+when(r.Since))
	row(w, "agents", fmt.Sprintf("%d well of %d wanted, %d on their way, %d failed, %d away, %d not reached",
		p.Well, p.Goal, p.Waiting, p.Failed, p.Away, p.Others))
	row(w, "runs", fmt.Sprintf("%d ended, %d of them badly", p.Runs, p.Bad))
	if p.Holdup != "" {
		row(w, "waits for", p.Holdup)
	}
}

package cli

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/spf13/cobra"

	"github.com/stavily/stavily/hub/api"
)

func deadLetterCommand(c *connection) *cobra.Command {
	cmd := &cobra.Command{
		Use: "dead-letter", Short: "List, show, replay and drop runs that did not end well",
		Long: "List, show, replay and drop runs of which an action or output did not end well for good: its\n" +
			"retries were used up, it may not be tried again, or nobody began it in time. They are kept until they\n" +
			"end well or are dropped; the oldest give way, counted.",
	}
	cmd.AddCommand(deadLetterList(c), deadLetterShow(c), deadLetterReplay(c), deadLetterDrop(c))
	return cmd
}

func deadLetterList(c *connection) *cobra.Command {
	var workflow, agent string
	var limit int
	cmd := &cobra.Command{
		Use: "list", Short: "List dead letters, the newest first", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			q := url.Values{"workflow": {workflow}, "agent": {agent}, "limit": {fmt.Sprint(limit)}}
			of := question{http.MethodGet, api.PathDeadLetters + "?" + q.Encode(), nil}
			return ask(cmd, c, of, func(w io.Writer, list api.DeadLetters) {
				row(w, "RUN", "WORKFLOW", "AGENT", "STEP", "RECEIVED", "STATE", "ERROR")
				for _, d := range list.Letters {
					row(w, short(d.Run), d.Workflow, d.Agent, d.Step, when(d.Received), d.State,
						d.Error.Code.String()+": "+d.Error.Text)
				}
				if list.Lost.Runs > 0 {
					row(w, "", fmt.Sprintf("%d older ones gave way, %d bytes", list.Lost.Runs, list.Lost.Bytes))
				}
			})
		},
	}
	cmd.Flags().StringVar(&workflow, "workflow", "", "only of this workflow")
	cmd.Flags().StringVar(&agent, "agent", "", "only of this agent")
	cmd.Flags().IntVar(&limit, "limit", 20, "at most so many, up to 1000")
	return cmd
}

func deadLetterShow(c *connection) *cobra.Command {
	return &cobra.Command{
		Use: "show RUN", Short: "Show a dead letter with its event and its steps", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			q := question{http.MethodGet, api.Path(api.PathDeadLetter, args[0]), nil}
			return ask(cmd, c, q, func(w io.Writer, d api.DeadLetter) {
				showDead(w, &d.Letter)
				ShowRun(w, d.Run)
			})
		},
	}
}

func showDead(w io.Writer, d *api.Dead) {
	row(w, "dead letter", d.State, d.Reason)
	if d.State == api.DeadOrdered {
		row(w, "to begin until", when(d.Expires))
	}
	row(w, "failed", d.Step, d.Error.Code.String()+": "+d.Error.Text)
}

func deadLetterReplay(c *connection) *cobra.Command {
	var in api.Replay
	cmd := &cobra.Command{
		Use: "replay RUN", Short: "Have the agent run again what did not end well of a run",
		Long: "Have the agent run again what did not end well of a run, now or when it is back. Steps that\n" +
			"ended well are not run again; the others keep their idempotency keys, so that what took\n" +
			"effect after all is not done twice by a plugin that heeds them. A workflow with other steps\n" +
			"than the run had is refused.",
		Example: "  stavily dead-letter replay 5f0c --within 1h",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			q := question{http.MethodPost, api.Path(api.PathDeadLetter, args[0]), in}
			return ask(cmd, c, q, func(w io.Writer, d api.Dead) {
				row(w, "ordered", short(d.Run), d.Workflow, "on", d.Agent, "to begin until "+when(d.Expires))
			})
		},
	}
	cmd.Flags().DurationVar(&in.Within, "within", 24*time.Hour, "how long the agent has to begin")
	return cmd
}

func deadLetterDrop(c *connection) *cobra.Command {
	return &cobra.Command{
		Use: "drop RUN", Short: "Take a dead letter off the list; its run stays as long as others",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			q := question{http.MethodDelete, api.Path(api.PathDeadLetter, args[0]), nil}
			return ask(cmd, c, q, func(w io.Writer, _ struct{}) { row(w, "dropped", args[0]) })
		},
	}
}

package cli

import (
	"fmt"
	"io"
	"net/http"
	"net/url"

	"github.com/spf13/cobra"

	"github.com/stavily/stavily/hub/api"
)

func runCommand(c *connection) *cobra.Command {
	cmd := &cobra.Command{Use: "run", Short: "List and show runs"}
	cmd.AddCommand(runList(c), runShow(c))
	return cmd
}

func runList(c *connection) *cobra.Command {
	var workflow, agent, status string
	var limit int
	cmd := &cobra.Command{
		Use: "list", Short: "List runs, the newest first", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			q := url.Values{
				"workflow": {workflow}, "agent": {agent}, "status": {status}, "limit": {fmt.Sprint(limit)},
			}
			path := api.PathRuns + "?" + q.Encode()
			return ask(cmd, c, question{http.MethodGet, path, nil}, func(w io.Writer, list []api.Run) {
				row(w, "RUN", "WORKFLOW", "AGENT", "STARTED", "STATUS")
				for i := range list {
					row(w, short(list[i].ID), list[i].Workflow, list[i].Agent, stamp(list[i].Started), list[i].Status)
				}
			})
		},
	}
	cmd.Flags().StringVar(&workflow, "workflow", "", "only of this workflow")
	cmd.Flags().StringVar(&agent, "agent", "", "only of this agent")
	cmd.Flags().StringVar(&status, "status", "", "only running, ok, error or dropped")
	cmd.Flags().IntVar(&limit, "limit", 20, "at most so many, up to 1000")
	return cmd
}

func short(id string) string { return id[:min(len(id), 12)] }

func runShow(c *connection) *cobra.Command {
	return &cobra.Command{
		Use: "show RUN", Short: "Show a run and its steps; the beginning of its id is enough",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return ask(cmd, c, question{http.MethodGet, api.Path(api.PathRun, args[0]), nil}, ShowRun)
		},
	}
}

// ShowRun writes a run for people.
func ShowRun(w io.Writer, r api.Run) {
	row(w, "run", r.ID)
	row(w, "workflow", r.Workflow, fmt.Sprintf("revision %d", r.Revision))
	row(w, "agent", r.Agent)
	row(w, "started", stamp(r.Started))
	row(w, "received", when(r.Received))
	if r.Late {
		row(w, "happened", when(r.Happened), "told late")
	}
	row(w, "status", r.Status)
	row(w, "event", string(r.Data))
	for _, s := range r.Steps {
		text := string(s.Data)
		if s.Error != nil {
			text = s.Error.Code.String() + ": " + s.Error.Text
		}
		row(w, s.Type, s.Name, s.Status, took(s.TookUS), fmt.Sprintf("%d tries", s.Tries), text)
	}
}

func statusCommand(c *connection) *cobra.Command {
	return &cobra.Command{
		Use: "status", Short: "Show how the hub is", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return ask(cmd, c, question{http.MethodGet, api.PathStatus, nil}, func(w io.Writer, s api.Status) {
				row(w, "hub", s.Version)
				row(w, "home", s.Home)
				row(w, "link", s.Listen)
				row(w, "authority", s.CA)
				row(w, "connected", s.Connected, "agents")
				row(w, "started", when(s.Started))
			})
		},
	}
}

package sim

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"

	"github.com/spf13/cobra"

	"github.com/stavily/stavily/hub/api"
	"github.com/stavily/stavily/sim/scenario"
)

// RehearseCommand returns "stavily rehearse", which is also "stavily deploy --simulate".
// connect opens the hub that the command's flags name.
func RehearseCommand(connect func(*cobra.Command) (*api.Client, error)) *cobra.Command {
	f := &runFlags{seedsText: "1"}
	var conditions string
	cmd := &cobra.Command{
		Use:   "rehearse WORKFLOW.yaml --scenario CONDITIONS.yaml",
		Short: "Run a change against a simulation of the hub's own fleet",
		Long: "Simulate the fleet as the hub knows it (agents, sites, labels, platforms, deployed workflows),\n" +
			"deploy the workflow to it under the lines, clocks, faults and expectations of a scenario, and\n" +
			"print the report. The hub is only asked; nothing is sent. Plugins that the scenario does not bind\n" +
			"to a module or a folder answer as models. Exit codes as in stavily sim.",
		Example: "  stavily rehearse overheat-guard.yaml --scenario winter.yaml --html rehearsal.html",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if conditions == "" {
				return errors.New("--scenario: missing; it says under which lines and faults; stavily sim new writes one")
			}
			client, err := connect(cmd)
			if err != nil {
				return err
			}
			s, err := load(cmd, conditions)
			if err != nil {
				return err
			}
			if s, err = rehearsal(cmd, client, s, args[0]); err != nil {
				return wrongScenario(cmd.ErrOrStderr(), err)
			}
			f.files = f.files.Or(s.Report)
			seed := s.Seed
			if cmd.Flags().Changed("seed") {
				seed = f.seed
			}
			f.words = fmt.Sprintf("stavily rehearse %s --scenario %s", quoted(args[0]), quoted(conditions))
			if seed, f.seeds, err = seedRange(f.seedsText, seed); err != nil {
				return err
			}
			if f.seeds > 1 {
				return f.sweep(cmd, s, seed)
			}
			r, err := f.one(cmd.Context(), s, seed)
			if err != nil {
				return err
			}
			return f.tell(cmd, r)
		},
	}
	f.common(cmd)
	flags := cmd.Flags()
	flags.StringVar(&conditions, "scenario", "",
		"lines, clocks, faults and expectations; its fleet is a template")
	flags.StringVar(&f.seedsText, "seeds", "1", "run so many seeds, or from and to, such as 1..50")
	flags.StringVar(&f.files.JSON, "json", "", "write everything to this file, for programs")
	flags.StringVar(&f.files.JUnit, "junit", "", "write JUnit XML to this file")
	flags.StringVar(&f.files.HTML, "html", "", "write a page with pictures to this file")
	return cmd
}

// rehearsal asks the hub for its fleet and puts it into s, with the workflow in file.
func rehearsal(cmd *cobra.Command, hub *api.Client, s *scenario.Scenario, file string,
) (*scenario.Scenario, error) {
	text, err := readWorkflowFile(file)
	if err != nil {
		return nil, err
	}
	ask := func(method, path string, in, out any) error { return hub.Do(cmd.Context(), method, path, in, out) }
	var dry api.Deployed
	in := api.Deploy{File: file, Text: string(text), DryRun: true}
	if err := ask(http.MethodPost, api.PathWorkflows, in, &dry); err != nil {
		return nil, err
	}
	if !slices.ContainsFunc(dry.Agents, func(c api.AgentChange) bool {
		return c.Assigned ||
			c.Excluded != nil
	}) {
		return nil, exit(exitBadScenario,
			"%s: workflow %s is for none of the hub's agents: look at its at:, and at "+
				"stavily agent list", file, dry.Workflow)
	}
	warn(cmd.ErrOrStderr(), &dry)
	known, workflows, err := askKnown(func(path string, out any) error {
		return ask(http.MethodGet, path, nil, out)
	})
	if err != nil {
		return nil, fmt.Errorf("rehearse: %w", err)
	}
	known.add(dry.Releases)
	for _, w := range workflows {
		if w.Workflow != dry.Workflow {
			known.Deployed = append(known.Deployed, []byte(w.Text))
			known.add(w.Releases)
		}
	}
	return s.Rehearse(known.Known, text)
}

// warn says what the hub itself has to say of a change: it knows the devices better than models do.
func warn(w io.Writer, dry *api.Deployed) {
	for _, text := range dry.Warnings {
		fmt.Fprintln(w, "stavily: the hub warns:", clean(text))
	}
	var without tally
	for i := range dry.Agents {
		if c := &dry.Agents[i]; c.Excluded != nil {
			without.add(string(c.Agent), c.Excluded)
		}
	}
	for _, of := range without {
		fmt.Fprintf(w, "stavily: the hub leaves out %s: %s\n", of.whom(), clean(of.why))
	}
}

func knownAgents(agents []api.Agent) []scenario.KnownAgent {
	out := make([]scenario.KnownAgent, len(agents))
	for i := range agents {
		a := &agents[i]
		out[i] = scenario.KnownAgent{
			Address: a.Address, Labels: a.AllLabels(), Platform: a.Device.Platform, MemoryMiB: int(a.Device.MemoryMB),
			Gateway: a.Gateway, Via: a.Presence.Via,
		}
	}
	return out
}

// workflowMax bounds a workflow's file in bytes.
const workflowMax = 256 << 10

func readWorkflowFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, workflowMax+1))
	if err == nil && len(text) > workflowMax {
		err = fmt.Errorf("%s: more than %d bytes", path, workflowMax)
	}
	return text, err
}

package sim

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/stavily/stavily/hub/api"
	"github.com/stavily/stavily/protocol"
	"github.com/stavily/stavily/sim/scenario"
)

// recordRuns is how many runs of a workflow are looked at for how often it runs.
const recordRuns = 500

func recordCommand(connect func(*cobra.Command) (*api.Client, error)) *cobra.Command {
	var name, out string
	cmd := &cobra.Command{
		Use:   "record",
		Short: "Write a hub's fleet, and what runs there, as a scenario",
		Long: "Ask a hub for its agents, its deployed workflows and how often they ran of late, and write them\n" +
			"as a scenario to edit: agents that are alike and numbered are one group, plugins answer as models.\n" +
			"The hub is only asked.",
		Example: "  stavily sim record --name friday --write friday.yaml",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := connect(cmd)
			if err != nil {
				return err
			}
			text, err := record(cmd, client, name)
			if err != nil {
				return wrongScenario(cmd.ErrOrStderr(), err)
			}
			if out == "" {
				_, err = cmd.OutOrStdout().Write(text)
				return err
			}
			return os.WriteFile(out, text, 0o644)
		},
	}
	cmd.Flags().StringVar(&name, "name", "recorded", "what the scenario is called")
	cmd.Flags().StringVarP(&out, "write", "w", "", "write it to this file (default: print it)")
	return cmd
}

// record asks the hub for all that a scenario can say of it.
func record(cmd *cobra.Command, client *api.Client, name string) ([]byte, error) {
	ask := func(path string, out any) error { return client.Do(cmd.Context(), http.MethodGet, path, nil, out) }
	known, workflows, err := askKnown(ask)
	if err != nil {
		return nil, err
	}
	var ran []scenario.Ran
	for _, w := range workflows {
		known.add(w.Releases)
		var all []api.Run
		path := fmt.Sprintf("%s?workflow=%s&limit=%d", api.PathRuns, w.Workflow, recordRuns)
		if err := ask(path, &all); err != nil {
			return nil, err
		}
		ran = append(ran, scenario.Ran{Text: []byte(w.Text), Every: everyOf(all)})
	}
	now := time.Now() //nolint:forbidigo // it says when
	return scenario.Record(name, now.Truncate(time.Hour), known.Known, ran)
}

// asked is what a hub said of its fleet and its plugins.
type asked struct {
	scenario.Known
	types map[protocol.PluginName]protocol.PluginType
}

// askKnown asks a hub for its fleet and its workflows.
func askKnown(ask func(path string, out any) error) (known asked, workflows []api.Workflow, err error) {
	var agents []api.Agent
	var plugins []api.Registered
	err = errors.Join(ask(api.PathAgents, &agents), ask(api.PathWorkflows, &workflows),
		ask(api.PathPlugins, &plugins))
	if err == nil && len(agents) == 0 {
		err = errors.New("the hub knows no agent yet")
	}
	known = asked{scenario.Known{Agents: knownAgents(agents)}, map[protocol.PluginName]protocol.PluginType{}}
	for i := range plugins {
		known.types[plugins[i].Name] = plugins[i].Type
	}
	return known, workflows, err
}

// add adds the plugins of releases, name@version.
func (k *asked) add(releases []string) {
	for _, r := range releases {
		name, version, _ := strings.Cut(r, "@")
		p := scenario.KnownPlugin{Name: protocol.PluginName(name), Version: version}
		p.Type = k.types[p.Name]
		k.Plugins = append(k.Plugins, p)
	}
}

// everyOf returns how long lay between two runs of one agent on the mean, 0 for not known.
func everyOf(all []api.Run) time.Duration {
	type seen struct {
		first, last time.Time
		n           int
	}
	of := map[protocol.AgentName]*seen{}
	for i := range all {
		r := &all[i]
		s := of[r.Agent]
		if s == nil {
			s = &seen{first: r.Received, last: r.Received}
			of[r.Agent] = s
		}
		s.n++
		if r.Received.Before(s.first) {
			s.first = r.Received
		}
		if r.Received.After(s.last) {
			s.last = r.Received
		}
	}
	var span time.Duration
	gaps := 0
	for _, s := range of { // sums: order does not matter
		span += s.last.Sub(s.first)
		gaps += s.n - 1
	}
	if gaps == 0 {
		return 0
	}
	return max(time.Second, span/time.Duration(gaps))
}

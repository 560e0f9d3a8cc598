package sim

import (
	"bytes"
	_ "embed" // the scenario that is run
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/stavily/stavily/hub"
	"github.com/stavily/stavily/protocol"
	"github.com/stavily/stavily/sim/scenario"
)

func tryCommand() *cobra.Command {
	f := &runFlags{}
	var agents int
	var config, write string
	cmd := &cobra.Command{
		Use:   "try [FOLDER]",
		Short: "Run the plugin in this folder on a small fleet",
		Long: "Build the plugin in a folder, put it into a workflow with the simulator's own plugins around it,\n" +
			"and run that for an hour of virtual time on a small fleet with a bad line, a power cut and a hub\n" +
			"that restarts. Its configuration is the first of its examples, or --config.",
		Example: "  cd my-plugin && stavily sim try\n" +
			"  stavily sim try plugins/system-health --config overheat.yaml",
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			folder := "."
			if len(args) > 0 {
				folder = args[0]
			}
			text, err := trial(folder, config, agents)
			if err != nil {
				return err
			}
			if write != "" {
				return os.WriteFile(write, text, 0o644)
			}
			s, err := scenario.Parse("try.yaml", text, scenario.Folder("."))
			if err != nil {
				return wrongScenario(cmd.ErrOrStderr(), err)
			}
			if f.seed == 0 {
				f.seed = s.Seed
			}
			r, err := f.simulate(
				cmd.Context(),
				s,
				Options{Seed: f.seed, Repeat: fmt.Sprintf("stavily sim try %s --seed %d", quoted(folder), f.seed)},
			)
			if err != nil {
				return err
			}
			return f.tell(cmd, r)
		},
	}
	f.common(cmd)
	cmd.Flags().IntVar(&agents, "agents", 5, "how many")
	cmd.Flags().StringVar(&config, "config", "", "file (YAML or JSON) of the plugin's configuration")
	cmd.Flags().StringVarP(&write, "write", "w", "", "only write the scenario to this file, to build on")
	cmd.Flags().StringVar(&f.files.HTML, "html", "", "write a page with pictures to this file")
	return cmd
}

// trial writes the scenario for a plugin.
func trial(folder, config string, agents int) ([]byte, error) {
	full, err := filepath.Abs(folder)
	if err != nil {
		return nil, err
	}
	m, examples, err := hub.ReadManifest(full)
	if err != nil {
		return nil, err
	}
	if config == "" && len(examples) > 0 {
		config = examples[0]
	}
	with := []byte("{}")
	if config != "" {
		if with, err = hub.ReadConfig(config); err != nil {
			return nil, err
		}
	}
	allow, err := allowed(m, with)
	if err != nil {
		return nil, err
	}
	name := string(m.Plugin.Name)
	own := fmt.Sprintf("plugin: %s\n        with: %s\n        allow: %s", name, bytes.TrimSpace(with), allow)
	parts := map[protocol.PluginType]string{
		protocol.Trigger: "plugin: timer\n        with: {every: 60s}",
		protocol.Action:  "plugin: pass",
		protocol.Output:  "plugin: sink",
	}
	parts[m.Plugin.Type] = own
	return []byte(strings.NewReplacer(
		"NAME", "try-"+name, "AGENTS", strconv.Itoa(agents), "PLUGIN", name, "FOLDER", strconv.Quote(full),
		"SIGNALS", trialSignals(with),
		"TRIGGER", parts[protocol.Trigger], "ACTION", parts[protocol.Action], "OUTPUT", parts[protocol.Output],
	).Replace(trialText)), nil
}

// trialSignals are the figures of a machine, each of which goes up and down by much, so that a
// plugin that watches one finds something; a figure that the configuration names goes around the
// numbers that stand there.
func trialSignals(with []byte) string {
	var config map[string]any
	_ = json.Unmarshal(with, &config) // what is no mapping names none
	about := 0.0
	named := map[string]bool{}
	for _, v := range config { // order does not matter: names, and the largest number
		switch v := v.(type) {
		case string:
			named[v] = true
		case float64:
			about = max(about, v)
		}
	}
	var all []string
	for _, name := range protocol.MetricNames() {
		of, _, _ := strings.Cut(name, ".")
		if slices.Contains([]string{"agent", "outbox", "runs", "link", "plugins", "store"}, of) {
			continue // the agent's own
		}
		mean, amplitude := 50.0, 45.0
		switch {
		case named[name] && about > 0:
			mean, amplitude = about, about/2
		case named[name]:
			mean, amplitude = 0, 50
		case strings.HasSuffix(name, ".available"), strings.HasSuffix(name,
			".free"), strings.HasSuffix(name, ".bytes"):
			mean, amplitude = 2<<30, 1<<30
		}
		all = append(all, fmt.Sprintf("%s: {sine: {mean: %.12g, amplitude: %.12g, period: 20m}}",
			name, mean, amplitude))
	}
	return "{" + strings.Join(all, ", ") + "}"
}

// allowed grants a plugin all that its manifest asks for: it runs in a simulated world. Where
// that is programs and the manifest names none, it is those that the configuration runs.
func allowed(m *protocol.Manifest, with []byte) (string, error) {
	wishes, err := m.Wishes()
	if err != nil {
		return "", err
	}
	grants := map[string][]string{}
	for _, g := range wishes {
		grants[g.Capability] = append([]string{}, g.Scopes...)
		if g.Capability == protocol.CapProcess && len(g.Scopes) == 0 {
			grants[g.Capability] = programs(with)
		}
	}
	text, err := json.Marshal(grants)
	return string(text), err
}

// programs returns what stands first in the lists of a configuration, where programs do.
func programs(with []byte) []string {
	var config map[string]any
	_ = json.Unmarshal(with, &config) // what is no mapping names none
	out := []string{}
	for _, v := range config { // sorted below
		words, _ := v.([]any)
		if len(words) == 0 {
			continue
		}
		if name, ok := words[0].(string); ok && name != "" {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}

// trialText is the scenario around a plugin.
//
//go:embed trial.yaml
var trialText string

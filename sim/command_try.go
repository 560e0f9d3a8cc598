package sim

import (
	"bytes"
	_ "embed" // the scenario that is run
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
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
	allow, err := allowed(m)
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
		"TRIGGER", parts[protocol.Trigger], "ACTION", parts[protocol.Action], "OUTPUT", parts[protocol.Output],
	).Replace(trialText)), nil
}

// allowed grants a plugin all that its manifest asks for: it runs in a simulated world.
func allowed(m *protocol.Manifest) (string, error) {
	wishes, err := m.Wishes()
	if err != nil {
		return "", err
	}
	grants := map[string][]string{}
	for _, g := range wishes {
		grants[g.Capability] = append([]string{}, g.Scopes...)
	}
	text, err := json.Marshal(grants)
	return string(text), err
}

// trialText is the scenario around a plugin.
//
//go:embed trial.yaml
var trialText string

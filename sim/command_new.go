package sim

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/stavily/stavily/sim/scenario"
)

func newCommand() *cobra.Command {
	var schema bool
	cmd := &cobra.Command{
		Use:     "new [NAME]",
		Short:   "Write a scenario with comments, which runs as it is",
		Example: "  stavily sim new cold-chain\n  stavily sim new --schema > stavily-sim.schema.json",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if schema {
				_, err := cmd.OutOrStdout().Write(scenario.Schema())
				return err
			}
			name := "scenario"
			if len(args) > 0 {
				name = strings.TrimSuffix(args[0], ".yaml")
			}
			return writeNew(cmd, name)
		},
	}
	cmd.Flags().BoolVar(&schema, "schema", false, "print the JSON Schema of scenarios, for editors")
	return cmd
}

// writeNew writes a scenario where there is no file yet.
func writeNew(cmd *cobra.Command, name string) error {
	path := name + ".yaml"
	text := strings.Replace(starter, "name: example", "name: "+filepath.Base(name), 1)
	if _, err := scenario.Parse(path, []byte(text), nil); err != nil {
		return wrongScenario(cmd.ErrOrStderr(), err) // the name is no name
	}
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s is there already", path)
	}
	if err != nil {
		return err
	}
	if _, err := file.WriteString(text); err != nil {
		return errors.Join(err, file.Close())
	}
	fmt.Fprintf(cmd.OutOrStdout(), "wrote %s; now: stavily sim run %s\n", path, path)
	return file.Close()
}

// starter is a scenario with a bit of everything, small enough to run in a second.
const starter = `# A fleet of shops with freezers, a bad day, and what must hold nevertheless.
# The language is in sim/README.md; "stavily sim show --figures" lists what can be asked.
stavily: sim/v1
name: example
seed: 1                       # everything drawn at random follows from it
start: 2026-11-01T06:00:00Z
duration: 6h                  # of virtual time

fleet:
  - group: shops
    count: 20
    name: "shop-{i/4}-{i%4}"  # shop-0-0, shop-0-1 ...: five sites of four
    site: "shop-{i/4}"
    class: {linux-armv7: 3, linux-arm64: 1}
    labels: {env: production}
    link: lte                 # or {latency: 80ms±40ms, loss: 1%, bandwidth: 1Mbit/s}
    signals:
      temperature: {walk: {start: -18, step: 0.5, min: -25, max: 6}}

plugins:                      # the simulator's own; a real one is {folder: ../my-plugin}
  threshold: {model: threshold}
  pass: {model: pass, takes: 5ms±2ms}
  sink: {model: sink, takes: 20ms±10ms}

deploy:
  - at: 2m
    workflow:
      workflow: freezer
      trigger:
        plugin: threshold@1
        with: {signal: temperature, above: -16, every: 30s}
        at: {group: {env: production}}
      actions:
        - plugin: pass@1
      outputs:
        - plugin: sink@1

faults:
  - {at: 1h, for: 45m, what: partition, where: "site in ['shop-1', 'shop-2']"}
  - {at: 2h, for: 2m, what: hub-restart}
  - {at: 3h, what: power-cut, for: 1m, where: "sample(10%)", torn_write: true}

expect:
  - never: "alerts.lost > 0"          # what fired offline arrives in the end
  - never: "agent.ran_unsealed"
  - eventually: {cond: "fleet.active('freezer') >= 99%", within: 30m}
  - after_faults: {cond: "outbox.max_age < 5m", within: 20m}
`

package sim

import (
	_ "embed" // the scenario that is written
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
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
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
//
//go:embed starter.yaml
var starter string

package sim

import (
	"os"

	"github.com/spf13/cobra"
)

// hubWord is the command that level live starts for its hub.
const hubWord = "serve-hub"

// hubCommand is that command. People have "stavily hub".
func hubCommand() *cobra.Command {
	return &cobra.Command{
		Use:    hubWord + " HOME",
		Short:  "Be the hub of a simulation in real time, until the standard input ends",
		Hidden: true,
		Args:   cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return ServeHub(cmd.Context(), args[0], cmd.InOrStdin(), cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
}

// ownHub is how this program starts the hub of level live.
func ownHub() ([]string, error) {
	own, err := os.Executable()
	return []string{own, "sim", hubWord}, err
}

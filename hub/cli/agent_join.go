package cli

import (
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/stavily/stavily/protocol"
)

// joinedByHand is what agent join prints.
type joinedByHand struct {
	Agent protocol.Address `json:"agent"`
	Epoch uint64           `json:"epoch"`
	Reply string           `json:"reply"` // the file
}

func agentJoin(c *connection) *cobra.Command {
	return &cobra.Command{
		Use: "join REQUEST REPLY", Short: "Let a device join that has no line, by files that are carried",
		Long: "Let a device join that has no line. On the device, \"stavily-edge join --hub ADDRESS\n" +
			"--join TOKEN --request FILE\" writes the request. This spends its token and writes the\n" +
			"reply, which the device takes with --reply FILE in place of --request.",
		Example: "  stavily agent join /media/stick/cave.request /media/stick/cave.reply",
		Args:    cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			client, err := c.client()
			if err != nil {
				return err
			}
			request, err := os.Open(args[0])
			if err != nil {
				return err
			}
			defer request.Close()
			var reply protocol.JoinReply
			err = wholeFile(args[1], func(to *os.File) error { // what cannot be written spends no token
				if reply, err = client.Join(cmd.Context(), request); err != nil {
					return fmt.Errorf("%s: %w", args[0], err)
				}
				if err := protocol.WriteFrame(to, reply); err != nil {
					return err
				}
				return to.Sync()
			})
			if err != nil {
				return err
			}
			out := joinedByHand{reply.Address, reply.Epoch, args[1]}
			return c.print(cmd.OutOrStdout(), out, func(w io.Writer) {
				row(w, "agent", out.Agent)
				row(w, "next", "on the device, with the flags of its request: stavily-edge join --reply "+
					filepath.Base(args[1]))
			})
		},
	}
}

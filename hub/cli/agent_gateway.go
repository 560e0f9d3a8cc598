package cli

import (
	"io"
	"net/http"

	"github.com/spf13/cobra"

	"github.com/stavily/stavily/hub/api"
)

func agentGateway(c *connection) *cobra.Command {
	off := false
	cmd := &cobra.Command{
		Use: "gateway NAME", Short: "Let an agent carry messages for the others of its site",
		Long: "A gateway carries for agents of its own site that cannot or need not reach the hub. Start it\n" +
			"with stavily-gateway --gateway ADDR; its certificate says what it is from its next renewal on,\n" +
			"which it asks for at its start. What it carries after --off is passed over.",
		Example: "  stavily agent gateway gw-1\n  stavily agent gateway gw-1 --off",
		Args:    cobra.ExactArgs(1), ValidArgsFunction: agentNames(c),
		RunE: func(cmd *cobra.Command, args []string) error {
			q := question{http.MethodPost, api.Path(api.PathGateway, args[0]), api.Gateway{On: !off}}
			return ask(cmd, c, q, func(w io.Writer, a api.Agent) {
				row(w, "agent", a.Address.Agent)
				row(w, "gateway", gatewayText(&a))
			})
		},
	}
	cmd.Flags().BoolVar(&off, "off", false, "it may not carry any more")
	return cmd
}

func gatewayText(a *api.Agent) string {
	if a.Gateway {
		return "of site " + string(a.Address.Site)
	}
	return "no"
}

package cli

import (
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"github.com/stavily/stavily/hub/api"
)

func pluginFollow(c *connection) *cobra.Command {
	in := api.Follow{By: whoami()}
	cmd := &cobra.Command{
		Use:   "follow NAME",
		Short: "Have the hub look for new tags of a plugin by itself",
		Long: "Have the hub look for new signed tags of a plugin by itself. The newest of the channel goes\n" +
			"through every stage to a release; what any stage refuses stays out. Workflows with\n" +
			"\"update: automatic\" then move to it, in their waves. A tag that moved is never taken:\n" +
			"\"stavily notices\" tells of it, as of all that the hub does by itself.",
		Example: "  stavily plugin follow system-health --channel stable --every 1h",
		Args:    cobra.ExactArgs(1), ValidArgsFunction: pluginNames(c),
		RunE: func(cmd *cobra.Command, args []string) error {
			q := question{http.MethodPost, api.Path(api.PathFollow, args[0]), in}
			return ask(cmd, c, q, func(w io.Writer, f api.Followed) {
				row(w, "followed", f.Plugin, f.Channel, fmt.Sprintf("every %v", f.Every))
			})
		},
	}
	cmd.Flags().StringVar(&in.Channel, "channel", "stable", "stable, rc, beta or alpha")
	cmd.Flags().DurationVar(&in.Every, "every", time.Hour, "how often to look; a tenth is added at random")
	return cmd
}

func pluginUnfollow(c *connection) *cobra.Command {
	return &cobra.Command{
		Use: "unfollow NAME", Short: "End that", Args: cobra.ExactArgs(1), ValidArgsFunction: pluginNames(c),
		RunE: func(cmd *cobra.Command, args []string) error {
			q := question{http.MethodDelete, api.Path(api.PathFollow, args[0]), nil}
			return ask(cmd, c, q, func(w io.Writer, _ struct{}) { row(w, "not followed any more", args[0]) })
		},
	}
}

func pluginFollowing(c *connection) *cobra.Command {
	return &cobra.Command{
		Use: "following", Short: "List the plugins that the hub follows, and what came of it", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return ask(cmd, c, question{http.MethodGet, api.PathFollows, nil}, func(w io.Writer, all []api.Followed) {
				row(w, "PLUGIN", "CHANNEL", "EVERY", "LOOKED", "NEWEST", "TROUBLE")
				for _, f := range all {
					row(w, f.Plugin, f.Channel, f.Every, when(f.Looked), f.Newest, f.Trouble)
				}
			})
		},
	}
}

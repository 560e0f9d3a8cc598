package cli

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"

	"github.com/spf13/cobra"

	"github.com/stavily/stavily/hub/api"
	"github.com/stavily/stavily/protocol"
)

func secretCommand(c *connection) *cobra.Command {
	cmd := &cobra.Command{
		Use: "secret", Short: "Set, list and remove what plugins use by name and nobody reads",
		Long: "A secret is a value that plugins use by name: \"${NAME}\" in a request's headers or path,\n" +
			"towards the hosts that the grant secret.use:NAME@HOST:PORT names. With secret.use:NAME\n" +
			"a plugin is told the value itself. Nothing gives a value back to a person.",
	}
	cmd.AddCommand(secretSet(c), secretList(c), secretRemove(c))
	return cmd
}

func secretNames(c *connection) cobra.CompletionFunc {
	return names(c, api.PathSecrets, func(s api.Secret) protocol.SecretName { return s.Name })
}

// aim adds the flags that say which part of the fleet is meant.
func aim(cmd *cobra.Command, to *api.SecretTarget) {
	cmd.Flags().StringVar((*string)(&to.Agent), "agent", "", "for this agent")
	cmd.Flags().StringVar((*string)(&to.Site), "site", "", "for the agents of this site")
	cmd.Flags().StringVar(&to.Label, "label", "", "for the agents with this label, key=value")
	cmd.MarkFlagsMutuallyExclusive("agent", "site", "label")
}

func secretSet(c *connection) *cobra.Command {
	in := api.NewSecret{}
	raw := false
	cmd := &cobra.Command{
		Use:   "set NAME [--agent A | --site S | --label KEY=VALUE] < VALUE",
		Short: "Keep a value, read from the standard input, and send it to the agents that it is for",
		Long: "Keep a value and send it to the agents that it is for: every agent unless a flag says which.\n" +
			"Of several values of one name, an agent gets its own, or else its label's, its site's,\n" +
			"everybody's. A value that was set before is replaced; no deployment is needed.",
		Example: "  stavily secret set slack-hook --site berlin < hook.txt",
		Args:    cobra.ExactArgs(1), ValidArgsFunction: secretNames(c),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			in.Name = protocol.SecretName(args[0])
			if in.Value, err = secretValue(cmd.InOrStdin(), raw); err != nil {
				return usage(cmd, err)
			}
			return ask(cmd, c, question{http.MethodPost, api.PathSecrets, in}, func(w io.Writer, s api.SecretSet) {
				row(w, "secret", s.Name, s.Target, s.Digest)
				row(w, "sent to", fmt.Sprintf("%d agents", len(s.Agents)), "the others get it when they ask")
			})
		},
	}
	aim(cmd, &in.Target)
	cmd.Flags().BoolVar(&raw, "raw", false, "keep a line feed at the end, which is cut off otherwise")
	return cmd
}

// secretValue reads a value. A person at a terminal would have it on the screen and in the
// history of the shell: it comes from a file or a pipe.
func secretValue(in io.Reader, raw bool) ([]byte, error) {
	if f, ok := in.(*os.File); ok {
		if info, err := f.Stat(); err == nil && info.Mode()&os.ModeCharDevice != 0 {
			return nil, fmt.Errorf("the value comes from the standard input: give it by < FILE or a pipe")
		}
	}
	value, err := io.ReadAll(io.LimitReader(in, protocol.SecretMax+3))
	if err != nil {
		return nil, fmt.Errorf("value: %w", err)
	}
	if !raw {
		value = bytes.TrimSuffix(bytes.TrimSuffix(value, []byte("\n")), []byte("\r"))
	}
	if len(value) == 0 || len(value) > protocol.SecretMax {
		return nil, fmt.Errorf("value on the standard input: %d bytes or more, want 1 to %d", len(value),
			protocol.SecretMax)
	}
	return value, nil
}

func secretList(c *connection) *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List names, targets and digests; never values", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return ask(cmd, c, question{http.MethodGet, api.PathSecrets, nil}, func(w io.Writer, list []api.Secret) {
				row(w, "SECRET", "FOR", "DIGEST", "CHANGED")
				for _, s := range list {
					row(w, s.Name, s.Target, s.Digest, when(s.Changed))
				}
			})
		},
	}
}

func secretRemove(c *connection) *cobra.Command {
	var to api.SecretTarget
	cmd := &cobra.Command{
		Use:   "remove NAME [--agent A | --site S | --label KEY=VALUE]",
		Short: "Forget a value and take it away from the agents",
		Args:  cobra.ExactArgs(1), ValidArgsFunction: secretNames(c),
		RunE: func(cmd *cobra.Command, args []string) error {
			q := url.Values{}
			pairs := [][2]string{{"agent", string(to.Agent)}, {"site", string(to.Site)}, {"label", to.Label}}
			for _, pair := range pairs {
				if pair[1] != "" {
					q.Set(pair[0], pair[1])
				}
			}
			path := api.Path(api.PathSecret, args[0])
			if len(q) > 0 {
				path += "?" + q.Encode()
			}
			return ask(cmd, c, question{http.MethodDelete, path, nil}, func(w io.Writer, s api.SecretSet) {
				row(w, "removed", s.Name, s.Target)
				row(w, "taken from", fmt.Sprintf("%d agents", len(s.Agents)))
			})
		},
	}
	aim(cmd, &to)
	return cmd
}

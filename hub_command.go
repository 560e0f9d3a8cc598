package main

import (
	"fmt"
	"io"
	"log/slog"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/stavily/stavily/hub"
	"github.com/stavily/stavily/hub/api"
	"github.com/stavily/stavily/hub/cli"
	"github.com/stavily/stavily/protocol"
)

// hubCommand returns "stavily hub".
func hubCommand() *cobra.Command {
	var allow []string
	var listen, apiAddress, logFormat, cache string
	var verbose bool
	cmd := &cobra.Command{
		Use:   "hub",
		Short: "Run the hub",
		Long: "Run the hub until it is interrupted: the broker for agents, the operator's API, the books.\n" +
			"Everything it keeps lies in its home; one hub at a time may use a home.",
		Example: "  stavily hub --home /var/lib/stavily --listen :8883",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			flag, _ := cmd.Flags().GetString("home")
			home, err := cli.Home(flag)
			if err != nil {
				return err
			}
			cfg := hub.DefaultConfig(home)
			cfg.Listen, cfg.API, cfg.Cache = listen, apiAddress, cache
			if cfg.Approve, err = approvals(allow); err != nil {
				return err
			}
			ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGINT, syscall.SIGTERM)
			defer stop()
			return hub.Serve(ctx, cfg, logger(cmd.ErrOrStderr(), logFormat, verbose), ready(cmd.OutOrStdout()))
		},
	}
	f := cmd.Flags()
	f.StringVar(&listen, "listen", ":8883", "TCP address for agents")
	f.StringVar(&apiAddress, "api-listen", "", "TCP address for the API besides the socket; loopback only")
	f.StringVar(&cache, "cache", "", "folder of build results and dependencies (default: in the home)")
	f.StringArrayVar(&allow, "allow", nil, "allow every plugin that asks for it a capability with its scope, such as process.execute:uptime")
	f.StringVar(&logFormat, "log-format", "text", "text or json")
	f.BoolVar(&verbose, "verbose", false, "log every message")
	return cmd
}

// approvals adds what the operator allows to the default policy.
func approvals(allow []string) ([]protocol.Grant, error) {
	grants := protocol.DefaultPolicy()
	for _, text := range allow {
		capability, scope, err := protocol.ParsePermission(text)
		if err != nil {
			return nil, fmt.Errorf("--allow: %w", err)
		}
		g := protocol.Grant{Capability: capability}
		if scope != "" {
			g.Scopes = []string{scope}
		}
		grants = protocol.Union(grants, []protocol.Grant{g})
	}
	return grants, nil
}

func logger(w io.Writer, format string, verbose bool) *slog.Logger {
	opt := &slog.HandlerOptions{Level: slog.LevelInfo}
	if verbose {
		opt.Level = slog.LevelDebug
	}
	if strings.EqualFold(format, "json") {
		return slog.New(slog.NewJSONHandler(w, opt))
	}
	return slog.New(slog.NewTextHandler(w, opt))
}

// ready says on stdout, in one line a program can wait for, that the hub is up.
func ready(w io.Writer) func(api.Status) {
	return func(s api.Status) { fmt.Fprintf(w, "hub ready: link %s, home %s\n", s.Listen, s.Home) }
}

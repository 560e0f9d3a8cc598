package main

import (
	"fmt"
	"io"
	"log/slog"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/stavily/stavily/hub"
	"github.com/stavily/stavily/hub/cli"
)

// hubCommand returns "stavily hub".
func hubCommand() *cobra.Command {
	var allow []string
	var listen, apiAddress, logFormat, cache string
	var verbose bool
	var heartbeat, metrics time.Duration
	var builds hub.BuildPolicy
	times := hub.DefaultConfig("").Overcommit
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
			cfg.Compile = hub.ChildCommand()
			if cfg.Approve, err = hub.ParseApprovals(allow); err != nil {
				return fmt.Errorf("--allow: %w", err)
			}
			cfg.Builds, cfg.Overcommit, cfg.Heartbeat, cfg.Metrics = builds, times, heartbeat, metrics
			if cfg, err = cfg.WithFile(); err != nil {
				return err
			}
			ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGINT, syscall.SIGTERM)
			defer stop()
			return hub.Serve(ctx, cfg, logger(cmd.ErrOrStderr(), logFormat, verbose), ready(cmd.OutOrStdout(), home))
		},
	}
	f := cmd.Flags()
	f.StringVar(&listen, "listen", ":8883", "TCP address for agents")
	f.StringVar(&apiAddress, "api-listen", "", "TCP address for the API besides the socket; loopback only")
	f.StringVar(&cache, "cache", "", "folder of build results and dependencies (default: in the home)")
	f.StringArrayVar(&allow, "allow", nil, "allow every plugin that asks for it a capability with its scope, "+
		"such as process.execute:uptime")
	f.BoolVar(&builds.AllowUnmeasured, "allow-unmeasured", false,
		"publish plugins whose coverage cannot be measured, whatever they promise (hub.yaml: "+
			"builds.allow_unmeasured)")
	f.BoolVar(&builds.AllowUnconfined, "allow-unconfined-builds", false,
		"run build scripts and native tests of plugins "+
			"although this machine cannot confine them (hub.yaml: builds.allow_unconfined)")
	f.Float64Var(&times.Memory, "overcommit-memory", times.Memory,
		"how often the memory limits of all that an agent runs may have its memory; 0 does not look")
	f.Float64Var(&times.CPU, "overcommit-cpu", times.CPU,
		"how often their processor limits may have its processors; 0 does not look")
	f.DurationVar(&heartbeat, "heartbeat", 0,
		"how often agents report though nothing has changed, by which waves go on too; 0: theirs, 5m")
	f.DurationVar(&metrics, "metrics", 0, "how often agents measure their device; 0: theirs, 5m")
	f.StringVar(&logFormat, "log-format", "text", "text or json")
	f.BoolVar(&verbose, "verbose", false, "log every message")
	return cmd
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
func ready(w io.Writer, home string) func(hub.Bound) {
	return func(at hub.Bound) {
		fmt.Fprintf(w, "hub ready: link %s, home %s", at.Link, home)
		if at.API != "" {
			fmt.Fprintf(w, ", api %s", at.API)
		}
		fmt.Fprintln(w)
	}
}

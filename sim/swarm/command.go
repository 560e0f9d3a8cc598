package swarm

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/stavily/stavily/protocol"
)

// exitLost is the exit code of a swarm that did not reach what it was to.
const exitLost = 99

// Command returns "stavily swarm".
func Command() *cobra.Command {
	cfg := DefaultConfig()
	var token, output string
	var piped, verbose bool
	cmd := &cobra.Command{
		Use:   "swarm",
		Short: "Put the load of many real agents on a hub",
		Long: "Join and connect many agents in one process, let them say figures, cut them all at once if\n" +
			"asked to, and measure. Without --hub they get a hub of their own, in this process, for as long as\n" +
			"it takes. Exit codes: 0 all connected and everything acknowledged, 99 not, 1 anything else.",
		Example: "  stavily swarm --agents 1000 --storm\n" +
			"  stavily swarm --hub mqtts://hub:8883 --join TOKEN --agents 500 --every 5s --for 10m",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if verbose {
				cfg.Log = slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), nil))
			}
			var out *Result
			switch {
			case cfg.Hub == "":
				out, err = WithHub(cmd.Context(), cfg, piped)
			case token == "":
				return errors.New("--join: missing; make a token with: stavily agent token --site SITE --count N")
			default:
				if cfg.Token, err = protocol.ParseJoinToken(token); err == nil {
					out, err = Run(cmd.Context(), cfg)
				}
			}
			if err != nil {
				return err
			}
			return tell(cmd.OutOrStdout(), out, output)
		},
	}
	f := cmd.Flags()
	f.StringVar(&cfg.Hub, "hub", "", "mqtts://host:port of a hub that runs (default: one of its own)")
	f.StringVar(&token, "join", "", "join token of that hub, good for all agents")
	f.IntVar(&cfg.Agents, "agents", cfg.Agents, "how many")
	f.StringVar(&cfg.Prefix, "prefix", cfg.Prefix, "begins their names")
	f.DurationVar(&cfg.Every, "every", cfg.Every, "how often each says its figures; 0: never")
	f.DurationVar(&cfg.For, "for", cfg.For, "how long the load lasts")
	f.BoolVar(&cfg.Storm, "storm", false, "then cut all connections at once and wait for them")
	f.DurationVar(&cfg.Patience, "patience", cfg.Patience, "how long each phase may take")
	f.BoolVar(&piped, "pipe", false, "with a hub of its own: connections that stay in the process")
	f.BoolVar(&verbose, "verbose", false, "log what the agents log")
	f.StringVarP(&output, "output", "o", "table", "table or json")
	return cmd
}

// lostError is a swarm that did not get where it was to.
type lostError struct{ what string }

func (e *lostError) Error() string { return "swarm: " + e.what }

// CommandExit returns the exit code of the command.
func (e *lostError) CommandExit() int { return exitLost }

// tell writes a result and returns an error when something was lost.
func tell(w io.Writer, r *Result, output string) error {
	var err error
	if output == "json" {
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		err = e.Encode(r)
	} else {
		err = r.table(w)
	}
	if err == nil && r.Lost != "" {
		err = &lostError{r.Lost}
	}
	return err
}

func (r *Result) table(to io.Writer) error {
	w := tabwriter.NewWriter(to, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "agents\t%d\n", r.Agents)
	phase := func(name string, p *Phase) {
		if p != nil && p.Done > 0 {
			fmt.Fprintf(w, "%s\t%d in %s\thalf %s\t99 %% %s\t%.0f/s\n", name, p.Done, short(p.Took), short(p.P50),
				short(p.P99), float64(p.Done)/max(p.Took.Seconds(), 1e-9))
		}
	}
	phase("joined", &r.Join)
	phase("connected", &r.Connect)
	phase("came back", r.Storm)
	fmt.Fprintf(w, "sent\t%d messages, %d bytes\n", r.Sent, r.SentBytes)
	fmt.Fprintf(w, "acknowledged\t%d batches\thalf %s\t99 %% %s\n", r.Acked, short(r.AckP50), short(r.AckP99))
	fmt.Fprintf(w, "this process\t%d KiB heap and %.1f goroutines an agent\n",
		r.HeapBytes/1024/uint64(max(r.Agents, 1)), float64(r.Goroutines)/float64(max(r.Agents, 1)))
	return w.Flush()
}

// short rounds a time to what says something.
func short(d time.Duration) time.Duration { return d.Round(max(d/1000, time.Microsecond)) }

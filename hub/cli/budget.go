package cli

import (
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/stavily/stavily/hub/api"
	"github.com/stavily/stavily/protocol"
)

func agentBudget(c *connection) *cobra.Command {
	in := api.Budget{}
	cmd := &cobra.Command{
		Use:   "budget [BYTES | none] [--agent A | --site S | --label KEY=VALUE]",
		Short: "Bound the bytes a day on the lines of agents, or list the bounds",
		Long: "Bound the bytes that an agent's line to the hub carries in a day, both ways: digits, and perhaps\n" +
			"k, M or G for 1,024, 1,048,576 and so on; none takes the bound away. Of several an agent has its\n" +
			"own, or else its label's, its site's, everybody's. At 80 in a hundred artifacts, metrics and logs\n" +
			"wait for the next day, at 90 results and audits, at the bound events; what controls the agent goes on.",
		Example: "  stavily agent budget 5M --site berlin\n  stavily agent budget none --site berlin",
		Args:    cobra.MaximumNArgs(1), ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			if len(args) == 0 {
				return ask(cmd, c, question{http.MethodGet, api.PathBudgets, nil}, func(w io.Writer, list []api.Budget) {
					row(w, "FOR", "BYTES A DAY")
					for _, b := range list {
						row(w, b.Target, b.BytesPerDay)
					}
				})
			}
			if in.BytesPerDay, err = dataBytes(args[0]); err != nil {
				return usage(cmd, err)
			}
			q := question{http.MethodPost, api.PathBudgets, in}
			return ask(cmd, c, q, func(w io.Writer, s api.BudgetSet) {
				row(w, "budget", s.Target, fmt.Sprintf("%d bytes a day", s.BytesPerDay))
				row(w, "sent to", fmt.Sprintf("%d agents", len(s.Agents)))
			})
		},
	}
	aim(cmd, &in.Target)
	return cmd
}

// dataBytes reads a number of bytes a day; none is 0.
func dataBytes(s string) (uint64, error) {
	if s == "none" {
		return 0, nil
	}
	digits, shift := s, 0
	if i := strings.IndexByte("kMG", lastOf(s)); i >= 0 {
		digits, shift = s[:len(s)-1], 10*(i+1)
	}
	n, err := strconv.ParseUint(digits, 10, 32)
	if err != nil || n == 0 {
		return 0, fmt.Errorf("bytes %q: want none, or a number above 0 such as 500000, 500k or 5M", s)
	}
	return n << shift, nil
}

// dataText says how much of the day's budget an agent has used.
func dataText(d *protocol.DataUse) string {
	if d == nil {
		return "no budget"
	}
	text := fmt.Sprintf("%d of %d bytes today", d.Bytes, d.Limit)
	if d.Waiting {
		text += ", artifacts or records wait for the next day"
	}
	return text
}

// lastOf returns the last byte of s, 0 for none.
func lastOf(s string) byte {
	if s == "" {
		return 0
	}
	return s[len(s)-1]
}

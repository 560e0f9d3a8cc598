package cli

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/stavily/stavily/hub/api"
	"github.com/stavily/stavily/protocol"
)

// recordLook is how often the hub is asked whether the recording has come.
const recordLook = 300 * time.Millisecond

func agentRecord(c *connection) *cobra.Command {
	in := api.NewRecording{Calls: 1}
	var out string
	var wait time.Duration
	cmd := &cobra.Command{
		Use:   "record NAME WORKFLOW/STEP",
		Short: "Have an agent record the next calls of a step, to be replayed at the desk",
		Long: "Have an agent record the next calls of a step: all that the plugin is asked and told, and what\n" +
			"it answers, in a fresh instance of it. No value of a secret is in a recording. The file is for\n" +
			"\"stavily plugin replay\". A device that was started with --no-record refuses.",
		Example: "  stavily agent record gw-1 overheat-guard/open-ticket --calls 5 --out ticket.rec",
		Args:    cobra.ExactArgs(2), ValidArgsFunction: agentNames(c),
		RunE: func(cmd *cobra.Command, args []string) error {
			workflow, step, ok := strings.Cut(args[1], "/")
			if !ok || out == "" {
				return usage(cmd, fmt.Errorf("want WORKFLOW/STEP, and --out, the file to write the recording to"))
			}
			in.Workflow, in.Step = protocol.WorkflowName(workflow), protocol.StepName(step)
			ctx, cancel := context.WithTimeout(cmd.Context(), wait)
			defer cancel()
			r, err := fetchRecording(ctx, c, args[0], in)
			if err != nil {
				return err
			}
			if err := os.WriteFile(out, r.Data, 0o600); err != nil {
				return err
			}
			r.Data = nil
			return c.print(cmd.OutOrStdout(), r, func(w io.Writer) {
				row(w, "recorded", args[1], fmt.Sprint(r.Size, " bytes"), out)
				row(w, "replay it", "stavily plugin replay "+out)
			})
		},
	}
	cmd.Flags().Uint32Var(&in.Calls, "calls", 1, "how many calls to record")
	cmd.Flags().Uint32Var(&in.Bytes, "bytes", 0, "most bytes of the recording (0: 512 KiB, the most there is)")
	cmd.Flags().StringVar(&out, "out", "", "file to write the recording to (required)")
	cmd.Flags().DurationVar(&wait, "wait", 5*time.Minute, "how long to wait for the calls")
	return cmd
}

// fetchRecording orders a recording and waits for it.
func fetchRecording(ctx context.Context, c *connection, agent string, in api.NewRecording) (r api.Recording,
	err error,
) {
	client, err := c.client()
	if err != nil {
		return r, err
	}
	path := api.Path(api.PathRecording, agent)
	if err := client.Do(ctx, http.MethodPost, path, in, &r); err != nil {
		return r, err
	}
	ordered := r.ID
	for look := time.NewTicker(recordLook); ; {
		if err := client.Do(ctx, http.MethodGet, path, nil, &r); err != nil && ctx.Err() == nil {
			return r, err
		}
		switch {
		case r.ID != ordered:
			return r, protocol.Errorf(protocol.CodeStale, "record: somebody ordered another recording of this agent")
		case r.Error != nil:
			return r, r.Error
		case r.Done:
			return r, nil
		}
		select {
		case <-ctx.Done():
			return r, protocol.Errorf(protocol.CodeDeadline, "record: %d calls of %s/%s have not come in time; "+
				"the order stands", in.Calls, in.Workflow, in.Step)
		case <-look.C:
		}
	}
}

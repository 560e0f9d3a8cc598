package sim

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/stavily/stavily/protocol"
	"github.com/stavily/stavily/sim/report"
	"github.com/stavily/stavily/sim/scenario"
)

// linesKept bounds what a replay shows of what happened last.
const linesKept = 25

func replayCommand() *cobra.Command {
	f := &runFlags{}
	var to, agent, module string
	lines := linesKept
	cmd := &cobra.Command{
		Use:   "replay SCENARIO.yaml | RESULT.json | TRACE.cbor | CALL.rec",
		Short: "Run to a moment and show one agent in detail, or replay a recorded call",
		Long: "Run a scenario to a moment and show what one agent is, holds, says and did last. A run is its\n" +
			"scenario, seed and build: there is nothing to record. Given the JSON or the trace of a run,\n" +
			"its scenario and seed are used. Given a plugin call that was recorded in the field, it is\n" +
			"replayed as stavily plugin replay does.",
		Example: "  stavily sim replay cold-chain.yaml --seed 7 --to 9h14m7s --agent store-3-4\n" +
			"  stavily sim replay call.rec --module plugin.wasm",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if filepath.Ext(args[0]) == ".rec" {
				return replayCall(cmd, args[0], module)
			}
			s, err := f.recorded(cmd, args[0])
			if err != nil {
				return err
			}
			end := s.Duration
			if to != "" {
				if end, err = scenario.ParseDuration(
					strings.TrimPrefix(to, "+"),
				); err != nil || end <= 0 ||
					end > s.Duration {
					return exit(exitBadScenario, "--to %q: want a time since the start up to %s, such as 9h14m7s", to,
						scenario.Duration(s.Duration))
				}
			}
			if agent == "" {
				agent = s.Agents()[0].Name
			}
			return f.replay(cmd, s, moment{end, agent, lines})
		},
	}
	f.common(cmd)
	cmd.Flags().StringVar(&to, "to", "", "the moment, since the start (default: the end)")
	cmd.Flags().StringVar(&agent, "agent", "", "whose state to show (default: the first agent)")
	cmd.Flags().StringVar(&module, "module", "", "of a recorded call: the module that was recorded")
	cmd.Flags().IntVar(&lines, "lines", linesKept, "how much to show of what happened to it last")
	return cmd
}

// replayCall replays a plugin's call from the field by the command that does it: there is
// one way to.
func replayCall(cmd *cobra.Command, path, module string) error {
	of, _, err := cmd.Root().Find([]string{"plugin", "replay"})
	if err != nil || of.Name() != "replay" || of == cmd || of.RunE == nil {
		return exit(exitBadScenario, "%s: a recorded call is replayed by stavily plugin replay, "+
			"which this program lacks", path)
	}
	if err := of.Flags().Set("module", module); err != nil {
		return err
	}
	of.SetContext(cmd.Context())
	of.SetOut(cmd.OutOrStdout())
	return of.RunE(of, []string{path})
}

// moment is what a replay shows: whom, and when.
type moment struct {
	at    time.Duration
	agent string
	lines int
}

// sameBuild warns of a run that another program recorded.
func (*runFlags) sameBuild(cmd *cobra.Command, build string) {
	if build != buildName() {
		fmt.Fprintf(cmd.ErrOrStderr(), "stavily: recorded by build %s, this is %s: it may go another way\n", build,
			buildName())
	}
}

// recorded reads a scenario, or the one that a result or a trace tells of.
func (f *runFlags) recorded(cmd *cobra.Command, path string) (*scenario.Scenario, error) {
	if filepath.Ext(path) == ".json" {
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		r, err := report.ReadJSON(text)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		f.sameBuild(cmd, r.Build)
		if !cmd.Flags().Changed("seed") {
			f.seed = r.Seed
		}
		path = r.File
	}
	if filepath.Ext(path) == ".cbor" {
		head, err := readTraceHead(path)
		if err != nil {
			return nil, err
		}
		f.sameBuild(cmd, head.Build)
		if !cmd.Flags().Changed("seed") {
			f.seed = head.Seed
		}
		path = head.File
	}
	s, err := load(cmd, path)
	if err == nil && f.seed == 0 {
		f.seed = s.Seed
	}
	return s, err
}

func (f *runFlags) replay(cmd *cobra.Command, s *scenario.Scenario, m moment) error {
	if s.Level != scenario.LevelModel {
		return wrongHere(s, "replay: at level %s no run is like another; only level model can be replayed", s.Level)
	}
	modules, err := f.build(cmd.Context(), s)
	if err != nil {
		return err
	}
	tail := &tail{keep: m.lines}
	w, err := newWorld(
		cmd.Context(),
		s,
		Options{Seed: f.seed, Build: buildName(), Modules: modules, Log: tail},
	)
	if err != nil {
		return err
	}
	d := w.byName[m.agent]
	if d == nil {
		return errors.Join(exit(exitBadScenario, "no agent %q in %s", m.agent, s.File), w.close())
	}
	tail.word = " " + d.addr.String() + " "
	w.watched.d, w.watched.keep = d, m.lines
	err = w.runTo(int64(m.at))
	if err == nil {
		err = d.show(
			cmd.OutOrStdout(),
			cmd.Flag("output") != nil && cmd.Flag("output").Value.String() == "json",
			tail,
		)
	}
	return errors.Join(err, w.close())
}

func (d *device) show(w io.Writer, asJSON bool, t *tail) error {
	out := d.details(t.last())
	if asJSON {
		enc := json.NewEncoder(w)
		enc.SetIndent("", "  ")
		return enc.Encode(out)
	}
	return out.table(w)
}

func (o *detail) table(w io.Writer) error {
	tw := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	row := func(word, format string, args ...any) {
		fmt.Fprintf(tw, "%s\t%s\n", word, clean(fmt.Sprintf(format, args...)))
	}
	row("agent", "%s of site %s, group %s, %s", o.Agent.Name, o.Agent.Site, o.Agent.Group, o.Agent.Platform)
	row("at", "+%s", time.Duration(o.AtMS)*time.Millisecond)
	row("power", "%s, %d restarts", onOff(o.Power), o.Agent.Restarts)
	row("line", "%s, %d bytes up, %d down", onOff(o.Line), o.Agent.BytesUp, o.Agent.BytesDown)
	row("disk", "%d bytes", o.DiskBytes)
	row(
		"runs",
		"%d fired, %d ended, %d failed, %d dropped, %d open",
		o.Agent.Fired,
		o.Agent.Ended,
		o.Agent.Failed,
		o.Agent.Dropped,
		len(o.OpenRuns),
	)
	for i, r := range o.OpenRuns {
		if i == shownMax {
			row("", "and %d more", len(o.OpenRuns)-i)
			break
		}
		row("open", "%s since %s, done %v", r.Run, at(r.FiredMS), r.Done)
	}
	if s := o.Status; s != nil {
		row("revision", "%d, %s", s.Revision, s.Digest.Short())
		row("outbox", "%d records wait, %d dropped ever", s.Pending, s.Dropped)
		row("disk", "refuses writes: %t", s.DiskRefuses)
		row(
			"time",
			"floor %s, last contact %s",
			s.Floor.UTC().Format(time.RFC3339),
			s.LastContact.UTC().Format(time.RFC3339),
		)
		if s.Refused != nil {
			row("refused", "revision %d: %v", s.Refused.Revision, &s.Refused.Error)
		}
		for i := range s.Assignments {
			row("workflow", "%s", assignment(&s.Assignments[i]))
		}
	}
	o.held(row)
	for _, line := range o.Last {
		row("last", "%s", line)
	}
	return tw.Flush()
}

// held writes what the disk holds and what was said.
func (o *detail) held(row func(word, format string, args ...any)) {
	if o.Desired != nil {
		row("desired", "revision %d of epoch %d, issued %s", o.Desired.Revision, o.Desired.Epoch,
			time.UnixMilli(o.Desired.Issued).UTC().Format(time.RFC3339))
	}
	for i := range o.Steps {
		s := &o.Steps[i]
		row("step", "%s/%s runs %s with %s", s.Workflow, s.Step, s.Plugin, cmp.Or(string(s.Config), "nothing"))
	}
	for i := range o.Records {
		lane := &o.Records[i]
		row("records", "%d in lane %s", lane.Count, lane.Lane)
		for j := range lane.First {
			row("record", "%s", said(&lane.First[j]))
		}
	}
	for i := range o.Messages {
		m := &o.Messages[i]
		row("message", "%s %s, %d bytes: %s", at(m.AtMS), m.Kind, m.Bytes, said(m.Body))
	}
}

func assignment(a *protocol.AssignmentStatus) string {
	text := fmt.Sprintf("%s: %s", a.Workflow, a.Phase)
	if a.Error != nil {
		text += ": " + a.Error.Error()
	}
	return text
}

func onOff(on bool) string {
	if on {
		return "on"
	}
	return "off"
}

// tail keeps the last lines that speak of one agent.
type tail struct {
	word  string
	keep  int
	lines []string
}

// Write takes whole lines, as the log writes them.
func (t *tail) Write(b []byte) (int, error) {
	for line := range bytes.Lines(b) {
		if t.word != "" && bytes.Contains(line, []byte(t.word)) {
			t.lines = append(t.lines, strings.TrimSpace(string(line)))
		}
	}
	if n := len(t.lines); n > 2*t.keep {
		t.lines = append(t.lines[:0], t.lines[n-t.keep:]...)
	}
	return len(b), nil
}

// last returns the last lines.
func (t *tail) last() []string { return t.lines[max(0, len(t.lines)-t.keep):] }

var _ io.Writer = (*tail)(nil)

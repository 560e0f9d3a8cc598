package sim

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
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
	var step bool
	lines := linesKept
	cmd := &cobra.Command{
		Use:   "replay SCENARIO.yaml | RESULT.json | TRACE.cbor | CALL.rec",
		Short: "Run to a moment and show one agent in detail, or replay a recorded call",
		Long: "Run a scenario to a moment and show what one agent is, holds, says and did last. A run is its\n" +
			"scenario, seed and build: there is nothing to record. Given the JSON of a run, its scenario and\n" +
			"seed are used. Given its trace, as --trace run.cbor records it, the run is also held against it:\n" +
			"the first thing that differs is printed, and the exit code is 1. With --other-build that says\n" +
			"what a change of the program changes first. Given a plugin call that was recorded in the field,\n" +
			"it is replayed as stavily plugin replay does.",
		Example: "  stavily sim replay cold-chain.yaml --seed 7 --to 9h14m7s --agent store-3-4\n" +
			"  stavily sim replay call.rec --module plugin.wasm",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if filepath.Ext(args[0]) == ".rec" {
				return replayCall(cmd, args[0], module)
			}
			s, held, err := f.recorded(cmd, args[0])
			if err != nil {
				return err
			}
			if held != nil {
				defer held.file.Close()
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
			return f.replay(cmd, s, moment{end, agent, lines, held, step})
		},
	}
	f.common(cmd)
	cmd.Flags().StringVar(&to, "to", "", "the moment, since the start (default: the end)")
	cmd.Flags().StringVar(&agent, "agent", "", "whose state to show (default: the first agent)")
	cmd.Flags().StringVar(&module, "module", "", "of a recorded call: the module that was recorded")
	cmd.Flags().BoolVar(&f.otherBuild, "other-build", false, "hold this build against a trace of another")
	cmd.Flags().BoolVar(&step, "step", false, "go on from there step by step, as the keyboard asks")
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
	held  *recording // that the way there is held against; nil: none
	step  bool       // go on from there step by step, as the input asks
}

// sameBuild warns of a run that another program recorded.
func (*runFlags) sameBuild(cmd *cobra.Command, build string) {
	if build != buildName() {
		fmt.Fprintf(cmd.ErrOrStderr(), "stavily: recorded by build %s, this is %s: it may go another way\n", build,
			buildName())
	}
}

// recorded reads a scenario, or the one that a result or a trace tells of.
func (f *runFlags) recorded(cmd *cobra.Command, path string) (*scenario.Scenario, *recording, error) {
	if filepath.Ext(path) == ".cbor" {
		return f.traced(cmd, path)
	}
	if filepath.Ext(path) == ".json" {
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, nil, err
		}
		r, err := report.ReadJSON(text)
		if err != nil {
			return nil, nil, fmt.Errorf("%s: %w", path, err)
		}
		f.sameBuild(cmd, r.Build)
		if !cmd.Flags().Changed("seed") {
			f.seed = r.Seed
		}
		path = r.File
	}
	s, err := load(cmd, path)
	if err == nil && f.seed == 0 {
		f.seed = s.Seed
	}
	return s, nil, err
}

// traced returns the scenario of a trace, as its flags made it, and the trace. A trace of
// another seed or build would differ for a reason that is known.
func (f *runFlags) traced(cmd *cobra.Command, path string) (*scenario.Scenario, *recording, error) {
	r, err := openRecording(path)
	if err != nil {
		return nil, nil, err
	}
	switch {
	case cmd.Flags().Changed("seed") && f.seed != r.head.Seed:
		err = exit(exitBadScenario, "%s: recorded with seed %d, not %d", path, r.head.Seed, f.seed)
	case r.head.Build != buildName() && !f.otherBuild:
		err = exit(exitBadScenario, "%s: recorded by build %s, this is %s; to hold them against each other: "+
			"--other-build", path, r.head.Build, buildName())
	}
	if err != nil {
		return nil, nil, errors.Join(err, r.file.Close())
	}
	f.seed = r.head.Seed
	s, err := scenario.Parse(r.head.File, []byte(r.head.Text), scenario.Folder(filepath.Dir(r.head.File)))
	if err = wrongScenario(cmd.ErrOrStderr(), err); err != nil {
		return nil, nil, errors.Join(err, r.file.Close())
	}
	return s, r, nil
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
	w, err := newWorld(cmd.Context(), s, Options{
		Seed: f.seed, Build: buildName(), Modules: modules, Log: tail, held: m.held,
	})
	if err != nil {
		return err
	}
	if m.held != nil {
		if err := m.held.of(w); err != nil {
			return errors.Join(err, w.close())
		}
	}
	d := w.byName[m.agent]
	if d == nil {
		return errors.Join(exit(exitBadScenario, "no agent %q in %s", m.agent, s.File), w.close())
	}
	w.watch(d, tail)
	err = w.runTo(int64(m.at))
	if err == nil && m.held != nil {
		err = m.held.ended(w.now)
	}
	if err == nil && m.held != nil {
		fmt.Fprintf(cmd.ErrOrStderr(), "stavily: as recorded: %d things up to +%s\n", m.held.same,
			time.Duration(w.now))
	}
	if err == nil {
		err = d.show(
			cmd.OutOrStdout(),
			cmd.Flag("output") != nil && cmd.Flag("output").Value.String() == "json",
			tail,
		)
	}
	if err == nil && m.step {
		by := stepper{
			w: w, d: d, tail: tail, end: int64(s.Duration),
			in: bufio.NewScanner(cmd.InOrStdin()), out: cmd.OutOrStdout(),
		}
		err = by.run()
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

// plainly writes the beginning of what happened, which a trace has in hexadecimal, as the text
// that it is, if it is one.
func plainly(line string) string {
	at := strings.LastIndexByte(line, ' ') + 1
	text, err := hex.DecodeString(line[at:])
	if err != nil || len(text) == 0 || bytes.ContainsFunc(text,
		func(r rune) bool { return r < ' ' || r > '~' }) {
		return line
	}
	return line[:at] + strconv.Quote(string(text))
}

// tail keeps the last lines that speak of one agent.
type tail struct {
	word  string
	keep  int
	lines []string
	seen  int       // lines that spoke of it, ever
	tee   io.Writer // gets them too; nil: nobody does
}

// Write takes whole lines, as the log writes them.
func (t *tail) Write(b []byte) (int, error) {
	for line := range bytes.Lines(b) {
		if t.word != "" && bytes.Contains(line, []byte(t.word)) {
			t.lines = append(t.lines, plainly(strings.TrimSpace(string(line))))
			if t.seen++; t.tee != nil {
				fmt.Fprintf(t.tee, "  %s\n", clean(t.lines[len(t.lines)-1]))
			}
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

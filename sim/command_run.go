package sim

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/stavily/stavily/hub"
	"github.com/stavily/stavily/sim/report"
	"github.com/stavily/stavily/sim/scenario"
)

// runFlags are the flags of "stavily sim run", and in part those of its sisters.
type runFlags struct {
	seed, seeds      uint64
	seedsText        string // as written: how many, or from..to
	shrink           bool   // a sweep shrinks the first seed that fails
	until            string
	workflow, plugin string
	count            int
	cache            string
	files            scenario.Report
	level            string
	hub, token       string
	otherBuild       bool                 // a trace may be of another build
	words            string               // of the command, where it is not "stavily sim run"
	bubble           Bubble               // nil: this program has none
	modules          map[string]hub.Built // once built
}

func runCommand(bubble Bubble) *cobra.Command {
	f := &runFlags{bubble: bubble}
	cmd := &cobra.Command{
		Use:   "run SCENARIO.yaml",
		Short: "Run a scenario and say what held",
		Long: "Run a scenario and print its report. With --seeds each of so many seeds is run; a seed that\n" +
			"fails is printed with the command that repeats it, and the report is that of the first.",
		Example: "  stavily sim run cold-chain.yaml --seed 7 --until 24h --html out.html\n" +
			"  stavily sim run cold-chain.yaml --seeds 1..500 --shrink",
		Args: one("scenario"),
		RunE: func(cmd *cobra.Command, args []string) error { return f.run(cmd, args[0]) },
	}
	f.common(cmd)
	flags := cmd.Flags()
	flags.StringVar(&f.level, "level", "", "how much is real: model, bubble or live, instead of the scenario's")
	flags.StringVar(&f.hub, "hub", "", "at level live: host:port of a hub that runs (default: one of its own)")
	flags.StringVar(&f.token, "join", "", "join token of that hub, good for all agents")
	flags.StringVar(&f.seedsText, "seeds", "1",
		"run so many seeds, from the scenario's or --seed on; or from and to, such as 1..500")
	flags.BoolVar(&f.shrink, "shrink", false,
		"if it fails, look for a smaller scenario that fails in the same way")
	flags.StringVar(&f.until, "until", "", "end so long after the start, such as 24h")
	flags.StringVar(&f.workflow, "workflow", "", "deploy this workflow instead of the scenario's")
	flags.StringVar(&f.plugin, "plugin", "", "use the plugin in this folder under its name")
	flags.IntVar(&f.count, "count", 0, "at most so many agents in each group")
	flags.StringVar(&f.files.JSON, "json", "", "write everything to this file, for programs")
	flags.StringVar(&f.files.JUnit, "junit", "", "write JUnit XML to this file")
	flags.StringVar(&f.files.HTML, "html", "", "write a page with pictures to this file")
	flags.StringVar(&f.files.Trace, "trace", "",
		"write all that happens to this file: as CBOR if it ends in .cbor, else line by line; slow")
	return cmd
}

// common adds the flags of every command that runs something.
func (f *runFlags) common(cmd *cobra.Command) {
	cmd.Flags().Uint64Var(&f.seed, "seed", 0, "instead of the scenario's seed")
	cmd.Flags().StringVar(&f.cache, "cache", "", "folder of build results (default: in the user's cache)")
}

func (f *runFlags) run(cmd *cobra.Command, path string) error {
	s, err := f.prepare(cmd, path)
	if err != nil {
		return err
	}
	if done, err := f.elsewhere(cmd, s, []string{path}); done {
		return err
	}
	defer collectLess()()
	first := s.Seed
	if cmd.Flags().Changed("seed") {
		first = f.seed
	}
	if first, f.seeds, err = seedRange(f.seedsText, first); err != nil {
		return err
	}
	if f.seeds > 1 || f.shrink {
		return f.sweep(cmd, s, first)
	}
	r, err := f.one(cmd.Context(), s, first)
	if err != nil {
		return err
	}
	return f.tell(cmd, r)
}

// prepare reads the scenario and changes it as the flags say.
func (f *runFlags) prepare(cmd *cobra.Command, path string) (*scenario.Scenario, error) {
	s, err := load(cmd, path)
	if err != nil {
		return nil, err
	}
	if cmd.Flags().Changed("count") && f.count < 1 {
		return nil, exit(exitBadScenario,
			"--count %d: want how many agents a group has at most, 1 or more", f.count)
	}
	changes := []struct {
		wanted bool
		change func(*scenario.Scenario) (*scenario.Scenario, error)
	}{
		{f.plugin != "", f.withPlugin},
		{f.workflow != "", func(s *scenario.Scenario) (*scenario.Scenario, error) {
			full, err := filepath.Abs(f.workflow)
			if err != nil {
				return nil, err
			}
			return s.WithWorkflow(full)
		}},
		{f.until != "", func(s *scenario.Scenario) (*scenario.Scenario, error) {
			d, err := scenario.ParseDuration(f.until)
			if err != nil || d <= 0 {
				return nil, exit(exitBadScenario, "--until %q: want a time since the start such as 24h", f.until)
			}
			return s.Until(d)
		}},
		{f.count > 0, f.smaller},
		{true, func(s *scenario.Scenario) (*scenario.Scenario, error) { return f.levelled(cmd, s) }},
	}
	for _, c := range changes {
		if !c.wanted {
			continue
		}
		if s, err = c.change(s); err != nil {
			return nil, wrongScenario(cmd.ErrOrStderr(), err)
		}
	}
	f.files = f.files.Or(s.Report)
	if f.hub+f.token != "" && s.Level != scenario.LevelLive {
		return nil, exit(exitBadScenario, "--hub and --join go with --level live; %s is of level %s", path, s.Level)
	}
	return s, writable(f.files)
}

// smaller bounds the agents of each group.
func (f *runFlags) smaller(s *scenario.Scenario) (*scenario.Scenario, error) {
	cut := scenario.Cut{Counts: make([]int, len(s.Fleet))}
	for i := range s.Fleet {
		cut.Counts[i] = min(f.count, s.Fleet[i].Count)
	}
	return s.Cut(cut)
}

func (f *runFlags) withPlugin(s *scenario.Scenario) (*scenario.Scenario, error) {
	full, err := filepath.Abs(f.plugin)
	if err != nil {
		return nil, err
	}
	m, _, err := hub.ReadManifest(full)
	if err != nil {
		return nil, err
	}
	return s.WithPlugin(string(m.Plugin.Name), full)
}

// repeat is the command that runs one seed again.
func (f *runFlags) repeat(s *scenario.Scenario, seed uint64) string {
	words := []string{cmp.Or(f.words, "stavily sim run "+quoted(s.File)), fmt.Sprintf("--seed %d", seed)}
	for _, flag := range [][2]string{
		{"--until", f.until}, {"--workflow", f.workflow}, {"--plugin", f.plugin}, {"--level", f.level},
	} {
		if flag[1] != "" {
			words = append(words, flag[0], quoted(flag[1]))
		}
	}
	if f.count > 0 {
		words = append(words, fmt.Sprintf("--count %d", f.count))
	}
	return strings.Join(words, " ")
}

// look is the command that shows a moment of one seed: of its trace, which has what the flags
// changed, or of a scenario that none did.
func (f *runFlags) look(s *scenario.Scenario, seed uint64) string {
	switch {
	case filepath.Ext(f.files.Trace) == ".cbor" && f.seeds <= 1:
		return "stavily sim replay " + quoted(f.files.Trace)
	case f.until+f.workflow+f.plugin+f.level+f.words == "" && f.count == 0:
		return fmt.Sprintf("stavily sim replay %s --seed %d", quoted(s.File), seed)
	default:
		return ""
	}
}

// quoted writes a word so that a shell reads it as one.
func quoted(word string) string {
	if strings.Trim(word, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./@=+") == "" {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}

// one runs one seed.
func (f *runFlags) one(ctx context.Context, s *scenario.Scenario, seed uint64) (*report.Result, error) {
	o := Options{Seed: seed, Repeat: f.repeat(s, seed), Look: f.look(s, seed)}
	if f.files.Trace == "" || f.seeds > 1 {
		return f.simulate(ctx, s, o)
	}
	var r *report.Result
	err := writeTo(f.files.Trace, func(w io.Writer) (err error) {
		if filepath.Ext(f.files.Trace) == ".cbor" {
			o.Trace = w
		} else {
			o.Log = w
		}
		r, err = f.simulate(ctx, s, o)
		return err
	})
	return r, err
}

// firstBroken says in a line what is wrong.
func firstBroken(r *report.Result) string {
	at := func(ms int64) time.Duration { return time.Duration(ms) * time.Millisecond }
	for _, v := range r.Violations {
		return fmt.Sprintf("invariant %s at +%s: %s", v.Invariant, at(v.AtMS), v.Text)
	}
	for _, e := range r.Expects {
		if !e.Held {
			return fmt.Sprintf("expect[%d] %s %s at +%s: %s", e.Index, e.Kind, e.Text, at(e.AtMS), e.Detail)
		}
	}
	for _, p := range r.Pending {
		return fmt.Sprintf("%d agents not converged, such as %s: %s", len(r.Pending), p.Agent, p.Why)
	}
	return "held"
}

// tell prints and writes the report, and turns what broke into the exit code.
func (f *runFlags) tell(cmd *cobra.Command, r *report.Result) error {
	form := report.WriteTable
	if flag := cmd.Flag("output"); flag != nil && flag.Value.String() == "json" {
		form = report.WriteJSON
	}
	if err := errors.Join(form(cmd.OutOrStdout(), r), f.write(r)); err != nil {
		return err
	}
	if r.Broken() {
		return exit(exitBroken, "%s, seed %d: %s", r.Scenario, r.Seed, firstBroken(r))
	}
	return nil
}

func (f *runFlags) write(r *report.Result) error {
	var errs []error
	for _, file := range []struct {
		path string
		form func(io.Writer, *report.Result) error
	}{{f.files.JSON, report.WriteJSON}, {f.files.JUnit, report.WriteJUnit}, {f.files.HTML, report.WriteHTML}} {
		if file.path != "" {
			errs = append(errs, writeTo(file.path, func(w io.Writer) error { return file.form(w, r) }))
		}
	}
	return errors.Join(errs...)
}

// writable looks that files can be written before there is anything to write.
func writable(files scenario.Report) error {
	for _, path := range []string{files.HTML, files.JUnit, files.JSON, files.Trace} {
		if path == "" {
			continue
		}
		err := os.MkdirAll(filepath.Dir(path), 0o755)
		var file *os.File
		if err == nil {
			if file, err = os.OpenFile(path, os.O_WRONLY, 0); errors.Is(err, os.ErrNotExist) {
				file, err = os.Create(path)
			}
		}
		if err != nil {
			return fmt.Errorf("report: %w", err)
		}
		if err := file.Close(); err != nil {
			return err
		}
	}
	return nil
}

// writeTo makes a file, and its folder where there is none.
func writeTo(path string, write func(io.Writer) error) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	return errors.Join(write(file), file.Close())
}

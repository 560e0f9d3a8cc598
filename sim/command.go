package sim

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"

	"github.com/stavily/stavily/hub"
	"github.com/stavily/stavily/hub/api"
	"github.com/stavily/stavily/sim/report"
	"github.com/stavily/stavily/sim/scenario"
)

// The exit codes of the commands, besides 0 and 1.
const (
	exitBadScenario = 2
	exitBroken      = 99 // an invariant or an expectation, or not all converged
)

// Command returns "stavily sim". connect opens the hub that the command's flags name;
// bubble is nil in a program that has none.
func Command(connect func(*cobra.Command) (*api.Client, error), bubble Bubble) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "sim",
		Short: "Run a simulated fleet: thousands of agents, virtual time, one seed",
		Long: "Simulate a fleet from a scenario: the real hub and the real agents in one process, on virtual\n" +
			"time, with faults. The same scenario, seed and build give the same run, byte for byte.\n\n" +
			"Exit codes: 0 all held, 99 an invariant or expectation was broken or not all converged, 2 the\n" +
			"scenario is wrong, 1 anything else.",
		Example: "  stavily sim new cold-chain\n  stavily sim run cold-chain.yaml --seeds 20 --html out.html",
	}
	cmd.AddCommand(runCommand(bubble), newCommand(), showCommand(), shrinkCommand(bubble), tryCommand(),
		replayCommand(), recordCommand(connect), hubCommand())
	return cmd
}

// one holds the arguments of a command to one of a kind, and says which.
func one(what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) == 1 {
			return nil
		}
		return exit(exitBadScenario, "want one %s, got %d: stavily %s", what, len(args),
			strings.TrimPrefix(cmd.UseLine(), "stavily "))
	}
}

// exitError is an error with an exit code of its own.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string { return e.err.Error() }
func (e *exitError) Unwrap() error { return e.err }

// CommandExit returns the code that the command ends with.
func (e *exitError) CommandExit() int { return e.code }

func exit(code int, format string, args ...any) error {
	return &exitError{code, fmt.Errorf(format, args...)}
}

// load reads a scenario; what is wrong with it is printed, each with its line.
func load(cmd *cobra.Command, path string) (*scenario.Scenario, error) {
	s, err := scenario.Load(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, exit(exitBadScenario, "%s: there is no such scenario; stavily sim new writes one", path)
	}
	return s, wrongScenario(cmd.ErrOrStderr(), err)
}

// wrongScenario prints what is wrong with a scenario and returns the error to end with.
// Other errors pass.
func wrongScenario(w io.Writer, err error) error {
	var all scenario.Errors
	if !errors.As(err, &all) {
		return err
	}
	for _, e := range all {
		fmt.Fprintln(w, clean(e.Error()))
		if caret := e.Caret(); caret != "" {
			fmt.Fprintln(w, clean(caret))
		}
	}
	if len(all) == 1 {
		return exit(exitBadScenario, "%s: 1 error, nothing was run", all[0].File)
	}
	return exit(exitBadScenario, "%s: %d errors, nothing was run", all[0].File, len(all))
}

// clean keeps what a file holds from moving a terminal's cursor.
func clean(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' && r != '\n' && r != '\t' || r == 0x7f || r >= 0x80 && r < 0xa0 {
			return ' '
		}
		return r
	}, text)
}

// simulate builds what the scenario's plugins need and runs it. An error in a workflow
// has its place in it and counts as one of the scenario.
func (f *runFlags) simulate(ctx context.Context, s *scenario.Scenario, o Options) (*report.Result, error) {
	if f.modules == nil {
		modules, err := f.build(ctx, s)
		if err != nil {
			return nil, err
		}
		f.modules = modules
	}
	o.Modules, o.Build = f.modules, buildName()
	r, err := f.runAt(ctx, s, o)
	var placed interface{ Caret() string }
	if errors.As(err, &placed) {
		err = &exitError{exitBadScenario, err}
	}
	return r, err
}

func wrongHere(s *scenario.Scenario, format string, args ...any) error {
	return &exitError{exitBadScenario, s.Errorf(s.Pos, format, args...)}
}

// build returns the modules of the plugins that are no models.
func (f *runFlags) build(ctx context.Context, s *scenario.Scenario) (map[string]hub.Built, error) {
	modules := map[string]hub.Built{}
	for i := range s.Plugins {
		p := &s.Plugins[i]
		var built hub.Built
		var err error
		switch {
		case p.Folder != "":
			built, err = hub.BuildFolder(ctx, besides(s, p.Folder), f.cacheDir())
		case p.Module != "":
			built, err = hub.ReadModule(besides(s, p.Module))
		default:
			continue
		}
		if err != nil {
			return nil, &exitError{
				exitBadScenario,
				fmt.Errorf("%s:%d: plugin %q: %w", s.File, p.Pos.Line, p.Name, err),
			}
		}
		if got := string(built.Manifest.Plugin.Name); got != p.Name {
			return nil, wrongHere(s, "plugin %q: its manifest calls it %q", p.Name, got)
		}
		modules[p.Name] = built
	}
	return modules, nil
}

// besides returns where a path in a scenario is.
func besides(s *scenario.Scenario, path string) string {
	return scenario.Folder(filepath.Dir(s.File)).Path(path)
}

func (f *runFlags) cacheDir() string {
	if f.cache != "" {
		return f.cache
	}
	if dir, err := os.UserCacheDir(); err == nil {
		return filepath.Join(dir, "stavily", "sim")
	}
	return filepath.Join(os.TempDir(), "stavily-sim-cache")
}

// buildName names this program: its version and the commit that it was built from.
func buildName() string {
	name := hub.Version
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return name
	}
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			name += "-" + s.Value[:min(12, len(s.Value))]
		case s.Key == "vcs.modified" && s.Value == "true":
			name += "+"
		}
	}
	return name
}

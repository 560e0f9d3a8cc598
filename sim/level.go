package sim

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/stavily/stavily/protocol"
	"github.com/stavily/stavily/sim/report"
	"github.com/stavily/stavily/sim/scenario"
)

// Bubble runs f in virtual time: in it a clock moves on when everybody waits. f must use
// the context that it is given. Only a program made for it has one, since it links the
// package testing: sim/stavily-sim.
type Bubble func(f func(ctx context.Context))

// sister is the program that has a bubble.
const sister = "stavily-sim"

// levelled returns s at the level that the flags ask for, and warns of a level that takes
// real time.
func (f *runFlags) levelled(cmd *cobra.Command, s *scenario.Scenario) (*scenario.Scenario, error) {
	if f.level != "" {
		switch scenario.Level(f.level) {
		case scenario.LevelModel, scenario.LevelBubble, scenario.LevelLive:
		default:
			return nil, exit(exitBadScenario, "--level %q: want model, bubble or live", f.level)
		}
		var err error
		if s, err = s.WithLevel(scenario.Level(f.level)); err != nil {
			return nil, err
		}
	}
	if took := s.RealTime(); took > 0 {
		fmt.Fprintf(cmd.ErrOrStderr(), "stavily: level live runs in real time: %s and up to %s to settle\n",
			scenario.Duration(took), scenario.Duration(s.Settle))
	}
	return s, nil
}

// elsewhere runs the command in the program that has a bubble, when s needs one and this
// program has none, and reports whether it did.
func (f *runFlags) elsewhere(cmd *cobra.Command, s *scenario.Scenario, args []string) (bool, error) {
	if s.Level != scenario.LevelBubble || f.bubble != nil {
		return false, nil
	}
	path, err := findSister()
	if err != nil {
		return true, wrongHere(s, "level bubble runs in another program: %v; put %s beside this one: "+
			"go build -o %[2]s ./sim/%[2]s", err, sister)
	}
	words := strings.Fields(cmd.CommandPath())
	if len(words) > 0 && words[0] != "sim" {
		words = words[1:]
	}
	cmd.Flags().Visit(func(flag *pflag.Flag) {
		words = append(words, "--"+flag.Name+"="+flag.Value.String())
	})
	child := exec.CommandContext(cmd.Context(), path, append(words, args...)...)
	child.Stdin, child.Stdout, child.Stderr = cmd.InOrStdin(), cmd.OutOrStdout(), cmd.ErrOrStderr()
	err = child.Run()
	var ended *exec.ExitError
	if errors.As(err, &ended) && ended.ExitCode() > 0 {
		err = exit(ended.ExitCode(), "%s: ended with %d", sister, ended.ExitCode())
	}
	return true, err
}

// findSister looks beside this program first, and then where programs are.
func findSister() (string, error) {
	if own, err := os.Executable(); err == nil {
		path := filepath.Join(filepath.Dir(own), sister)
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() {
			return path, nil
		}
	}
	return exec.LookPath(sister)
}

// real returns the options of a run in real time.
func (f *runFlags) real(s *scenario.Scenario, o Options) (_ Options, err error) {
	if f.hub == "" {
		if len(o.HubCommand) == 0 {
			o.HubCommand, err = ownHub()
		}
		return o, err
	}
	if f.token == "" {
		return o, exit(exitBadScenario, "--join: missing; make a token with: "+
			"stavily agent token --site SITE --count %d", len(s.Agents()))
	}
	for i := range s.Deploys {
		return o, &exitError{exitBadScenario, s.Errorf(s.Deploys[i].Pos,
			"deploy: the hub at %s is its operator's; deploy there, and leave this out", f.hub)}
	}
	for i := range s.Fleet {
		if g := &s.Fleet[i]; len(g.Behind) > 0 {
			return o, &exitError{exitBadScenario, s.Errorf(g.Pos,
				"group %s: behind: who is a gateway at %s its operator says; leave this out", g.Name, f.hub)}
		}
		if g := &s.Fleet[i]; g.Budget > 0 {
			return o, &exitError{exitBadScenario, s.Errorf(g.Pos,
				"group %s: budget: the hub at %s is its operator's; set it there, and leave this out", g.Name, f.hub)}
		}
	}
	for i := range s.Faults {
		if of := &s.Faults[i]; of.OfHub() {
			return o, &exitError{exitBadScenario, s.Errorf(of.Pos,
				"%s: the hub at %s is its operator's", of.What, f.hub)}
		}
	}
	o.Hub = f.hub
	o.Token, err = protocol.ParseJoinToken(f.token)
	return o, err
}

// runAt runs a scenario at its level.
func (f *runFlags) runAt(ctx context.Context, s *scenario.Scenario, o Options) (r *report.Result, err error) {
	if s.Level == scenario.LevelLive {
		if o, err = f.real(s, o); err != nil {
			return nil, err
		}
		if err = preflight(ctx, s, o); err != nil {
			return nil, err
		}
	}
	if s.Level != scenario.LevelBubble {
		return Run(ctx, s, o)
	}
	if f.bubble == nil {
		return nil, wrongHere(s, "level bubble: not by this command; run the scenario with stavily sim run")
	}
	if err := preflight(ctx, s, o); err != nil {
		return nil, err
	}
	// The bubble's clock is not ours, and neither is what ends its context.
	began := time.Now() //nolint:forbidigo // how long it took is not part of what is simulated
	o.halt = new(atomic.Bool)
	defer context.AfterFunc(ctx, func() { o.halt.Store(true) })()
	f.bubble(func(inner context.Context) { r, err = Run(inner, s, o) })
	if r != nil {
		r.Wall = time.Since(began)
	}
	return r, err
}

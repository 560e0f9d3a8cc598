package sim

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/stavily/stavily/sim/report"
	"github.com/stavily/stavily/sim/scenario"
)

func shrinkCommand(bubble Bubble) *cobra.Command {
	f := &runFlags{bubble: bubble}
	var out string
	var most int
	cmd := &cobra.Command{
		Use:   "shrink SCENARIO.yaml",
		Short: "Find a smaller scenario that fails in the same way",
		Long: "Run a scenario that fails, and leave out time, faults, deployments, groups and agents as long as\n" +
			"the same check still fails. The smaller scenario is written beside the first.",
		Example: "  stavily sim shrink cold-chain.yaml --seed 17",
		Args:    one("scenario"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if most < 1 {
				return exit(exitBadScenario, "--runs %d: want how many scenarios may be run, 1 or more", most)
			}
			s, err := load(cmd, args[0])
			if err != nil {
				return err
			}
			if done, err := f.elsewhere(cmd, s, args); done {
				return err
			}
			if out == "" {
				out = smallName(args[0])
			}
			sh := &shrinker{f: f, out: cmd.OutOrStdout(), left: most, seed: s.Seed}
			if cmd.Flags().Changed("seed") {
				sh.seed = f.seed
			}
			return sh.run(cmd.Context(), s, out)
		},
	}
	f.common(cmd)
	cmd.Flags().StringVarP(&out, "write", "w", "", "where to write it (default: NAME-small.yaml)")
	cmd.Flags().IntVar(&most, "runs", shrinkRuns, "run at most so many scenarios")
	return cmd
}

// shrinkRuns is how many scenarios are run to find a smaller one, when nobody says.
const shrinkRuns = 200

// smallName is where a smaller scenario goes: beside the first, for it has the same files.
func smallName(path string) string {
	return strings.TrimSuffix(path, filepath.Ext(path)) + "-small.yaml"
}

// A shrinker looks for the smallest scenario that fails one check.
type shrinker struct {
	f     *runFlags
	out   io.Writer
	seed  uint64
	left  int    // runs that it may still take
	check string // what must go on failing
	at    int64  // when it did last, in milliseconds
}

func (sh *shrinker) run(ctx context.Context, s *scenario.Scenario, path string) error {
	s, err := s.Cut(scenario.Cut{Seed: sh.seed})
	if err != nil {
		return err
	}
	r, err := sh.f.simulate(ctx, s, Options{Seed: sh.seed})
	if err != nil {
		return err
	}
	if !r.Broken() {
		return exit(exitBadScenario, "%s, seed %d: nothing fails; there is nothing to shrink", s.File, sh.seed)
	}
	sh.check, sh.at = failing(r)[0].check, failing(r)[0].at
	fmt.Fprintf(sh.out, "fails: %s\n", firstBroken(r))
	for before := (*scenario.Scenario)(nil); before != s && sh.left > 0; {
		before = s
		for _, way := range []func(context.Context, *scenario.Scenario) (*scenario.Scenario, error){
			sh.time, sh.faults, sh.deploys, sh.groups, sh.agents,
		} {
			if s, err = way(ctx, s); err != nil {
				return err
			}
		}
	}
	if err := os.WriteFile(path, s.Text(), 0o644); err != nil {
		return err
	}
	fmt.Fprintf(sh.out, "wrote %s: %s\nagain: stavily sim run %s\n", path, sizeOf(s), quoted(path))
	return nil
}

func sizeOf(s *scenario.Scenario) string {
	return strings.Join([]string{
		numbered(len(s.Agents()), "agent"), numbered(len(s.Faults),
			"fault"), numbered(len(s.Deploys), "deployment"),
		scenario.Duration(s.Duration),
	}, ", ")
}

func numbered(n int, word string) string {
	if n != 1 {
		word += "s"
	}
	return fmt.Sprintf("%d %s", n, word)
}

// broke is one check that failed and when.
type broke struct {
	check string
	at    int64
}

// failing names what failed: the check alone, not its values.
func failing(r *report.Result) []broke {
	var all []broke
	for _, v := range r.Violations {
		all = append(all, broke{"invariant " + v.Invariant, v.AtMS})
	}
	for _, e := range r.Expects {
		if !e.Held {
			all = append(all, broke{"expect " + e.Kind + " " + e.Text, e.AtMS})
		}
	}
	if len(r.Pending) > 0 {
		all = append(all, broke{"pending", r.LastMS})
	}
	return all
}

// try returns the cut scenario when it still fails, otherwise s.
func (sh *shrinker) try(
	ctx context.Context,
	s, cut *scenario.Scenario,
	err error,
) (*scenario.Scenario, error) {
	var wrong scenario.Errors
	if errors.As(err, &wrong) || sh.left <= 0 {
		return s, nil // what is left refers to what is gone
	}
	if err != nil {
		return nil, err
	}
	sh.left--
	r, err := sh.f.simulate(ctx, cut, Options{Seed: sh.seed})
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if err != nil {
		return s, nil //nolint:nilerr // what cannot be run at all does not fail in the same way
	}
	for _, b := range failing(r) {
		if b.check == sh.check {
			sh.at = b.at
			fmt.Fprintf(sh.out, "still: %s\n", sizeOf(cut))
			return cut, nil
		}
	}
	return s, nil
}

func (sh *shrinker) cut(
	ctx context.Context,
	s *scenario.Scenario,
	c scenario.Cut,
) (*scenario.Scenario, error) {
	smaller, err := s.Cut(c)
	return sh.try(ctx, s, smaller, err)
}

// time ends the scenario soon after the failure, or else at half of its time.
func (sh *shrinker) time(ctx context.Context, s *scenario.Scenario) (*scenario.Scenario, error) {
	failed := (time.Duration(sh.at)*time.Millisecond + time.Minute).Truncate(time.Minute)
	for _, end := range []time.Duration{failed, s.Duration / 4, s.Duration / 2, s.Duration * 3 / 4} {
		if end = end.Truncate(time.Second); end <= 0 || end >= s.Duration {
			continue
		}
		shorter, err := s.Until(end)
		got, err := sh.try(ctx, s, shorter, err)
		if err != nil || got != s {
			return got, err
		}
	}
	return s, nil
}

// without leaves out parts of a list of n: first all, then halves, then one at a time.
func (sh *shrinker) without(ctx context.Context, s *scenario.Scenario, n func(*scenario.Scenario) int,
	cut func([]int) scenario.Cut,
) (*scenario.Scenario, error) {
	for size := n(s); size > 0; size /= 2 {
		for from := 0; from < n(s); {
			var part []int
			for i := from; i < min(from+size, n(s)); i++ {
				part = append(part, i)
			}
			got, err := sh.cut(ctx, s, cut(part))
			if err != nil {
				return nil, err
			}
			if got == s {
				from += size
			}
			s = got
		}
	}
	return s, nil
}

func (sh *shrinker) faults(ctx context.Context, s *scenario.Scenario) (*scenario.Scenario, error) {
	return sh.without(ctx, s, func(s *scenario.Scenario) int { return len(s.Faults) },
		func(part []int) scenario.Cut { return scenario.Cut{Faults: part} })
}

func (sh *shrinker) deploys(ctx context.Context, s *scenario.Scenario) (*scenario.Scenario, error) {
	return sh.without(ctx, s, func(s *scenario.Scenario) int { return len(s.Deploys) },
		func(part []int) scenario.Cut { return scenario.Cut{Deploys: part} })
}

func (sh *shrinker) groups(ctx context.Context, s *scenario.Scenario) (*scenario.Scenario, error) {
	return sh.without(ctx, s, func(s *scenario.Scenario) int { return len(s.Fleet) },
		func(part []int) scenario.Cut { return scenario.Cut{Groups: part} })
}

// agents makes each group smaller: one agent, a half, one less.
func (sh *shrinker) agents(ctx context.Context, s *scenario.Scenario) (*scenario.Scenario, error) {
	for i := range s.Fleet {
		for again := true; again && s.Fleet[i].Count > 1; {
			again = false
			n := s.Fleet[i].Count
			for _, count := range []int{1, n / 2, n - 1} {
				counts := make([]int, len(s.Fleet))
				counts[i] = count
				got, err := sh.cut(ctx, s, scenario.Cut{Counts: counts})
				if err != nil {
					return nil, err
				}
				if again = got != s; again {
					s = got
					break
				}
			}
		}
	}
	return s, nil
}

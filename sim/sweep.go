package sim

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"

	"github.com/spf13/cobra"

	"github.com/stavily/stavily/sim/report"
	"github.com/stavily/stavily/sim/scenario"
)

// gcPercent is how much garbage a simulation leaves before it is collected, in percent of
// what it holds: it makes little else, and the machine is its own.
const gcPercent = 400

// collectLess has this program collect its garbage less often until back is called. Who
// has set another pace than Go's own keeps it.
func collectLess() (back func()) {
	const goDefault = 100
	was := debug.SetGCPercent(gcPercent)
	if was != goDefault {
		debug.SetGCPercent(was)
	}
	return func() { debug.SetGCPercent(was) }
}

// ran is how one seed of a sweep ended.
type ran struct {
	seed uint64
	r    *report.Result
	err  error
}

// sweep runs many seeds. It goes on after a failure: how many fail says much.
func (f *runFlags) sweep(cmd *cobra.Command, s *scenario.Scenario, first uint64) error {
	out := cmd.OutOrStdout()
	var failed, last *report.Result
	broken := uint64(0)
	err := f.each(cmd.Context(), s, first, func(one ran) {
		last = one.r
		if !one.r.Broken() {
			return
		}
		broken++
		fmt.Fprintf(out, "seed %d  %s\n  again: %s\n", one.seed, clean(firstBroken(one.r)), f.repeat(s, one.seed))
		if failed == nil {
			failed = one.r
		}
	})
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "%d of %d seeds held\n", f.seeds-broken, f.seeds)
	if failed == nil {
		return f.write(last)
	}
	if f.shrink {
		return errors.Join(f.tell(cmd, failed), f.smallest(cmd, s, failed.Seed))
	}
	return f.tell(cmd, failed)
}

// smallest shrinks the scenario that a seed fails, and writes it where the command runs.
func (f *runFlags) smallest(cmd *cobra.Command, s *scenario.Scenario, seed uint64) error {
	sh := &shrinker{f: f, out: cmd.OutOrStdout(), left: shrinkRuns, seed: seed}
	return sh.run(cmd.Context(), s, smallName(s.File))
}

// seedRange reads how many seeds are to be run: a number of them, or the first and the last.
func seedRange(text string, first uint64) (from, count uint64, err error) {
	low, high, isRange := strings.Cut(text, "..")
	if !isRange {
		if count, err = strconv.ParseUint(text, 10, 64); err != nil || count == 0 {
			return 0, 0, exit(exitBadScenario,
				"--seeds %q: want how many, such as 500, or from and to, such as 1..500", text)
		}
		return first, count, nil
	}
	from, err = strconv.ParseUint(low, 10, 64)
	to, toErr := strconv.ParseUint(high, 10, 64)
	if err != nil || toErr != nil || from == 0 || to < from || to-from == math.MaxUint64 {
		return 0, 0, exit(exitBadScenario, "--seeds %q: want the first and the last seed, such as 1..500", text)
	}
	return from, to - from + 1, nil
}

// each runs the seeds and yields how they ended, in their order. A world is one
// goroutine, so that there are as many at a time as the machine has processors; level
// live shares its sockets and its clock with nobody.
func (f *runFlags) each(ctx context.Context, s *scenario.Scenario, first uint64, yield func(ran)) error {
	ctx, cancel := context.WithCancel(ctx)
	var all sync.WaitGroup
	defer all.Wait()
	defer cancel()
	workers := 1
	if s.Level == scenario.LevelModel {
		workers = runtime.GOMAXPROCS(0)
	}
	run := func(seed uint64) ran {
		r, err := f.one(ctx, s, seed)
		return ran{seed, r, err}
	}
	one := run(first) // it builds the plugins, for all
	done := make([]chan ran, workers)
	for n := range done { // worker n has the seeds after it, each so many further
		done[n] = make(chan ran, 1)
		all.Go(func() {
			for at := uint64(n) + 1; at < f.seeds && ctx.Err() == nil; at += uint64(workers) {
				select {
				case done[n] <- run(first + at):
				case <-ctx.Done():
				}
			}
		})
	}
	for at := uint64(0); ; at++ {
		if one.err != nil {
			return fmt.Errorf("seed %d: %w", one.seed, one.err)
		}
		yield(one)
		if at+1 == f.seeds {
			return nil
		}
		select {
		case one = <-done[at%uint64(workers)]:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

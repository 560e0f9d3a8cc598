// Bench measures the numbers that the project holds itself to and prints a line for
// each: id, metric, value, baseline, ratio, target, and ok or short, with tabs between.
// The baseline runs in the same process or the same run, measured in turn with the
// value, because the machine is busy with other things too.
//
//	go run ./internal/bench
//	go run ./internal/bench -rows N4,N6
//
// A number that falls short informs and fails nothing: the exit code is 1 only when a
// row could not be measured, and 2 when there is no such row.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/pprof"
	"strings"
	"syscall"
	"time"
)

// rowMax bounds one row, for a machine where nothing is built yet.
const rowMax = 10 * time.Minute

// row is one of the numbers to hold.
type row struct {
	id      string
	measure func(*bench) ([]line, error)
}

// rows returns every row there is, in the order in which they are measured.
func rows() []row {
	return []row{
		{"L1", artifactBytes},
		{"L2", coldStart},
		{"L3", warmMemory},
		{"L4", languageCall},
		{"N1", eventCPU},
		{"N2", eventDelay},
		{"N3", startUp},
		{"N4", agentMemory},
		{"N5", binarySize},
		{"N6", meteredCall},
		{"N7", differenceBytes},
		{"N8", hubMemory},
		{"N9", hubCPU},
		{"N11", rollout},
		{"N12", simulation},
		{"N13", durablePut},
		{"N14", reportBytes},
		{"N15", idleBytes},
		{"N16", planning},
		{"N17", bootTime},
		{"W1", warmCall},
		{"W2", instanceMemory},
		{"W3", batchCost},
		{"W4", knownAgents},
	}
}

// part is what a process of its own does for a row.
type part func(args []string, in io.Reader, out io.Writer) error

// parts returns every part. `bench part NAME ...` is how a row starts one.
func parts() map[string]part {
	return map[string]part{partBroker: brokerPart}
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run is the program without its process.
func run(ctx context.Context, args []string, out, errs io.Writer) int {
	if len(args) > 1 && args[0] == partCommand {
		return runPart(args[1:], out, errs)
	}
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.SetOutput(errs)
	only := f.String("rows", "", "measure only these `rows`, such as N4,N6")
	profile := f.String("cpuprofile", "", "write a profile of this process's CPU to `file`")
	if err := f.Parse(args); err != nil {
		return 2
	}
	chosen, err := choose(rows(), *only)
	if err == nil && f.NArg() > 0 {
		err = fmt.Errorf("argument %q: want flags only", f.Arg(0))
	}
	if err != nil {
		fmt.Fprintf(errs, "bench: %v\n", err)
		return 2
	}
	stop, err := startProfile(*profile)
	if err != nil {
		fmt.Fprintf(errs, "bench: %v\n", err)
		return 1
	}
	defer stop()
	return measure(ctx, chosen, out, errs)
}

// startProfile writes where the CPU goes to a file until stop is called; nothing
// without a name.
func startProfile(name string) (stop func(), err error) {
	if name == "" {
		return func() {}, nil
	}
	file, err := os.Create(name)
	if err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(file); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return func() {
		pprof.StopCPUProfile()
		_ = file.Close()
	}, nil
}

// measure prints the lines of every row and returns the exit code.
func measure(ctx context.Context, chosen []row, out, errs io.Writer) int {
	code := 0
	for _, r := range chosen {
		lines, err := measureRow(ctx, r)
		for _, l := range lines {
			fmt.Fprintln(out, l.text(r.id))
		}
		if err != nil {
			fmt.Fprintf(errs, "bench: %s: not measured: %v\n", r.id, err)
			code = 1
		}
	}
	return code
}

func measureRow(ctx context.Context, r row) (lines []line, err error) {
	ctx, cancel := context.WithTimeout(ctx, rowMax)
	defer cancel()
	dir, err := os.MkdirTemp("", "stavily-bench-")
	if err != nil {
		return nil, err
	}
	b := &bench{ctx: ctx, dir: dir}
	lines, err = r.measure(b)
	b.close()
	return lines, errors.Join(err, os.RemoveAll(dir))
}

// choose returns the rows that list names, in their own order; all when it is empty.
func choose(all []row, list string) ([]row, error) {
	wanted := map[string]bool{}
	for name := range strings.SplitSeq(list, ",") {
		if name = strings.ToUpper(strings.TrimSpace(name)); name != "" {
			wanted[name] = true
		}
	}
	if len(wanted) == 0 {
		return all, nil
	}
	var out []row
	var known []string
	for _, r := range all {
		known = append(known, r.id)
		if wanted[r.id] {
			out = append(out, r)
			delete(wanted, r.id)
		}
	}
	for name := range strings.SplitSeq(strings.ToUpper(list), ",") {
		if name = strings.TrimSpace(name); wanted[name] {
			return nil, fmt.Errorf("row %q: not known: want %s", name, strings.Join(known, ", "))
		}
	}
	return out, nil
}

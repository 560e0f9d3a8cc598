// Command stavily-edge is the agent: it joins a hub once and from then on runs what
// the hub deploys to this device, with or without a network.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/stavily/stavily/protocol"
)

// version is set when a release is linked.
var version = "dev"

// The exit codes.
const (
	exitOK          = 0
	exitOther       = 1
	exitUsage       = 2
	exitUnreachable = 3
	exitRefused     = 4
)

// command is a row of the table of subcommands.
type command struct {
	name string
	does string
	run  func(ctx context.Context, o *options, out, log io.Writer) error
}

func commands() []command {
	return []command{
		{"run", "join if need be, and run (the default)", runAgent},
		{"join", "join a hub and stop", runJoin},
		{"import", "take what was carried here by hand: import FILE", runImport},
		{"export", "write what the hub has not acknowledged, to be carried there: export FILE", runExport},
		{"doctor", "say what is wrong with this box, and what to do", runDoctor},
		{"status", "say what the agent on this device knows of itself", runStatus},
		{"explain", "say why workflows run on this device or do not: explain [WORKFLOW]", runExplain},
		{"version", "print the version", func(_ context.Context, _ *options, out, _ io.Writer) error {
			_, err := fmt.Fprintln(out, versionLine())
			return err
		}},
	}
}

func main() {
	if isJail(os.Args) {
		os.Exit(beJail())
	}
	if isCompile(os.Args) {
		os.Exit(compileModule())
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run is the program without its process.
func run(ctx context.Context, args []string, out, log io.Writer) int {
	name := "run"
	if len(args) > 0 && len(args[0]) > 0 && args[0][0] != '-' {
		name, args = args[0], args[1:]
	}
	if name == "help" {
		usage(out)
		return exitOK
	}
	for _, c := range commands() {
		if c.name != name {
			continue
		}
		o, err := parseOptions(name, args)
		if errors.Is(err, errHelp) {
			usage(out)
			return exitOK
		}
		if err == nil {
			err = c.run(ctx, o, out, log)
		}
		return report(err, log)
	}
	return report(usageError("command %q: not known", name), log)
}

// failure is an error with what a person may do about it and the exit code.
type failure struct {
	err  error
	hint string
	exit int
}

func (f *failure) Error() string { return f.err.Error() }

func (f *failure) Unwrap() error { return f.err }

func usageError(format string, args ...any) error {
	return &failure{fmt.Errorf(format, args...), "run stavily-edge help", exitUsage}
}

// report says what went wrong, with the hint, and returns the exit code.
func report(err error, log io.Writer) int {
	if err == nil {
		return exitOK
	}
	fmt.Fprintf(log, "stavily-edge: %v\n", err)
	var f *failure
	if errors.As(err, &f) {
		if f.hint != "" {
			fmt.Fprintf(log, "hint: %s\n", f.hint)
		}
		return f.exit
	}
	if protocol.CodeOf(err) == protocol.CodeBadInput {
		return exitUsage
	}
	return exitOther
}

func usage(w io.Writer) {
	fmt.Fprint(w, "stavily-edge runs what a Stavily hub deploys to this device.\n\n"+
		"  stavily-edge [run] --hub mqtts://HOST:PORT --join TOKEN    the first time\n"+
		"  stavily-edge [run]                                         from then on\n\nCommands:\n")
	for _, c := range commands() {
		fmt.Fprintf(w, "  %-8s %s\n", c.name, c.does)
	}
	fmt.Fprint(w, "\nFlags:\n")
	var o options
	flags := o.flags("run")
	flags.SetOutput(w)
	flags.PrintDefaults()
	fmt.Fprint(w, "\nExit codes: 0 ended in order, 1 failed, 2 wrong usage, 3 hub not reached, 4 hub refused.\n")
}

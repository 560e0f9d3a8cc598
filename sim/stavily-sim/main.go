// Command stavily-sim is "stavily sim" and the level bubble: the hub, the broker and the
// agents as they are in the field, each with its own loops, on virtual time. That time is
// testing/synctest's, and so this program links the package testing, which neither the
// hub nor an agent should carry. "stavily sim run" starts it when a scenario asks for it.
package main

import (
	"context"
	"io"
	"os"
	"testing"
	"testing/synctest"

	"github.com/stavily/stavily/hub"
	"github.com/stavily/stavily/hub/cli"
	"github.com/stavily/stavily/sim"
)

func main() {
	args := os.Args[1:]
	if code, is := hub.Child(args, os.Stdin, os.Stdout); is {
		os.Exit(code)
	}
	os.Args = os.Args[:1] // they are not the flags of a test
	// Only the main of a test makes what synctest wants to be called with.
	testing.Main(func(string, string) (bool, error) { return true, nil }, []testing.InternalTest{{
		Name: "stavily-sim",
		F: func(t *testing.T) {
			t.Helper()
			os.Exit(run(t, args, os.Stdout, os.Stderr))
		},
	}}, nil, nil)
}

// run is main without the process: it returns the exit code.
func run(t *testing.T, args []string, stdout, stderr io.Writer) int {
	t.Helper()
	bubble := func(f func(context.Context)) {
		synctest.Test(t, func(t *testing.T) { f(t.Context()) })
	}
	return cli.Execute(cli.Root(hub.Version, sim.Command(cli.Client, bubble)), args, stdout, stderr)
}

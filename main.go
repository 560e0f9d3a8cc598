// Command stavily is the hub, its command line and the demonstration of both. Agents
// are another program, edge/stavily-edge, because a gateway should not carry a hub.
package main

import (
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/stavily/stavily/hub"
	"github.com/stavily/stavily/hub/cli"
	"github.com/stavily/stavily/hub/demo"
	"github.com/stavily/stavily/sim"
	"github.com/stavily/stavily/sim/swarm"
)

func main() {
	if code, is := hub.Child(os.Args[1:], os.Stdin, os.Stdout); is {
		os.Exit(code)
	}
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

// run is main without the process: it returns the exit code.
func run(args []string, stdout, stderr io.Writer) int {
	return cli.Execute(root(), args, stdout, stderr)
}

// root is the table of all commands.
func root() *cobra.Command {
	return cli.Root(hub.Version, hubCommand(), demo.Command(), sim.Command(cli.Client, nil),
		sim.RehearseCommand(cli.Client), swarm.Command())
}

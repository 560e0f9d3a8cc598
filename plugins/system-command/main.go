// System-command is an action: it runs a program on the machine and answers with its
// exit code and output.
package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/stavily/stavily/plugins/sdk/go"
)

func main() { plugin().Main() }

func plugin() *stavily.Plugin {
	c := new(config)
	return stavily.Action("system-command", c.run).Config(c).Check(c.check)
}

// run runs the program once. An exit code that is not expected is an error that the
// host does not retry by itself: the program ran, and may have done something.
func (c *config) run(ctx *stavily.Context, r stavily.Run) (any, error) {
	exit, err := ctx.Process(stavily.Command{
		Argv: c.Run, Stdin: c.Stdin, OutputMax: c.outputMax, Timeout: c.timeout(r),
	})
	if err != nil {
		return nil, fmt.Errorf("run %q: %w", c.Run[0], err)
	}
	if !slices.Contains(c.OKExit, exit.Exit) {
		return nil, c.unexpected(exit)
	}
	return fit(exit), nil
}

// timeout is the configured one, or what the request may take but for a little, so that
// there is time left to say that the program was too slow.
func (c *config) timeout(r stavily.Run) time.Duration {
	if c.Timeout > 0 {
		return time.Duration(c.Timeout)
	}
	deadline := time.Duration(r.DeadlineMS) * time.Millisecond
	return deadline - min(deadline/10, time.Second)
}

// unexpected says what the program said last, in one line.
func (c *config) unexpected(exit stavily.Exit) error {
	first, _, _ := strings.Cut(strings.TrimSpace(exit.Stderr), "\n")
	if first == "" {
		first = "nothing on stderr"
	}
	return fmt.Errorf("run %q: exit code %d, want one of %v: %s", c.Run[0], exit.Exit, c.OKExit, first)
}

// check passes when the plugin may run programs at all; it runs none, because a check
// must not change anything.
func (c *config) check(ctx *stavily.Context) error {
	for _, g := range ctx.Grants() {
		if g.Capability == "process.execute" {
			return nil
		}
	}
	return errors.New("process.execute: not granted")
}

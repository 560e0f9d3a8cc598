// Command agent is an agent in a process of its own for the rows of the bench. It runs what
// the folder that it is given has on disk, says "out" when its first output has delivered,
// and ends with its stdin.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/stavily/stavily/internal/bench/station"
)

// outMax is how long the first output may take.
const outMax = time.Minute

func main() {
	if err := run(os.Args[1:], os.Stdin, os.Stdout); err != nil {
		fmt.Fprintf(os.Stderr, "agent: %v\n", err)
		os.Exit(1)
	}
}

func run(args []string, in io.Reader, out io.Writer) error {
	if len(args) != 1 {
		return fmt.Errorf("want a folder, got %q", args)
	}
	s, err := station.Open(context.Background(), args[0], nil)
	if err != nil {
		return err
	}
	timer := time.NewTimer(outMax)
	defer timer.Stop()
	select {
	case <-s.Out:
		fmt.Fprintln(out, "out")
	case <-timer.C:
		return errors.Join(fmt.Errorf("no output within %s", outMax), s.Close())
	}
	_, _ = io.Copy(io.Discard, in)
	return s.Close()
}

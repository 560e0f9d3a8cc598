// Housekeeping holds the tree to the numbers that the project sets itself: the size
// of the agent on every platform, and the length of files, functions and lines, and it runs
// the fuzz targets. The Makefile calls it from the module's root.
//
//	go run ./internal/housekeeping edges
//	FUZZTIME=1s go run ./internal/housekeeping fuzz
//	go run ./internal/housekeeping sizes
package main

import (
	"fmt"
	"io"
	"os"
)

func main() {
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

// run does one check and returns the exit code: 1 when the check says no, 2 when
// there is no such check.
func run(args []string, out, errs io.Writer) int {
	checks := map[string]func(out io.Writer, root string) error{
		"edges": edges,
		"fuzz":  fuzz,
		"sizes": func(out io.Writer, root string) error { return sizes(out, os.DirFS(root)) },
	}
	if len(args) != 1 || checks[args[0]] == nil {
		fmt.Fprintf(errs, "housekeeping: want edges, fuzz or sizes, got %q\n", args)
		return 2
	}
	root, err := os.Getwd()
	if err == nil {
		err = checks[args[0]](out, root)
	}
	if err != nil {
		fmt.Fprintf(errs, "housekeeping %s: %v\n", args[0], err)
		return 1
	}
	return 0
}

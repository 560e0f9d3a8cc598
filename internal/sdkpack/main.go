// Sdkpack packs the SDKs for the hub, which serves it to builds without a network,
// and writes the SDK's sums into the go.sum of every plugin of this repository. It is
// run at the top of the repository; with -check it changes nothing and fails when it
// would have to.
package main

import (
	"flag"
	"fmt"
	"io"
	"os"
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

func run(args []string, out, errs io.Writer) int {
	flags := flag.NewFlagSet("sdkpack", flag.ContinueOnError)
	flags.SetOutput(errs)
	check := flags.Bool("check", false, "fail when something would change")
	if err := flags.Parse(args); err != nil {
		return 2
	}
	changed, err := pack(".", *check)
	if err == nil {
		var rust []string
		rust, err = packRust(".", *check)
		changed = append(changed, rust...)
	}
	if err != nil {
		fmt.Fprintln(errs, "sdkpack:", err)
		return 1
	}
	for _, name := range changed {
		fmt.Fprintln(out, name)
	}
	if *check && len(changed) > 0 {
		fmt.Fprintln(errs, "sdkpack: the files above are not what the SDK says: run make sdk")
		return 1
	}
	return 0
}

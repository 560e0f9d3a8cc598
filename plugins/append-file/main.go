// Append-file is an output: it appends one line of JSON for each run to a file in its
// own directory.
package main

import (
	"slices"

	"github.com/stavily/stavily/plugins/sdk/go"
)

func main() { plugin().Main() }

func plugin() *stavily.Plugin {
	f := new(file)
	return stavily.Output("append-file", f.deliver).Config(&f.config)
}

// keysMax bounds the keys that are remembered of deliveries already done.
const keysMax = 32

type file struct {
	config config
	done   []string // keys, newest last
}

// deliver appends the run. A delivery that the host repeats, because it did not hear
// the answer, is not appended twice while the plugin lives; after a restart it is, and
// the key tells a reader.
func (f *file) deliver(ctx *stavily.Context, d stavily.Delivery) error {
	if d.Key != "" && slices.Contains(f.done, d.Key) {
		return nil
	}
	text, err := line(d)
	if err != nil {
		return err
	}
	if _, err := ctx.Append(*f.config.File, text, f.config.sync); err != nil {
		return worthRetrying(err)
	}
	if len(f.done) == keysMax {
		f.done = slices.Delete(f.done, 0, 1)
	}
	f.done = append(f.done, d.Key)
	return nil
}

// worthRetrying marks what the disk refused: space comes back. A missing grant does not.
func worthRetrying(err error) error {
	if stavily.Code(err) == "storage" {
		return stavily.Retryable(err)
	}
	return err
}

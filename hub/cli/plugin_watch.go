package cli

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
)

// watchEvery is how often sources are looked at. Asking each file's size and time costs a
// few milliseconds for the thousands that a folder may have, works on every file system,
// and cannot miss an editor that writes a new file and renames it.
const watchEvery = 300 * time.Millisecond

// watchFilesMax bounds what is looked at; a build refuses a folder with more files.
const watchFilesMax = 10_000

// again runs once, and once more whenever something changed, until it is interrupted.
func (f *running) again(cmd *cobra.Command, c *connection, at string) error {
	if f.event == "-" {
		return usage(cmd, errors.New("--event -: stdin can be read once, and not with --watch; name a file"))
	}
	ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	cmd.SetContext(ctx)
	paths := []string{at, f.config, f.event, f.state, f.manifest}
	return watch(ctx, watching{
		every: watchEvery,
		look:  func() uint64 { return look(paths) },
		do: func() {
			if err := f.once(cmd, c, at); err != nil && ctx.Err() == nil {
				report(cmd.ErrOrStderr(), err)
			}
			if ctx.Err() == nil {
				fmt.Fprintln(cmd.ErrOrStderr(), "--- waiting for a change; Ctrl-C ends")
			}
		},
	})
}

// watching is what is looked at and what is done about it.
type watching struct {
	every time.Duration
	look  func() uint64 // another number when something changed
	do    func()
}

// watch does it once and again after each change, when that has settled. It returns when
// ctx ends, which is no error.
func watch(ctx context.Context, w watching) error {
	tick := time.NewTicker(w.every)
	defer tick.Stop()
	for {
		done := w.look() // before it is read: what changes meanwhile is seen
		w.do()
		for last := done; ; {
			select {
			case <-ctx.Done():
				return nil
			case <-tick.C:
			}
			now := w.look()
			settled := now == last
			if last = now; settled && now != done {
				break
			}
		}
	}
}

// look sums up names, sizes and times of all files of the paths, without what builds
// leave. What cannot be read counts as not there.
func look(paths []string) uint64 {
	h := fnv.New64a()
	files := 0
	for _, root := range paths {
		if root == "" {
			continue
		}
		_ = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			name := filepath.Base(path)
			switch {
			case err != nil:
				return nil //nolint:nilerr // a file that just went is seen as one that is not there
			case d.IsDir() && path != root && (name[0] == '.' || name == "target" || name == "node_modules"):
				return fs.SkipDir
			case d.IsDir(), path != root && strings.HasSuffix(name, ".wasm"):
				return nil
			}
			if files++; files > watchFilesMax {
				return fs.SkipAll
			}
			info, err := d.Info()
			if err != nil {
				return nil //nolint:nilerr // as above
			}
			_, _ = h.Write([]byte(path))
			b := binary.LittleEndian.AppendUint64(nil, uint64(info.ModTime().UnixNano()))
			_, _ = h.Write(binary.LittleEndian.AppendUint64(b, uint64(info.Size())))
			return nil
		})
	}
	return h.Sum64()
}

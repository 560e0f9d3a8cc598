package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/stavily/stavily/edge"
	"github.com/stavily/stavily/edge/disk"
	"github.com/stavily/stavily/protocol"
	"github.com/stavily/stavily/protocol/bundle"
)

// carryWait bounds how long import and export wait for the agent that runs here: it may
// have to compile what was brought.
const carryWait = 10 * time.Minute

// joined returns who this device is, for import and export.
func joined(o *options) (*disk.Identity, disk.Enrolment, error) {
	if _, err := os.Stat(o.state); err != nil {
		return nil, disk.Enrolment{}, &failure{err, "give the --state that the agent is started with", exitOther}
	}
	id, err := disk.OpenIdentity(o.state)
	if err != nil {
		return nil, disk.Enrolment{}, err
	}
	e, err := id.Enrolment()
	if err != nil {
		err = &failure{err, "give the --state that the agent is started with", exitOther}
	}
	return id, e, err
}

// runImport is the command import: it checks the bundle, leaves it where the agent looks,
// and waits for the one that runs here.
func runImport(ctx context.Context, o *options, out, _ io.Writer) error {
	_, e, err := joined(o)
	if err != nil {
		return err
	}
	shelf, err := openBundle(o.file)
	if err != nil {
		return &failure{err, "copy it again: the medium or the copy is bad, or it is no bundle", exitRefused}
	}
	defer shelf.Close()
	if _, _, err := sort(shelf, &e); err != nil {
		return &failure{fmt.Errorf("%s: %w", o.file, err), "at the hub: stavily bundle export --site " +
			string(e.Address.Site), exitRefused}
	}
	base := filepath.Join(o.state, dirIn, fmt.Sprintf("%d-%d", shelf.Header.Time, os.Getpid()))
	if err := os.MkdirAll(filepath.Dir(base), 0o700); err != nil {
		return err
	}
	if err := writeWhole(base+suffixBundle, copyOf(o.file)); err != nil {
		return &failure{fmt.Errorf("import: %w", err), "is there room in " + o.state + "?", exitOther}
	}
	if !disk.Held(o.state) {
		_, err := fmt.Fprintf(out, "kept: no agent runs here; it is taken when one starts\n")
		return err
	}
	if err := waitFor(ctx, base); err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "taken: stavily-edge status says what runs now\n")
	return err
}

func copyOf(path string) func(io.Writer) error {
	return func(to io.Writer) error {
		from, err := os.Open(path)
		if err != nil {
			return err
		}
		defer from.Close()
		_, err = io.Copy(to, from)
		return err
	}
}

// waitFor waits for what the agent says of base, and removes it.
func waitFor(ctx context.Context, base string) error {
	ctx, cancel := context.WithTimeout(ctx, carryWait)
	defer cancel()
	look := time.NewTicker(lookEvery / 10)
	defer look.Stop()
	for {
		text, err := os.ReadFile(base + suffixResult)
		if err == nil {
			_ = os.Remove(base + suffixResult)
			if said := strings.TrimSpace(string(text)); said != "ok" {
				return &failure{errors.New(said), "what ran before runs on", exitRefused}
			}
			return nil
		}
		select {
		case <-look.C:
		case <-ctx.Done():
			return &failure{
				fmt.Errorf("the agent has not answered: %w", ctx.Err()),
				"see stavily-edge doctor; it goes on when the agent does", exitOther,
			}
		}
	}
}

// runExport is the command export. The agent that runs here writes the bundle; without one
// the disk is read, with what the agent said of itself when it ended.
func runExport(ctx context.Context, o *options, out, _ io.Writer) error {
	id, e, err := joined(o)
	if err != nil {
		return err
	}
	if disk.Held(o.state) {
		base := filepath.Join(o.state, dirOut, fmt.Sprintf("%d", os.Getpid()))
		if err := writeWhole(base+suffixWish, func(io.Writer) error { return nil }); err != nil {
			return &failure{err, "an older agent runs here: restart it", exitOther}
		}
		if err := waitFor(ctx, base); err != nil {
			return err
		}
		from := base + suffixBundle
		defer os.Remove(from)
		if err := writeWhole(o.file, copyOf(from)); err != nil {
			return fmt.Errorf("export: %w", err)
		}
	} else if err := exportStopped(o, id, &e); err != nil {
		return err
	}
	return toldExport(out, o.file)
}

// exportStopped exports what is on the disk of an agent that does not run.
func exportStopped(o *options, id *disk.Identity, e *disk.Enrolment) error {
	key, err := id.Key()
	if err != nil {
		return err
	}
	store, err := disk.Open(o.state, nil)
	if err != nil {
		return err
	}
	defer store.Close()
	return exportTo(o.file, e, key, func(w *bundle.Writer) error {
		if err := putStopped(w, o, id, e); err != nil {
			return err
		}
		return putRecords(w, store, e)
	})
}

// lastStatus returns what the agent last wrote of itself under this enrolment, nil when that is
// nothing: it never ran, or the power went while it wrote. The records go without it.
func lastStatus(o *options, e *disk.Enrolment) *edge.Status {
	s, err := readStatus(o)
	if err == nil && s.Address == e.Address && s.Epoch == e.Epoch {
		return s
	}
	return nil
}

// putStopped adds what an agent that does not run last said of itself.
func putStopped(w *bundle.Writer, o *options, id *disk.Identity, e *disk.Enrolment) error {
	s := lastStatus(o, e)
	if s == nil {
		return nil
	}
	vault, err := openVault(id)
	if err != nil {
		return err
	}
	reported, wish, err := s.State(vault)
	if err != nil {
		return err
	}
	return putState(w, e.Address, &reported, wish)
}

// toldExport reads the bundle back, since the medium may be a bad one, and says what it has.
func toldExport(out io.Writer, path string) error {
	shelf, err := openBundle(path)
	if err != nil {
		return &failure{err, "the medium is bad: take another", exitOther}
	}
	defer shelf.Close()
	var records, gone [protocol.LaneEnd]uint64
	for _, one := range shelf.Entries {
		if one.Kind != bundle.Records {
			continue
		}
		content, err := shelf.Content(one)
		if err != nil {
			return err
		}
		var b protocol.Batch
		if err := protocol.Unmarshal(content, &b); err != nil {
			return err
		}
		records[b.Lane%protocol.LaneEnd] += uint64(len(b.Records))
		for _, g := range b.Gaps {
			gone[b.Lane%protocol.LaneEnd] += g.Count
		}
	}
	_, err = fmt.Fprintf(out, "%s: %s; they stay here until the hub's acknowledgement is brought back\n"+
		"at the hub: stavily bundle import %s\n", path, laneCounts(&records, &gone), filepath.Base(path))
	return err
}

// laneCounts says how many records of each lane there are, and how many are gone.
func laneCounts(records, gone *[protocol.LaneEnd]uint64) string {
	sum, parts := uint64(0), []string(nil)
	for of := protocol.LaneEvent; of < protocol.LaneEnd; of++ {
		sum += records[of]
		if n := records[of]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, of))
		}
		if n := gone[of]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s let go", n, of))
		}
	}
	text := fmt.Sprintf("%d records", sum)
	if len(parts) > 0 {
		text += " (" + strings.Join(parts, ", ") + ")"
	}
	return text
}

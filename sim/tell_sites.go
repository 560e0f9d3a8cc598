package sim

import (
	"cmp"
	"context"
	"log/slog"
	"slices"
)

// cell is one site of one group on the report's map.
type cell struct {
	devices []*device
	failed  uint64 // results with an error, up to the last sample
}

// cellsOf returns the cells in the order in which the report lists groups and sites.
func cellsOf(w *World) []cell {
	type key struct {
		group int
		site  string
	}
	at := map[key]int{} // only looked up
	var keys []key
	var cells []cell
	for _, d := range w.devices {
		k := key{d.of.Group, d.of.Site}
		i, known := at[k]
		if !known {
			i = len(cells)
			at[k], keys, cells = i, append(keys, k), append(cells, cell{})
		}
		cells[i].devices = append(cells[i].devices, d)
	}
	slices.SortFunc(keys, func(a, b key) int {
		return cmp.Or(cmp.Compare(a.group, b.group), cmp.Compare(a.site, b.site))
	})
	out := make([]cell, len(cells))
	for i, k := range keys {
		out[i] = cells[at[k]]
	}
	return out
}

// sites returns the state of each cell: away, with errors since the last sample, not
// converged, or online.
func (t *teller) sites() string {
	out := make([]byte, len(t.cells))
	for i := range t.cells {
		c := &t.cells[i]
		online, converged, failed := false, true, uint64(0)
		for _, d := range c.devices {
			online = online || d.line.up
			converged = converged && t.converged(d)
			failed += d.stats.Failed
		}
		switch {
		case !online:
			out[i] = '.'
		case failed > c.failed:
			out[i] = 'x'
		case !converged:
			out[i] = 'w'
		default:
			out[i] = 'o'
		}
		c.failed = failed
	}
	return string(out)
}

// refusals counts what the hub refuses: it says each with a warning.
type refusals struct{ t *teller }

// Enabled reports whether it is at least a warning.
func (*refusals) Enabled(_ context.Context, l slog.Level) bool { return l >= slog.LevelWarn }

// Handle counts.
func (r *refusals) Handle(_ context.Context, rec slog.Record) error {
	if rec.Message == "message refused" {
		r.t.totals.Refused++
	}
	return nil
}

// WithAttrs returns r: what is said with it does not matter.
func (r *refusals) WithAttrs([]slog.Attr) slog.Handler { return r }

// WithGroup is as WithAttrs.
func (r *refusals) WithGroup(string) slog.Handler { return r }

var _ slog.Handler = (*refusals)(nil)

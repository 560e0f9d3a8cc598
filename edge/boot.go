package edge

import (
	"bytes"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/stavily/stavily/protocol"
)

// keyBoot counts the agent's starts on this disk.
const keyBoot = "boot"

// Boot reads what the agent left on its disk and arms everything again; it needs no
// network (D-3). It is the first input and comes once. On an error nothing was
// started: the disk does not answer.
func (a *Agent) Boot(now time.Time) error {
	a.now, a.figures.from = now, now
	if err := a.countBoot(); err != nil {
		return err
	}
	a.readClock()
	if err := a.out.open(a); err != nil {
		return err
	}
	a.readSecrets()
	a.readGenerations()
	a.readKey(keyReplays, &a.replays)
	a.readBudget()
	if err := a.readEndings(); err != nil {
		return err
	}
	if a.held != nil {
		a.assign(a.held)
	}
	if err := a.readTriggers(); err != nil {
		return err
	}
	if err := a.readRuns(); err != nil {
		return err
	}
	if err := a.readStorms(); err != nil {
		return err
	}
	if err := a.readGuests(); err != nil {
		return err
	}
	a.settle()
	a.log.Info("agent up", slog.String("agent", a.cfg.Address.String()), slog.Uint64("boot", a.boot),
		slog.Int("assignments", len(a.works)), slog.Uint64("pending", a.out.pending()))
	return nil
}

// countBoot makes this boot's number durable before anything is named by it.
func (a *Agent) countBoot() error {
	value, err := a.store.Get(keyBoot)
	if err != nil {
		return err
	}
	if value != nil {
		if err := protocol.Unmarshal(value, &a.boot); err != nil {
			return protocol.Errorf(protocol.CodeStorage, "boot: %w", err)
		}
	}
	a.boot++
	return a.store.Apply([]Change{{Key: keyBoot, Value: protocol.MustMarshal(a.boot)}})
}

// readGenerations opens the current generation again, seals and all, or the previous
// one when the disk has lost a part of the current one.
func (a *Agent) readGenerations() {
	var top newest
	if a.readKey(keyNewest, &top) && top.Epoch == a.cfg.Epoch {
		a.newest = top.Revision
	}
	a.readRevoked()
	for _, key := range []string{keyCurrent, keyPrevious} {
		var d protocol.Digest
		if !a.readKey(key, &d) {
			continue
		}
		gen, err := a.openGeneration(d)
		switch {
		case err != nil:
			a.log.Error("generation not readable", slog.String("key", key), slog.String("digest", d.Short()),
				slog.String("error", err.Error()))
			if key == keyCurrent {
				a.refuse(a.newest, err)
			}
		case a.held == nil:
			a.held = gen
			a.prove(gen.desired.Issued)
		default:
			a.previous = gen
		}
	}
}

// readKey reads a value and reports whether there is a sound one.
func (a *Agent) readKey(key string, v any) bool {
	value, err := a.store.Get(key)
	if err == nil && value != nil {
		err = protocol.UnmarshalExact(value, v)
	}
	if err != nil {
		a.log.Error("value not readable", slog.String("key", key), slog.String("error", err.Error()))
	}
	return err == nil && value != nil
}

// openGeneration opens a generation that is whole on the disk. Artifacts are read
// when they are loaded.
func (a *Agent) openGeneration(d protocol.Digest) (*generation, error) {
	gen, err := a.openDesired(d)
	if err != nil {
		return nil, err
	}
	gen.revoked = a.revoked
	for _, ref := range gen.wanted() {
		if err := a.openRelease(gen, ref); err != nil {
			return nil, err
		}
	}
	return gen, gen.fit()
}

// readTriggers gives the triggers their states back, and drops those of workflows
// that are no longer here.
func (a *Agent) readTriggers() error {
	return a.store.Scan(keyTrigger, "", func(key string, value []byte) bool {
		w := a.work(protocol.WorkflowName(strings.TrimPrefix(key, keyTrigger)))
		var s savedTrigger
		err := protocol.UnmarshalExact(value, &s)
		if err != nil {
			a.log.Error("trigger state not readable", slog.String("key", key), slog.String("error", err.Error()))
		}
		if err != nil || w == nil || s.Of != w.triggerDigest {
			a.remove(key)
			return true
		}
		w.trigger.state = bytes.Clone(s.State)
		a.readTimer(w, &s)
		return true
	})
}

// readRuns takes up the runs that had not ended, in the order in which they fired.
func (a *Agent) readRuns() error {
	lost := map[protocol.WorkflowName]int{}
	err := a.store.Scan(keyRun, "", func(key string, value []byte) bool {
		r := &run{at: a.now}
		if err := protocol.UnmarshalExact(bytes.Clone(value), &r.savedRun); err != nil {
			a.log.Error("run not readable: dropped", slog.String("key", key), slog.String("error", err.Error()))
			a.remove(key)
			return true
		}
		w := a.workFor(&r.savedRun)
		if w == nil || w.shape != r.Shape || int(r.Next)+1 >= len(w.steps) {
			lost[r.Event.Workflow]++
			a.dropRun(r)
			return true
		}
		w.runs = append(w.runs, r)
		return true
	})
	for _, w := range a.works {
		w.sortRuns()
	}
	for _, e := range a.endings {
		e.work.sortRuns()
	}
	if len(lost) > 0 {
		a.log.Warn("runs of workflows that are not here were dropped", slog.Int("workflows", len(lost)))
	}
	return err
}

// sortRuns puts the runs in the order in which they fired.
func (w *work) sortRuns() {
	slices.SortFunc(w.runs, func(q, r *run) int {
		if r.Mark.After(q.Mark) {
			return -1
		}
		return 1
	})
}

// dropRun ends a run whose workflow is not on this disk any more.
func (a *Agent) dropRun(r *run) {
	a.recordResult(&work{of: protocol.Assignment{Workflow: r.Event.Workflow}}, &protocol.Result{
		Run: r.Event.Run, Workflow: r.Event.Workflow, Type: protocol.Action, Status: protocol.StatusDropped,
		Error: protocol.AsError(protocol.Errorf(protocol.CodeNotFound, "workflow is not here after a restart")),
		Time:  a.stamp(), Last: true,
	})
	a.endRun(r)
}

package edge

import (
	"log/slog"
	"slices"

	"github.com/stavily/stavily/protocol"
)

// keyReplays holds the newest orders to run something again.
const keyReplays = "replays"

// replayOrder takes the hub's order to run again what did not end well of a run. It is
// answered when what follows from it is on the disk.
func (a *Agent) replayOrder(payload []byte) error {
	var in protocol.ReplayOrder
	if err := protocol.Unmarshal(payload, &in); err != nil {
		return err
	}
	if err := in.Check(); err != nil {
		return err
	}
	if in.Epoch != a.cfg.Epoch {
		return nil
	}
	answer := protocol.ReplayAnswer{Epoch: in.Epoch, ID: in.ID}
	if !slices.Contains(a.replays, in.ID) {
		answer.Error = protocol.AsError(a.replay(&in))
	}
	if answer.Error != nil {
		a.log.Warn("not run again", slog.String("run", in.Event.Run.String()),
			slog.String("error", answer.Error.Error()))
	}
	a.after(func() { a.send(protocol.UpReplay, protocol.MustMarshal(answer)) })
	return nil
}

// replay begins the run, behind those that wait.
func (a *Agent) replay(in *protocol.ReplayOrder) error {
	w, err := a.replayable(in)
	if err != nil {
		return err
	}
	a.replays = append(a.replays[max(len(a.replays)-protocol.ReplaysMax+1, 0):], in.ID)
	a.put(keyReplays, a.replays)
	r := &run{savedRun: savedRun{
		Event: in.Event, Mark: protocol.Mark{Boot: a.boot, Sequence: a.out.lanes[w.lane()].sequence},
		Shape: w.shape, Done: in.Done,
	}, at: a.now}
	for _, s := range w.of.Actions {
		at := slices.IndexFunc(in.Results, func(res protocol.Result) bool { return res.Step == s.Name })
		if at >= 0 && r.did(s.Name) {
			r.Results = append(r.Results, in.Results[at])
		}
	}
	w.runs = append(w.runs, r)
	a.atOnce()
	a.move(w, r, nil)
	return nil
}

// replayable returns the workflow of the run, or why the order cannot be followed.
func (a *Agent) replayable(in *protocol.ReplayOrder) (*work, error) {
	name, now := in.Event.Workflow, a.stamp()
	w := a.work(name)
	switch {
	case now.Quality != protocol.QualityUnknown && now.UnixMS > in.Expires:
		return nil, protocol.Errorf(protocol.CodeDeadline, "replay: expired: it was to begin %d s ago",
			(now.UnixMS-in.Expires)/1000)
	case w == nil:
		return nil, protocol.Errorf(protocol.CodeNotFound, "replay: workflow %q is not here", name)
	case len(w.runs) >= a.cfg.RunsMax:
		return nil, protocol.Errorf(protocol.CodeUnavailable, "replay: %d runs of workflow %q wait",
			len(w.runs), name)
	case slices.ContainsFunc(w.runs, func(r *run) bool { return r.Event.Run == in.Event.Run }):
		return nil, protocol.Errorf(protocol.CodeExists, "replay: the run is under way")
	}
	done := 0
	for _, s := range w.steps[1:] {
		if !slices.Contains(in.Steps, s.Name) {
			return nil, protocol.Errorf(protocol.CodeStale,
				"replay: workflow %q has step %q now, the run had %q", name,
				s.Name, in.Steps)
		}
		if slices.Contains(in.Done, s.Name) {
			done++
		}
	}
	if len(in.Steps) != len(w.steps)-1 || done == len(in.Steps) {
		return nil, protocol.Errorf(protocol.CodeStale,
			"replay: workflow %q has %d steps, the run had %q, of which %d "+
				"ended well", name, len(w.steps)-1, in.Steps, done)
	}
	return w, nil
}

// did reports whether a step ended well before the run was begun again.
func (r *run) did(step protocol.StepName) bool { return slices.Contains(r.Done, step) }

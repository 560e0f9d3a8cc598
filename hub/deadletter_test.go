package hub

import (
	"strings"
	"testing"
	"time"

	"github.com/stavily/stavily/hub/runs"
	"github.com/stavily/stavily/hub/store"
	"github.com/stavily/stavily/protocol"
)

// replaysSent returns the orders that were sent to a device since.
func (w *world) replaysSent(d *device) (out []protocol.ReplayOrder) {
	w.Helper()
	for _, m := range w.sent.take() {
		if m.Topic == protocol.Topic(d.at, protocol.DownReplay) {
			var o protocol.ReplayOrder
			check(w, protocol.Unmarshal(m.Payload, &o))
			out = append(out, o)
		}
	}
	return out
}

func (w *world) letter() runs.Dead {
	w.Helper()
	return look(w, func(tx *store.Tx) (runs.Dead, error) { return runs.GetDead(tx, runID(runOne).String()) })
}

func (w *world) online(d *device, up bool) {
	w.Helper()
	w.now = w.now.Add(time.Second)
	p := protocol.Presence{Online: up, Boot: 1, Session: uint64(w.now.Unix())}
	w.says(d.at, protocol.UpPresence, protocol.MustMarshal(p))
}

// failed has a device tell of a run whose output failed.
func (w *world) failed(d *device, sequence uint64) {
	w.Helper()
	result := func(n uint64, step protocol.StepName, of protocol.PluginType, status protocol.Status) protocol.Record {
		r := protocol.Result{Run: runID(runOne), Workflow: "watch", Step: step, Type: of, Status: status, Last: of == protocol.Output, Tries: 1}
		if status == protocol.StatusError {
			r.Error = &protocol.Error{Code: protocol.CodePlugin, Text: "no paper"}
		}
		return protocol.Record{Mark: protocol.Mark{Boot: 1, Sequence: n}, Body: protocol.MustMarshal(r)}
	}
	w.says(d.at, protocol.UpRecords, protocol.MustMarshal(event(d, runOne, sequence)))
	w.says(d.at, protocol.UpRecords, protocol.MustMarshal(protocol.Batch{
		Epoch: d.Epoch, Lane: protocol.LaneResult, Records: []protocol.Record{
			result(2*sequence, "work", protocol.Action, protocol.StatusOK), result(2*sequence+1, "note", protocol.Output, protocol.StatusError),
		},
	}))
}

func TestDeadLetterIsReplayed(t *testing.T) {
	w := newWorld(t)
	w.three()
	d := w.enrol("gw-1", map[string]string{"role": "gateway"})
	w.deploy(workflowText)
	w.failed(d, 1)
	if l := w.letter(); l.State != runs.DeadWaiting || l.Step != "note" || l.Agent != "gw-1" || l.Error.Text != "no paper" {
		t.Fatalf("%+v", l)
	}
	// The agent is away: it is told when it comes back, each time until it answers.
	_, err := w.hub.Replay(w.now, runID(runOne).String(), 400*24*time.Hour)
	refused(t, err, protocol.CodeBadInput, "within")
	ordered, err := w.hub.Replay(w.now, runID(runOne).String(), time.Hour)
	check(t, err)
	if sent := w.replaysSent(d); len(sent) != 0 {
		t.Errorf("sent to nobody: %+v", sent)
	}
	for i := range 2 {
		if i == 1 {
			w.hub.replays = nil // as after a restart of the hub
		}
		w.online(d, true)
		sent := w.replaysSent(d)
		if len(sent) != 1 || sent[0].ID != ordered.Order || sent[0].Event.Run != runID(runOne) || len(sent[0].Steps) != 2 ||
			len(sent[0].Done) != 1 || sent[0].Done[0] != "work" || sent[0].Expires != ordered.Expires.UnixMilli() {
			t.Fatalf("sent %+v", sent)
		}
		w.online(d, false)
	}
	answer := protocol.ReplayAnswer{Epoch: d.Epoch, ID: ordered.Order}
	w.says(d.at, protocol.UpReplay, protocol.MustMarshal(answer))
	w.online(d, true)
	if l := w.letter(); l.State != runs.DeadTaken || len(w.replaysSent(d)) != 0 {
		t.Errorf("after the answer %+v", l)
	}
	// The agent refuses the next one; the one after it comes too late.
	ordered, err = w.hub.Replay(w.now, runID(runOne).String(), time.Hour)
	check(t, err)
	answer.ID, answer.Error = ordered.Order, protocol.Errorf(protocol.CodeExists, "the run is under way")
	w.says(d.at, protocol.UpReplay, protocol.MustMarshal(answer))
	if l := w.letter(); l.State != runs.DeadRefused || l.Reason != "the run is under way" {
		t.Errorf("refused %+v", l)
	}
	w.online(d, false)
	if _, err = w.hub.Replay(w.now, runID(runOne).String(), time.Minute); err != nil {
		t.Fatal(err)
	}
	w.now = w.now.Add(2 * time.Minute)
	w.sent.take()
	w.online(d, true)
	if l := w.letter(); l.State != runs.DeadRefused || !strings.Contains(l.Reason, "expired") || len(w.replaysSent(d)) != 0 {
		t.Errorf("too late %+v", l)
	}
}

func TestReplayNeedsItsWorkflow(t *testing.T) {
	w := newWorld(t)
	w.three()
	d := w.enrol("gw-1", map[string]string{"role": "gateway"})
	w.deploy(workflowText)
	w.failed(d, 1)
	w.deploy(strings.Replace(workflowText, "plugin: note", "plugin: note\n    name: tell", 1))
	_, err := w.hub.Replay(w.now, runID(runOne).String(), 0)
	refused(t, err, protocol.CodeStale, `workflow "watch" has the steps ["work" "tell"] now, the run had ["work" "note"]`)
	_, err = w.hub.Undeploy(w.now, "watch")
	check(t, err)
	_, err = w.hub.Replay(w.now, runID(runOne).String(), 0)
	refused(t, err, protocol.CodeNotFound, `workflow "watch" is not deployed any more on agent "gw-1"`)
	check(t, w.hub.Operate(func(tx *store.Tx) error {
		l, err := runs.GetDead(tx, runID(runOne).String())
		if err != nil {
			return err
		}
		return runs.DropDead(tx, &l)
	}))
	_, err = w.hub.Replay(w.now, runID(runOne).String(), 0)
	refused(t, err, protocol.CodeNotFound, "dead letter")
}

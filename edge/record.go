package edge

import (
	"log/slog"
	"time"

	"github.com/stavily/stavily/protocol"
	"github.com/stavily/stavily/wasmhost"
)

// Recorder is a Plugins that can record. The order takes the place of an older one of the
// same instance; what comes of it is an input, Agent.Recorded, once for each order.
type Recorder interface {
	Record(i Instance, order protocol.RecordOrder)
}

// Recorded is what came of an order: an encoded wasmhost.Recording, or why there is none.
type Recorded struct {
	Order protocol.RecordOrder
	Data  []byte
	Error *protocol.Error
}

// recorded is the recording on its way to the hub; it is in memory only.
type recorded struct {
	order   uint64 // the newest, 0 for none
	waiting bool   // its recording has not come yet
	ready   *Recorded
	have    uint32    // parts that the hub has
	at      time.Time // when the next part goes, again or first
	tries   int
}

func (r *recorded) due() time.Time {
	if r.ready == nil {
		return time.Time{}
	}
	return r.at
}

// again has the part under way sent at once: the line is new.
func (r *recorded) again() { r.at, r.tries = time.Time{}, 0 }

// recordOrder takes the hub's order, or its word that it has a part.
func (a *Agent) recordOrder(payload []byte) error {
	var in protocol.RecordOrder
	if err := protocol.Unmarshal(payload, &in); err != nil {
		return err
	}
	if in.Epoch != a.cfg.Epoch || in.ID == 0 {
		return nil
	}
	if in.Calls == 0 {
		a.recordKept(in)
		return nil
	}
	if in.ID == a.tape.order {
		return nil // it came twice
	}
	a.tape = recorded{order: in.ID, waiting: true}
	if err := a.recordable(&in); err != nil {
		a.log.Warn("recording refused", slog.String("workflow", string(in.Workflow)),
			slog.String("step", string(in.Step)), slog.String("error", err.Error()))
		a.tape.waiting, a.tape.ready = false, &Recorded{Order: in, Error: protocol.AsError(err)}
		return nil // the hub is told
	}
	a.log.Info("recording begins", slog.String("workflow", string(in.Workflow)),
		slog.String("step", string(in.Step)), slog.Uint64("calls", uint64(in.Calls)))
	by, _ := a.plugins.(Recorder)
	at := a.work(in.Workflow)
	instance := Instance{in.Workflow, in.Step, at.turn}
	a.after(func() { by.Record(instance, in) })
	return nil
}

// recordable checks an order against this device, and puts its bounds in.
func (a *Agent) recordable(in *protocol.RecordOrder) error {
	if a.cfg.Policy.NoRecord {
		return protocol.Errorf(protocol.CodeRefused, "record: this device's policy allows no recordings")
	}
	if _, can := a.plugins.(Recorder); !can {
		return protocol.Errorf(protocol.CodeIncompatible, "record: this agent cannot record")
	}
	if in.Calls > protocol.RecordCallsMax {
		return protocol.Errorf(protocol.CodeLimit, "record: %d calls, limit RecordCallsMax %d", in.Calls,
			protocol.RecordCallsMax)
	}
	if in.Bytes == 0 || in.Bytes > protocol.RecordBytesMax {
		in.Bytes = protocol.RecordBytesMax
	}
	w := a.work(in.Workflow)
	if w == nil {
		return protocol.Errorf(protocol.CodeNotFound, "record: workflow %q is not here", in.Workflow)
	}
	for i := range w.loads {
		if w.steps[i].Name == in.Step && w.loads[i].Manifest.Plugin.Name != "" {
			return nil
		}
	}
	return protocol.Errorf(protocol.CodeNotFound, "record: workflow %q has no step %q here",
		in.Workflow, in.Step)
}

// Recorded takes what came of an order. One that another has replaced counts for nothing.
func (a *Agent) Recorded(now time.Time, in Recorded) {
	if !a.begin(now) {
		return
	}
	if in.Order.ID == a.tape.order && a.tape.waiting {
		a.tape.waiting, a.tape.ready = false, &in
		a.log.Info("recording made", slog.Int("bytes", len(in.Data)))
	}
	a.settle()
}

// sayRecorded sends the next part of a recording, and the same again until the hub has it.
func (a *Agent) sayRecorded() {
	t := &a.tape
	if t.ready == nil || a.now.Before(t.at) {
		return
	}
	part := protocol.RecordPart{Epoch: a.cfg.Epoch, ID: t.order, Error: t.ready.Error}
	if part.Error == nil {
		from := int(t.have) * protocol.ChunkSize
		part.Index, part.Size = t.have, uint32(len(t.ready.Data))
		part.Data = t.ready.Data[from:min(from+protocol.ChunkSize, len(t.ready.Data))]
	}
	a.send(protocol.UpRecord, protocol.MustMarshal(part))
	t.at = a.now.Add(doubled(a.cfg.AckWait, t.tries, max(a.cfg.AckWait, a.cfg.PauseMax)))
	t.tries++
}

// recordKept goes on behind what the hub has; with the last part the recording is forgotten.
func (a *Agent) recordKept(in protocol.RecordOrder) {
	t := &a.tape
	if in.ID != t.order || t.ready == nil || in.Have <= t.have {
		return
	}
	t.have = in.Have
	t.again()
	if t.ready.Error != nil || int64(t.have) >= int64(protocol.ChunkCount(int64(len(t.ready.Data)))) {
		*t = recorded{order: t.order}
	}
}

// Recorded takes what came of an order, for the agent.
func (i *Inbox) Recorded(in Recorded) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.recorded = &in
	i.bell()
}

// taping is a worker's order under way.
type taping struct {
	order protocol.RecordOrder
	tape  *wasmhost.Taping // nil until the plugin is asked
	calls uint32
}

// Record takes an order. See Recorder.
func (h *Host) Record(i Instance, order protocol.RecordOrder) {
	h.mu.Lock()
	w := h.workers[i]
	h.mu.Unlock()
	if w == nil || h.cfg.Recorded == nil {
		h.recorded(order, nil, protocol.Errorf(protocol.CodeUnavailable,
			"record: step %q of workflow %q is not loaded", i.Step, i.Workflow))
		return
	}
	select {
	case <-w.orders: // an older one
	default:
	}
	select {
	case w.orders <- order:
	default:
	}
}

func (h *Host) recorded(order protocol.RecordOrder, r *wasmhost.Recording, err error) {
	out := Recorded{Order: order}
	if err == nil {
		out.Data, err = r.Encode()
	}
	if err != nil {
		out.Data, out.Error = nil, protocol.AsError(err)
	}
	if h.cfg.Recorded != nil {
		h.cfg.Recorded(out)
	}
}

// taped asks the plugin one thing while an order is under way. It reports false when there
// is none.
func (w *worker) taped(r wasmhost.Request) (a wasmhost.Answer, did bool) {
	select {
	case order := <-w.orders:
		w.untape()
		w.taping = &taping{order: order}
	default:
	}
	t := w.taping
	if t == nil {
		return a, false
	}
	if t.tape == nil {
		plugin, ok := w.plugin.(*wasmhost.Plugin)
		if !ok {
			w.taping = nil
			w.host.recorded(t.order, nil, protocol.Errorf(protocol.CodeIncompatible,
				"record: only modules can be recorded"))
			return a, false
		}
		t.tape = plugin.Tape(int(t.order.Bytes))
	}
	a = t.tape.Call(w.ctx, r)
	if t.calls++; t.calls >= t.order.Calls || t.tape.Over() {
		w.untape()
	}
	return a, true
}

// untape ends the order under way with what there is.
func (w *worker) untape() {
	t := w.taping
	w.taping = nil
	if t == nil {
		return
	}
	var r *wasmhost.Recording
	err := protocol.Errorf(protocol.CodeUnavailable, "record: the plugin was stopped before it was asked")
	if t.tape != nil {
		r = t.tape.End()
	}
	if r == nil {
		w.host.recorded(t.order, nil, err)
		return
	}
	w.host.recorded(t.order, r, nil)
}

var _ Recorder = (*Host)(nil)

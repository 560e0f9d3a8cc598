package stavilytest

import (
	"encoding/json"
	"time"

	"github.com/stavily/stavily/plugins/sdk/go"
)

// Fired is what a trigger answered.
type Fired struct {
	Events []json.RawMessage
	State  json.RawMessage
	After  time.Duration
	At     time.Time
	Topics []string
}

// Wake wakes a trigger now, with the state that it answered last. The first wake after
// a start or restart is a start, the others are timers.
func (h *Host) Wake() (Fired, error) {
	h.t.Helper()
	why := stavily.WhyTimer
	if !h.started {
		why = stavily.WhyStart
	}
	h.started = true
	return h.wake(stavily.Wake{Why: why})
}

// Hear wakes a trigger with a message on a local topic, whether it waits for that or not.
func (h *Host) Hear(topic string, data any) (Fired, error) {
	h.t.Helper()
	raw, err := json.Marshal(data)
	if err != nil {
		return Fired{}, err
	}
	return h.wake(stavily.Wake{Why: stavily.WhyMessage, Message: &stavily.Message{Topic: topic, Data: raw}})
}

func (h *Host) wake(w stavily.Wake) (Fired, error) {
	h.t.Helper()
	w.NowMS, w.State = h.now.UnixMilli(), h.state
	w.SteadyMS, w.Clock = h.now.Add(-h.stepped).Sub(epoch).Milliseconds(), !h.NoClock
	raw, err := h.ask("wake", w)
	if err != nil {
		return Fired{}, err
	}
	var a struct {
		Events []json.RawMessage `json:"events"`
		State  json.RawMessage   `json:"state"`
		Next   struct {
			AfterMS int64    `json:"after_ms"`
			AtMS    int64    `json:"at_ms"`
			MQTT    []string `json:"mqtt"`
		} `json:"next"`
	}
	h.decode(raw, &a)
	f := Fired{
		Events: a.Events, State: a.State, Topics: a.Next.MQTT,
		After: time.Duration(a.Next.AfterMS) * time.Millisecond,
	}
	h.state, h.wakeAt = a.State, time.Time{}
	if f.After > 0 {
		h.wakeAt = h.now.Add(f.After)
	}
	if a.Next.AtMS > 0 {
		f.At = time.UnixMilli(a.Next.AtMS).UTC()
		h.wakeAt = f.At
	}
	return f, nil
}

// Advance lets time pass: it wakes the trigger at once if it was not started, and then
// each time that it asked for, and returns the events. A wake that fails fails the test.
func (h *Host) Advance(by time.Duration) []json.RawMessage {
	h.t.Helper()
	end := h.now.Add(by)
	if !h.started {
		h.wakeAt = h.now
	}
	var events []json.RawMessage
	for !h.wakeAt.IsZero() && !h.wakeAt.After(end) {
		if h.wakeAt.After(h.now) {
			h.now = h.wakeAt
		}
		f, err := h.Wake()
		if err != nil {
			h.t.Fatalf("wake at %s: %v", h.now.Format(time.RFC3339), err)
		}
		events = append(events, f.Events...)
	}
	h.now = end
	return events
}

// Run asks an action to work on an event with this data and returns the result's data.
func (h *Host) Run(data any) (json.RawMessage, error) {
	h.t.Helper()
	return h.RunFull(stavily.Run{Event: h.Event(data), Key: "key-1", DeadlineMS: 30_000})
}

// RunFull is Run with everything that an action is told. The time is the host's.
func (h *Host) RunFull(r stavily.Run) (json.RawMessage, error) {
	h.t.Helper()
	r.NowMS = h.now.UnixMilli()
	raw, err := h.ask("run", r)
	if err != nil {
		return nil, err
	}
	var a struct {
		Data json.RawMessage `json:"data"`
	}
	h.decode(raw, &a)
	return a.Data, nil
}

// Deliver asks an output to deliver a run. The time is the host's.
func (h *Host) Deliver(d stavily.Delivery) error {
	h.t.Helper()
	d.NowMS = h.now.UnixMilli()
	_, err := h.ask("deliver", d)
	return err
}

// Check asks the plugin to check itself.
func (h *Host) Check() error {
	h.t.Helper()
	_, err := h.ask("check", map[string]int64{"now_ms": h.now.UnixMilli()})
	return err
}

// Event makes an event of now with this data, which goes through encoding/json.
func (h *Host) Event(data any) stavily.Event {
	h.t.Helper()
	raw, err := json.Marshal(data)
	if err != nil {
		h.t.Fatalf("event: %v", err)
	}
	return stavily.Event{
		Run: "000102030405060708090a0b0c0d0e0f", Workflow: "test", TimeMS: h.now.UnixMilli(), Data: raw,
	}
}

// ask puts one request, answers the host calls that it leads to, and returns the answer.
func (h *Host) ask(kind string, body any) (json.RawMessage, error) {
	h.t.Helper()
	h.id++
	defer h.hangUp()
	h.say(map[string]any{"id": h.id, kind: body})
	for n := uint64(1); ; n++ {
		m := h.hear()
		if call := m["call"]; call != nil && len(m) == 1 {
			h.reply(n, call)
			continue
		}
		var id uint64
		h.decode(m["id"], &id)
		if id != h.id || len(m) != 2 {
			h.t.Fatalf("message with id %d and %s: want the answer to request %d", id, keys(m), h.id)
		}
		if m["error"] != nil {
			return nil, h.pluginError(m["error"])
		}
		return m["answer"], nil
	}
}

func (h *Host) decode(raw json.RawMessage, into any) {
	h.t.Helper()
	if err := json.Unmarshal(raw, into); err != nil {
		h.t.Fatalf("message %s: %v", raw, err)
	}
}

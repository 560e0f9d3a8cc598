package wasmhost

import (
	"fmt"

	"github.com/stavily/stavily/protocol"
)

// message is one message of a guest, taken apart: what it is and its body.
type message struct {
	kind string
	id   int64 // of answers and errors, else 0
	body protocol.Raw
}

// parseMessage takes a guest's message apart. v is canonical.
func parseMessage(v protocol.Raw) (m message, err error) {
	extra := ""
	ok := eachField(v, func(key string, value protocol.Raw) bool {
		switch {
		case key == "id":
			var isInt bool
			m.id, isInt = uintOf(value)
			return isInt && m.id > 0
		case m.kind == "":
			m.kind, m.body = key, value
		default:
			extra = key
		}
		return true
	})
	switch {
	case !ok:
		return m, contractf("message is not a map with an id above 0")
	case m.kind == "":
		return m, contractf("message says nothing")
	case extra != "":
		return m, contractf("message says two things: %q and %q", clip(m.kind, 32), clip(extra, 32))
	}
	return m, nil
}

// hello is what a guest says of itself.
type hello struct {
	ABI    uint64 `cbor:"abi"`
	Type   string `cbor:"type"`
	Plugin string `cbor:"plugin"`
	SDK    string `cbor:"sdk"`
	Batch  uint64 `cbor:"batch"`
	Reinit bool   `cbor:"reinit"`
}

// hostCall is what a guest asks of its host.
type hostCall struct {
	N    uint64       `cbor:"n"`
	Name string       `cbor:"name"`
	Args protocol.Raw `cbor:"args"`
}

// spoken is an error as guests and hosts tell it to each other.
type spoken struct {
	Code string `cbor:"code"`
	Text string `cbor:"text"`
}

// readError reads a guest's own error.
func readError(body protocol.Raw) error {
	var e spoken
	if err := protocol.Unmarshal(body, &e); err != nil {
		return contractf("error: %w", err)
	}
	switch e.Code {
	case "plugin":
		return protocol.Errorf(protocol.CodePlugin, "%s", clip(e.Text, protocol.TextMax))
	case "retryable":
		return protocol.Errorf(protocol.CodeRetryable, "%s", clip(e.Text, protocol.TextMax))
	}
	return contractf("error with code %q: want plugin or retryable", clip(e.Code, 32))
}

// readAnswer reads the answer to a request of kind k. Keys that it does not know are
// passed over, so that a newer plugin is understood.
func readAnswer(k RequestKind, body protocol.Raw) (a Answer, err error) {
	ok := eachField(body, func(key string, value protocol.Raw) bool {
		switch {
		case k == Wake && key == "events":
			a.Events, err = readEvents(value)
		case k == Wake && key == "state":
			err = bound("state", value, protocol.StateMax)
			a.State = keep(value)
		case k == Wake && key == "next":
			a.Next, err = readNext(value)
		case k == Run && key == "data":
			err = bound("data", value, protocol.DataMax)
			a.Data = keep(value)
		}
		return err == nil
	})
	if !ok && err == nil {
		err = contractf("answer is not a map")
	}
	if err != nil {
		return Answer{}, err
	}
	return a, nil
}

func readEvents(v protocol.Raw) ([]protocol.Raw, error) {
	if isNull(v) {
		return nil, nil
	}
	events, ok := elements(v, protocol.EventsMax)
	if !ok {
		return nil, protocol.Errorf(protocol.CodeLimit, "events: want an array of at most %d", protocol.EventsMax)
	}
	for i, e := range events {
		if err := bound("event", e, protocol.DataMax); err != nil {
			return nil, protocol.Errorf(protocol.CodeLimit, "events: number %d: %w", i+1, err)
		}
		events[i] = append(protocol.Raw(nil), e...)
	}
	return events, nil
}

func readNext(v protocol.Raw) (n Next, err error) {
	if isNull(v) {
		return n, nil
	}
	good := true
	ok := eachField(v, func(key string, value protocol.Raw) bool {
		switch key {
		case "after_ms":
			n.AfterMS, good = uintOf(value)
		case "at_ms":
			n.AtMS, good = uintOf(value)
		case "mqtt":
			n.Topics, err = readTopics(value)
			good = err == nil
		}
		return good
	})
	if err != nil {
		return Next{}, err
	}
	if !ok {
		return Next{}, contractf("next: want {after_ms: milliseconds} or {at_ms: unix milliseconds}")
	}
	return n, nil
}

// bound checks the size and the nesting of a value that leaves the conversation.
func bound(what string, v protocol.Raw, most int) error {
	if len(v) > most {
		return protocol.Errorf(protocol.CodeLimit, "%s: %d bytes, limit %d", what, len(v), most)
	}
	if depthOf(v) > dataDepthMax {
		return protocol.Errorf(protocol.CodeLimit, "%s: nested deeper than %d levels", what, dataDepthMax)
	}
	return nil
}

// keep returns a copy of v that outlives the conversation's buffers, nil for null.
func keep(v protocol.Raw) protocol.Raw {
	if isNull(v) {
		return nil
	}
	return append(protocol.Raw(nil), v...)
}

// writeRequest appends r as message id.
func writeRequest(w *writer, id int64, r Request) {
	w.mapOf(2)
	w.text("id")
	w.int(id)
	w.text(string(r.Kind))
	switch r.Kind {
	case Wake:
		if r.Message != nil {
			w.mapOf(6)
			writeMessage(w, r.Message)
		} else {
			w.mapOf(5)
		}
		w.text("why")
		w.text(string(r.Why))
		w.text("now_ms")
		w.int(r.Now.UnixMS)
		w.text("state")
		w.raw("state", r.State)
		w.text("steady_ms")
		w.int(r.SteadyMS)
		w.text("clock")
		w.bool(r.Now.Quality == protocol.QualityClock)
	case Run, Deliver:
		writeWork(w, r)
	default:
		w.mapOf(1)
		w.text("now_ms")
		w.int(r.Now.UnixMS)
	}
}

// writeWork appends what an action or an output works on.
func writeWork(w *writer, r Request) {
	w.mapOf(5)
	writeSubject(w, r)
	w.text("deadline_ms")
	w.int(r.TimeoutMS)
	w.text("now_ms")
	w.int(r.Now.UnixMS)
}

// writeItem appends one request of a batch.
func writeItem(w *writer, r Request) {
	w.mapOf(3)
	writeSubject(w, r)
}

// writeSubject appends an event, the results so far and the key: three pairs.
func writeSubject(w *writer, r Request) {
	w.text("event")
	w.mapOf(4)
	w.text("run")
	w.text(r.Event.Run.String())
	w.text("workflow")
	w.text(string(r.Event.Workflow))
	w.text("time_ms")
	w.int(r.Event.Time.UnixMS)
	w.text("data")
	w.raw("event data", r.Event.Data)
	w.text("results")
	w.array(len(r.Results))
	for _, res := range r.Results {
		writeResult(w, res)
	}
	w.text("key")
	w.text(r.Key)
}

func writeResult(w *writer, r protocol.Result) {
	n := 3
	if r.Error != nil {
		n = 4
	}
	w.mapOf(n)
	w.text("step")
	w.text(string(r.Step))
	w.text("status")
	w.text(r.Status.String())
	w.text("data")
	bad := w.err
	if w.raw("result", r.Data); bad == nil && w.err != nil {
		w.err = fmt.Errorf("step %q: %w", r.Step, w.err)
	}
	if r.Error != nil {
		w.text("error")
		writeError(w, r.Error)
	}
}

func writeError(w *writer, e *protocol.Error) {
	w.mapOf(2)
	w.text("code")
	w.text(e.Code.String())
	w.text("text")
	w.text(clip(e.Text, protocol.TextMax))
}

// start is what a guest is told before the first request.
type start struct {
	Config   protocol.Raw
	Limits   protocol.Limits
	Grants   []protocol.Grant
	Workflow protocol.WorkflowName
	Step     protocol.StepName
}

func writeInit(w *writer, s start) {
	w.mapOf(1)
	w.text("init")
	w.mapOf(5)
	w.text("config")
	if isNull(s.Config) {
		w.mapOf(0)
	} else {
		w.raw("config", s.Config)
	}
	w.text("limits")
	w.mapOf(5)
	w.text("max_memory_mb")
	w.uint(uint64(s.Limits.MemoryMB))
	w.text("max_cpu_cores")
	w.float(s.Limits.CPUCores)
	w.text("max_execution_time_seconds")
	w.uint(uint64(s.Limits.Seconds))
	w.text("max_file_descriptors")
	w.uint(uint64(s.Limits.Files))
	w.text("max_network_connections")
	w.uint(uint64(s.Limits.Connections))
	w.text("grants")
	w.array(len(s.Grants))
	for _, g := range s.Grants {
		writeGrant(w, g)
	}
	w.text("workflow")
	w.text(string(s.Workflow))
	w.text("step")
	w.text(string(s.Step))
}

func writeGrant(w *writer, g protocol.Grant) {
	w.mapOf(2)
	w.text("capability")
	w.text(g.Capability)
	w.text("scopes")
	w.array(len(g.Scopes))
	for _, s := range g.Scopes {
		w.text(s)
	}
}

// writeReply appends the answer to host call n: ok, or e when that is not nil.
func writeReply(w *writer, n uint64, ok protocol.Raw, e *protocol.Error) {
	w.mapOf(1)
	w.text("reply")
	w.mapOf(2)
	w.text("n")
	w.uint(n)
	if e != nil {
		w.text("error")
		writeError(w, e)
		return
	}
	w.text("ok")
	if ok == nil {
		w.mapOf(0)
		return
	}
	w.raw("reply", ok)
}

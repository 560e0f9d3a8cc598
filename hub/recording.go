package hub

import (
	"net/http"
	"time"

	"github.com/stavily/stavily/hub/api"
	"github.com/stavily/stavily/hub/fleet"
	"github.com/stavily/stavily/hub/store"
	"github.com/stavily/stavily/protocol"
)

// bookRecording holds, by agent, the newest recording that it was asked for.
const bookRecording = "recording"

// savedRecording is one, as far as it has come.
type savedRecording struct {
	Order protocol.RecordOrder `cbor:"1,keyasint"`
	Size  uint32               `cbor:"2,keyasint"` // 0: nothing has come yet
	Data  []byte               `cbor:"3,keyasint"`
	Error *protocol.Error      `cbor:"4,keyasint,omitempty"`
}

func (r *savedRecording) have() uint32 { return protocol.ChunkCount(int64(len(r.Data))) }

func (r *savedRecording) told() api.Recording {
	out := api.Recording{
		ID: r.Order.ID, Workflow: r.Order.Workflow, Step: r.Order.Step, Calls: r.Order.Calls, Size: r.Size,
		Have: len(r.Data), Error: r.Error,
	}
	if out.Done = r.Size > 0 && uint32(len(r.Data)) == r.Size; out.Done {
		out.Data = r.Data
	}
	return out
}

// OrderRecording asks an agent to record the next calls of a step. An older recording of that
// agent is forgotten. The error has CodeUnavailable when the agent is not connected.
func (h *Hub) OrderRecording(now time.Time, name protocol.AgentName,
	wish api.NewRecording,
) (out api.Recording, err error) {
	if wish.Calls == 0 || wish.Calls > protocol.RecordCallsMax {
		return out, protocol.Errorf(protocol.CodeLimit, "record: %d calls, want 1 to %d", wish.Calls,
			protocol.RecordCallsMax)
	}
	err = h.Operate(func(tx *store.Tx) error {
		agent, err := fleet.Get(tx, name)
		if err != nil {
			return err
		}
		if !agent.Presence.Online {
			return protocol.Errorf(protocol.CodeUnavailable, "record: agent %q is not connected", name)
		}
		r := savedRecording{Order: protocol.RecordOrder{
			Epoch: agent.Epoch, ID: uint64(now.UnixNano()), Workflow: wish.Workflow, Step: wish.Step,
			Calls: wish.Calls, Bytes: wish.Bytes,
		}}
		out = r.told()
		h.send(agent.Address, protocol.DownRecord, r.Order)
		return putRecording(tx, name, &r)
	})
	return out, err
}

// recordPart keeps a part of a recording and says how many the hub has now.
func (h *Hub) recordPart(from protocol.Address, p protocol.RecordPart) error {
	if err := p.Check(); err != nil {
		return err
	}
	return h.write(func(tx *store.Tx) error {
		if _, err := known(tx, from); err != nil {
			return err
		}
		r, err := recordingOf(tx, from.Agent)
		if err != nil {
			return err
		}
		if p.Epoch != r.Order.Epoch || p.ID != r.Order.ID {
			return protocol.Errorf(protocol.CodeStale, "recording %d of %s: %d was asked for", p.ID, from, r.Order.ID)
		}
		have := r.have()
		switch {
		case p.Error != nil:
			r.Error, have = p.Error, 1
		case p.Index == have && (r.Size == 0 || r.Size == p.Size):
			r.Size, r.Data = p.Size, append(r.Data, p.Data...)
			have++
		}
		h.send(from, protocol.DownRecord, protocol.RecordOrder{Epoch: p.Epoch, ID: p.ID, Have: have})
		return putRecording(tx, from.Agent, &r)
	})
}

func putRecording(tx *store.Tx, name protocol.AgentName, r *savedRecording) error {
	return tx.PutEntry(store.Entry{Book: bookRecording, Key: string(name), Value: protocol.MustMarshal(r)})
}

func recordingOf(tx *store.Tx, name protocol.AgentName) (r savedRecording, err error) {
	b, err := tx.Entry(bookRecording, string(name))
	if protocol.CodeOf(err) == protocol.CodeNotFound {
		return r, protocol.Errorf(protocol.CodeNotFound, "record: agent %q was not asked to", name)
	}
	if err == nil {
		err = protocol.UnmarshalExact(b, &r)
	}
	return r, err
}

// forgetRecording drops the recording of an agent that is removed.
func forgetRecording(tx *store.Tx, name protocol.AgentName) error {
	err := tx.DropEntry(bookRecording, string(name))
	if protocol.CodeOf(err) == protocol.CodeNotFound {
		return nil
	}
	return err
}

func (s *server) orderRecording(r *http.Request) (out any, err error) {
	in, err := body[api.NewRecording](r)
	if err != nil {
		return nil, err
	}
	err = s.ask(r.Context(), func(now time.Time) (err error) {
		out, err = s.hub.OrderRecording(now, protocol.AgentName(r.PathValue("x")), in)
		return err
	})
	return out, err
}

func (s *server) showRecording(r *http.Request) (any, error) {
	return view(s, r, func(tx *store.Tx) (api.Recording, error) {
		rec, err := recordingOf(tx, protocol.AgentName(r.PathValue("x")))
		return rec.told(), err
	})
}

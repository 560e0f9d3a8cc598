package wasmhost

import (
	"slices"

	"github.com/stavily/stavily/protocol"
)

const (
	// RecordingVersion is the version of the format of a Recording (ABI.md).
	RecordingVersion = 1
	// RecordingMax bounds an encoded recording in bytes.
	RecordingMax = protocol.DocumentMax

	// recordingDefault is how much is recorded unless the caller says something else.
	recordingDefault = 256 << 10
	// recordingHead is kept free for what frames the parts that are counted.
	recordingHead = 1 << 10
	// recordedCallsMax bounds the requests, and the host calls of one.
	recordedCallsMax = protocol.ArrayMax
)

// Recording is all that one instance saw of the world from its start on that is not the
// same twice, and what it said. Replay shows it again to a fresh instance. It holds no
// value of a secret: it is cut before the first.
type Recording struct {
	Version  uint64                `cbor:"1,keyasint"`
	Module   protocol.Digest       `cbor:"2,keyasint"`
	Plugin   protocol.PluginName   `cbor:"3,keyasint"`
	Type     protocol.PluginType   `cbor:"4,keyasint"`
	Workflow protocol.WorkflowName `cbor:"5,keyasint"`
	Step     protocol.StepName     `cbor:"6,keyasint"`
	Config   []byte                `cbor:"7,keyasint"` // a CBOR item; empty for none
	Limits   protocol.Limits       `cbor:"8,keyasint"`
	Grants   []protocol.Grant      `cbor:"9,keyasint"`
	Args     []string              `cbor:"10,keyasint"`
	Env      []string              `cbor:"11,keyasint"`
	Mounts   []RecordedMount       `cbor:"12,keyasint"`
	Start    uint64                `cbor:"13,keyasint"` // fuel until the plugin was ready
	Calls    []RecordedCall        `cbor:"14,keyasint"`
	// World is what the guest got of clocks, randomness and waiting, in order.
	World []byte `cbor:"15,keyasint"`
	// Cut says why the recording ends before the last call did; empty when it does not.
	Cut Cut `cbor:"16,keyasint"`
}

// Cut is why a recording is not whole.
type Cut string

// The reasons.
const (
	CutNot    Cut = ""
	CutFull   Cut = "full"   // it reached its bound of bytes
	CutSecret Cut = "secret" // the plugin was about to be told a secret
)

// RecordedMount is a mount that the instance had.
type RecordedMount struct {
	Path   string          `cbor:"1,keyasint"`
	Digest protocol.Digest `cbor:"2,keyasint"` // Tree.Digest
}

// RecordedCall is one request and all that came of it.
type RecordedCall struct {
	Request   []byte         `cbor:"1,keyasint"` // as recordedRequest encodes it
	HostCalls []RecordedHost `cbor:"2,keyasint"`
	Answer    []byte         `cbor:"3,keyasint"` // as recordedAnswer encodes it; empty when it was cut
	Fuel      uint64         `cbor:"4,keyasint"`
	MemoryB   uint64         `cbor:"5,keyasint"`
}

// RecordedHost is one host call: what the plugin asked, and what it was told.
type RecordedHost struct {
	Name string `cbor:"1,keyasint"`
	Args []byte `cbor:"2,keyasint"` // a CBOR item; empty for none
	OK   []byte `cbor:"3,keyasint"` // a CBOR item; empty for an error, and for {}
	// Code and Text are those of an error; Code is CodeOK for none.
	Code protocol.Code `cbor:"4,keyasint"`
	Text string        `cbor:"5,keyasint"`
}

// recordedRequest is a Request in a recording.
type recordedRequest struct {
	Kind    RequestKind       `cbor:"1,keyasint"`
	Now     protocol.Stamp    `cbor:"2,keyasint"`
	Why     Why               `cbor:"3,keyasint,omitempty"`
	State   []byte            `cbor:"4,keyasint,omitempty"`
	Event   *protocol.Event   `cbor:"5,keyasint,omitempty"`
	Results []protocol.Result `cbor:"6,keyasint,omitempty"`
	Key     string            `cbor:"7,keyasint,omitempty"`
	Timeout int64             `cbor:"8,keyasint,omitempty"`
	Message *Message          `cbor:"9,keyasint,omitempty"`
	Config  []byte            `cbor:"10,keyasint,omitempty"`
}

// recordedAnswer is an Answer in a recording, without its usage.
type recordedAnswer struct {
	Error   *protocol.Error `cbor:"1,keyasint,omitempty"`
	Events  [][]byte        `cbor:"2,keyasint,omitempty"`
	State   []byte          `cbor:"3,keyasint,omitempty"`
	AfterMS int64           `cbor:"4,keyasint,omitempty"`
	Data    []byte          `cbor:"5,keyasint,omitempty"`
	Topics  []string        `cbor:"6,keyasint,omitempty"`
}

func encodeRequest(r Request) ([]byte, error) {
	return protocol.Marshal(recordedRequest{
		Kind: r.Kind, Now: r.Now, Why: r.Why, State: r.State, Event: r.Event, Results: r.Results, Key: r.Key,
		Timeout: r.TimeoutMS, Message: r.Message, Config: r.Config,
	})
}

func decodeRequest(b []byte) (Request, error) {
	var in recordedRequest
	if err := protocol.Unmarshal(b, &in); err != nil {
		return Request{}, err
	}
	return Request{
		Kind: in.Kind, Now: in.Now, Why: in.Why, State: in.State, Event: in.Event, Results: in.Results, Key: in.Key,
		TimeoutMS: in.Timeout, Message: in.Message, Config: in.Config,
	}, nil
}

func encodeAnswer(a Answer) ([]byte, error) {
	out := recordedAnswer{
		Error: a.Error, State: a.State, AfterMS: a.Next.AfterMS, Topics: a.Next.Topics, Data: a.Data,
	}
	for _, e := range a.Events {
		out.Events = append(out.Events, e)
	}
	return protocol.Marshal(out)
}

func decodeAnswer(b []byte) (Answer, error) {
	var in recordedAnswer
	if err := protocol.Unmarshal(b, &in); err != nil {
		return Answer{}, err
	}
	out := Answer{Error: in.Error, State: in.State, Data: in.Data}
	out.Next = Next{AfterMS: in.AfterMS, Topics: in.Topics}
	for _, e := range in.Events {
		out.Events = append(out.Events, e)
	}
	return out, nil
}

// Encode returns the recording as bytes, the same for the same recording.
func (r *Recording) Encode() ([]byte, error) {
	b, err := protocol.Marshal(r)
	if err == nil && len(b) > RecordingMax {
		err = protocol.Errorf(protocol.CodeLimit, "recording: %d bytes, limit %d", len(b), RecordingMax)
	}
	return b, err
}

// DecodeRecording reads what Encode returned. Errors: CodeBadMessage, CodeLimit, and
// CodeIncompatible for another version.
func DecodeRecording(b []byte) (*Recording, error) {
	r := &Recording{}
	if err := protocol.UnmarshalExact(b, r); err != nil {
		return nil, protocol.Errorf(protocol.CodeOf(err), "recording: %w", err)
	}
	if r.Version != RecordingVersion {
		return nil, protocol.Errorf(protocol.CodeIncompatible, "recording: version %d, this program reads %d",
			r.Version, RecordingVersion)
	}
	if !slices.Contains([]Cut{CutNot, CutFull, CutSecret}, r.Cut) {
		return nil, protocol.Errorf(protocol.CodeBadMessage, "recording: cut %q: not known",
			clip(string(r.Cut), 32))
	}
	for i := range r.Calls {
		if err := r.Calls[i].check(); err != nil {
			return nil, protocol.Errorf(protocol.CodeBadMessage, "recording: call %d: %w", i, err)
		}
	}
	t := tape{world: r.World}
	for len(t.world) > t.at {
		if _, _, err := t.next(); err != nil {
			return nil, protocol.Errorf(protocol.CodeBadMessage, "recording: world, byte %d: %w", t.at, err)
		}
	}
	return r, nil
}

// check reads what is encoded within a call.
func (c *RecordedCall) check() error {
	if _, err := decodeRequest(c.Request); err != nil {
		return err
	}
	for i, h := range c.HostCalls {
		for _, v := range [][]byte{h.Args, h.OK} {
			var w writer
			if w.raw("value", v); w.err != nil {
				return protocol.Errorf(protocol.CodeBadMessage, "host call %d: %w", i, w.err)
			}
		}
	}
	if len(c.Answer) == 0 {
		return nil
	}
	_, err := decodeAnswer(c.Answer)
	return err
}

package sim

import (
	"time"

	"github.com/stavily/stavily/protocol"
)

// hostile has a neighbour that got past the access list send d's agent and the hub what
// nobody should: noise on every topic, and messages that are well formed and wrong. What
// is sealed it cannot forge.
func (f *faults) hostile(d *device, rng *stream) {
	w := f.w
	for _, k := range []protocol.Kind{
		protocol.DownHint, protocol.DownAck, protocol.DownChunk, protocol.DownProbe, "d/none",
	} {
		noise := make([]byte, rng.below(200))
		_, _ = rng.Read(noise)
		f.whisper(d, k, noise)
	}
	for _, k := range []protocol.Kind{
		protocol.UpPresence, protocol.UpReported, protocol.UpRecords, protocol.UpFetch, "u/none",
	} {
		noise := make([]byte, rng.below(200))
		_, _ = rng.Read(noise)
		w.trace.note(w.now, d, "noise "+string(k), noise)
		m := protocol.Message{Topic: protocol.Topic(d.addr, k), Payload: noise}
		switch {
		case d.body == nil && len(d.line.gates) == 0:
			w.hub.receive(m)
		case d.body == nil && d.line.up:
			d.line.at.post.hear(m)
		case d.body == nil:
		case d.body.life != nil: // by its own connection, as a device that was taken over does
			_ = d.body.life.link.Send(m) // refused, if its own link knows better
		}
	}
	f.forge(d, rng)
}

// farFuture is how many years ahead a forged hint says that it is.
const farFuture = 200

// forge sends d well formed messages that must change nothing in the end.
func (f *faults) forge(d *device, rng *stream) {
	digest := protocol.Digest{}
	_, _ = rng.Read(digest[:])
	hint := protocol.Hint{
		Epoch: d.epoch, Revision: 1 + uint64(rng.below(1000)), Digest: digest, Size: 300,
		Time: f.w.time().Add(-time.Hour).UnixMilli(),
	}
	f.whisper(d, protocol.DownHint, protocol.MustMarshal(hint))
	hint.Time = f.w.time().AddDate(farFuture, 0, 0).UnixMilli() // a floor there would outlive all certificates
	f.whisper(d, protocol.DownHint, protocol.MustMarshal(hint))
	hint.Proof = digest[:] // sealed by nobody
	f.whisper(d, protocol.DownHint, protocol.MustMarshal(hint))
	hint.Epoch++
	f.whisper(d, protocol.DownHint, protocol.MustMarshal(hint))
	hint.Size = protocol.DocumentMax + 1
	f.whisper(d, protocol.DownHint, protocol.MustMarshal(hint))
	chunk := protocol.Chunk{Digest: digest, Size: 4, Data: digest[:4]}
	f.whisper(d, protocol.DownChunk, protocol.MustMarshal(chunk))
	f.whisper(d, protocol.DownAck, protocol.MustMarshal(protocol.LaneAck{
		Epoch: d.epoch + 1, Lane: protocol.LaneEvent, Mark: protocol.Mark{Boot: 1 << 40},
	}))
	none := protocol.LaneAck{Epoch: d.epoch, Lane: protocol.LaneEnd}
	f.whisper(d, protocol.DownAck, protocol.MustMarshal(none))
}

// whisper hands d's agent a message that no hub sent.
func (f *faults) whisper(d *device, k protocol.Kind, payload []byte) {
	f.w.trace.note(f.w.now, d, "noise "+string(k), payload)
	d.hear(protocol.Message{Topic: protocol.Topic(d.addr, k), Payload: payload})
}

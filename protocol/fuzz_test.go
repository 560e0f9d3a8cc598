package protocol

import (
	"bytes"
	"testing"
)

// fuzzDecoder holds a decoder to: no panic, and what decodes is stable: encoding and
// decoding it again changes nothing.
func fuzzDecoder(f *testing.F, kind string) {
	f.Helper()
	for _, s := range samples() {
		f.Add(MustMarshal(s.value))
	}
	decode := decoders[kind]
	f.Fuzz(func(t *testing.T, b []byte) {
		v, err := decode(b)
		if err != nil {
			return
		}
		once := MustMarshal(v)
		again, err := decode(once)
		if err != nil {
			t.Fatalf("%x decodes, its encoding %x does not: %v", b, once, err)
		}
		if twice := MustMarshal(again); !bytes.Equal(once, twice) {
			t.Errorf("%x encodes to %x and then to %x", b, once, twice)
		}
	})
}

func FuzzPresence(f *testing.F)     { fuzzDecoder(f, "Presence") }
func FuzzReported(f *testing.F)     { fuzzDecoder(f, "Reported") }
func FuzzBatch(f *testing.F)        { fuzzDecoder(f, "Batch") }
func FuzzEvent(f *testing.F)        { fuzzDecoder(f, "Event") }
func FuzzResult(f *testing.F)       { fuzzDecoder(f, "Result") }
func FuzzLogLine(f *testing.F)      { fuzzDecoder(f, "LogLine") }
func FuzzAudit(f *testing.F)        { fuzzDecoder(f, "Audit") }
func FuzzMetrics(f *testing.F)      { fuzzDecoder(f, "Metrics") }
func FuzzLaneAck(f *testing.F)      { fuzzDecoder(f, "LaneAck") }
func FuzzLaneAcks(f *testing.F)     { fuzzDecoder(f, "LaneAcks") }
func FuzzHint(f *testing.F)         { fuzzDecoder(f, "Hint") }
func FuzzFetchRequest(f *testing.F) { fuzzDecoder(f, "FetchRequest") }
func FuzzChunk(f *testing.F)        { fuzzDecoder(f, "Chunk") }
func FuzzHop(f *testing.F)          { fuzzDecoder(f, "Hop") }
func FuzzLocal(f *testing.F)        { fuzzDecoder(f, "Local") }
func FuzzCarried(f *testing.F)      { fuzzDecoder(f, "Carried") }
func FuzzProbe(f *testing.F)        { fuzzDecoder(f, "Probe") }
func FuzzJoinRequest(f *testing.F)  { fuzzDecoder(f, "JoinRequest") }
func FuzzJoinReply(f *testing.F)    { fuzzDecoder(f, "JoinReply") }
func FuzzKeyring(f *testing.F)      { fuzzDecoder(f, "Keyring") }
func FuzzRelease(f *testing.F)      { fuzzDecoder(f, "Release") }
func FuzzDesired(f *testing.F)      { fuzzDecoder(f, "Desired") }

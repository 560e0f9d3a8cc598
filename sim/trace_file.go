package sim

import (
	"bufio"
	"io"
	"strings"

	"github.com/stavily/stavily/protocol"
)

// traceVersion is what a recorded trace begins with.
const traceVersion = "stavily sim-trace/v2"

// TraceHead is the first item of a recorded trace, which is a sequence of CBOR items.
type TraceHead struct {
	Version string `cbor:"1,keyasint"`
	File    string `cbor:"2,keyasint"` // of the scenario
	Seed    uint64 `cbor:"3,keyasint"`
	Build   string `cbor:"4,keyasint"`
	Agents  string `cbor:"5,keyasint"` // addresses, a line each, in the order of their numbers
	Text    string `cbor:"6,keyasint"` // of the scenario, with what flags changed in it
}

// TraceItem is each item behind it: one thing that happened.
type TraceItem struct {
	_    struct{} `cbor:",toarray"`
	At   int64    // ns since the start
	Who  uint64   // 0 for nobody's, else an agent's number from 1
	What string
	Size uint64 // of the payload
	Head []byte // its beginning, 512 bytes at most
}

// record begins a trace in w.
func (t *trace) record(w io.Writer, of *World) {
	t.file = bufio.NewWriterSize(w, 64<<10)
	t.item(TraceHead{
		Version: traceVersion, File: of.scenario.File, Seed: of.seed, Build: of.opts.Build,
		Agents: of.addresses(), Text: string(of.scenario.Text()),
	})
}

// addresses returns the fleet in lines: an array of CBOR may have fewer elements than a fleet
// has agents.
func (w *World) addresses() string {
	var all strings.Builder
	for _, d := range w.devices {
		all.WriteString(d.addr.String() + "\n")
	}
	return all.String()
}

// item adds one item to the file.
func (t *trace) item(v any) {
	if _, err := t.file.Write(protocol.MustMarshal(v)); t.err == nil {
		t.err = err
	}
}

// ended writes what waits, and returns what went wrong with the file or the text.
func (t *trace) ended() error {
	if t.file == nil {
		return t.err
	}
	if err := t.file.Flush(); t.err == nil {
		t.err = err
	}
	return t.err
}

// check refuses a head that could not be read, or is of another version.
func (h *TraceHead) check(err error) error {
	if err == nil && h.Version != traceVersion {
		err = protocol.Errorf(protocol.CodeBadMessage, "begins with %q, want %q", h.Version, traceVersion)
	}
	return err
}

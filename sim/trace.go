package sim

import (
	"bufio"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"time"
)

// traceHead is how much of a long payload goes into the trace, besides its length: what
// follows is chunks of files, whose digests are in the messages before.
const traceHead = 512

// trace is the running digest of everything that happens, in order. Two runs of one
// seed are the same when their traces are.
type trace struct {
	sum   hash.Hash
	out   *bufio.Writer // into sum
	count uint64
	log   io.Writer     // the same as text; nil: nobody reads it
	file  *bufio.Writer // the same as CBOR; nil: nobody does
	held  *recording    // that it is held against; nil: none
	other error         // how it differs from that
	err   error         // of log and file
	buf   []byte
}

func newTrace(log io.Writer) *trace {
	t := &trace{sum: sha256.New(), log: log}
	t.out = bufio.NewWriterSize(t.sum, 32<<10)
	return t
}

// note adds one happening. d may be nil; what is a constant word.
func (t *trace) note(now int64, d *device, what string, payload []byte) {
	t.count++
	who := uint64(0)
	if d != nil {
		who = uint64(d.id) + 1
	}
	t.buf = binary.AppendUvarint(t.buf[:0], uint64(now))
	t.buf = binary.AppendUvarint(t.buf, who)
	t.buf = append(t.buf, what...)
	t.buf = append(t.buf, 0)
	t.buf = binary.AppendUvarint(t.buf, uint64(len(payload)))
	t.buf = append(t.buf, payload[:min(len(payload), traceHead)]...)
	_, _ = t.out.Write(t.buf) // a hash takes everything
	if t.file != nil {
		t.item(TraceItem{
			At: now, Who: who, What: what, Size: uint64(len(payload)), Head: payload[:min(len(payload), traceHead)],
		})
	}
	if t.log != nil {
		t.write(now, d, what, payload)
	}
	if t.held != nil && t.other == nil {
		t.other = t.held.holds(now, who, what, payload)
	}
}

// write adds the line of a happening to the log.
func (t *trace) write(now int64, d *device, what string, payload []byte) {
	name := "-"
	if d != nil {
		name = d.addr.String()
	}
	_, err := fmt.Fprintf(t.log, "+%s %s %s %d %s\n", time.Duration(now), name, what, len(payload),
		hex.EncodeToString(payload[:min(len(payload), 64)]))
	if t.err == nil {
		t.err = err
	}
}

// digest returns the digest so far, in hexadecimal digits.
func (t *trace) digest() string {
	_ = t.out.Flush()
	return hex.EncodeToString(t.sum.Sum(nil))
}

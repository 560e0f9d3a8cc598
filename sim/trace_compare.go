package sim

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/stavily/stavily/protocol"
)

// shownHead bounds what a difference shows of a payload, in bytes.
const shownHead = 48

// recording is a recorded trace that a run is held against, item by item.
type recording struct {
	path string
	file *os.File
	next func(v any) error
	head TraceHead
	who  []string // addresses, by the numbers of items
	same uint64   // items that came as recorded
	item TraceItem
}

// openRecording reads the head of the trace at path.
func openRecording(path string) (*recording, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	r, err := newRecording(bufio.NewReaderSize(f, 256<<10))
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", path, err), f.Close())
	}
	r.path, r.file = path, f
	return r, nil
}

func newRecording(from io.Reader) (*recording, error) {
	r := &recording{next: protocol.Items(from)}
	err := r.head.check(r.next(&r.head))
	r.who = append([]string{"-"}, strings.Fields(r.head.Agents)...)
	return r, err
}

// of says whether the recording is of w; the error says what is another.
func (r *recording) of(w *World) error {
	switch {
	case r.head.Seed != w.seed:
		return exit(exitBadScenario, "%s: recorded with seed %d, this run has %d", r.path, r.head.Seed, w.seed)
	case r.head.Agents != w.addresses():
		return exit(exitBadScenario, "%s: recorded with %d agents, this run has %d, or others", r.path,
			len(r.who)-1, len(w.devices))
	}
	return nil
}

// holds compares what happens with what was recorded. The error names the first difference.
func (r *recording) holds(now int64, who uint64, what string, payload []byte) error {
	got := TraceItem{
		At: now, Who: who, What: what, Size: uint64(len(payload)), Head: payload[:min(len(payload), traceHead)],
	}
	r.item = TraceItem{}
	if err := r.next(&r.item); errors.Is(err, io.EOF) {
		return r.differs("nothing more", r.text(&got))
	} else if err != nil {
		return fmt.Errorf("%s: item %d: %w", r.path, r.same+1, err)
	}
	if was := &r.item; was.At != got.At || was.Who != got.Who || was.What != got.What || was.Size != got.Size ||
		!bytes.Equal(was.Head, got.Head) {
		return r.differs(r.text(was), r.text(&got))
	}
	r.same++
	return nil
}

// ended is asked when the run has come to a moment: nothing of before it may be left.
func (r *recording) ended(now int64) error {
	r.item = TraceItem{}
	err := r.next(&r.item)
	if err == nil && r.item.At < now {
		return r.differs(r.text(&r.item), "nothing up to +"+time.Duration(now).String())
	}
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("%s: item %d: %w", r.path, r.same+1, err)
	}
	return nil
}

// differs is the first difference: exit code 1.
func (r *recording) differs(was, got string) error {
	return fmt.Errorf("%s: goes another way after %d things that are the same\n  recorded: %s\n  now:      %s",
		r.path, r.same, was, got)
}

// text returns an item for people.
func (r *recording) text(it *TraceItem) string {
	who := fmt.Sprintf("agent %d", it.Who)
	if it.Who < uint64(len(r.who)) {
		who = r.who[it.Who]
	}
	text := fmt.Sprintf("+%s %s %s", time.Duration(it.At), who, it.What)
	if it.Size > 0 {
		text += fmt.Sprintf(", %d bytes: %s", it.Size, hex.EncodeToString(it.Head[:min(len(it.Head), shownHead)]))
	}
	return text
}

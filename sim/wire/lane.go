package wire

import (
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// lane is one direction of one connection: bytes with the moments at which they arrive.
type lane struct {
	line *Line
	way  Way

	mu      sync.Mutex // guards the fields below
	chunks  []chunk
	size    int       // bytes of chunks
	free    time.Time // when the wire takes the next byte
	last    time.Time // arrival of the newest chunk
	blocked bool
	ended   bool          // nothing more is written
	gone    bool          // nobody reads any more
	broken  bool          // cut
	changed chan struct{} // closed at the next change
}

type chunk struct {
	data []byte
	at   time.Time
}

// wake tells all who wait that something changed. The caller holds mu.
func (w *lane) wake() {
	close(w.changed)
	w.changed = make(chan struct{})
}

func (w *lane) set(change func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	change()
	w.wake()
}

func (w *lane) block(is bool) { w.set(func() { w.blocked = is }) }

func (w *lane) cut() { w.set(func() { w.broken, w.chunks, w.size = true, nil, 0 }) }

func (w *lane) over() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.broken || w.ended && w.gone
}

// write puts p on its way, in pieces that fit, and waits for room until deadline says so.
func (w *lane) write(p []byte, until func() time.Time) (done int, err error) {
	for done < len(p) {
		piece := p[done:min(len(p), done+packetMax)]
		took := w.line.delay(len(piece))
		if err := w.put(piece, took, until); err != nil {
			return done, err
		}
		done += len(piece)
		w.line.count(w.way, len(piece))
	}
	return done, nil
}

func (w *lane) put(piece []byte, took time.Duration, until func() time.Time) error {
	for {
		w.mu.Lock()
		now := time.Now()
		switch {
		case w.broken:
			w.mu.Unlock()
			return ErrDown
		case w.ended || w.gone && !w.blocked:
			w.mu.Unlock()
			return io.ErrClosedPipe
		case w.size+len(piece) <= bufferMax:
			w.depart(piece, now, took)
			w.mu.Unlock()
			return nil
		}
		changed := w.changed
		w.mu.Unlock()
		if !wait(changed, time.Time{}, until()) {
			return os.ErrDeadlineExceeded
		}
	}
}

// depart reckons when a piece arrives. The caller holds mu.
func (w *lane) depart(piece []byte, now time.Time, took time.Duration) {
	leaves := now
	if leaves.Before(w.free) {
		leaves = w.free
	}
	if b := w.line.Shape.Bandwidth; b > 0 {
		leaves = leaves.Add(time.Duration(float64(len(piece)) / b * float64(time.Second)))
	}
	w.free = leaves
	at := leaves.Add(took)
	if at.Before(w.last) {
		at = w.last
	}
	w.last = at
	w.chunks = append(w.chunks, chunk{append([]byte(nil), piece...), at})
	w.size += len(piece)
	w.wake()
}

// read takes what has arrived, and waits for it until deadline says so.
func (w *lane) read(p []byte, until func() time.Time) (int, error) {
	for {
		deadline, now := until(), time.Now()
		w.mu.Lock()
		switch {
		case w.broken:
			w.mu.Unlock()
			return 0, ErrDown
		case w.gone:
			w.mu.Unlock()
			return 0, net.ErrClosed
		case !deadline.IsZero() && !now.Before(deadline):
			w.mu.Unlock()
			return 0, os.ErrDeadlineExceeded
		case w.ready(now):
			n := w.take(p)
			w.mu.Unlock()
			return n, nil
		case w.ended && len(w.chunks) == 0 && !w.blocked:
			w.mu.Unlock()
			return 0, io.EOF
		}
		var next time.Time
		if len(w.chunks) > 0 && !w.blocked {
			next = w.chunks[0].at
		}
		changed := w.changed
		w.mu.Unlock()
		wait(changed, next, deadline)
	}
}

func (w *lane) ready(now time.Time) bool {
	return len(w.chunks) > 0 && !w.blocked && !now.Before(w.chunks[0].at)
}

func (w *lane) take(p []byte) int {
	n := copy(p, w.chunks[0].data)
	if w.chunks[0].data = w.chunks[0].data[n:]; len(w.chunks[0].data) == 0 {
		w.chunks[0] = chunk{}
		w.chunks = w.chunks[1:]
	}
	w.size -= n
	w.wake()
	return n
}

// wait waits for a change or for either moment, and reports whether it was not the
// deadline. A zero time is none.
func wait(changed <-chan struct{}, next, deadline time.Time) bool {
	at, dead := next, false
	if !deadline.IsZero() && (at.IsZero() || deadline.Before(at)) {
		at, dead = deadline, true
	}
	if at.IsZero() {
		<-changed
		return true
	}
	timer := time.NewTimer(time.Until(at))
	defer timer.Stop()
	select {
	case <-changed:
		return true
	case <-timer.C:
		return !dead
	}
}

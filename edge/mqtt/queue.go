package mqtt

import (
	"sync"

	"github.com/stavily/stavily/protocol"
)

// queue holds, oldest first, the messages that have no PUBACK yet. It outlives
// connections: each new one sends all of it again, from the oldest.
type queue struct {
	max, maxBytes int
	more          chan struct{} // holds one: something was put

	mu    sync.Mutex // guards the fields below
	all   []*entry
	bytes int
	sent  int // how many of all were given to the connection
	turn  int // counts connections; an old one gets nothing more
}

type entry struct{ protocol.Message }

func (q *queue) init(most, bytes int) {
	q.max, q.maxBytes, q.more = most, bytes, make(chan struct{}, 1)
}

// put appends m. The error has CodeUnavailable: the queue is full.
func (q *queue) put(m protocol.Message) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.all) >= q.max {
		return protocol.Errorf(protocol.CodeUnavailable, "send %q: %d messages wait, QueueMax is %d",
			m.Topic, len(q.all), q.max)
	}
	if q.bytes+len(m.Payload) > q.maxBytes {
		return protocol.Errorf(protocol.CodeUnavailable, "send %q: %d bytes wait, QueueBytes is %d",
			m.Topic, q.bytes, q.maxBytes)
	}
	q.all = append(q.all, &entry{m})
	q.bytes += len(m.Payload)
	signal(q.more)
	return nil
}

// next returns the oldest message not yet sent, or nil. It returns false to a
// connection whose turn is over.
func (q *queue) next(turn int) (*entry, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if turn != q.turn {
		signal(q.more) // it may have been the newer connection's
		return nil, false
	}
	if q.sent == len(q.all) {
		return nil, true
	}
	q.sent++
	return q.all[q.sent-1], true
}

// done takes e out, wherever it stands, and tells who sent it.
func (q *queue) done(e *entry) {
	if q.remove(e) {
		e.Done()
	}
}

func (q *queue) remove(e *entry) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	for i, each := range q.all {
		if each != e {
			continue
		}
		copy(q.all[i:], q.all[i+1:])
		q.all[len(q.all)-1] = nil
		q.all = q.all[:len(q.all)-1]
		q.bytes -= len(e.Payload)
		if i < q.sent {
			q.sent--
		}
		return true
	}
	return false
}

// rewind makes all messages unsent, for a new connection, and returns its turn.
func (q *queue) rewind() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.sent = 0
	q.turn++
	signal(q.more)
	return q.turn
}

func (q *queue) len() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.all)
}

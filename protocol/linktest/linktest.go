// Package linktest holds every protocol.Link to its promises.
//
// Run is the suite. Pipe is a pair of links in memory, the smallest that passes it,
// for the tests of other packages.
package linktest

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stavily/stavily/protocol"
)

// bound is how long the suite waits for what must happen.
const bound = 10 * time.Second

// Pair is a hub's link and an agent's link with a line between them.
type Pair struct {
	Hub, Agent protocol.Link
	Address    protocol.Address // the agent's
	// Cut breaks the line. It comes back by itself, soon.
	Cut func()
	// Close ends both links.
	Close func()
}

// Run runs the suite on the pairs that open makes, one for each promise.
func Run(t *testing.T, open func(t *testing.T) Pair) {
	t.Helper()
	for _, promise := range []struct {
		name string
		test func(*suite)
	}{
		{"carries both ways", carries},
		{"keeps order", ordered},
		{"repeats what is not acknowledged", repeats},
		{"loses nothing that is sent again", atLeastOnce},
		{"never waits for the other side", neverWaits},
		{"refuses what is too large", refusesLarge},
		{"asks again after a cut", asksAgain},
		{"respects filters", respectsFilters},
		{"keeps what is retained", retains},
		{"lets both listeners acknowledge", twoListeners},
		{"tells an agent what it holds no more", tellsSender},
	} {
		t.Run(promise.name, func(t *testing.T) {
			p := open(t)
			defer p.Close()
			promise.test(&suite{t, p})
		})
	}
}

type suite struct {
	*testing.T
	Pair
}

// way is one direction of the pair.
type way struct {
	name     string
	from, to protocol.Link
	topic    string
	filter   string
}

func (s *suite) ways() []way {
	return []way{
		{
			"up", s.Agent, s.Hub, protocol.Topic(s.Address, protocol.UpRecords),
			protocol.UpFilter(protocol.UpRecords),
		},
		{
			"down", s.Hub, s.Agent, protocol.Topic(s.Address, protocol.DownAck),
			protocol.Topic(s.Address, protocol.DownAck),
		},
	}
}

// listen returns a channel with room for all that a test sends.
func (s *suite) listen(l protocol.Link, filter string) <-chan protocol.Message {
	s.Helper()
	ch := make(chan protocol.Message, 1<<16)
	if err := l.Listen(filter, func(m protocol.Message) { ch <- m }); err != nil {
		s.Fatalf("listen %q: %v", filter, err)
	}
	return ch
}

func (s *suite) next(ch <-chan protocol.Message) protocol.Message {
	s.Helper()
	timer := time.NewTimer(bound)
	defer timer.Stop()
	select {
	case m := <-ch:
		return m
	case <-timer.C:
		s.Fatalf("no message for %v", bound)
		panic("unreachable")
	}
}

// send sends, and again while the link says that it cannot now.
func (s *suite) send(l protocol.Link, topic, payload string) {
	s.Helper()
	for end := time.Now().Add(bound); ; {
		err := l.Send(protocol.Message{Topic: topic, Payload: []byte(payload)})
		switch {
		case err == nil:
			return
		case protocol.CodeOf(err) != protocol.CodeUnavailable:
			s.Fatalf("send: %v", err)
		case time.Now().After(end):
			s.Fatalf("send: for %v: %v", bound, err)
		}
		time.Sleep(time.Millisecond) // try later, as the link asked
	}
}

func carries(s *suite) {
	for _, w := range s.ways() {
		got := s.listen(w.to, w.filter)
		payload := []byte{0, 255, 'x'}
		s.send(w.from, w.topic, string(payload))
		m := s.next(got)
		if m.Topic != w.topic || !bytes.Equal(m.Payload, payload) || m.Retained {
			s.Errorf("%s: got %q %x retained %v", w.name, m.Topic, m.Payload, m.Retained)
		}
		m.Done()
	}
}

func ordered(s *suite) {
	const count = 500
	for _, w := range s.ways() {
		got := s.listen(w.to, w.filter)
		for i := range count {
			s.send(w.from, w.topic, fmt.Sprint(i))
			if i%8 != 7 { // read as fast as it comes, in bunches
				continue
			}
			for j := i - 7; j <= i; j++ {
				s.expect(w.name, got, fmt.Sprint(j))
			}
		}
	}
}

func (s *suite) expect(what string, ch <-chan protocol.Message, want string) {
	s.Helper()
	m := s.next(ch)
	if string(m.Payload) != want {
		s.Fatalf("%s: got %q, want %q", what, m.Payload, want)
	}
	m.Done()
}

func repeats(s *suite) {
	for _, w := range s.ways() {
		got := s.listen(w.to, w.filter)
		for _, payload := range []string{"kept", "one", "two"} {
			s.send(w.from, w.topic, payload)
		}
		s.next(got).Done()
		s.next(got)
		s.next(got)
		// The other direction uses the same packet identifiers: it must not make either
		// side take "one" for acknowledged.
		for range 8 {
			s.quietly(w)
		}
		s.Cut()
		again := map[string]bool{}
		for !again["one"] || !again["two"] {
			m := s.next(got)
			again[string(m.Payload)] = true
			m.Done()
		}
	}
}

// quietly sends one message against w.
func (s *suite) quietly(w way) {
	s.Helper()
	for _, other := range s.ways() {
		if other.name == w.name {
			continue
		}
		got := s.listen(other.to, other.filter)
		s.send(other.from, other.topic, "against")
		s.next(got).Done()
	}
}

// atLeastOnce is how every sender of ours uses a link: it keeps what matters until
// the receiver's own answer, and sends it again.
func atLeastOnce(s *suite) {
	const count = 200
	for _, w := range s.ways() {
		var mu sync.Mutex // guards missing
		missing := map[string]bool{}
		for i := range count {
			missing[fmt.Sprint(i)] = true
		}
		here := make(chan struct{}, 1)
		err := w.to.Listen(w.filter, func(m protocol.Message) {
			mu.Lock()
			delete(missing, string(m.Payload))
			if len(missing) == 0 {
				select {
				case here <- struct{}{}:
				default:
				}
			}
			mu.Unlock()
			m.Done()
		})
		if err != nil {
			s.Fatal(err)
		}
		for end := time.Now().Add(bound); ; {
			mu.Lock()
			left := slices.Sorted(maps.Keys(missing))
			mu.Unlock()
			if len(left) == 0 {
				break
			}
			if time.Now().After(end) {
				s.Fatalf("%s: %d of %d messages missing after %v", w.name, len(left), count, bound)
			}
			s.round(w, left, here)
		}
	}
}

// round sends all that is left, cuts the line on the way, and gives it time to come.
func (s *suite) round(w way, left []string, here <-chan struct{}) {
	for i, id := range left {
		s.send(w.from, w.topic, id)
		if i%70 == 69 {
			s.Cut()
		}
	}
	timer := time.NewTimer(300 * time.Millisecond)
	defer timer.Stop()
	select {
	case <-here:
	case <-timer.C:
	}
}

// tellsSender: an agent's link calls the Ack of a message when the other side has taken it, once,
// and not before; over a cut too.
func tellsSender(s *suite) {
	up := s.ways()[0]
	got := s.listen(up.to, up.filter)
	told := make(chan struct{}, 16)
	m := protocol.Message{Topic: up.topic, Payload: []byte("held"), Ack: func() { told <- struct{}{} }}
	if err := up.from.Send(m); err != nil {
		s.Fatal(err)
	}
	s.next(got) // never Done
	s.Cut()
	again := s.next(got)
	for string(again.Payload) != "held" {
		again = s.next(got)
	}
	s.quietly(up)
	if len(told) > 0 {
		s.Fatal("told before the other side has taken it")
	}
	again.Done()
	timer := time.NewTimer(bound)
	defer timer.Stop()
	select {
	case <-told:
	case <-timer.C:
		s.Fatalf("not told for %v", bound)
	}
	s.quietly(up)
	if len(told) > 0 {
		s.Error("told twice")
	}
}

// neverWaits stalls the receiver and sends until the link says that it is full. No
// Send may take long, and full it must become: every queue is bounded.
func neverWaits(s *suite) {
	big := make([]byte, 32<<10)
	for _, w := range s.ways() {
		got := s.listen(w.to, w.filter) // never Done
		s.send(w.from, w.topic, "first")
		s.next(got)
		full := false
		for n := 0; !full; n++ {
			if n > 10_000 {
				s.Fatalf("%s: %d messages taken while the other side stalls", w.name, n)
			}
			began := time.Now()
			err := w.from.Send(protocol.Message{Topic: w.topic, Payload: big})
			if took := time.Since(began); took > time.Second {
				s.Fatalf("%s: Send took %v", w.name, took)
			}
			if code := protocol.CodeOf(err); code != protocol.CodeOK && code != protocol.CodeUnavailable {
				s.Fatalf("%s: send: %v", w.name, err)
			}
			full = err != nil
		}
	}
}

func refusesLarge(s *suite) {
	for _, w := range s.ways() {
		got := s.listen(w.to, w.filter)
		s.send(w.from, w.topic, "before")
		s.expect(w.name, got, "before")
		err := w.from.Send(protocol.Message{Topic: w.topic, Payload: make([]byte, protocol.MessageMax+1)})
		if protocol.CodeOf(err) != protocol.CodeLimit {
			s.Errorf("%s: a payload over MessageMax: got %v, want code limit", w.name, err)
		}
		long := w.topic + string(bytes.Repeat([]byte("x"), protocol.TopicMax))
		if err := w.from.Send(protocol.Message{Topic: long}); protocol.CodeOf(err) != protocol.CodeLimit {
			s.Errorf("%s: a topic over TopicMax: got %v, want code limit", w.name, err)
		}
		largest := string(make([]byte, protocol.MessageMax))
		s.send(w.from, w.topic, largest)
		s.expect(w.name, got, largest)
	}
}

func asksAgain(s *suite) {
	for _, w := range s.ways() {
		got := s.listen(w.to, w.filter)
		s.send(w.from, w.topic, "before")
		s.expect(w.name, got, "before")
		for i := range 3 {
			s.Cut()
			s.untilHeard(w, got, fmt.Sprint("after ", i))
		}
	}
}

// untilHeard sends until the message comes: one that was taken before the link knew of
// the cut may be lost.
func (s *suite) untilHeard(w way, got <-chan protocol.Message, payload string) {
	s.Helper()
	for end := time.Now().Add(bound); time.Now().Before(end); {
		s.send(w.from, w.topic, payload)
		timer := time.NewTimer(500 * time.Millisecond)
		for waiting := true; waiting; {
			select {
			case m := <-got:
				m.Done()
				if string(m.Payload) == payload {
					timer.Stop()
					return
				}
			case <-timer.C:
				waiting = false
			}
		}
	}
	s.Fatalf("%s: %q not heard for %v", w.name, payload, bound)
}

func respectsFilters(s *suite) {
	chunk := protocol.Topic(s.Address, protocol.DownChunk)
	ack := protocol.Topic(s.Address, protocol.DownAck)
	chunks, acks := s.listen(s.Agent, chunk), s.listen(s.Agent, ack)
	all := s.listen(s.Agent, protocol.DownFilter(s.Address))
	s.untilHeard(way{"down", s.Hub, s.Agent, ack, ack}, acks, "ready")
	s.send(s.Hub, chunk, "chunk")
	s.send(s.Hub, ack, "ack")
	s.expect("acks", acks, "ack")
	s.expect("chunks", chunks, "chunk")
	seen := map[string]int{}
	for seen["ack"] == 0 || seen["chunk"] == 0 {
		m := s.next(all)
		seen[string(m.Payload)]++
		m.Done()
	}
	if len(chunks)+len(acks) > 0 || seen["ack"] > 1 || seen["chunk"] > 1 {
		s.Errorf("heard too much: %d chunks, %d acks, all %v", len(chunks), len(acks), seen)
	}
}

func retains(s *suite) {
	hint := protocol.Topic(s.Address, protocol.DownHint)
	err := s.Hub.Send(protocol.Message{Topic: hint, Payload: []byte("old"), Retained: true})
	if err != nil {
		s.Fatalf("send retained: %v", err)
	}
	err = s.Hub.Send(protocol.Message{Topic: hint, Payload: []byte("new"), Retained: true})
	if err != nil {
		s.Fatalf("send retained: %v", err)
	}
	got := s.listen(s.Agent, hint)
	s.expect("retained", got, "new")
	ack := protocol.Topic(s.Address, protocol.DownAck)
	if err := s.Hub.Send(protocol.Message{Topic: ack, Retained: true}); err == nil {
		s.Errorf("a retained %s was taken: want an error", ack)
	}
}

// twoListeners: one message that matches two filters is acknowledged when both are
// done with it, and not before.
func twoListeners(s *suite) {
	w := s.ways()[1]
	narrow, wide := s.listen(w.to, w.filter), s.listen(w.to, protocol.DownFilter(s.Address))
	s.untilHeard(w, narrow, "ready")
	s.next(wide).Done()
	s.send(w.from, w.topic, "both")
	s.expect("narrow", narrow, "both")
	for m := s.next(wide); string(m.Payload) != "both"; m = s.next(wide) {
		m.Done()
	}
	s.Cut() // the wide one was not done
	s.comes(narrow, "both")
	s.comes(wide, "both")
}

// comes takes messages until want; others may come again after a cut.
func (s *suite) comes(ch <-chan protocol.Message, want string) {
	s.Helper()
	for {
		m := s.next(ch)
		m.Done()
		if string(m.Payload) == want {
			return
		}
	}
}

package stavily

import (
	"bytes"
	"fmt"
	"time"
)

const (
	// batchMax is how many events this SDK takes in one request.
	batchMax = 256
	// batchEnough is how long an answer to a batch becomes before it is sent: the host asks
	// for the rest again, and one more result must still fit.
	batchEnough = LineMax - 64<<10
)

// batch is several events for one request.
type batch struct {
	Kind       string `json:"kind"` // run or deliver
	DeadlineMS int64  `json:"deadline_ms"`
	NowMS      int64  `json:"now_ms"`
	Items      []Run  `json:"items"`
}

// asks is the kind of request that the plugin works on.
func (p *Plugin) asks() string {
	switch p.kind {
	case "action":
		return "run"
	case "output":
		return "deliver"
	}
	return ""
}

// batch works on a batch and puts the answer into the line: as many results as fit it, and
// half its time at most, so that no event loses another's.
func (s *server) batch(id uint64, b *batch) error {
	if len(b.Items) == 0 {
		return fmt.Errorf("request %d: a batch of no events", id)
	}
	for i := range b.Items {
		b.Items[i].DeadlineMS, b.Items[i].NowMS = b.DeadlineMS, b.NowMS
	}
	c := s.context(b.NowMS)
	next := s.singly(c, b.Items)
	if s.plugin.batch != nil {
		outcomes, err := s.together(c, b.Items)
		if err != nil {
			return err
		}
		next = func(i int) (Outcome, bool) {
			if i >= len(outcomes) {
				return Outcome{}, false
			}
			return outcomes[i], true
		}
	}
	return s.results(id, next)
}

// The clock, which is the host's, is looked at before each event; after some that took no more
// than quickMS before twice as many, up to everyMax.
const quickMS, everyMax = 1, 8

// singly works on one event after another, as they are asked for.
func (s *server) singly(c *Context, work []Run) func(i int) (Outcome, bool) {
	began, every, spent := time.Now(), 1, int64(0)
	return func(i int) (out Outcome, ok bool) {
		if i > 0 && i%every == 0 {
			now := time.Since(began).Milliseconds()
			if every = min(2*every, everyMax); now-spent > quickMS {
				every = 1
			}
			spent = now
		}
		if i >= len(work) || i > 0 && work[i].DeadlineMS > 0 && spent > work[i].DeadlineMS/2 {
			return out, false
		}
		out.Err = guard(func() error {
			var err error
			if s.plugin.kind == "action" {
				out.Data, err = s.plugin.run(c, work[i])
				return err
			}
			return s.plugin.deliver(c, Delivery(work[i]))
		})
		return out, true
	}
}

// together works on all events at once.
func (s *server) together(c *Context, work []Run) (out []Outcome, err error) {
	err = guard(func() error {
		out = s.plugin.batch(c, work)
		return nil
	})
	if err == nil && (len(out) == 0 || len(out) > len(work)) {
		err = fmt.Errorf("batch: %d outcomes for %d events", len(out), len(work))
	}
	return out, err
}

// results puts outcomes into the line until there are no more or it is long enough. Those
// that are left out were not worked on, or are of a batch function, which is asked again.
func (s *server) results(id uint64, next func(i int) (Outcome, bool)) error {
	var items bytes.Buffer // the line is used for host calls meanwhile
	for i := 0; items.Len() < batchEnough; i++ {
		out, ok := next(i)
		if !ok || s.err != nil {
			break
		}
		s.result(out)
		if i > 0 {
			items.WriteByte(',')
		}
		items.Write(s.buf.Bytes())
	}
	s.answer(id)
	s.buf.WriteString(`{"items":[`)
	s.buf.Write(items.Bytes())
	s.buf.WriteString(`]}`)
	return s.err
}

// result puts one outcome into the line. What is no JSON, or too much of it, is an error of
// that event.
func (s *server) result(out Outcome) {
	if out.Err == nil {
		s.begin(`{"data":`)
		if s.plugin.kind == "output" {
			out.Data = nil
		}
		out.Err = s.value(out.Data)
		if n := s.buf.Len(); out.Err == nil && n > LineMax-batchEnough-1024 {
			out.Err = fmt.Errorf("answer: %w: %d bytes", errTooLong, n)
		}
	}
	if out.Err != nil {
		s.begin(`{"error":`)
		if err := s.value(answered(out.Err)); err != nil {
			s.err = err
		}
	}
	s.buf.WriteByte('}')
}

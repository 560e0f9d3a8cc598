package stavily

import (
	"errors"
	"fmt"
	"io"
	"time"
)

// Serve holds one conversation with a host: it greets, takes the configuration and
// answers requests until in ends, which is no error. It returns an error when the host
// says something that is not in the contract, or when out fails.
func (p *Plugin) Serve(in io.Reader, out io.Writer) error {
	c := newConversation(in, out)
	if err := c.send(`{"hello":`, p.hello(), `}`); err != nil {
		return err
	}
	s := &server{plugin: p, conversation: c}
	for {
		m, err := c.next()
		switch {
		case err != nil:
			return ended(err)
		case m.Init != nil:
			if bad := p.init(m.Init.Config); bad != nil {
				return c.send(`{"error":`, &Error{Code: CodePlugin, Text: clip(bad.Error())}, `}`)
			}
			s.initial = m.Init
			err = c.send(`{"ready":`, struct{}{}, `}`)
		case s.initial == nil:
			return errors.New("read: first message: want init")
		default:
			err = s.serve(m)
		}
		if err != nil {
			return ended(err)
		}
	}
}

type hello struct {
	ABI    int    `json:"abi"`
	Type   string `json:"type"`
	Plugin string `json:"plugin"`
	SDK    string `json:"sdk"`
	Batch  int    `json:"batch,omitempty"`
	Reinit bool   `json:"reinit,omitempty"`
}

func (p *Plugin) hello() hello {
	h := hello{ABI: abiVersion, Type: p.kind, Plugin: p.name, SDK: sdkName}
	if p.asks() != "" {
		h.Batch, h.Reinit = batchMax, true
	}
	return h
}

// ended makes no error of the end of input.
func ended(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// server answers the requests of one conversation.
type server struct {
	*conversation
	plugin  *Plugin
	initial *initial
}

// serve answers one request. Its error is one of the conversation, never the plugin's.
func (s *server) serve(m *message) error {
	if m.Reply != nil {
		return errors.New("read: message: want a request, got a reply")
	}
	err := guard(func() error { return s.ask(m) })
	if s.err != nil {
		return s.err
	}
	if err == nil {
		return s.end(`}`)
	}
	return s.refuse(m.ID, err)
}

// ask calls the plugin's function and puts its answer into the line, all but the last
// brace. Whatever it returns as an error becomes the answer instead.
func (s *server) ask(m *message) error {
	switch p := s.plugin; {
	case m.Wake != nil && p.wake != nil:
		fired, err := p.wake(s.context(m.Wake.NowMS), *m.Wake)
		if err != nil {
			return err
		}
		return s.fired(m.ID, fired)
	case m.Run != nil && p.run != nil:
		data, err := p.run(s.context(m.Run.NowMS), *m.Run)
		if err != nil {
			return err
		}
		s.answer(m.ID)
		s.buf.WriteString(`{"data":`)
		return s.close(data)
	case m.Deliver != nil && p.deliver != nil:
		err := p.deliver(s.context(m.Deliver.NowMS), *m.Deliver)
		s.answer(m.ID)
		s.buf.WriteString(`{}`)
		return err
	case m.Batch != nil && m.Batch.Kind == p.asks():
		return s.batch(m.ID, m.Batch)
	case m.Check != nil:
		err := s.check(m.Check.NowMS)
		s.answer(m.ID)
		s.buf.WriteString(`{}`)
		return err
	}
	return fmt.Errorf("request %d: not one for %s %q", m.ID, s.plugin.kind, s.plugin.name)
}

func (s *server) check(nowMS int64) error {
	if s.plugin.check == nil {
		return nil
	}
	return s.plugin.check(s.context(nowMS))
}

// answer begins the line of an answer.
func (s *server) answer(id uint64) {
	s.begin(`{"id":`)
	s.number(id)
	s.buf.WriteString(`,"answer":`)
}

// close adds the last value of an answer.
func (s *server) close(v any) error {
	if err := s.value(v); err != nil {
		return fmt.Errorf("answer: %w", err)
	}
	s.buf.WriteByte('}')
	return s.fits()
}

// fits refuses an answer that the host would end the plugin for.
func (s *server) fits() error {
	if n := s.buf.Len() + len("}\n"); n > LineMax {
		return fmt.Errorf("answer: %w: %d bytes, limit %d", errTooLong, n, LineMax)
	}
	return nil
}

// fired puts a trigger's answer into the line.
func (s *server) fired(id uint64, f Fired) error {
	s.answer(id)
	s.buf.WriteString(`{"events":[`)
	for i, event := range f.Events {
		if i > 0 {
			s.buf.WriteByte(',')
		}
		if err := s.value(event); err != nil {
			return fmt.Errorf("answer: event %d: %w", i+1, err)
		}
	}
	s.buf.WriteByte(']')
	if f.After > 0 || len(f.Topics) > 0 || !f.At.IsZero() {
		s.buf.WriteString(`,"next":{"after_ms":`)
		s.number(uint64(max(Duration(f.After).MS(), 0)))
		if !f.At.IsZero() {
			s.buf.WriteString(`,"at_ms":`)
			s.number(uint64(max(f.At.UnixMilli(), 1)))
		}
		if len(f.Topics) > 0 {
			s.buf.WriteString(`,"mqtt":`)
			if err := s.value(f.Topics); err != nil {
				return fmt.Errorf("answer: topics: %w", err)
			}
		}
		s.buf.WriteByte('}')
	}
	s.buf.WriteString(`,"state":`)
	return s.close(f.State)
}

// refuse answers a request with an error.
func (s *server) refuse(id uint64, err error) error {
	s.begin(`{"id":`)
	s.number(id)
	s.buf.WriteString(`,"error":`)
	if err := s.value(answered(err)); err != nil {
		return err
	}
	return s.end(`}`)
}

func (s *server) context(nowMS int64) *Context {
	return &Context{conversation: s.conversation, initial: s.initial, now: time.UnixMilli(nowMS).UTC()}
}

package cases

import (
	"context"
	"fmt"
	"strings"
	"sync"

	"github.com/stavily/stavily/protocol"
	"github.com/stavily/stavily/wasmhost"
)

// script is the host of one case: it answers host calls as the case says and notes what
// was called and logged.
type script struct {
	c    *Case
	left []Times // of each reply

	mu    sync.Mutex // guards the fields below: lines come from other goroutines
	lines []string
	made  []made
	wrong []string // what the case did not provide for
	kv    map[string]protocol.Raw
}

// made is a host call that the plugin made.
type made struct {
	call string
	args any
}

func newScript(c *Case) *script {
	s := &script{c: c, kv: map[string]protocol.Raw{}}
	for _, r := range c.Calls {
		s.left = append(s.left, r.Times)
	}
	for key, v := range c.KV {
		s.kv[key] = v.Raw
	}
	return s
}

// call is a host call of the plugin: known reports whether a reply fits.
func (s *script) call(name string, args any) (r *Reply, found bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.made = append(s.made, made{name, args})
	for i := range s.c.Calls {
		r := &s.c.Calls[i]
		if s.left[i] == 0 {
			continue
		}
		if r.Call == name && (!r.Args.Set || has(plain(r.Args.Raw), args)) {
			if s.left[i] != anyTimes {
				s.left[i]--
			}
			return r, true
		}
		if s.c.Order && s.left[i] != anyTimes {
			return nil, false
		}
	}
	return nil, false
}

// unscripted notes a call for which the case has no reply, and is the error for it.
func (s *script) unscripted(name string, args any) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wrong = append(s.wrong, fmt.Sprintf("host call %s %s: the case has no reply to it", name, quoted(args)))
	return protocol.Errorf(protocol.CodeUnavailable, "call %s: the case has no reply to it", name)
}

func (r *Reply) result() (protocol.Raw, error) {
	if r.Error != nil {
		text := r.Error.Text
		if text == "" {
			text = r.Error.Code
		}
		return nil, &protocol.Error{Code: r.Error.code, Text: text}
	}
	return r.Answer.Raw, nil
}

// hostCall answers the host calls of that name for whichever case runs.
func (r *runner) hostCall(name string) wasmhost.HostCall {
	return func(_ context.Context, _ wasmhost.Grants, raw protocol.Raw) (any, error) {
		args := plain(raw)
		reply, found := r.now.call(name, args)
		if !found {
			return nil, r.now.unscripted(name, args)
		}
		out, err := reply.result()
		if len(out) == 0 {
			return nil, err
		}
		return out, err
	}
}

// Get is the host call kv.get: by the case's reply, or from what is kept.
func (s *script) Get(key string) (protocol.Raw, error) {
	r, found := s.call("kv.get", map[string]any{"key": key})
	if !found {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.kv[key], nil
	}
	raw, err := r.result()
	if err != nil || len(raw) == 0 {
		return nil, err
	}
	var answer struct {
		Value protocol.Raw `cbor:"value"`
	}
	if err := protocol.Unmarshal(raw, &answer); err != nil {
		return nil, protocol.Errorf(protocol.CodeBadInput, "the case's reply to kv.get: %w", err)
	}
	return answer.Value, nil
}

// Put is the host call kv.put.
func (s *script) Put(key string, value protocol.Raw) error {
	r, found := s.call("kv.put", map[string]any{"key": key, "value": plain(value)})
	if found && r.Error != nil {
		_, err := r.result()
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if value == nil {
		delete(s.kv, key)
		return nil
	}
	if _, have := s.kv[key]; !have && len(s.kv) >= wasmhost.KVKeysMax {
		return protocol.Errorf(protocol.CodeLimit, "kv: more than %d keys", wasmhost.KVKeysMax)
	}
	s.kv[key] = append(protocol.Raw(nil), value...)
	return nil
}

// line takes a line of the plugin's log.
func (s *script) line(l protocol.LogLine) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lines = append(s.lines, l.Text)
}

// leftOver names the replies that were never asked for.
func (s *script) leftOver() []string {
	var out []string
	for i, left := range s.left {
		if left <= 0 {
			continue
		}
		r := &s.c.Calls[i]
		out = append(out, strings.TrimSpace(fmt.Sprintf("calls[%d]: %s: never called, or not with these arguments "+
			"(%d more wanted)", i, r.Call, left)))
	}
	return out
}

var _ wasmhost.KV = (*script)(nil)

package stavily

import (
	"encoding/json"
	"unicode/utf8"
)

// What is in this file reads the requests that come all the time without encoding/json, which
// passes over every byte several times and takes five times as long, as WebAssembly above all.
// It knows only what a host writes: compact JSON with the keys of the contract. Anything else,
// unusual or wrong, is left to encoding/json, which has the last word.

// itemBytes is about how long one event of a batch is at least.
const itemBytes = 160

// depthMax bounds the nesting of values that are passed over here.
const depthMax = 100

// quickly reads a request, and reports whether it did. What it read holds the line, which must
// not change.
func (m *message) quickly(line []byte) bool {
	c := cursor{b: line, s: string(line)}
	c.object(func(key []byte) bool {
		if len(key) > 2 && m.kinds() > 0 {
			return false // encoding/json makes one of two
		}
		switch string(key) {
		case "id":
			m.ID = c.natural()
		case "run":
			m.Run = new(Run)
			c.run(m.Run)
		case "deliver":
			m.Deliver = new(Delivery)
			c.run((*Run)(m.Deliver))
		case "batch":
			m.Batch = new(batch)
			c.batch(m.Batch)
		case "wake":
			m.Wake = new(Wake)
			c.wake(m.Wake)
		case "reply":
			m.Reply = new(reply)
			c.reply(m.Reply)
		default:
			return false
		}
		return true
	})
	if c.bad || c.i != len(line) {
		*m = message{}
		return false
	}
	return true
}

// cursor stands in a line. Once it met what it does not know it is bad, and stays so.
type cursor struct {
	b     []byte
	s     string // the same, of which texts are parts; empty: they are copied
	i     int
	depth int
	bad   bool
}

// run reads what an action or an output is asked: as a host writes it, or else in any order.
func (c *cursor) run(r *Run) {
	at := *c
	if c.ordered(r) && !c.bad {
		return
	}
	*c, *r = at, Run{}
	c.object(func(key []byte) bool {
		switch string(key) {
		case "event":
			c.event(&r.Event)
		case "results":
			c.results(&r.Results)
		case "key":
			r.Key = c.text()
		case "deadline_ms":
			r.DeadlineMS = c.number()
		case "now_ms":
			r.NowMS = c.number()
		default:
			return false
		}
		return true
	})
}

// ordered is run for the keys in the order in which a host writes them. What stands between
// two values is compared as one.
func (c *cursor) ordered(r *Run) bool {
	if !c.has(`{"event":{"run":`) {
		return false
	}
	r.Event.Run = c.text()
	if !c.has(`,"workflow":`) {
		return false
	}
	r.Event.Workflow = c.text()
	if !c.has(`,"time_ms":`) {
		return false
	}
	r.Event.TimeMS = c.number()
	if !c.has(`,"data":`) {
		return false
	}
	r.Event.Data = c.raw()
	if !c.has(`},"results":`) {
		return false
	}
	c.results(&r.Results)
	if !c.has(`,"key":`) {
		return false
	}
	r.Key = c.text()
	if c.has(`,"deadline_ms":`) {
		r.DeadlineMS = c.number()
		if !c.has(`,"now_ms":`) {
			return false
		}
		r.NowMS = c.number()
	}
	return c.has(`}`)
}

// has takes what is next if it is w.
func (c *cursor) has(w string) bool {
	if len(c.b)-c.i < len(w) || string(c.b[c.i:c.i+len(w)]) != w {
		return false
	}
	c.i += len(w)
	return true
}

func (c *cursor) event(e *Event) {
	c.object(func(key []byte) bool {
		switch string(key) {
		case "run":
			e.Run = c.text()
		case "workflow":
			e.Workflow = c.text()
		case "time_ms":
			e.TimeMS = c.number()
		case "data":
			e.Data = c.raw()
		default:
			return false
		}
		return true
	})
}

func (c *cursor) batch(b *batch) {
	c.object(func(key []byte) bool {
		switch string(key) {
		case "kind":
			b.Kind = c.text()
		case "deadline_ms":
			b.DeadlineMS = c.number()
		case "now_ms":
			b.NowMS = c.number()
		case "items":
			if b.Items != nil {
				return false
			}
			b.Items = make([]Run, 0, min(batchMax, 1+(len(c.b)-c.i)/itemBytes))
			c.list(func() {
				b.Items = append(b.Items, Run{})
				c.run(&b.Items[len(b.Items)-1])
			})
		default:
			return false
		}
		return true
	})
}

func (c *cursor) wake(w *Wake) {
	c.object(func(key []byte) bool {
		switch string(key) {
		case "why":
			w.Why = c.text()
		case "now_ms":
			w.NowMS = c.number()
		case "state":
			w.State = c.raw()
		case "steady_ms":
			w.SteadyMS = c.number()
		case "clock":
			w.Clock = string(c.raw()) == "true"
		default:
			return false
		}
		return true
	})
}

func (c *cursor) reply(r *reply) {
	c.object(func(key []byte) bool {
		switch string(key) {
		case "n":
			r.N = c.natural()
		case "ok":
			r.OK = c.raw()
		default:
			return false
		}
		return true
	})
}

// object reads an object: field is called with each key and reads its value, or does not know
// it.
func (c *cursor) object(field func(key []byte) bool) {
	c.enter('{')
	for first := true; !c.closes('}', first); first = false {
		key := c.word()
		c.take(':')
		if c.bad || !field(key) {
			c.bad = true
		}
	}
}

// list reads an array, whose values item reads.
func (c *cursor) list(item func()) {
	c.enter('[')
	for first := true; !c.closes(']', first); first = false {
		item()
	}
}

func (c *cursor) enter(open byte) {
	c.take(open)
	if c.depth++; c.depth > depthMax {
		c.bad = true
	}
}

// closes takes what ends an object or a list, or what stands before its next value.
func (c *cursor) closes(end byte, first bool) bool {
	if c.peek() == end || c.bad {
		c.i++
		c.depth--
		return true
	}
	if !first {
		c.take(',')
	}
	return c.bad
}

// peek returns the next byte; 0 behind the last one.
func (c *cursor) peek() byte {
	if c.i >= len(c.b) {
		return 0
	}
	return c.b[c.i]
}

func (c *cursor) take(want byte) {
	if c.peek() != want {
		c.bad = true
	}
	c.i++
}

// text reads a string without escapes.
func (c *cursor) text() string {
	w := c.word()
	if c.s == "" || c.bad {
		return string(w)
	}
	return c.s[c.i-1-len(w) : c.i-1]
}

// word returns what is in a string without escapes, as it lies in the line.
func (c *cursor) word() []byte {
	c.take('"')
	at, high := c.i, byte(0)
	for i, b := range c.b[min(at, len(c.b)):] {
		switch {
		case b == '"':
			c.i = at + i + 1
			text := c.b[at : at+i]
			c.bad = c.bad || high >= utf8.RuneSelf && !utf8.Valid(text)
			return text
		case b == '\\' || b < ' ':
			c.bad = true
			return nil
		}
		high |= b
	}
	c.bad = true
	return nil
}

// natural reads a whole number that is not below zero.
func (c *cursor) natural() uint64 {
	n := c.number()
	c.bad = c.bad || n < 0
	return uint64(n)
}

// number reads a whole number.
func (c *cursor) number() (n int64) {
	minus := c.peek() == '-'
	if minus {
		c.i++
	}
	at := c.i
	for ; c.peek() >= '0' && c.peek() <= '9'; c.i++ {
		n = 10*n + int64(c.b[c.i]-'0')
	}
	if long := c.i - at; long == 0 || long > 18 || long > 1 && c.b[at] == '0' {
		c.bad = true
	}
	if minus {
		return -n
	}
	return n
}

// results reads those of earlier steps. What is unusual about them is left to encoding/json.
func (c *cursor) results(into *[]Result) {
	at := *c
	all := []Result{}
	c.list(func() {
		all = append(all, Result{})
		c.result(&all[len(all)-1])
	})
	if !c.bad {
		*into = all
		return
	}
	*c = at
	if raw := c.raw(); !c.bad {
		c.bad = json.Unmarshal(raw, into) != nil
	}
}

func (c *cursor) result(r *Result) {
	at := *c
	if c.orderedResult(r) && !c.bad {
		return
	}
	*c, *r = at, Result{}
	c.object(func(key []byte) bool {
		switch string(key) {
		case "step":
			r.Step = c.text()
		case "status":
			r.Status = c.text()
		case "data":
			r.Data = c.raw()
		default:
			return false
		}
		return true
	})
}

func (c *cursor) orderedResult(r *Result) bool {
	if !c.has(`{"step":`) {
		return false
	}
	r.Step = c.text()
	if !c.has(`,"status":`) {
		return false
	}
	r.Status = c.text()
	if !c.has(`,"data":`) {
		return false
	}
	r.Data = c.raw()
	return c.has(`}`)
}

// raw reads a value as it stands.
func (c *cursor) raw() json.RawMessage {
	at := c.i
	c.value()
	if c.bad {
		return nil
	}
	return json.RawMessage(c.b[at:c.i:c.i])
}

// value passes over a value.
func (c *cursor) value() {
	switch c.peek() {
	case '{':
		c.enter('{')
		for first := true; !c.closes('}', first); first = false {
			c.word()
			c.take(':')
			c.value()
		}
	case '[':
		c.enter('[')
		for first := true; !c.closes(']', first); first = false {
			c.value()
		}
	case '"':
		c.word()
	case 't':
		c.literal("true")
	case 'f':
		c.literal("false")
	case 'n':
		c.literal("null")
	default:
		c.figure()
	}
}

func (c *cursor) literal(w string) {
	end := c.i + len(w)
	if end > len(c.b) || string(c.b[c.i:end]) != w {
		c.bad = true
		return
	}
	c.i = end
}

// figure passes over a number of any kind, by the grammar of JSON.
func (c *cursor) figure() {
	if c.peek() == '-' {
		c.i++
	}
	at := c.i
	c.digits()
	if c.i-at > 1 && c.b[at] == '0' {
		c.bad = true
	}
	if c.peek() == '.' {
		c.i++
		c.digits()
	}
	if c.peek()|0x20 == 'e' {
		c.i++
		if c.peek() == '-' || c.peek() == '+' {
			c.i++
		}
		c.digits()
	}
}

func (c *cursor) digits() {
	at := c.i
	for c.peek() >= '0' && c.peek() <= '9' {
		c.i++
	}
	if c.i == at {
		c.bad = true
	}
}

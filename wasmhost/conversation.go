package wasmhost

import (
	"bytes"
	"io"

	"github.com/stavily/stavily/protocol"
)

// conversation is the host's side of ABI.md over one pair of byte streams. It knows
// nothing of WASM: a native process is spoken to by the same code. One caller at a
// time. After an error that has CodeContract, or of the streams, it is of no more use.
type conversation struct {
	rw    io.ReadWriter
	cbor  bool   // the guest speaks CBOR, not JSON
	told  bool   // cbor is settled
	id    int64  // of the newest request
	in    []byte // read and not yet taken
	seen  int    // bytes of in that are known to hold no end of a message
	todo  uint64 // CBOR: items that are still missing at seen
	read  [32 << 10]byte
	w     writer // what is said next, in CBOR
	items writer // of a batch, before it is said
	batch int    // events that the guest takes in one request; below 2 it takes none

	answers []Answer // to a batch; used again

	reinit bool         // the guest takes another init between two requests
	isSet  bool         // it had one
	config protocol.Raw // of the last

	got  writer // what was heard, in CBOR
	line []byte // what is said next, in JSON
	tap  Tap    // who listens in
}

// callee answers host calls: the result, or an error for the guest.
type callee interface {
	call(name string, args protocol.Raw) (protocol.Raw, error)
}

// expect is what the hello must say.
type expect struct {
	Type   protocol.PluginType
	Plugin protocol.PluginName
}

// meet hears the hello.
func (c *conversation) meet(want expect) error {
	h, err := c.greet()
	if err == nil && (h.Type != string(want.Type) || h.Plugin != string(want.Plugin)) {
		return contractf("hello: %s %q, the manifest says %s %q",
			clip(h.Type, 32), clip(h.Plugin, 64), want.Type, want.Plugin)
	}
	return err
}

// greet hears the hello.
func (c *conversation) greet() (hello, error) {
	var h hello
	m, err := c.hear()
	if err != nil {
		return h, err
	}
	if m.kind != "hello" || m.id != 0 {
		return h, contractf("first message is %q: want hello", clip(m.kind, 32))
	}
	if err := protocol.Unmarshal(m.body, &h); err != nil {
		return h, contractf("hello: %w", err)
	}
	if h.ABI != ABIVersion {
		return h, protocol.Errorf(protocol.CodeIncompatible, "hello: conversation version %d, this host speaks %d",
			h.ABI, ABIVersion)
	}
	c.batch, c.reinit = int(min(h.Batch, BatchMax)), h.Reinit
	return h, nil
}

// setUp tells the guest how it is set up and waits until it is ready.
func (c *conversation) setUp(s start) error {
	c.isSet, c.config = true, s.Config
	c.w.reset()
	writeInit(&c.w, s)
	if err := c.say(); err != nil {
		return err
	}
	return c.ready()
}

func (c *conversation) ready() error {
	m, err := c.hear()
	switch {
	case err != nil:
		return err
	case m.id == 0 && m.kind == "ready":
		return nil
	case m.id == 0 && m.kind == "error":
		return readError(m.body)
	}
	return contractf("message %q after init: want ready or error", clip(m.kind, 32))
}

// ask puts one request and hears the answer, answering host calls meanwhile.
func (c *conversation) ask(r Request, host callee) (Answer, error) {
	c.id++
	c.w.reset()
	writeRequest(&c.w, c.id, r)
	if err := c.say(); err != nil {
		return Answer{}, err
	}
	m, err := c.heed(host)
	switch {
	case err != nil:
		return Answer{}, err
	case m.kind == "error":
		return Answer{}, readError(m.body)
	}
	return readAnswer(r.Kind, m.body)
}

// heed hears the answer to the request that was said last, or its error, answering host
// calls meanwhile.
func (c *conversation) heed(host callee) (message, error) {
	for calls := uint64(1); ; calls++ {
		m, err := c.hear()
		if err != nil {
			return message{}, err
		}
		if m.kind == "call" && m.id == 0 {
			if err := c.reply(m.body, calls, host); err != nil {
				return message{}, err
			}
			continue
		}
		if m.id != c.id {
			return message{}, contractf("message %q with id %d: want an answer with id %d",
				clip(m.kind, 32), m.id, c.id)
		}
		if m.kind != "answer" && m.kind != "error" {
			return message{}, contractf("message %q: want call, answer or error", clip(m.kind, 32))
		}
		return m, nil
	}
}

func (c *conversation) reply(body protocol.Raw, n uint64, host callee) error {
	var call hostCall
	if err := protocol.Unmarshal(body, &call); err != nil {
		return contractf("call: %w", err)
	}
	if call.N != n {
		return contractf("call %q has n %d: want %d", clip(call.Name, 32), call.N, n)
	}
	ok, err := host.call(call.Name, call.Args)
	c.w.reset()
	writeReply(&c.w, n, ok, protocol.AsError(err))
	err = c.say()
	if code := protocol.CodeOf(err); code == protocol.CodeLimit || code == protocol.CodeBadInput {
		c.w.reset()
		writeReply(&c.w, n, nil, protocol.AsError(err))
		err = c.say()
	}
	return err
}

// say sends what c.w holds, in the guest's encoding.
func (c *conversation) say() error {
	if c.w.err != nil {
		return c.w.err
	}
	out := c.w.b
	if c.tap.Say != nil {
		out = c.tap.Say(out)
	}
	if !c.cbor {
		c.line = append(toJSON(c.line[:0], out), '\n')
		out = c.line
	}
	if len(out) > protocol.MessageMax {
		return protocol.Errorf(protocol.CodeLimit, "message of %d bytes to the plugin, limit %d",
			len(out), protocol.MessageMax)
	}
	_, err := c.rw.Write(out)
	return err
}

// hear reads one message. What it returns is valid until the next one.
func (c *conversation) hear() (message, error) {
	for {
		n, err := c.complete()
		if err != nil {
			return message{}, err
		}
		if n > 0 {
			return c.take(n)
		}
		if len(c.in) > protocol.MessageMax {
			return message{}, contractf("message of more than %d bytes", protocol.MessageMax)
		}
		n, err = c.rw.Read(c.read[:])
		if n == 0 && err != nil {
			return message{}, err
		}
		c.in = append(c.in, c.read[:n]...)
	}
}

// unread reports whether the guest has said more than was asked.
func (c *conversation) unread() bool { return len(c.in) > 0 }

// take takes the first n bytes of c.in as a message.
func (c *conversation) take(n int) (message, error) {
	if n > protocol.MessageMax {
		return message{}, contractf("message of %d bytes, limit %d", n, protocol.MessageMax)
	}
	c.got.reset()
	var err error
	if c.cbor {
		err = c.got.canonical(c.in[:n], messageDepthMax)
	} else {
		err = fromJSON(&c.got, c.in[:n-1], messageDepthMax)
	}
	c.in = c.in[:copy(c.in, c.in[n:])]
	c.seen, c.todo = 0, 0
	if err != nil {
		return message{}, contractf("message: %w", err)
	}
	m, err := parseMessage(c.got.b)
	if err == nil && c.tap.Heard != nil {
		c.tap.Heard(m.kind, m.id)
	}
	return m, err
}

// complete returns the length of the first message in c.in, 0 while its end is missing.
// It goes on where it stopped, so that a guest that writes byte by byte costs no more.
func (c *conversation) complete() (int, error) {
	if len(c.in) == 0 {
		return 0, nil
	}
	if !c.told {
		c.told = true
		c.cbor = c.in[0]&0xe0 == majorMap
		if !c.cbor && c.in[0] != '{' {
			return 0, contractf("first byte %#x: want { for JSON lines or a CBOR map", c.in[0])
		}
	}
	if c.cbor {
		return c.completeCBOR()
	}
	i := bytes.IndexByte(c.in[c.seen:], '\n')
	if i < 0 {
		c.seen = len(c.in)
		return 0, nil
	}
	return c.seen + i + 1, nil
}

func (c *conversation) completeCBOR() (int, error) {
	if c.seen == 0 {
		c.todo = 1
	}
	for c.todo > 0 {
		if c.seen >= len(c.in) || headMissing(c.in[c.seen:]) {
			return 0, nil
		}
		major, n, rest, err := readHead(c.in[c.seen:])
		if err != nil {
			return 0, err
		}
		c.seen = len(c.in) - len(rest)
		c.todo--
		if n > protocol.MessageMax && major >= 2<<5 && major <= majorMap {
			return 0, contractf("item of %d bytes or elements in a message, limit %d", n, protocol.MessageMax)
		}
		switch major {
		case 2 << 5, majorText:
			c.seen += int(n)
		case majorArray:
			c.todo += n
		case majorMap:
			c.todo += 2 * n
		}
		if c.seen > protocol.MessageMax {
			return 0, contractf("message of more than %d bytes", protocol.MessageMax)
		}
	}
	if c.seen > len(c.in) {
		return 0, nil
	}
	return c.seen, nil
}

// headMissing reports whether b ends within its first head.
func headMissing(b []byte) bool {
	info := b[0] & 0x1f
	return info >= 24 && info <= 27 && len(b) < 1+1<<(info-24)
}

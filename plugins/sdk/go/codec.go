package stavily

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
)

// abiVersion is the version of the conversation; sdkName names this SDK in the hello.
const (
	abiVersion = 1
	sdkName    = "go/0.1.0"
)

// LineMax bounds one message of the conversation in bytes, with its line end.
const LineMax = 128 << 10

// message is what the host says. At most one of the pointers is set, none for a request
// of a kind that this SDK does not know.
type message struct {
	ID      uint64     `json:"id"`
	Init    *initial   `json:"init"`
	Wake    *Wake      `json:"wake"`
	Run     *Run       `json:"run"`
	Deliver *Delivery  `json:"deliver"`
	Batch   *batch     `json:"batch"`
	Check   *selfCheck `json:"check"`
	Reply   *reply     `json:"reply"`
}

type initial struct {
	Config   json.RawMessage `json:"config"`
	Limits   Limits          `json:"limits"`
	Grants   []Grant         `json:"grants"`
	Workflow string          `json:"workflow"`
	Step     string          `json:"step"`
}

type selfCheck struct {
	NowMS int64 `json:"now_ms"`
}

type reply struct {
	N     uint64          `json:"n"`
	OK    json.RawMessage `json:"ok"`
	Error *Error          `json:"error"`
}

// kinds counts the messages in a message; anything but 1 breaks the contract.
func (m *message) kinds() int {
	n := 0
	for _, set := range [...]bool{
		m.Init != nil, m.Wake != nil, m.Run != nil,
		m.Deliver != nil, m.Batch != nil, m.Check != nil, m.Reply != nil,
	} {
		if set {
			n++
		}
	}
	return n
}

// conversation reads and writes lines. The first error of either way ends it.
type conversation struct {
	in   *bufio.Scanner
	out  io.Writer
	buf  bytes.Buffer  // the line being written, used again
	json *json.Encoder // into buf
	err  error
}

func newConversation(in io.Reader, out io.Writer) *conversation {
	s := bufio.NewScanner(in)
	s.Buffer(make([]byte, 0, 8<<10), LineMax)
	c := &conversation{in: s, out: out}
	c.json = json.NewEncoder(&c.buf)
	c.json.SetEscapeHTML(false)
	return c
}

// next returns the host's next message, or io.EOF when it has no more to say.
func (c *conversation) next() (*message, error) {
	if c.err != nil {
		return nil, c.err
	}
	m, err := c.read()
	c.err = err
	return m, err
}

func (c *conversation) read() (*message, error) {
	if !c.in.Scan() {
		switch err := c.in.Err(); {
		case errors.Is(err, bufio.ErrTooLong):
			return nil, fmt.Errorf("read: message over %d bytes", LineMax)
		case err != nil:
			return nil, fmt.Errorf("read: %w", err)
		default:
			return nil, io.EOF
		}
	}
	m, line := new(message), bytes.Clone(c.in.Bytes())
	if !m.quickly(line) {
		if err := json.Unmarshal(line, m); err != nil {
			return nil, fmt.Errorf("read: message: %w", err)
		}
	}
	// A request of a kind that came after this SDK is not the end: it gets an error.
	if n := m.kinds(); n > 1 || n == 0 && m.ID == 0 {
		return nil, fmt.Errorf("read: message: want one kind that this SDK knows, got %d", n)
	}
	return m, nil
}

// begin starts a line with what needs no escaping.
func (c *conversation) begin(head string) { c.buf.Reset(); c.buf.WriteString(head) }

// number adds a number to the line.
func (c *conversation) number(n uint64) {
	c.buf.Write(strconv.AppendUint(c.buf.AvailableBuffer(), n, 10))
}

// value adds a value as JSON to the line: the bytes as they are of a raw message that
// is one line already, anything else through encoding/json.
func (c *conversation) value(v any) error {
	if b, ok := appendPlain(c.buf.AvailableBuffer(), v); ok {
		c.buf.Write(b)
		return nil
	}
	if err := c.json.Encode(v); err != nil {
		return err
	}
	c.buf.Truncate(c.buf.Len() - 1) // Encode ends with a line end
	return nil
}

// end finishes the line and sends it. A line over LineMax is not sent: errTooLong.
func (c *conversation) end(tail string) error {
	c.buf.WriteString(tail)
	c.buf.WriteByte('\n')
	if n := c.buf.Len(); n > LineMax {
		return fmt.Errorf("%w: %d bytes, limit %d", errTooLong, n, LineMax)
	}
	if c.err != nil {
		return c.err
	}
	if _, err := c.out.Write(c.buf.Bytes()); err != nil {
		c.err = fmt.Errorf("write: %w", err)
	}
	return c.err
}

// send sends head, v as JSON and tail as one line.
func (c *conversation) send(head string, v any, tail string) error {
	c.begin(head)
	if err := c.value(v); err != nil {
		return err
	}
	return c.end(tail)
}

var errTooLong = errors.New("message too long")

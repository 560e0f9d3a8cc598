package stavily

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"
)

// Context is one request's way to the host. Its methods that return an error return an
// [Error] with the host's code when the host refuses: [CodeDenied] without the grant.
type Context struct {
	conversation *conversation
	initial      *initial
	now          time.Time
	calls        uint64
}

// Now returns the host's time at the beginning of the request, in UTC. It does not move
// while the plugin works.
func (c *Context) Now() time.Time { return c.now }

// Workflow returns the name of the workflow that the plugin stands in.
func (c *Context) Workflow() string { return c.initial.Workflow }

// Step returns the name of the step that the plugin is.
func (c *Context) Step() string { return c.initial.Step }

// Limits returns what the host holds the plugin to.
func (c *Context) Limits() Limits { return c.initial.Limits }

// Grants returns what the plugin may ask the host for.
func (c *Context) Grants() []Grant { return c.initial.Grants }

// Call makes a host call by name, for those that have no method here. The answer is
// read into the pointer ok, unless that is nil.
func (c *Context) Call(name string, args, ok any) error {
	r, err := c.call(name, args)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if ok == nil {
		return nil
	}
	if err := json.Unmarshal(r.OK, ok); err != nil {
		return fmt.Errorf("%s: reply: %w", name, err)
	}
	return nil
}

func (c *Context) call(name string, args any) (*reply, error) {
	c.calls++
	talk := c.conversation
	talk.begin(`{"call":{"n":`)
	talk.number(c.calls)
	talk.buf.WriteString(`,"name":`)
	if err := talk.value(name); err != nil {
		return nil, err
	}
	talk.buf.WriteString(`,"args":`)
	if err := talk.value(args); err != nil {
		c.calls-- // nothing was sent: the host counts too
		return nil, err
	}
	if err := talk.end(`}}`); err != nil {
		c.calls--
		return nil, err
	}
	return c.reply()
}

// reply reads the answer to the call just made. Anything else ends the conversation.
func (c *Context) reply() (*reply, error) {
	m, err := c.conversation.next()
	if errors.Is(err, io.EOF) {
		return nil, io.ErrUnexpectedEOF
	}
	if err != nil {
		return nil, err
	}
	if m.Reply == nil || m.Reply.N != c.calls {
		c.conversation.err = fmt.Errorf("read: message: want the reply to call %d", c.calls)
		return nil, c.conversation.err
	}
	if m.Reply.Error != nil {
		return nil, m.Reply.Error
	}
	return m.Reply, nil
}

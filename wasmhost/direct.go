package wasmhost

import (
	"bytes"
	"context"
	"io"
	"maps"
	"slices"

	"github.com/stavily/stavily/protocol"
)

// What is in this file is for suites that hold a plugin to ABI.md: it lets them listen in.
// Whoever only wants a plugin's answers takes Host.Load.

// Module is a compiled module whose guests are spoken to directly.
type Module struct {
	host  *Host
	code  *code
	world worldly
}

// See says what the module's guests find when they start, for a module that is an engine:
// see Spec.Args and Spec.Mounts. It is for before the first Start.
func (m *Module) See(args []string, mounts []Mount) error {
	m.world = worldly{args: args, mounts: mounts}
	return (&Spec{Args: args, Mounts: mounts}).checkWorld()
}

// Module compiles a module as it is, metered or, with Config.AllowUnmetered, not. Verify
// it before. Errors: CodeUnverified.
func (h *Host) Module(ctx context.Context, wasm []byte, m *protocol.Manifest) (*Module, error) {
	v, err := Verify(wasm, m)
	if err != nil {
		return nil, err
	}
	if !v.Metered && !h.cfg.AllowUnmetered {
		return nil, protocol.Errorf(protocol.CodeUnverified,
			"module is not metered: a loop in it could not be stopped")
	}
	c, err := h.acquire(ctx, protocol.DigestOf(wasm), wasm, v.Metered)
	if err != nil {
		return nil, err
	}
	return &Module{host: h, code: c}, nil
}

// Close gives the module's code back. Its guests must have ended.
func (m *Module) Close(ctx context.Context) { m.host.release(ctx, m.code) }

// Start starts a guest. stderr gets its lines of stderr, at most 32 at once; it must not wait.
func (m *Module) Start(limits protocol.Limits, stderr func(protocol.LogLine)) (*Guest, error) {
	log := newLineWriter(m.host, Spec{})
	log.sink = stderr
	in, err := newInstance(blueprint{code: m.code, limits: limits, host: m.host, log: log, world: m.world})
	if err != nil {
		return nil, err
	}
	return &Guest{in}, nil
}

// Guest is one running module. Read gives what it wrote to stdout: io.EOF when it has
// ended, an error with CodeContract when it waits for input and has said nothing. Write
// gives to its stdin. It runs while Read, Settle or Wait wait for it, which one goroutine does
// at a time; End may be called from any.
type Guest struct{ in *instance }

// Read gives what the guest wrote to stdout.
func (g *Guest) Read(p []byte) (int, error) { return g.in.Read(p) }

// Write gives p to the guest's stdin.
func (g *Guest) Write(p []byte) (int, error) { return g.in.Write(p) }

// Settle waits until the guest reads again or has ended, and reports whether it said
// nothing more meanwhile.
func (g *Guest) Settle() bool { return g.in.Settle() }

// Finish ends the guest's stdin.
func (g *Guest) Finish() { g.in.Finish() }

// End ends the guest because of cause. It returns at once.
func (g *Guest) End(cause error) { g.in.End(protocol.AsError(cause)) }

// Wait waits until the guest has ended, and says how: nil for exit 0, CodePlugin for another,
// CodeMemory, or the cause given to End. When ctx ends first the guest is ended, with CodeDeadline.
func (g *Guest) Wait(ctx context.Context) error {
	tooLate := protocol.Errorf(protocol.CodeDeadline, "does not end")
	stop := context.AfterFunc(ctx, func() { g.in.End(tooLate) })
	defer stop()
	g.in.goOn()
	return g.in.verdict()
}

// MemoryB returns the guest's linear memory in bytes.
func (g *Guest) MemoryB() uint64 { return g.in.memory.size.Load() }

// Tap listens in on a conversation. Both may be nil.
type Tap struct {
	// Say gets each message before it is said, in CBOR, and returns what is said instead.
	Say func(protocol.Raw) protocol.Raw
	// Heard gets the kind of each message that is one, and its id.
	Heard func(kind string, id int64)
}

// Conversation is the host's side of ABI.md over any carrier. One caller at a time.
type Conversation struct{ c conversation }

// NewConversation returns a conversation that has not begun.
func NewConversation(rw io.ReadWriter, tap Tap) *Conversation {
	return &Conversation{conversation{rw: rw, tap: tap}}
}

// Hello is what a plugin says of itself.
type Hello struct {
	Type, Plugin, SDK string
	Batch             int  // events that it takes in one request; below 2 it takes no batches
	Reinit            bool // it takes another init between two requests
}

// Hello hears the first message. Errors: CodeContract, CodeIncompatible for another
// version, or the carrier's.
func (c *Conversation) Hello() (Hello, error) {
	h, err := c.c.greet()
	return Hello{Type: h.Type, Plugin: h.Plugin, SDK: h.SDK, Batch: c.c.batch, Reinit: h.Reinit}, err
}

// Setup is what a plugin is told before the first request.
type Setup struct {
	Config   protocol.Raw // nil is {}
	Limits   protocol.Limits
	Grants   []protocol.Grant
	Workflow protocol.WorkflowName
	Step     protocol.StepName
}

// SetUp says init and hears ready. Errors: CodePlugin or CodeRetryable when the plugin
// refuses its configuration, CodeContract, or the carrier's.
func (c *Conversation) SetUp(s Setup) error { return c.c.setUp(start(s)) }

// Ask puts one request and hears the answer; call answers host calls meanwhile. Errors:
// the plugin's own with CodePlugin or CodeRetryable, CodeLimit for a bound that was kept,
// CodeContract, or the carrier's. The answer has no usage.
func (c *Conversation) Ask(r Request, call Callee) (Answer, error) { return c.c.ask(r, call) }

// AskBatch puts as many of the requests, which are all of kind Run or all Deliver, as one
// message holds, from the first, and hears an answer to each of those that the plugin came
// to, at least one. Put the rest again. timeoutMS is for all. Ask only a plugin whose Hello
// says that it takes batches, and no more than it says. Errors as those of Ask; a plugin's
// own is the error of each answer.
func (c *Conversation) AskBatch(rs []Request, timeoutMS int64, call Callee) ([]Answer, error) {
	return c.c.askBatch(batch{rs, timeoutMS}, call)
}

// Holds reports whether the plugin was set up, and whether that was with this configuration.
func (c *Conversation) Holds(config protocol.Raw) (isSet, same bool) {
	return c.c.isSet, c.c.isSet && bytes.Equal(c.c.config, config)
}

// Unread reports whether the plugin has said more than was asked.
func (c *Conversation) Unread() bool { return c.c.unread() }

// CBOR reports whether the plugin speaks CBOR. Before its hello it is false.
func (c *Conversation) CBOR() bool { return c.c.cbor }

// Callee answers one host call: the result, or an error for the plugin. args is empty
// when the plugin gave none.
type Callee func(name string, args protocol.Raw) (protocol.Raw, error)

func (f Callee) call(name string, args protocol.Raw) (protocol.Raw, error) { return f(name, args) }

// CapabilityOf returns the capability that a host call needs, none for log, and whether
// ABI.md knows the call.
func CapabilityOf(call string) (capability string, known bool) {
	b, known := builtins[call]
	return b.capability, known
}

// HostCalls returns the name of every host call that ABI.md knows, in ascending order.
func HostCalls() []string { return slices.Sorted(maps.Keys(builtins)) }

// FromJSON returns a JSON text as a value of the conversation. Its errors name the byte.
func FromJSON(text []byte) (protocol.Raw, error) {
	var w writer
	if err := fromJSON(&w, text, dataDepthMax); err != nil {
		return nil, err
	}
	return w.b, nil
}

// ToJSON returns a value of the conversation as JSON on one line.
func ToJSON(v protocol.Raw) []byte { return toJSON(nil, v) }

var (
	_ io.ReadWriter = (*Guest)(nil)
	_ callee        = Callee(nil)
)

package wasmhost

import (
	"context"
	"log/slog"
	"sort"
	"time"

	"github.com/stavily/stavily/protocol"
)

// callsMax bounds the host calls of one request.
const callsMax = 1024

var errCallsMax = protocol.Errorf(protocol.CodeLimit, "more than %d host calls in one request", callsMax)

// HostCall is what one host call does. ctx ends with the request. grants is what the
// plugin may do; that it may make this call was checked. args is one map in
// deterministic CBOR with text keys, read best with protocol.Unmarshal into a struct
// with cbor tags. The result is encoded by protocol.Marshal and must be a map with text
// keys of JSON's data model, or nil for an empty one; an error goes to the guest with
// its code and text.
type HostCall func(ctx context.Context, grants Grants, args protocol.Raw) (any, error)

// Grants is what a plugin may do: at most one grant for each capability.
type Grants []protocol.Grant

// Scopes returns the scopes of a capability, and whether it is granted at all. No
// scopes means any, except where a capability needs one (protocol.Effective).
func (g Grants) Scopes(capability string) (scopes []string, granted bool) {
	for _, grant := range g {
		if grant.Capability == capability {
			return grant.Scopes, true
		}
	}
	return nil, false
}

// builtin is a host call of this package.
type builtin struct {
	capability string // "" needs none
	do         func(r *request, args protocol.Raw) (any, error)
}

// builtins is the table of host calls. Those without a do are words of the vocabulary
// that need a Config.Calls to serve them.
var builtins = map[string]builtin{
	"log":               {"", callLog},
	"kv.get":            {protocol.CapKV, callKVGet},
	"kv.put":            {protocol.CapKV, callKVPut},
	"fs.read":           {protocol.CapRead, callRead},
	"fs.list":           {protocol.CapRead, callList},
	"fs.write":          {protocol.CapWrite, callWrite},
	"fs.append":         {protocol.CapWrite, callAppend},
	"process.run":       {protocol.CapProcess, callProcess},
	protocol.CapMetrics: {capability: protocol.CapMetrics},
	protocol.CapResolve: {protocol.CapResolve, callResolve},
	protocol.CapHTTP:    {protocol.CapHTTP, callHTTP},
	protocol.CapMQTT:    {protocol.CapMQTT, callPublish},
	protocol.CapSecret:  {protocol.CapSecret, callSecret},
	protocol.CapTCP:     {protocol.CapTCP, callTCPConnect},
	"tcp.read":          {protocol.CapTCP, callTCPRead},
	"tcp.write":         {protocol.CapTCP, callTCPWrite},
	"tcp.close":         {protocol.CapTCP, callTCPClose},
}

// doing does one host call with its arguments.
type doing func(args protocol.Raw) (any, error)

// request is one request under way: it answers the host calls of it.
type request struct {
	p     *Plugin
	in    Carrier
	ctx   context.Context
	limit time.Duration
	stop  context.CancelFunc // of ctx, once it is bounded

	sockets sockets

	most          uint32 // of calls, in a batch; 0 is callsMax
	calls, denied uint32
}

// call does one host call.
func (r *request) call(name string, args protocol.Raw) (protocol.Raw, error) {
	r.calls++
	if r.calls > max(r.most, callsMax) {
		r.in.End(errCallsMax)
	}
	do, err := r.admit(name)
	if err != nil {
		return nil, err
	}
	if len(args) == 0 {
		args = protocol.Raw{majorMap}
	}
	out, err := r.do(name, do, args)
	if r.stop != nil && r.ctx.Err() != nil {
		<-r.in.Ending() // what ended the call ends the guest (watch): it must not answer first
	}
	return out, err
}

// do runs a host call and encodes its result. A defect of it becomes an error.
func (r *request) do(name string, do doing, args protocol.Raw) (out protocol.Raw, err error) {
	defer func() {
		if defect := recover(); defect != nil {
			out, err = nil, protocol.Errorf(protocol.CodeInternal, "call %s: panic: %v", name, defect)
		}
	}()
	result, err := do(args)
	if err != nil || result == nil {
		return nil, err
	}
	return protocol.Marshal(result)
}

// admit returns what to do for a call if it is known and granted, and counts it.
func (r *request) admit(name string) (doing, error) {
	own, known := builtins[name]
	added := r.p.host.cfg.Calls[name]
	capability := own.capability
	switch {
	case !known && added == nil:
		return nil, protocol.Errorf(protocol.CodeNotFound, "call %q: no such host call", clip(name, 64))
	case !known:
		capability = name
	}
	grants, granted := r.p.use(capability, name)
	switch {
	case !granted:
		r.denied++
		return nil, protocol.Errorf(protocol.CodeDenied, "call %s: capability %s is not granted", name, capability)
	case added != nil:
		return func(args protocol.Raw) (any, error) { return added(r.bounded(), grants, args) }, nil
	case own.do == nil:
		return nil, protocol.Errorf(protocol.CodeUnavailable, "call %s: not served by this host", name)
	}
	return func(args protocol.Raw) (any, error) { return own.do(r, args) }, nil
}

// bounded returns the request's context, which ends with the guest.
func (r *request) bounded() context.Context {
	if r.stop != nil {
		return r.ctx
	}
	ctx, cancel := context.WithTimeout(r.ctx, r.limit)
	done := make(chan struct{})
	go func() {
		select {
		case <-r.in.Ending():
		case <-done:
		}
		cancel()
	}()
	r.ctx, r.stop = ctx, func() { close(done) }
	return r.ctx
}

func (r *request) close() {
	r.sockets.close()
	if r.stop != nil {
		r.stop()
	}
}

// refuse counts a denial that only the call itself could see: a scope.
func (r *request) refuse(capability, subject string) *protocol.Error {
	r.denied++
	r.p.mu.Lock()
	defer r.p.mu.Unlock()
	r.p.counts.deny(capability, subject)
	return protocol.Errorf(protocol.CodeDenied, "%s: %q is not in the scopes granted",
		capability, clip(subject, 200))
}

// use counts one use of a capability, or one denial, and returns the grants of now.
func (p *Plugin) use(capability, call string) (Grants, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if capability == "" {
		return p.grants, true
	}
	if _, granted := p.grants.Scopes(capability); !granted {
		p.counts.deny(capability, call)
		return nil, false
	}
	p.counts.allow(capability)
	return p.grants, true
}

// counts holds the uses and denials of capabilities.
type counts map[string]*protocol.Audit

func (c *counts) of(capability string) *protocol.Audit {
	if *c == nil {
		*c = counts{}
	}
	if (*c)[capability] == nil {
		(*c)[capability] = &protocol.Audit{Capability: capability}
	}
	return (*c)[capability]
}

func (c *counts) allow(capability string) { c.of(capability).Allowed++ }

func (c *counts) deny(capability, subject string) {
	a := c.of(capability)
	a.Denied++
	a.Subject = clip(subject, 200)
}

func (c counts) list(plugin protocol.PluginName, workflow protocol.WorkflowName) []protocol.Audit {
	out := make([]protocol.Audit, 0, len(c))
	for _, a := range c {
		line := *a
		line.Plugin, line.Workflow = plugin, workflow
		out = append(out, line)
	}
	if len(out) > 1 {
		sort.Slice(out, func(i, j int) bool { return out[i].Capability < out[j].Capability })
	}
	return out
}

// callLog logs a line.
func callLog(r *request, args protocol.Raw) (any, error) {
	var in struct {
		Level int8   `cbor:"level"`
		Text  string `cbor:"text"`
	}
	if err := readArgs(args, &in); err != nil {
		return nil, err
	}
	r.p.log.line(slog.Level(in.Level), in.Text)
	return nil, nil
}

// readArgs reads the arguments of a host call.
func readArgs(args protocol.Raw, into any) error {
	if err := protocol.Unmarshal(args, into); err != nil {
		return protocol.Errorf(protocol.CodeBadInput, "arguments: %w", err)
	}
	return nil
}

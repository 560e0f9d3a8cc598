package sim

import (
	"context"
	"net/url"
	"path"
	"slices"
	"strings"

	"github.com/stavily/stavily/hub"
	"github.com/stavily/stavily/protocol"
	"github.com/stavily/stavily/wasmhost"
)

// calls are the host calls of real modules in a simulation. None of them reaches this machine or
// the network: a plugin that is tried must restart no service and write to nobody. Programs end
// well and say nothing, requests are answered with 200 and nothing while the device has a line,
// files live in memory as long as the device's disk.
func (g *guests) calls() map[string]wasmhost.HostCall {
	return map[string]wasmhost.HostCall{
		protocol.CapMetrics: g.metrics,
		"process.run":       g.process,
		protocol.CapHTTP:    g.request,
		protocol.CapResolve: g.resolve,
		protocol.CapTCP:     g.connect,
		protocol.CapMQTT:    g.publish,
		"fs.read":           g.read,
		"fs.list":           g.list,
		"fs.write":          g.write,
		"fs.append":         g.append,
	}
}

// policies makes the devices' own policy: what they allow where nobody decided and, where real
// modules run, all that the scenario's workflows do, since it reaches nothing here.
func (w *World) policies() error {
	w.policy = protocol.DefaultPolicy()
	if len(w.opts.Modules) == 0 {
		return nil
	}
	for i := range w.scenario.Deploys {
		of := &w.scenario.Deploys[i]
		if of.Workflow == nil {
			continue
		}
		allowed, err := hub.StepAllows(of.File, of.Workflow)
		if err != nil {
			return err
		}
		w.policy = protocol.Union(w.policy, allowed)
	}
	return nil
}

// process has a program that the scopes name end with 0.
func (g *guests) process(_ context.Context, grants wasmhost.Grants, args protocol.Raw) (any, error) {
	var in struct {
		Argv []string `cbor:"argv"`
	}
	if err := protocol.Unmarshal(args, &in); err != nil || len(in.Argv) == 0 {
		return nil, protocol.Errorf(protocol.CodeBadInput, "process.run: want argv")
	}
	scopes, _ := grants.Scopes(protocol.CapProcess)
	if !slices.ContainsFunc(scopes, func(s string) bool {
		return s == in.Argv[0] ||
			path.Base(s) == in.Argv[0]
	}) {
		return nil, protocol.Errorf(protocol.CodeDenied,
			"call process.run: %q is not among the programs granted: %s",
			in.Argv[0], strings.Join(scopes, ", "))
	}
	return map[string]any{"exit": 0, "stdout": "", "stderr": "", "truncated": false, "took_ms": 0}, nil
}

// request answers an HTTP request to where the scopes allow it.
func (g *guests) request(_ context.Context, grants wasmhost.Grants, args protocol.Raw) (any, error) {
	var in struct {
		URL string `cbor:"url"`
	}
	if err := protocol.Unmarshal(args, &in); err != nil {
		return nil, err
	}
	to, err := url.Parse(in.URL)
	if err != nil || to.Host == "" {
		return nil, protocol.Errorf(protocol.CodeBadInput, "http.request: url %q: want one with a host", in.URL)
	}
	scopes, _ := grants.Scopes(protocol.CapHTTP)
	named := func(s string) bool {
		host, _, _ := strings.Cut(s, ":")
		return s == "*" || strings.Contains(s, "*") || strings.EqualFold(host, to.Hostname())
	}
	if len(scopes) > 0 && !slices.ContainsFunc(scopes, named) {
		return nil, protocol.Errorf(protocol.CodeDenied, "call http.request: %s is not among the hosts granted: %s",
			to.Host, strings.Join(scopes, ", "))
	}
	if err := g.reached(to.Host); err != nil {
		return nil, err
	}
	return map[string]any{
		"status": 200, "headers": map[string]string{}, "body": "", "truncated": false, "took_ms": 0,
	}, nil
}

// reached refuses what goes to other machines while the device has no line.
func (g *guests) reached(host string) error {
	if g.asked.d.line.up {
		return nil
	}
	return protocol.Errorf(protocol.CodeUnavailable, "%s: not reached: the device has no line", host)
}

// documented is the address of every name, one of those that are for documentation.
const documented = "192.0.2.1"

func (g *guests) resolve(_ context.Context, _ wasmhost.Grants, args protocol.Raw) (any, error) {
	var in struct {
		Name string `cbor:"name"`
	}
	if err := protocol.Unmarshal(args, &in); err != nil {
		return nil, err
	}
	if err := g.reached(in.Name); err != nil {
		return nil, err
	}
	return map[string]any{"addresses": []string{documented}}, nil
}

func (*guests) connect(context.Context, wasmhost.Grants, protocol.Raw) (any, error) {
	return nil, protocol.Errorf(protocol.CodeUnavailable, "tcp.connect: nobody answers in a simulation")
}

func (*guests) publish(context.Context, wasmhost.Grants, protocol.Raw) (any, error) {
	return map[string]any{}, nil
}

// fileArgs are those of the calls for files.
type fileArgs struct {
	Path string `cbor:"path"`
	Data string `cbor:"data"`
	Max  int64  `cbor:"max"`
	From int64  `cbor:"from"`
}

// file reads the arguments of a call and returns the name by which the device has the file.
func (g *guests) file(args protocol.Raw) (in fileArgs, name string, err error) {
	if err = protocol.Unmarshal(args, &in); err != nil {
		return in, "", err
	}
	if clean := path.Clean("/" + in.Path); in.Path == "" || clean != "/"+strings.TrimSuffix(in.Path, "/") {
		return in, "", protocol.Errorf(protocol.CodeDenied, "path %q: leads out of the plugin's directory", in.Path)
	}
	return in, string(g.asked.name) + "/" + in.Path, nil
}

func (g *guests) read(_ context.Context, _ wasmhost.Grants, args protocol.Raw) (any, error) {
	in, name, err := g.file(args)
	if err != nil {
		return nil, err
	}
	data, some := g.asked.d.written[name]
	if !some {
		return nil, protocol.Errorf(protocol.CodeNotFound, "file %q: there is none", in.Path)
	}
	part := data[min(max(0, in.From), int64(len(data))):]
	if in.Max > 0 {
		part = part[:min(in.Max, int64(len(part)))]
	}
	return map[string]any{"data": part, "size": len(data)}, nil
}

func (g *guests) list(_ context.Context, _ wasmhost.Grants, args protocol.Raw) (any, error) {
	var in fileArgs
	if err := protocol.Unmarshal(args, &in); err != nil {
		return nil, err
	}
	folder := path.Join(string(g.asked.name), path.Clean("/"+in.Path)) + "/"
	names := []string{}
	for name := range g.asked.d.written { // sorted below
		if rest, is := strings.CutPrefix(name, folder); is {
			first, _, _ := strings.Cut(rest, "/")
			names = append(names, first)
		}
	}
	slices.Sort(names)
	return map[string]any{"names": slices.Compact(names)}, nil
}

func (g *guests) write(_ context.Context, _ wasmhost.Grants, args protocol.Raw) (any, error) {
	return g.put(args, false)
}

func (g *guests) append(_ context.Context, _ wasmhost.Grants, args protocol.Raw) (any, error) {
	return g.put(args, true)
}

// filesMax bounds what the plugins of one device have in files, in bytes.
const filesMax = 1 << 20

func (g *guests) put(args protocol.Raw, behind bool) (any, error) {
	in, name, err := g.file(args)
	if err != nil {
		return nil, err
	}
	d := g.asked.d
	data := in.Data
	if behind {
		data = d.written[name] + in.Data
	}
	all := len(data) - len(d.written[name])
	for _, other := range d.written { // a sum: order does not matter
		all += len(other)
	}
	if d.disk.filled > 0 || all > filesMax {
		return nil, protocol.Errorf(protocol.CodeStorage, "file %q: no room: %d bytes of %d",
			in.Path, all, filesMax)
	}
	if d.written == nil {
		d.written = map[string]string{}
	}
	d.written[name] = data
	return map[string]any{"size": len(data)}, nil
}

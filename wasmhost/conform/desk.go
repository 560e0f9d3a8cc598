package conform

import (
	"slices"

	"github.com/stavily/stavily/protocol"
	"github.com/stavily/stavily/wasmhost"
)

// desk answers host calls: nothing of the machine, always the same.
type desk struct {
	deny   bool // everything but log
	script []Call
	bound  bool // by script: what is not in it is a fault
	kv     wasmhost.KV
	calls  []string // names of those that were made, each once
	fault  error    // the first call that is not as script says
}

func newDesk() *desk { return &desk{kv: wasmhost.NewMemoryKV()} }

func (d *desk) call(name string, args protocol.Raw) (protocol.Raw, error) {
	if !slices.Contains(d.calls, name) {
		d.calls = append(d.calls, name)
	}
	if d.bound {
		return d.scripted(name, args)
	}
	capability, known := wasmhost.CapabilityOf(name)
	switch {
	case !known:
		return nil, protocol.Errorf(protocol.CodeNotFound, "call %q: no such host call", name)
	case d.deny && capability != "":
		return nil, protocol.Errorf(protocol.CodeDenied, "call %s: capability %s is not granted", name, capability)
	}
	return d.canned(name, args)
}

// arguments are those of all host calls that the desk looks at.
type arguments struct {
	Key   string       `cbor:"key"`
	Value protocol.Raw `cbor:"value"`
	Names []string     `cbor:"names"`
	Data  string       `cbor:"data"`
}

func (d *desk) canned(name string, args protocol.Raw) (protocol.Raw, error) {
	var in arguments
	if len(args) > 0 {
		if err := protocol.Unmarshal(args, &in); err != nil {
			return nil, protocol.Errorf(protocol.CodeBadInput, "arguments: %w", err)
		}
	}
	switch name {
	case "log":
		return nil, nil
	case "kv.put":
		return nil, d.kv.Put(in.Key, slices.Clone(in.Value))
	case "kv.get":
		value, err := d.kv.Get(in.Key)
		if value == nil {
			value = protocol.Raw{0xf6}
		}
		return protocol.MustMarshal(map[string]protocol.Raw{"value": value}), err
	case "metrics.read":
		values := map[string]float64{}
		for _, n := range in.Names {
			values[n] = 42.5
		}
		return protocol.MustMarshal(map[string]any{"values": values}), nil
	case "process.run":
		return protocol.MustMarshal(map[string]any{
			"exit": 0, "stdout": "", "stderr": "", "truncated": false, "took_ms": 1,
		}), nil
	case "fs.read":
		return nil, protocol.Errorf(protocol.CodeNotFound, "no such file")
	case "fs.list":
		return protocol.MustMarshal(map[string]any{"names": []string{}}), nil
	case "fs.write", "fs.append":
		return protocol.MustMarshal(map[string]any{"size": len(in.Data)}), nil
	}
	return nil, protocol.Errorf(protocol.CodeUnavailable, "call %s: not served by this host", name)
}

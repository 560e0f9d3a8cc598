package wasmhost

import (
	"sync"

	"github.com/stavily/stavily/protocol"
)

const (
	// KVKeysMax bounds the keys of one plugin.
	KVKeysMax = 64
	// KVKeyMax bounds a key in bytes.
	KVKeyMax = 128
	// KVValueMax bounds a value in bytes.
	KVValueMax = 16 << 10
)

// What protocol promises of a device's disk is what a plugin may have.
const _ uint = protocol.KVBytesMax - KVKeysMax*(KVKeyMax+KVValueMax)

// KV is where a plugin puts things by. The host checks the bounds of keys and values
// before it calls; an implementation holds KVKeysMax.
type KV interface {
	// Get returns the value of a key, nil for none.
	Get(key string) (protocol.Raw, error)
	// Put sets a value; nil removes the key. The error has CodeLimit when there would be
	// more than KVKeysMax keys.
	Put(key string, value protocol.Raw) error
}

// memoryKV is a KV in memory.
type memoryKV struct {
	mu   sync.Mutex // guards the field below
	vals map[string]protocol.Raw
}

// NewMemoryKV returns a KV that lasts as long as the process.
func NewMemoryKV() KV { return &memoryKV{vals: map[string]protocol.Raw{}} }

// Get returns a value.
func (m *memoryKV) Get(key string) (protocol.Raw, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.vals[key], nil
}

// Put sets or removes a value.
func (m *memoryKV) Put(key string, value protocol.Raw) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if value == nil {
		delete(m.vals, key)
		return nil
	}
	if _, have := m.vals[key]; !have && len(m.vals) >= KVKeysMax {
		return protocol.Errorf(protocol.CodeLimit, "kv: more than %d keys", KVKeysMax)
	}
	m.vals[key] = value
	return nil
}

type kvArgs struct {
	Key   string       `cbor:"key"`
	Value protocol.Raw `cbor:"value"`
}

func readKV(args protocol.Raw) (kvArgs, error) {
	var in kvArgs
	if err := readArgs(args, &in); err != nil {
		return in, err
	}
	if in.Key == "" || len(in.Key) > KVKeyMax {
		return in, protocol.Errorf(protocol.CodeLimit, "kv: key of %d bytes, want 1 to %d", len(in.Key), KVKeyMax)
	}
	return in, nil
}

func callKVGet(r *request, args protocol.Raw) (any, error) {
	in, err := readKV(args)
	if err != nil {
		return nil, err
	}
	value, err := r.p.kv.Get(in.Key)
	if err != nil {
		return nil, err
	}
	if value == nil {
		value = protocol.Raw{cborNull}
	}
	return map[string]protocol.Raw{"value": value}, nil
}

func callKVPut(r *request, args protocol.Raw) (any, error) {
	in, err := readKV(args)
	if err != nil {
		return nil, err
	}
	if err := bound("kv: value", in.Value, KVValueMax); err != nil {
		return nil, err
	}
	return nil, r.p.kv.Put(in.Key, keep(in.Value))
}

var _ KV = (*memoryKV)(nil)

package disk

import (
	"github.com/stavily/stavily/edge"
	"github.com/stavily/stavily/protocol"
)

// kvKeysMax bounds the keys of one KV; wasmhost.KVKeysMax is the same number.
const kvKeysMax = 64

// KV is what one plugin in one step put by. It is a wasmhost.KV.
type KV struct {
	store  *Store
	prefix string
}

// KV returns what the plugin at i put by. The agent forgets it with the workflow.
func (s *Store) KV(i edge.Instance) *KV {
	return &KV{store: s, prefix: edge.KeyKV(i.Workflow) + string(i.Step) + "/"}
}

// Get returns the value of a key, nil for none.
func (k *KV) Get(key string) (protocol.Raw, error) { return k.store.Get(k.prefix + key) }

// Put sets a value; nil removes the key. The error has CodeLimit over the bound.
func (k *KV) Put(key string, value protocol.Raw) error {
	if value != nil && !k.has(key) && k.count() >= kvKeysMax {
		return protocol.Errorf(protocol.CodeLimit, "kv: more than %d keys", kvKeysMax)
	}
	return k.store.Apply([]edge.Change{{Key: k.prefix + key, Value: value}})
}

func (k *KV) has(key string) bool {
	value, _ := k.store.Get(k.prefix + key)
	return value != nil
}

func (k *KV) count() (n int) {
	_ = k.store.Scan(k.prefix, "", func(string, []byte) bool { n++; return n < kvKeysMax })
	return n
}

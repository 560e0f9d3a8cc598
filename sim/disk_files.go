package sim

import (
	"slices"

	"github.com/stavily/stavily/edge"
	"github.com/stavily/stavily/protocol"
	"github.com/stavily/stavily/wasmhost"
)

// file returns the file of a digest, nil when there is nothing of it.
func (k *disk) file(d protocol.Digest) *file {
	for i := range k.files {
		if k.files[i].digest == d {
			return &k.files[i]
		}
	}
	return nil
}

// Chunks returns how much of a file is here.
func (k *disk) Chunks(d protocol.Digest, size int64) (have protocol.Bitmap, whole bool, err error) {
	if k.dead {
		return nil, false, errPower
	}
	f := k.file(d)
	switch {
	case f == nil || !f.whole && int64(len(f.bytes)) != size:
		return nil, false, nil
	case f.whole:
		return nil, true, nil
	}
	return slices.Clone(f.have), false, nil
}

// AddChunk keeps a chunk of a file.
func (k *disk) AddChunk(d protocol.Digest, index uint32, size int64, data []byte) error {
	c := protocol.Chunk{Digest: d, Index: index, Size: size, Data: data}
	if err := c.Check(); err != nil {
		return err
	}
	have, whole, err := k.Chunks(d, size)
	if whole || err != nil || have.Has(index) {
		return err
	}
	err, done := k.change(int64(len(data)), int64(len(data)))
	if !done {
		return err
	}
	f := k.file(d)
	if f == nil {
		k.files = append(k.files, file{digest: d})
		f = &k.files[len(k.files)-1]
	}
	if int64(len(f.bytes)) != size {
		k.bytes -= f.held()
		f.bytes, f.have = make([]byte, size), nil
	}
	k.bytes += int64(len(data))
	copy(f.bytes[int64(index)*protocol.ChunkSize:], data)
	if f.have = f.have.Set(index); f.have.Count() < protocol.ChunkCount(size) {
		return err
	}
	if f.bytes = k.blobs.keep(d, f.bytes); f.bytes == nil {
		k.bytes -= size
		k.forget(d)
		return protocol.Errorf(protocol.CodeDigest, "add chunk %d of %s: file is another", index, d.Short())
	}
	f.whole, f.have = true, nil
	return err
}

// ReadChunk returns a chunk of a whole file. What the flash has changed is changed in it.
func (k *disk) ReadChunk(d protocol.Digest, index uint32) (data []byte, size int64, err error) {
	if k.dead {
		return nil, 0, errPower
	}
	f := k.file(d)
	if f == nil || !f.whole {
		return nil, 0, protocol.Errorf(protocol.CodeNotFound, "read %s: not here", d.Short())
	}
	data, size, err = protocol.CutChunk(d, f.bytes, index)
	if f.rotten && err == nil {
		data = slices.Clone(data)
		data[0] ^= 1
	}
	return data, size, err
}

// ReadFile returns a whole file. The bytes are shared: whoever reads them leaves them
// as they are.
func (k *disk) ReadFile(d protocol.Digest) ([]byte, error) {
	if k.dead {
		return nil, errPower
	}
	f := k.file(d)
	if f == nil || !f.whole {
		return nil, protocol.Errorf(protocol.CodeNotFound, "read %s: not here", d.Short())
	}
	if f.rotten {
		k.bytes -= f.held()
		k.forget(d)
		return nil, protocol.Errorf(protocol.CodeDigest, "read %s: the flash has changed it", d.Short())
	}
	return f.bytes, nil
}

// KeepFiles removes every file that is not in keep.
func (k *disk) KeepFiles(keep []protocol.Digest) error {
	if err, done := k.change(0, 0); !done {
		return err
	}
	k.files = slices.DeleteFunc(k.files, func(f file) bool {
		gone := !slices.Contains(keep, f.digest)
		if gone {
			k.bytes -= f.held()
		}
		return gone
	})
	if k.dead {
		return errPower
	}
	return nil
}

func (k *disk) forget(d protocol.Digest) {
	k.files = slices.DeleteFunc(k.files, func(f file) bool { return f.digest == d })
}

// rot changes the n-th whole file on the disk, as old flash does, and returns its
// digest; the zero digest when there is no whole file.
func (k *disk) rot(n int) protocol.Digest {
	var whole []*file
	for i := range k.files {
		if k.files[i].whole {
			whole = append(whole, &k.files[i])
		}
	}
	if len(whole) == 0 {
		return protocol.Digest{}
	}
	f := whole[n%len(whole)]
	f.rotten = true
	return f.digest
}

// kv is what one plugin in one step puts by on a disk.
type kv struct {
	disk   *disk
	prefix string
}

func (k *disk) kv(i edge.Instance) *kv {
	return &kv{disk: k, prefix: edge.KeyKV(i.Workflow) + string(i.Step) + "/"}
}

// Get returns the value of a key, nil for none.
func (v *kv) Get(key string) (protocol.Raw, error) { return v.disk.Get(v.prefix + key) }

// Put sets a value; nil removes the key.
func (v *kv) Put(key string, value protocol.Raw) error {
	n := 0
	err := v.disk.Scan(v.prefix, "", func(string, []byte) bool { n++; return true })
	if err == nil && value != nil && n >= wasmhost.KVKeysMax && v.disk.peek(v.prefix+key) == nil {
		err = protocol.Errorf(protocol.CodeLimit, "kv: more than %d keys", wasmhost.KVKeysMax)
	}
	if err != nil {
		return err
	}
	return v.disk.Apply([]edge.Change{{Key: v.prefix + key, Value: value}})
}

var _ wasmhost.KV = (*kv)(nil)

package registry

import (
	"github.com/stavily/stavily/protocol"
)

// MemoryFiles returns Files that live and die with the process, for a simulation: what
// is put is there at once and never rots. One caller at a time.
func MemoryFiles() *Files { return &Files{memory: map[protocol.Digest][]byte{}} }

// recall returns a file of memory, which is the caller's to read only.
func (f *Files) recall(d protocol.Digest) ([]byte, error) {
	b, ok := f.memory[d]
	if !ok {
		return nil, protocol.Errorf(protocol.CodeNotFound, "file %s: not here", d.Short())
	}
	return b, nil
}

// recallChunk is Chunk in memory.
func (f *Files) recallChunk(d protocol.Digest, index uint32) (data []byte, size int64, err error) {
	b, err := f.recall(d)
	size = int64(len(b))
	if err != nil || index >= protocol.ChunkCount(size) {
		return nil, size, chunkError(d, index, size, err)
	}
	at := int64(index) * protocol.ChunkSize
	return b[at:min(at+protocol.ChunkSize, size)], size, nil
}

func chunkError(d protocol.Digest, index uint32, size int64, err error) error {
	if err != nil {
		return err
	}
	return protocol.Errorf(protocol.CodeBadMessage, "chunk of %s: index %d of %d", d.Short(), index,
		protocol.ChunkCount(size))
}

package protocol

// FetchRequest asks for chunks of the file with a digest: a sealed document or an
// artifact. The device sets the pace: it asks for a few, keeps them, asks on.
type FetchRequest struct {
	Digest Digest `cbor:"1,keyasint" json:"digest"`
	First  uint32 `cbor:"2,keyasint" json:"first"` // index of a chunk
	Count  uint32 `cbor:"3,keyasint" json:"count"` // 1 to FetchAheadMax
	// Skip has a bit for each of the Count chunks that is not wanted, the lowest for First.
	Skip uint32 `cbor:"4,keyasint,omitempty" json:"skip,omitempty"`
	// Bases are files that the device has, or could: whoever answers may offer a difference
	// against one of them instead of the chunks. The zero digest stands for no file at all:
	// the difference is the file packed. At most BasesMax.
	Bases []Digest `cbor:"5,keyasint,omitempty" json:"bases,omitempty"`
}

// Chunk is ChunkSize bytes of a file (fewer in its last), or the reason why there is
// none.
type Chunk struct {
	Digest Digest `cbor:"1,keyasint" json:"digest"` // of the file
	Index  uint32 `cbor:"2,keyasint" json:"index"`
	Size   int64  `cbor:"3,keyasint" json:"size"` // of the file, bytes
	Data   []byte `cbor:"4,keyasint,omitempty" json:"-"`
	Error  *Error `cbor:"5,keyasint,omitempty" json:"error,omitempty"`
	// Offer is in place of Data: the file can be made of another one.
	Offer *Offer `cbor:"6,keyasint,omitempty" json:"offer,omitempty"`
}

// Offer names a difference, which is a file by digest itself; see package delta.
type Offer struct {
	Digest Digest `cbor:"1,keyasint" json:"digest"` // of the difference
	Size   int64  `cbor:"2,keyasint" json:"size"`   // of the difference, bytes
	Base   Digest `cbor:"3,keyasint" json:"base"`   // zero: it needs no other file
}

// ChunkCount returns how many chunks a file of size bytes has.
func ChunkCount(size int64) uint32 { return uint32((size + ChunkSize - 1) / ChunkSize) }

// ChunkLen returns the bytes of chunk index of a file of size bytes; index is below its
// ChunkCount.
func ChunkLen(size int64, index uint32) int64 { return min(ChunkSize, size-int64(index)*ChunkSize) }

// Wants reports whether chunk index is among those asked for.
func (r *FetchRequest) Wants(index uint32) bool {
	return index >= r.First && index-r.First < r.Count && r.Skip>>(index-r.First)&1 == 0
}

// CutChunk returns chunk index of the file b with digest d, and the size of b. The error has
// CodeBadMessage for an index that the file does not have.
func CutChunk(d Digest, b []byte, index uint32) (data []byte, size int64, err error) {
	size = int64(len(b))
	if index >= ChunkCount(size) {
		return nil, size, Errorf(CodeBadMessage, "chunk of %s: index %d of %d", d.Short(), index, ChunkCount(size))
	}
	at := int64(index) * ChunkSize
	return b[at : at+ChunkLen(size, index)], size, nil
}

// Check verifies the chunk by itself: bounds, and that its length is the one that its
// index and the file's size demand. Errors have CodeBadMessage or CodeLimit.
func (c *Chunk) Check() error {
	switch {
	case c.Error != nil:
		return c.Error
	case c.Size <= 0 || c.Size > ArtifactMax:
		return Errorf(CodeLimit, "chunk of %s: file of %d bytes, limit %d", c.Digest.Short(), c.Size, ArtifactMax)
	case c.Index >= ChunkCount(c.Size):
		return Errorf(CodeBadMessage, "chunk of %s: index %d of %d", c.Digest.Short(), c.Index, ChunkCount(c.Size))
	}
	want := ChunkLen(c.Size, c.Index)
	if int64(len(c.Data)) != want {
		return Errorf(CodeBadMessage, "chunk %d of %s: %d bytes, want %d", c.Index, c.Digest.Short(), len(c.Data),
			want)
	}
	return nil
}

// Probe goes up and comes down again unchanged: an agent that does not get it back is
// deaf, however connected it looks.
type Probe struct {
	Nonce uint64 `cbor:"1,keyasint" json:"nonce"`
}

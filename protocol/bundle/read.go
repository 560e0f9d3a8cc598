package bundle

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"hash"
	"io"

	"github.com/stavily/stavily/protocol"
)

// Read reads a whole bundle and hands each entry but End to visit, which may be nil and
// need not read the content. What visit got is proven whole only when Read returns: a
// caller that acts on it reads twice. Memory is bounded whatever from says. Errors name the
// entry and the byte; they have CodeBadMessage, CodeLimit, CodeDigest, CodeRefused for a
// signature that does not hold, or are visit's own.
func Read(from io.Reader, visit func(e Entry, content io.Reader) error) (Header, error) {
	r := &reader{sum: sha256.New()}
	r.from = bufio.NewReader(io.LimitReader(from, SizeMax+1))
	if err := r.begin(); err != nil {
		return r.header, err
	}
	for {
		before := protocol.Digest(r.sum.Sum(nil))
		e, err := r.head()
		if err != nil {
			return r.header, r.place(e, err)
		}
		if e.Kind == End {
			return r.header, r.place(e, r.end(e, before))
		}
		if err := r.content(e, visit); err != nil {
			return r.header, r.place(e, err)
		}
		r.entries++
	}
}

// reader is a bundle that is being read.
type reader struct {
	from    *bufio.Reader
	sum     hash.Hash // of all bytes read
	at      int64     // bytes read
	header  Header
	entries uint64
}

// Read reads and counts.
func (r *reader) Read(p []byte) (int, error) {
	n, err := r.from.Read(p)
	r.sum.Write(p[:n])
	if r.at += int64(n); r.at > SizeMax {
		return n, protocol.Errorf(protocol.CodeLimit, "over SizeMax %d bytes", int64(SizeMax))
	}
	return n, err
}

// place says where an error is.
func (r *reader) place(e Entry, err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = protocol.Errorf(protocol.CodeBadMessage, "cut off: the bundle is not whole")
	}
	return fmt.Errorf("bundle: entry %d (%s %s) before byte %d: %w",
		r.entries, e.Kind, e.Digest.Short(), r.at, err)
}

func (r *reader) begin() error {
	magic := make([]byte, len(Magic))
	if _, err := io.ReadFull(r, magic); err != nil || string(magic) != Magic {
		return protocol.Errorf(protocol.CodeBadMessage, "bundle: byte 0: want %q: no bundle, or of another version",
			Magic)
	}
	if err := protocol.ReadFrame(r, headMax, &r.header); err != nil {
		return fmt.Errorf("bundle: header: %w", err)
	}
	h := &r.header
	if h.Direction != ToSite && h.Direction != FromAgent {
		return protocol.Errorf(protocol.CodeBadMessage, "bundle: header: direction %d is not known", h.Direction)
	}
	if err := h.Site.Check(); err != nil {
		return fmt.Errorf("bundle: header: %w", err)
	}
	if h.Direction == FromAgent {
		if err := h.Agent.Check(); err != nil {
			return fmt.Errorf("bundle: header: %w", err)
		}
	}
	return nil
}

// head reads what stands before an entry's content.
func (r *reader) head() (e Entry, err error) {
	if err := protocol.ReadFrame(r, headMax, &e); err != nil {
		return Entry{}, err
	}
	e.At = r.at
	if e.Size < 0 || e.Size > e.Kind.longest() {
		return e, protocol.Errorf(protocol.CodeLimit, "%d bytes, want 0 to %d", e.Size, e.Kind.longest())
	}
	if e.Kind != End && r.entries >= EntriesMax {
		return e, protocol.Errorf(protocol.CodeLimit, "too many entries, limit EntriesMax %d", EntriesMax)
	}
	return e, nil
}

// content hands the content on and holds it against its digest.
func (r *reader) content(e Entry, visit func(Entry, io.Reader) error) error {
	own := sha256.New()
	body := io.TeeReader(io.LimitReader(r, e.Size), own)
	if visit != nil {
		if err := visit(e, body); err != nil {
			return err
		}
	}
	if _, err := io.Copy(io.Discard, body); err != nil {
		return err
	}
	if r.at != e.At+e.Size {
		return io.ErrUnexpectedEOF
	}
	if protocol.Digest(own.Sum(nil)) != e.Digest {
		return protocol.Errorf(protocol.CodeDigest, "content has another digest: the medium changed it")
	}
	return nil
}

// end checks the last entry.
func (r *reader) end(e Entry, before protocol.Digest) error {
	content := make([]byte, e.Size)
	if _, err := io.ReadFull(r, content); err != nil {
		return err
	}
	var last ending
	if err := protocol.UnmarshalExact(content, &last); err != nil {
		return err
	}
	if protocol.DigestOf(content) != e.Digest || last.Digest != before || last.Entries != r.entries {
		return protocol.Errorf(protocol.CodeDigest, "the bundle is another than the one that was written")
	}
	if _, err := r.from.ReadByte(); !errors.Is(err, io.EOF) {
		return protocol.Errorf(protocol.CodeBadMessage, "something stands behind the end")
	}
	if r.header.Direction == FromAgent {
		return r.header.checkSignature(before, last.Signature)
	}
	return nil
}

// checkSignature verifies that the identity in the header made the bundle. Whose identity
// that is the caller must know.
func (h *Header) checkSignature(all protocol.Digest, signature []byte) error {
	public, err := x509.ParsePKIXPublicKey(h.Identity)
	if err != nil {
		return protocol.Errorf(protocol.CodeRefused, "identity is not readable")
	}
	key, ok := public.(*ecdsa.PublicKey)
	sum := sha256.Sum256(Claim(h, all))
	if !ok || !ecdsa.VerifyASN1(key, sum[:], signature) {
		return protocol.Errorf(protocol.CodeRefused, "not signed by the agent that it says it is of")
	}
	return nil
}

// Shelf is a bundle whose entries are read by place, once Open has read it whole.
type Shelf struct {
	Header  Header
	Entries []Entry
	file    ReadAtCloser
	by      map[protocol.Digest]int // entries by digest
}

// ReadAtCloser is what a shelf stands on, such as a file.
type ReadAtCloser interface {
	io.ReaderAt
	io.Closer
}

// Open reads all of a bundle, proves it whole, and returns a shelf, which closes file.
func Open(file ReadAtCloser) (*Shelf, error) {
	s := &Shelf{file: file, by: map[protocol.Digest]int{}}
	var err error
	s.Header, err = Read(io.NewSectionReader(file, 0, SizeMax+1), func(e Entry, _ io.Reader) error {
		s.by[e.Digest] = len(s.Entries)
		s.Entries = append(s.Entries, e)
		return nil
	})
	return s, err
}

// Content returns the content of an entry, which may have changed since Open.
func (s *Shelf) Content(e Entry) ([]byte, error) {
	b := make([]byte, e.Size)
	if _, err := s.file.ReadAt(b, e.At); err != nil {
		return nil, protocol.Errorf(protocol.CodeStorage, "bundle: %s %s: %w", e.Kind, e.Digest.Short(), err)
	}
	return b, nil
}

// Chunk returns chunk index of the content with digest d: CodeNotFound when it is not here.
func (s *Shelf) Chunk(d protocol.Digest, index uint32) (protocol.Chunk, error) {
	i, ok := s.by[d]
	if !ok || index >= protocol.ChunkCount(s.Entries[i].Size) {
		return protocol.Chunk{}, protocol.Errorf(protocol.CodeNotFound, "bundle: chunk %d of %s is not in it",
			index,
			d.Short())
	}
	e := s.Entries[i]
	at := int64(index) * protocol.ChunkSize
	part := Entry{Kind: e.Kind, Digest: d, At: e.At + at, Size: min(protocol.ChunkSize, e.Size-at)}
	data, err := s.Content(part)
	return protocol.Chunk{Digest: d, Index: index, Size: e.Size, Data: data}, err
}

// Close closes the file.
func (s *Shelf) Close() error { return s.file.Close() }

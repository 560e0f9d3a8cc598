package bundle

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"hash"
	"io"

	"github.com/stavily/stavily/protocol"
)

// Writer writes a bundle.
type Writer struct {
	to      *bufio.Writer
	sum     hash.Hash // of all bytes so far
	all     io.Writer // both
	header  Header
	entries uint64
}

// NewWriter begins a bundle.
func NewWriter(to io.Writer, h Header) (*Writer, error) {
	w := &Writer{to: bufio.NewWriter(to), sum: sha256.New(), header: h}
	w.all = io.MultiWriter(w.to, w.sum)
	if _, err := io.WriteString(w.all, Magic); err != nil {
		return nil, err
	}
	return w, protocol.WriteFrame(w.all, h)
}

// Put adds an entry of these bytes.
func (w *Writer) Put(kind Kind, to protocol.Address, content []byte) error {
	e := Entry{Kind: kind, To: to, Digest: protocol.DigestOf(content), Size: int64(len(content))}
	return w.Copy(e, bytes.NewReader(content))
}

// Copy adds an entry whose content comes from a reader. The error has CodeLimit for one too
// many or too large, CodeDigest for a content of another size or digest; the bundle is
// spoilt then.
func (w *Writer) Copy(e Entry, content io.Reader) error {
	if w.entries >= EntriesMax || e.Size < 0 || e.Size > e.Kind.longest() {
		return protocol.Errorf(protocol.CodeLimit, "bundle: entry %d (%s of %d bytes): limits EntriesMax %d, "+
			"%d bytes", w.entries, e.Kind, e.Size, EntriesMax, e.Kind.longest())
	}
	w.entries++
	if err := protocol.WriteFrame(w.all, e); err != nil {
		return err
	}
	own := sha256.New()
	n, err := io.Copy(io.MultiWriter(w.all, own), io.LimitReader(content, e.Size+1))
	if err != nil {
		return err
	}
	if n != e.Size || protocol.Digest(own.Sum(nil)) != e.Digest {
		return protocol.Errorf(protocol.CodeDigest, "bundle: %s %s changed while it was written", e.Kind,
			e.Digest.Short())
	}
	return nil
}

// Close ends the bundle. sign signs Claim, for a bundle FromAgent; nil for others.
func (w *Writer) Close(sign func(claim []byte) ([]byte, error)) error {
	last := ending{Entries: w.entries, Digest: protocol.Digest(w.sum.Sum(nil))}
	if sign != nil {
		var err error
		if last.Signature, err = sign(Claim(&w.header, last.Digest)); err != nil {
			return err
		}
	}
	content := protocol.MustMarshal(last)
	e := Entry{Kind: End, Digest: protocol.DigestOf(content), Size: int64(len(content))}
	if err := protocol.WriteFrame(w.to, e); err != nil {
		return err
	}
	if _, err := w.to.Write(content); err != nil {
		return err
	}
	return w.to.Flush()
}

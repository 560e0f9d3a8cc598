//go:build amd64 || arm64

package wasmhost

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"hash"
	"io"
	"os"

	"golang.org/x/sys/cpu"

	"github.com/stavily/stavily/protocol"
)

// sumPiece is how much of a file is summed at once, in bytes.
const sumPiece = 64 << 10

// newNonce returns a nonce for sum, or 0 where the processor is no faster with one.
func newNonce() uint64 {
	fast := cpu.X86.HasAES && cpu.X86.HasPCLMULQDQ || cpu.ARM64.HasAES && cpu.ARM64.HasPMULL
	if !fast {
		return 0
	}
	var b [8]byte
	_, _ = rand.Read(b[:]) // it never fails
	return max(1, binary.BigEndian.Uint64(b[:]))
}

// sum returns the sum of a file of code, and its size. Without a nonce that is its SHA-256;
// with one, the SHA-256 of its pieces' GMACs, each under that nonce and its number, which is
// five times as fast and says as much to who trusts the list: the key is the list's.
func (s *shelf) sum(name string, nonce uint64) (sum protocol.Digest, size int64, err error) {
	f, err := os.Open(s.path(name))
	if err != nil {
		return sum, 0, err
	}
	defer f.Close()
	h := sha256.New()
	if nonce == 0 {
		size, err = io.Copy(h, f)
	} else {
		size, err = s.sumPieces(h, f, nonce)
	}
	return protocol.Digest(h.Sum(nil)), size, err
}

func (s *shelf) sumPieces(h hash.Hash, f io.Reader, nonce uint64) (size int64, err error) {
	mac, err := s.gmac()
	if err != nil {
		return 0, err
	}
	piece, tag, full := make([]byte, sumPiece), make([]byte, 0, mac.Overhead()), make([]byte, mac.NonceSize())
	binary.BigEndian.PutUint64(full, nonce)
	for i := uint32(0); ; i++ {
		n, err := io.ReadFull(f, piece)
		size += int64(n)
		binary.BigEndian.PutUint32(full[8:], i)
		h.Write(mac.Seal(tag, full, nil, piece[:n])) //nolint:gosec // the nonce is put in above
		switch {
		case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
			return size, nil
		case err != nil:
			return size, err
		}
	}
}

// gmac returns what sums pieces, under a key that follows from that of the list.
func (s *shelf) gmac() (cipher.AEAD, error) {
	key := hmac.New(sha256.New, s.key)
	key.Write([]byte("stavily compiled code"))
	block, err := aes.NewCipher(key.Sum(nil))
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

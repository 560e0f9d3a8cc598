package protocol

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
)

// Digest is the SHA-256 of a document or an artifact. It is the only name that
// those have on the wire and on disk.
type Digest [sha256.Size]byte

// DigestOf returns the digest of b.
func DigestOf(b []byte) Digest { return sha256.Sum256(b) }

// String returns "sha256:" and 64 hexadecimal digits.
func (d Digest) String() string { return "sha256:" + hex.EncodeToString(d[:]) }

// Short returns the first 12 hexadecimal digits, for messages and logs.
func (d Digest) Short() string { return hex.EncodeToString(d[:6]) }

// IsZero reports whether the digest was never set.
func (d Digest) IsZero() bool { return d == Digest{} }

// MarshalText writes the form of String, for JSON and logs. On the wire a digest
// is a byte string of 32 bytes.
func (d Digest) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads the form of String.
func (d *Digest) UnmarshalText(b []byte) error {
	got, err := ParseDigest(string(b))
	if err == nil {
		*d = got
	}
	return err
}

// ParseDigest reads the form of String; the prefix may be left out.
func ParseDigest(s string) (Digest, error) {
	var d Digest
	digits := strings.TrimPrefix(s, "sha256:")
	if len(digits) != 2*len(d) {
		return d, fmt.Errorf("digest %q: want %d hexadecimal digits, got %d", clip(s), 2*len(d), len(digits))
	}
	if _, err := hex.Decode(d[:], []byte(digits)); err != nil {
		return Digest{}, fmt.Errorf("digest %q: %w", clip(s), err)
	}
	return d, nil
}

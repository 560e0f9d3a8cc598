package bundle

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/stavily/stavily/protocol"
)

type memory struct{ *bytes.Reader }

func (memory) Close() error { return nil }

func open(b []byte) (*Shelf, error) { return Open(memory{bytes.NewReader(b)}) }

var pump = protocol.Address{Site: "lab", Agent: "pump"}

// sample is a small bundle of a hub with a file of so many bytes.
func sample(t testing.TB, large int) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := NewWriter(&out, Header{Direction: ToSite, Site: "lab", Hub: protocol.DigestOf([]byte("root"))})
	if err != nil {
		t.Fatal(err)
	}
	for _, content := range []string{"one", "", strings.Repeat("x", large)} {
		if err := w.Put(File, protocol.Address{}, []byte(content)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Put(Acks, pump, []byte("sealed")); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(nil); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestShelf(t *testing.T) {
	s, err := open(sample(t, protocol.ChunkSize+7))
	if err != nil {
		t.Fatal(err)
	}
	if len(s.Entries) != 4 || s.Entries[3].To != pump || s.Header.Site != "lab" {
		t.Fatalf("got %+v", s)
	}
	large := s.Entries[2]
	c, err := s.Chunk(large.Digest, 1)
	if err != nil || string(c.Data) != "xxxxxxx" || c.Size != large.Size || c.Check() != nil {
		t.Errorf("chunk 1: got %q of %d, %v", c.Data, c.Size, err)
	}
	if _, err := s.Chunk(large.Digest, 2); protocol.CodeOf(err) != protocol.CodeNotFound {
		t.Errorf("chunk 2 of 2: got %v", err)
	}
	if _, err := s.Chunk(protocol.DigestOf([]byte("other")), 0); protocol.CodeOf(err) != protocol.CodeNotFound {
		t.Errorf("another file: got %v", err)
	}
}

// Whatever a medium does to a bundle is found, and the error says where.
func TestBroken(t *testing.T) {
	good := sample(t, 100)
	for n := range len(good) {
		if _, err := open(good[:n]); err == nil {
			t.Fatalf("cut off at byte %d: no error", n)
		}
	}

	for i := range good {
		bad := bytes.Clone(good)
		bad[i] ^= 1
		_, err := open(bad)
		if err == nil {
			t.Fatalf("bit of byte %d flipped: no error", i)
		}
		if !strings.HasPrefix(err.Error(), "bundle: ") {
			t.Fatalf("bit of byte %d flipped: got %v", i, err)
		}
	}
	if _, err := open(append(bytes.Clone(good), 0)); err == nil || !strings.Contains(err.Error(), "behind the end") {
		t.Errorf("a byte behind the end: got %v", err)
	}
	_, err := open(good[:len(good)-80])
	if err == nil || !strings.Contains(err.Error(), "cut off") || !strings.Contains(err.Error(), "entry") {
		t.Errorf("cut off: got %v", err)
	}
}

// frames is a bundle with these frames behind the header of a good one.
func frames(t *testing.T, all ...any) []byte {
	t.Helper()
	var out bytes.Buffer
	if _, err := NewWriter(&out, Header{}); err != nil {
		t.Fatal(err)
	}
	out.Reset()
	out.WriteString(Magic)
	for _, v := range append([]any{Header{Direction: ToSite, Site: "lab"}}, all...) {
		if err := protocol.WriteFrame(&out, v); err != nil {
			t.Fatal(err)
		}
	}
	return out.Bytes()
}

func TestHostile(t *testing.T) {
	var many []any
	for range 100_000 {
		many = append(many, Entry{Kind: File, Digest: protocol.DigestOf(nil)})
	}
	for _, c := range []struct {
		name string
		in   []byte
		want string
	}{
		{"100,000 entries", frames(t, many...), "EntriesMax 16384"},
		{"lying length", frames(t, Entry{Kind: File, Size: protocol.ArtifactMax}), "cut off"},
		{"length over its bound", frames(t, Entry{Kind: Acks, Size: protocol.MessageMax + 1}), "want 0 to"},
		{"length below zero", frames(t, Entry{Kind: File, Size: -1}), "want 0 to"},
		{"no site", append([]byte(Magic), 0, 0, 0, 1, 0xa0), "header"},
		{"head of 4 GB", append(frames(t), 0xff, 0xff, 0xff, 0xff), "want 1 to 1024"},
		{"zip", []byte("PK\x03\x04 and so on"), "no bundle"},
		{"empty", nil, "no bundle"},
	} {
		if _, err := open(c.in); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q in it", c.name, err, c.want)
		}
	}
}

func TestSignature(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	public, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	made := func(h Header, sign func([]byte) ([]byte, error)) []byte {
		var out bytes.Buffer
		w, err := NewWriter(&out, h)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(w.Put(Reported, pump, []byte("all well")), w.Close(sign)); err != nil {
			t.Fatal(err)
		}
		return out.Bytes()
	}
	sign := func(claim []byte) ([]byte, error) {
		sum := sha256.Sum256(claim)
		return ecdsa.SignASN1(rand.Reader, key, sum[:])
	}
	h := Header{Direction: FromAgent, Site: "lab", Agent: "pump", Epoch: 1, Identity: public}
	if _, err := open(made(h, sign)); err != nil {
		t.Fatal(err)
	}
	if _, err := open(made(h, nil)); protocol.CodeOf(err) != protocol.CodeRefused {
		t.Errorf("unsigned: got %v", err)
	}
	another := func(claim []byte) ([]byte, error) { return sign(append(claim, 1)) }
	if _, err := open(made(h, another)); protocol.CodeOf(err) != protocol.CodeRefused {
		t.Errorf("signed for something else: got %v", err)
	}
	h.Identity = []byte("nobody")
	if _, err := open(made(h, sign)); protocol.CodeOf(err) != protocol.CodeRefused {
		t.Errorf("no key: got %v", err)
	}
}

func FuzzRead(f *testing.F) {
	f.Add(sample(f, 100))
	f.Add([]byte(Magic))
	f.Fuzz(func(t *testing.T, in []byte) {
		s, err := open(in)
		if err != nil {
			if s.Header.Direction == 0 && len(s.Entries) > 0 {
				t.Fatal("entries before a header")
			}
			return
		}
		for _, e := range s.Entries {
			content, err := s.Content(e)
			if err != nil || protocol.DigestOf(content) != e.Digest {
				t.Fatalf("entry at %d: %v", e.At, err)
			}
		}
		again, err := Read(bytes.NewReader(in), func(_ Entry, content io.Reader) error {
			_, err := io.Copy(io.Discard, content)
			return err
		})
		if err != nil || again.Site != s.Header.Site {
			t.Fatalf("read twice: %v", err)
		}
	})
}

package protocol

import (
	"bytes"
	"crypto/ed25519"
	"slices"
	"strings"
	"testing"

	"github.com/veraison/go-cose"
)

// testKey returns a key that follows from one byte, so that vectors stay the same.
func testKey(role Role, seed byte) SealKey {
	return SealKey{Role: role, Private: ed25519.NewKeyFromSeed(bytes.Repeat([]byte{seed}, ed25519.SeedSize))}
}

var (
	testRoot    = testKey(RoleRoot, 1)
	testRelease = testKey(RoleRelease, 2)
	testDesired = testKey(RoleDesired, 3)
	testRing    = Keyring{Version: 1, Keys: []PublicKey{testRelease.Public(), testDesired.Public()}}
)

func TestSealOpens(t *testing.T) {
	payload := []byte("what is to be done")
	sealed, err := Seal(ContextDesired, testDesired, payload)
	if err != nil {
		t.Fatal(err)
	}
	again, err := Seal(ContextDesired, testDesired, payload)
	if err != nil || !bytes.Equal(again, sealed) {
		t.Errorf("sealing again gives other bytes, %v", err)
	}
	got, err := Open(ContextDesired, testRing, sealed)
	if err != nil || !bytes.Equal(got, payload) {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestSealKeepsRolesApart(t *testing.T) {
	for context, key := range map[Context]SealKey{
		ContextRelease: testDesired, ContextDesired: testRelease, ContextKeyring: testRelease, "other": testRoot,
	} {
		if _, err := Seal(context, key, nil); CodeOf(err) != CodeBadSeal {
			t.Errorf("%s with a %s key: %v", context, key.Role, err)
		}
	}
}

// S-01: every byte of a sealed document counts.
func TestOpenRefusesEveryFlippedBit(t *testing.T) {
	sealed, err := Seal(ContextRelease, testRelease, []byte("payload"))
	if err != nil {
		t.Fatal(err)
	}
	for i := range sealed {
		for bit := range 8 {
			bad := slices.Clone(sealed)
			bad[i] ^= 1 << bit
			if _, err := Open(ContextRelease, testRing, bad); err == nil {
				t.Errorf("byte %d, bit %d flipped: opened", i, bit)
			}
		}
	}
	for n := range sealed {
		if _, err := Open(ContextRelease, testRing, sealed[:n]); err == nil {
			t.Errorf("cut to %d bytes: opened", n)
		}
	}
	if _, err := Open(ContextRelease, testRing, append(slices.Clone(sealed), 0)); err == nil {
		t.Error("with a byte more: opened")
	}
}

func TestOpenNamesWhatIsWrong(t *testing.T) {
	seal := func(c Context, k SealKey) []byte {
		b, err := Seal(c, k, []byte("x"))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	confused := testDesired.Public()
	confused.Role = RoleRelease
	for _, c := range []struct {
		name   string
		ring   Keyring
		sealed []byte
		want   string
	}{
		{"another purpose", testRing, seal(ContextRelease, testRelease), `sealed as "application/stavily-release+cbor"`},
		{
			"a key not in the ring",
			Keyring{Version: 7},
			seal(ContextDesired, testDesired),
			"not in keyring version 7",
		},
		{
			"a key of another role",
			Keyring{Keys: []PublicKey{confused}},
			seal(ContextDesired, testDesired),
			"is a release key",
		},
		{"a foreign signature", testRing, forged(t), "verification error"},
		{"unprotected headers", testRing, unprotected(t), "protected header only"},
		{"no COSE", testRing, []byte{0xa0}, "open"},
		{"too large", testRing, make([]byte, DocumentMax+1), "limit 1048576"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Open(ContextDesired, c.ring, c.sealed)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

// message returns a COSE_Sign1 that says it is signed by testDesired.
func message(t *testing.T, change func(*cose.Sign1Message), signedBy SealKey) []byte {
	t.Helper()
	signer, err := cose.NewSigner(cose.AlgorithmEdDSA, signedBy.Private)
	if err != nil {
		t.Fatal(err)
	}
	id := testDesired.Public().ID()
	m := cose.NewSign1Message()
	m.Headers.Protected.SetAlgorithm(cose.AlgorithmEdDSA)
	m.Headers.Protected[cose.HeaderLabelKeyID] = id[:]
	m.Headers.Protected[headerType] = string(ContextDesired)
	m.Payload = []byte("x")
	change(m)
	if err := m.Sign(nil, []byte(ContextDesired), signer); err != nil {
		t.Fatal(err)
	}
	b, err := m.MarshalCBOR()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func forged(t *testing.T) []byte {
	t.Helper()
	return message(t, func(*cose.Sign1Message) {}, testKey(RoleDesired, 9))
}

func unprotected(t *testing.T) []byte {
	t.Helper()
	return message(t, func(m *cose.Sign1Message) { m.Headers.Unprotected[int64(99)] = "smuggled" }, testDesired)
}

func FuzzOpen(f *testing.F) {
	sealed, err := Seal(ContextDesired, testDesired, []byte("payload"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(sealed)
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, err := Open(ContextDesired, testRing, b); err == nil && !bytes.Equal(b, sealed) {
			t.Errorf("opened %x", b)
		}
	})
}

func FuzzJoinToken(f *testing.F) {
	good := JoinToken{ID: make([]byte, 8), Secret: make([]byte, 16)}.String()
	f.Add(good)
	f.Add(good[:len(good)-1] + "b") // a spare bit is set
	f.Add(good[:30] + "\n" + good[30:])
	f.Fuzz(func(t *testing.T, s string) {
		token, err := ParseJoinToken(s)
		if err == nil && token.String() != strings.TrimRight(strings.TrimSpace(s), "\r\n") {
			t.Errorf("%q reads as %q", s, token.String())
		}
	})
}

func TestJoinTokenRefuses(t *testing.T) {
	good := JoinToken{ID: make([]byte, 8), Secret: make([]byte, 16)}.String()
	if _, err := ParseJoinToken(" " + good + "\n"); err != nil {
		t.Errorf("with white space around: %v", err)
	}
	for _, bad := range []string{
		"", "hello", good[:len(good)-1], good[:20], good + "A", "stavily-join-!!!!",
		JoinToken{ID: make([]byte, 7), Secret: make([]byte, 16)}.String(),
	} {
		_, err := ParseJoinToken(bad)
		if CodeOf(err) != CodeBadInput {
			t.Errorf("%q: got %v", bad, err)
		} else if len(bad) > 25 && strings.Contains(err.Error(), bad[13:25]) {
			t.Errorf("the error repeats the token: %v", err)
		}
	}
}

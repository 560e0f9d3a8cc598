package source

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/hiddeco/sshsig"
	"golang.org/x/crypto/ssh"
)

// bare is a tree that holds nothing but a raw tag, for the rules that look at nothing else.
func bare(t *testing.T, raw []byte) *Tree {
	t.Helper()
	id, err := nameOf(plumbing.TagObject, raw)
	if err != nil {
		t.Fatal(err)
	}
	return &Tree{Tag: "v1.0.0", TagObject: id.String(), Commit: commitA, RawTag: raw}
}

const (
	commitA = "1111111111111111111111111111111111111111"
	header  = "object " + commitA + "\ntype commit\ntag v1.0.0\ntagger Ada <ada@example.com> 1772366400 " +
		"+0000\n\n"
)

// signed puts signer's signature under payload.
func signed(t *testing.T, payload string, signer ssh.Signer, ns string, h sshsig.HashAlgorithm) []byte {
	t.Helper()
	sig, err := sshsig.Sign(strings.NewReader(payload), signer, h, ns)
	if err != nil {
		t.Fatal(err)
	}
	return append([]byte(payload), sshsig.Armor(sig)...)
}

func sshSigner(t *testing.T, k crypto.Signer) ssh.Signer {
	t.Helper()
	s, err := ssh.NewSignerFromKey(k)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Each rule of the tag's verifier, on tags that the real git made; git's own verdict is compared where it
// has one.
func TestRealTags(t *testing.T) {
	l := newLab(t)
	l.keygen("eve", "-t", "ed25519")
	l.keygen("ec", "-t", "ecdsa", "-b", "256")
	l.keygen("ec384", "-t", "ecdsa", "-b", "384")
	l.keygen("rsa3072", "-t", "rsa", "-b", "3072")
	l.keygen("rsa2048", "-t", "rsa", "-b", "2048")
	l.tag("v1.0.0", "ada")
	l.tag("v1.0.1", "eve")
	l.tag("v1.0.2", "ec")
	l.tag("v1.0.3", "rsa3072")
	l.tag("v1.0.4", "rsa2048")
	l.tag("v1.0.5", "ec384")
	l.git("tag", "-a", "-m", "unsigned", "v2.0.0")
	raw := l.rawTag("v1.0.0")
	l.plant("v2.0.1", bytes.Replace(raw, []byte("tag v1.0.0\n"), []byte("tag v2.0.1\n"), 1))
	l.plant("v2.0.2", bytes.Replace(raw, []byte("1772366400 +0000"), []byte("1772366401 +0000"), 1))
	l.renameInside("v2.0.2", "v2.0.2")

	file := fmt.Sprintf("# ours\nada@example.com %s\nec@example.com %s\nrsa@example.com %s\n",
		l.pub("ada"), l.pub("ec"), l.pub("rsa3072"))
	cases := []struct {
		tag    string
		want   error
		git    bool // git verify-tag accepts it
		remark string
	}{
		{"v1.0.0", nil, true, "signed by git tag -s"},
		{"v1.0.1", ErrUnknownSigner, false, "wrong key"},
		{"v1.0.2", nil, true, "ecdsa p-256"},
		{"v1.0.3", nil, true, "rsa 3072"},
		{"v1.0.4", ErrBadSignature, false, "rsa 2048"},
		{"v1.0.5", ErrBadSignature, false, "ecdsa p-384"},
		{"v2.0.0", ErrUnsigned, false, "annotated, not signed"},
		{"v2.0.1", ErrBadSignature, false, "name changed after signing"},
		{"v2.0.2", ErrBadSignature, false, "date changed after signing"},
	}
	for _, c := range cases {
		t.Run(c.tag+" "+c.remark, func(t *testing.T) {
			tree := mustFetch(t, l.dir, c.tag)
			who, err := VerifyTag(tree, signers(t, file), day)
			if !errors.Is(err, c.want) || (err == nil) != (c.want == nil) {
				t.Fatalf("got %v, want %v", err, c.want)
			}
			if err == nil && !strings.Contains(l.run(nil, "ssh-keygen", "-lf", l.keyOf(who)), who.Fingerprint) {
				t.Errorf("fingerprint %s is not ssh-keygen's", who.Fingerprint)
			}
			if got := l.oracle(c.tag, file) == nil; got != c.git {
				t.Errorf("git verify-tag says %v, want %v", got, c.git)
			}
		})
	}
}

// renameInside plants the tag again with a header that names its ref, so that only the signature is wrong.
func (l *lab) renameInside(ref, name string) {
	l.t.Helper()
	l.plant(ref, bytes.Replace(l.rawTag(ref), []byte("tag v1.0.0\n"), []byte("tag "+name+"\n"), 1))
}

func (l *lab) keyOf(s Signer) string {
	name := strings.TrimSuffix(s.Principal, "@example.com")
	if s.KeyType == "ssh-rsa" {
		name = "rsa3072"
	} else if strings.HasPrefix(s.KeyType, "ecdsa") {
		name = "ec"
	}
	return filepath.Join(l.keys, name+".pub")
}

// Rules 5 and 6: what Fetch refuses before any signature is looked at.
func TestTagShapes(t *testing.T) {
	l := newLab(t)
	l.tag("v1.0.0", "ada")
	l.git("tag", "v3.0.0")
	l.git("tag", "-a", "-m", "nested", "v3.0.1", "v1.0.0")
	l.git("tag", "-a", "-m", "tree", "v3.0.2", "HEAD^{tree}")
	l.git("update-ref", "refs/tags/v9.9.9", "v1.0.0")
	l.git("update-ref", "refs/tags/v3.0.3", l.object("blob", []byte("x")))
	l.plant("v3.0.4", append(l.rawTag("v1.0.0"), "after the block\n"...))
	l.plant("v3.0.5", bytes.Replace(l.rawTag("v1.0.0"), []byte("\ntagger"), []byte("\ntag v3.0.5\ntagger"), 1))
	raw := l.rawTag("v1.0.0")
	block := raw[bytes.Index(raw, []byte(beginSSH)):]
	l.plant("v3.0.6", append(bytes.Clone(raw), block...))
	cases := []struct {
		tag, text string
		want      error
	}{
		{"v3.0.0", "tag v3.0.0 is not signed: it is a lightweight tag", ErrUnsigned},
		{"v3.0.1", `it names a "tag"`, ErrNestedTag},
		{"v3.0.2", `it names a "tree"`, ErrNestedTag},
		{"v3.0.3", "names a blob", ErrNestedTag},
		{"v9.9.9", `ref "v9.9.9" holds the tag signed as "v1.0.0"`, ErrRenamedTag},
		{"v3.0.4", "does not end the tag", ErrBadSignature},
		{"v3.0.5", "5 header lines", ErrMalformedTag},
		{"v3.0.6", "2 signature blocks", ErrBadSignature},
		{"v4.0.0", "", ErrNotFound},
	}
	for _, c := range cases {
		t.Run(c.tag, func(t *testing.T) {
			_, err := fetchTag(t, l.dir, c.tag)
			if !errors.Is(err, c.want) || !strings.Contains(fmt.Sprint(err), c.text) {
				t.Errorf("got %v, want %v with %q", err, c.want, c.text)
			}
		})
	}
	// F12: git itself takes the renamed tag for good.
	if err := l.oracle("v9.9.9", "ada@example.com "+l.pub("ada")+"\n"); err != nil {
		t.Logf("git now notices a renamed tag too: %v", err)
	}
	for _, bad := range []string{"", "main", "v1", "v1.2", "../v1.0.0", "v1.0.0/x", "v1.0.0 ", "v01.0.0"} {
		if _, err := fetchTag(t, l.dir, bad); err == nil || !strings.Contains(err.Error(), "want a version") {
			t.Errorf("tag %q: %v", bad, err)
		}
	}
}

// Rule 2: namespace, hash and kind of key.
func TestSignatureKinds(t *testing.T) {
	payload := header + "release\n"
	ada := sshSigner(t, key("ada"))
	weak, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	cases := map[string]struct {
		raw  []byte
		want error
		text string
	}{
		"sha512":         {signed(t, payload, ada, "git", sshsig.HashSHA512), nil, ""},
		"sha256":         {signed(t, payload, ada, "git", sshsig.HashSHA256), nil, ""},
		"namespace file": {signed(t, payload, ada, "file", sshsig.HashSHA512), ErrBadSignature, `namespace "file"`},
		"rsa 2048": {
			signed(t, payload, sshSigner(t, weak), "git", sshsig.HashSHA512), ErrBadSignature,
			"3072",
		},
		"ecdsa p-384": {
			signed(t, payload, sshSigner(t, p384), "git", sshsig.HashSHA512), ErrBadSignature,
			"nistp384",
		},
		"hash sha1":       {rehashed(t, payload, ada), ErrBadSignature, "sha1"},
		"security key":    {touchedTag(t, payload, 1), nil, ""},
		"untouched":       {touchedTag(t, payload, 0), ErrBadSignature, "not touched"},
		"header in block": {withHeader(signed(t, payload, ada, "git", sshsig.HashSHA512)), ErrBadSignature, ""},
		"pgp message":     {[]byte(payload + beginMessage + "\nx\n"), ErrBadSignature, "PGP MESSAGE"},
	}
	allow := signers(t, "ada@example.com "+pubLine(t, key("ada"))+"\nsk@example.com "+skLine()+"\n")
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := VerifyTag(bare(t, c.raw), allow, day)
			if !errors.Is(err, c.want) || (err == nil) != (c.want == nil) || !strings.Contains(fmt.Sprint(err),
				c.text) {
				t.Errorf("got %v, want %v with %q", err, c.want, c.text)
			}
		})
	}
}

// rehashed claims the hash sha1 in an otherwise good block.
func rehashed(t *testing.T, payload string, s ssh.Signer) []byte {
	t.Helper()
	sig, err := sshsig.Sign(strings.NewReader(payload), s, sshsig.HashSHA512, "git")
	if err != nil {
		t.Fatal(err)
	}
	sig.HashAlgorithm = "sha1"
	return append([]byte(payload), sshsig.Armor(sig)...)
}

func withHeader(raw []byte) []byte {
	return bytes.Replace(raw, []byte(beginSSH+"\n"), []byte(beginSSH+"\nKey: value\n\n"), 1)
}

// skKey is the public half of a security key, made of an ordinary ed25519 key.
func skKey() []byte {
	return ssh.Marshal(struct {
		Kind string
		Pub  []byte
		App  string
	}{ssh.KeyAlgoSKED25519, pub(key("sk")), "ssh:"})
}

func skLine() string {
	k, err := ssh.ParsePublicKey(skKey())
	if err != nil {
		return err.Error()
	}
	return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(k)))
}

// touchedTag signs as a security key does, with the given flags.
func touchedTag(t *testing.T, payload string, flags byte) []byte {
	t.Helper()
	return signed(t, payload, skSigner{flags}, "git", sshsig.HashSHA512)
}

type skSigner struct{ flags byte }

func (s skSigner) PublicKey() ssh.PublicKey {
	k, err := ssh.ParsePublicKey(skKey())
	if err != nil {
		panic(err)
	}
	return k
}

func (s skSigner) Sign(_ io.Reader, data []byte) (*ssh.Signature, error) {
	app, msg := sha256.Sum256([]byte("ssh:")), sha256.Sum256(data)
	tail := []byte{s.flags, 0, 0, 0, 7}
	blob := append(append(append([]byte{}, app[:]...), tail...), msg[:]...)
	return &ssh.Signature{Format: ssh.KeyAlgoSKED25519, Blob: ed25519.Sign(key("sk"), blob), Rest: tail}, nil
}

// Rule 1: the signature covers the raw bytes; not one of them may change, nor one follow.
func TestEveryByteCounts(t *testing.T) {
	raw := signed(t, header+"release\n", sshSigner(t, key("ada")), "git", sshsig.HashSHA512)
	allow := signers(t, "ada@example.com "+pubLine(t, key("ada")))
	if _, err := VerifyTag(bare(t, raw), allow, day); err != nil {
		t.Fatal(err)
	}
	payload := bytes.Index(raw, []byte(beginSSH))
	for i := range payload {
		changed := bytes.Clone(raw)
		changed[i] ^= 1
		if _, err := VerifyTag(bare(t, changed), allow, day); err == nil {
			t.Errorf("byte %d (%q) may change", i, raw[i])
		}
	}
	for _, tail := range []string{"\n", " ", "x", "\n\n"} {
		if _, err := VerifyTag(bare(t, append(bytes.Clone(raw), tail...)), allow, day); err == nil {
			t.Errorf("%q may follow", tail)
		}
	}
}

// The raw tag, its name and its commit stand or fall together.
func TestTagBelongsToTree(t *testing.T) {
	raw := signed(t, header+"release\n", sshSigner(t, key("ada")), "git", sshsig.HashSHA512)
	allow := signers(t, "ada@example.com "+pubLine(t, key("ada")))
	for name, c := range map[string]struct {
		change func(*Tree)
		want   error
	}{
		"other name":   {func(x *Tree) { x.Tag = "v1.0.1" }, ErrRenamedTag},
		"other commit": {func(x *Tree) { x.Commit = strings.Repeat("2", 40) }, ErrBadSignature},
		"other object": {func(x *Tree) { x.TagObject = strings.Repeat("2", 40) }, ErrBadSignature},
	} {
		tree := bare(t, raw)
		c.change(tree)
		if _, err := VerifyTag(tree, allow, day); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}

// Rule 3: validity is judged at receipt. The tagger claims 2026-03-01 12:00:00 throughout.
func TestValidity(t *testing.T) {
	raw := signed(t, header+"release\n", sshSigner(t, key("ada")), "git", sshsig.HashSHA512)
	k := " " + pubLine(t, key("ada"))
	at := func(h, m, s int) time.Time { return time.Date(2026, 3, 2, h, m, s, 0, time.UTC) }
	cases := []struct {
		line string
		now  time.Time
		ok   bool
	}{
		{`ada@example.com valid-before="20260302000000Z"`, at(0, 0, 0), true},
		{`ada@example.com valid-before="20260302000000Z"`, at(0, 0, 1), false},
		{`ada@example.com valid-after="202603020000Z"`, at(0, 0, 0).Add(-time.Second), false},
		{`ada@example.com valid-after="202603020000Z"`, at(0, 0, 0), true},
		{`ada@example.com valid-after="20260301Z",valid-before="20260302Z"`, day, true},
		{`ada@example.com namespaces="file"`, day, false},
		{`ada@example.com namespaces="file,git"`, day, true},
		{`ada@example.com NAMESPACES="g*"`, day, true},
		{`ada@example.com namespaces="*,!git"`, day, false},
		{`*@example.com,!ada@example.com`, day, false},
		{`!eve@example.com`, day, false},
		{`"bob@example.com"`, day, true},
	}
	for _, c := range cases {
		_, err := VerifyTag(bare(t, raw), signers(t, c.line+k), c.now)
		if (err == nil) != c.ok || err != nil && !errors.Is(err, ErrUnknownSigner) {
			t.Errorf("%s at %s: %v, want ok=%v", c.line, c.now, err, c.ok)
		}
	}
	for line, want := range map[string]string{
		"*@example.com": "ada@example.com",
		"bob@x,ada@*":   "ada@example.com",
		"!eve@x,bob@x":  "bob@x",
		"old@x valid-before=\"20200101Z\"" + k + "\nnew@x": "new@x",
	} {
		who, err := VerifyTag(bare(t, raw), signers(t, line+k), day)
		if err != nil || who.Principal != want {
			t.Errorf("%s: principal %q, %v: want %q", line, who.Principal, err, want)
		}
	}
}

func TestRevoked(t *testing.T) {
	raw := signed(t, header+"release\n", sshSigner(t, key("ada")), "git", sshsig.HashSHA512)
	allow := signers(t, "ada@example.com "+pubLine(t, key("ada")))
	if err := allow.Revoke(strings.NewReader("# lost\n" + pubLine(t, key("eve")) + "\n")); err != nil {
		t.Fatal(err)
	}
	if _, err := VerifyTag(bare(t, raw), allow, day); err != nil {
		t.Errorf("another key revoked: %v", err)
	}
	if err := allow.Revoke(strings.NewReader(pubLine(t, key("ada")) + " ada's laptop\n")); err != nil {
		t.Fatal(err)
	}
	if _, err := VerifyTag(bare(t, raw), allow, day); !errors.Is(err, ErrUnknownSigner) ||
		!strings.Contains(err.Error(), "revoked") {
		t.Errorf("revoked key: %v", err)
	}
	if err := allow.Revoke(strings.NewReader("\nnonsense\n")); err == nil || !strings.Contains(err.Error(),
		"line 2") {
		t.Errorf("bad list: %v", err)
	}
}

// Rule 4, with the real gpg: one key, one signature, a key that has not expired at receipt.
func TestOpenPGP(t *testing.T) {
	need(t, "gpg")
	l := newLab(t)
	keyFor := func(who string, algo ...string) []byte {
		args := append([]string{"--batch", "--quiet", "--passphrase", "", "--quick-gen-key", who}, algo...)
		l.run(nil, "gpg", args...)
		return []byte(l.run(nil, "gpg", "--armor", "--export", who))
	}
	home := l.keys
	if err := os.Chmod(home, 0o700); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = l.try(nil, "gpgconf", "--homedir", home, "--kill", "gpg-agent") })
	ada := keyFor("ada@example.com", "ed25519", "sign", "1y")
	eve := keyFor("eve@example.com", "ed25519", "sign", "1y")
	weak := keyFor("weak@example.com", "rsa2048", "sign", "1y")
	l.git("tag", "-s", "-u", "ada@example.com", "-m", "pgp", "v1.0.0")
	l.git("tag", "-s", "-u", "weak@example.com", "-m", "pgp", "v1.0.1")
	tree := mustFetch(t, l.dir, "v1.0.0")
	now := time.Now()

	var allow AllowedSigners
	if err := allow.AddOpenPGP("eve@example.com", eve); err != nil {
		t.Fatal(err)
	}
	if _, err := VerifyTag(tree, allow, now); !errors.Is(err, ErrUnknownSigner) {
		t.Errorf("another key: %v", err)
	}
	if err := allow.AddOpenPGP("ada@example.com", ada); err != nil {
		t.Fatal(err)
	}
	who, err := VerifyTag(tree, allow, now)
	if err != nil || who.Principal != "ada@example.com" || who.KeyType != "openpgp" {
		t.Errorf("%+v, %v", who, err)
	}
	if _, err := VerifyTag(tree, allow, now.AddDate(2, 0, 0)); !errors.Is(err, ErrBadSignature) {
		t.Errorf("after the key's end: %v", err)
	}
	if err := allow.AddOpenPGP("weak@example.com", weak); err == nil {
		t.Error("rsa 2048 was allowed")
	}
	if err := allow.AddOpenPGP("both", append(ada, eve...)); err == nil {
		t.Error("two keys in one text were allowed")
	}
	changed := *tree
	changed.RawTag = bytes.Replace(tree.RawTag, []byte("pgp\n"), []byte("PGP\n"), 1)
	id, _ := nameOf(plumbing.TagObject, changed.RawTag)
	changed.TagObject = id.String()
	if _, err := VerifyTag(&changed, allow, now); !errors.Is(err, ErrBadSignature) {
		t.Errorf("changed tag: %v", err)
	}
}

// FuzzRawTag: no panic on any bytes; what parses keeps its promises; nothing random verifies.
func FuzzRawTag(f *testing.F) {
	ada, err := ssh.NewSignerFromKey(key("ada"))
	if err != nil {
		f.Fatal(err)
	}
	sig, err := sshsig.Sign(strings.NewReader(header+"m\n"), ada, sshsig.HashSHA512, "git")
	if err != nil {
		f.Fatal(err)
	}
	good := append([]byte(header+"m\n"), sshsig.Armor(sig)...)
	f.Add(good)
	f.Add([]byte(header))
	f.Add([]byte(header + beginPGP + "\n\niQ==\n-----END PGP SIGNATURE-----\n"))
	f.Add([]byte("object x\n\n"))
	allow := AllowedSigners{lines: []allowed{{
		number: 1, principals: "ada@example.com", fingerprint: ssh.FingerprintSHA256(ada.PublicKey()),
	}}}
	f.Fuzz(func(t *testing.T, raw []byte) {
		tag, err := parseTag(raw)
		if err != nil {
			return
		}
		if !isHexID(tag.object) || strings.ContainsAny(tag.tag, "\n\x00") {
			t.Fatalf("object %q, tag %q", tag.object, tag.tag)
		}
		if tag.signature != nil && !bytes.Equal(append(bytes.Clone(tag.payload), tag.signature...), raw) {
			t.Fatal("payload and signature are not the tag")
		}
		id, err := nameOf(plumbing.TagObject, raw)
		if err != nil {
			t.Fatal(err)
		}
		tree := &Tree{Tag: tag.tag, TagObject: id.String(), Commit: tag.object, RawTag: raw}
		if _, err := VerifyTag(tree, allow, day); err == nil && !bytes.HasPrefix(raw, []byte(header+"m\n")) {
			t.Fatalf("verified: %q", raw)
		}
	})
}

package source

import (
	"bytes"
	"fmt"
	"strings"
)

// rawTag is an annotated tag object, read strictly from the bytes that its signature covers.
type rawTag struct {
	object    string // 40 hex digits of the commit
	tag       string // the name that the author signed
	email     string // the tagger's, claimed and not proven
	payload   []byte // what the signature covers
	signature []byte // one armored block, or nil
	pgp       bool   // the block is OpenPGP's, else SSH's
}

// The first lines that Git takes for the start of a signature.
const (
	beginSSH     = "-----BEGIN SSH SIGNATURE-----"
	beginPGP     = "-----BEGIN PGP SIGNATURE-----"
	beginMessage = "-----BEGIN PGP MESSAGE-----"
	beginX509    = "-----BEGIN SIGNED MESSAGE-----"
)

// parseTag reads a tag object. Four header lines in Git's order, nothing else, no second name, at most one
// signature block and not a byte after it: whatever two readers could read in two ways is refused.
func parseTag(raw []byte) (rawTag, error) {
	head, body, ok := bytes.Cut(raw, []byte("\n\n"))
	if !ok {
		return rawTag{}, fmt.Errorf("%w: no empty line after the header", ErrMalformedTag)
	}
	if bytes.ContainsAny(head, "\x00\r") || bytes.IndexByte(body, 0) >= 0 {
		return rawTag{}, fmt.Errorf("%w: NUL or carriage return", ErrMalformedTag)
	}
	t, err := parseTagHead(string(head))
	if err != nil {
		return rawTag{}, err
	}
	return t, t.split(raw, len(head)+2)
}

func parseTagHead(head string) (rawTag, error) {
	lines := strings.Split(head, "\n")
	want := []string{"object ", "type ", "tag ", "tagger "}
	if len(lines) != len(want) {
		return rawTag{}, fmt.Errorf("%w: %d header lines: want %d", ErrMalformedTag, len(lines), len(want))
	}
	var value [4]string
	for i, prefix := range want {
		v, ok := strings.CutPrefix(lines[i], prefix)
		if !ok {
			return rawTag{}, fmt.Errorf("%w: header line %d: want %q", ErrMalformedTag, i+1, prefix)
		}
		value[i] = v
	}
	if !isHexID(value[0]) {
		return rawTag{}, fmt.Errorf("%w: object %q: want 40 hex digits", ErrMalformedTag, clip(value[0]))
	}
	if value[1] != "commit" {
		return rawTag{}, fmt.Errorf("%w: it names a %q", ErrNestedTag, clip(value[1]))
	}
	return rawTag{object: value[0], tag: value[2], email: emailOf(value[3])}, nil
}

// split finds the signature block, which starts at the beginning of a line of the body.
func (t *rawTag) split(raw []byte, body int) error {
	found := 0
	for at := body; at < len(raw); {
		line, _, _ := bytes.Cut(raw[at:], []byte("\n"))
		switch {
		case bytes.HasPrefix(line, []byte(beginSSH)), bytes.HasPrefix(line, []byte(beginPGP)):
			found++
			t.pgp = bytes.HasPrefix(line, []byte(beginPGP))
			t.payload, t.signature = raw[:at], raw[at:]
		case bytes.HasPrefix(line, []byte(beginMessage)), bytes.HasPrefix(line, []byte(beginX509)):
			return fmt.Errorf("%w: %q: want an SSH or OpenPGP signature", ErrBadSignature, clip(string(line)))
		}
		at += len(line) + 1
	}
	if found > 1 {
		return fmt.Errorf("%w: %d signature blocks: want one", ErrBadSignature, found)
	}
	if found == 0 {
		return nil
	}
	end := strings.Replace(beginSSH, "BEGIN", "END", 1)
	if t.pgp {
		end = strings.Replace(beginPGP, "BEGIN", "END", 1)
	}
	_, after, ok := bytes.Cut(t.signature, []byte("\n"+end))
	if !ok || string(after) != "\n" {
		return fmt.Errorf("%w: the block does not end the tag", ErrBadSignature)
	}
	return nil
}

// named refuses a signed tag that was put under another name.
func (t rawTag) named(ref string) error {
	if t.tag != ref {
		return fmt.Errorf("%w: ref %q holds the tag signed as %q", ErrRenamedTag, ref, clip(t.tag))
	}
	return nil
}

// emailOf takes the address out of "Name <address> 1700000000 +0000", or "".
func emailOf(tagger string) string {
	_, rest, _ := strings.Cut(tagger, "<")
	email, _, ok := strings.Cut(rest, ">")
	if !ok {
		return ""
	}
	return email
}

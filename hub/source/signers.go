package source

import (
	"bufio"
	"crypto/rsa"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"golang.org/x/crypto/ssh"
)

// AllowedSigners say whose signature counts: the lines of an allowed_signers file as in ssh-keygen(1),
// OpenPGP keys, and keys that were revoked. The zero value allows nobody.
type AllowedSigners struct {
	lines   []allowed
	revoked []string // fingerprints, sorted
	pgp     []pgpSigner
}

// allowed is one line.
type allowed struct {
	number      int
	principals  string // a pattern list
	namespaces  string // a pattern list; "" is any
	validAfter  time.Time
	validBefore time.Time
	fingerprint string
}

type pgpSigner struct {
	principal string
	keys      openpgp.EntityList
}

// Bounds of the files that this package parses.
const (
	maxSignerLine  = 16 << 10 // bytes
	maxSignerLines = 10_000
)

// minRSABits is the shortest RSA key that may sign.
const minRSABits = 3072

// ParseAllowedSigners reads an allowed_signers file. It is as strict as ssh-keygen about options and
// stricter about keys: a key that could never sign (see VerifyTag), a certificate authority or a stray
// quote is an error that names the line. A time without a trailing Z is in this machine's zone, as
// ssh-keygen has it.
func ParseAllowedSigners(r io.Reader) (AllowedSigners, error) {
	var out AllowedSigners
	err := eachLine(r, func(n int, line string) error {
		a, err := parseSigner(line)
		if err != nil {
			return err
		}
		a.number = n
		out.lines = append(out.lines, a)
		return nil
	})
	if err != nil {
		return AllowedSigners{}, fmt.Errorf("allowed signers: %w", err)
	}
	return out, nil
}

// Revoke adds keys whose signatures count no more: one public key a line, as in a .pub file.
func (a *AllowedSigners) Revoke(r io.Reader) error {
	var found []string
	err := eachLine(r, func(_ int, line string) error {
		key, err := parseKey(line)
		if err != nil {
			return err
		}
		found = append(found, ssh.FingerprintSHA256(key))
		return nil
	})
	if err != nil {
		return fmt.Errorf("revoked keys: %w", err)
	}
	a.revoked = append(slices.Clone(a.revoked), found...)
	slices.Sort(a.revoked)
	return nil
}

// eachLine calls do for each line that is neither empty nor a comment.
func eachLine(r io.Reader, do func(n int, line string) error) error {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxSignerLine)
	n := 0
	for lines.Scan() {
		n++
		if n > maxSignerLines {
			return &LimitError{What: "lines", Limit: maxSignerLines, Got: int64(n)}
		}
		line := strings.Trim(lines.Text(), " \t\r")
		if line == "" || line[0] == '#' {
			continue
		}
		if strings.ContainsFunc(line, func(r rune) bool { return isControl(r) && r != '\t' }) {
			return fmt.Errorf("line %d: control character", n)
		}
		if err := do(n, line); err != nil {
			return fmt.Errorf("line %d: %w", n, err)
		}
	}
	if errors.Is(lines.Err(), bufio.ErrTooLong) {
		return fmt.Errorf("line %d: %w", n+1,
			&LimitError{What: "bytes of the line", Limit: maxSignerLine, Got: maxSignerLine + 1})
	}
	return lines.Err()
}

// parseSigner reads "principals [options] keytype base64 [comment]".
func parseSigner(line string) (allowed, error) {
	principals, rest, err := takePrincipals(line)
	if err != nil {
		return allowed{}, err
	}
	a := allowed{principals: principals}
	word, _ := cutSpace(rest)
	if !looksLikeKey(word) {
		options, after, err := takeOptions(rest)
		if err != nil {
			return allowed{}, err
		}
		if err := a.readOptions(options); err != nil {
			return allowed{}, err
		}
		rest = after
	}
	key, err := parseKey(rest)
	if err != nil {
		return allowed{}, err
	}
	if err := keyMaySign(key); err != nil {
		return allowed{}, err
	}
	a.fingerprint = ssh.FingerprintSHA256(key)
	return a, nil
}

func takePrincipals(line string) (principals, rest string, err error) {
	if line[0] != '"' {
		principals, rest = cutSpace(line)
		if strings.Contains(principals, `"`) {
			return "", "", errors.New("principals: quote in the middle")
		}
	} else {
		var ok bool
		principals, rest, ok = strings.Cut(line[1:], `"`)
		if !ok {
			return "", "", errors.New("principals: quote without its end")
		}
		if rest != "" && rest[0] != ' ' && rest[0] != '\t' {
			return "", "", errors.New("principals: text after the quote")
		}
		rest = strings.TrimLeft(rest, " \t")
	}
	if principals == "" || slices.Contains(strings.Split(principals, ","), "") {
		return "", "", errors.New("principals: empty name")
	}
	if rest == "" {
		return "", "", errors.New("key missing after the principals")
	}
	return principals, rest, nil
}

// looksLikeKey tells a key type from options, which have no hyphenated prefix of these.
func looksLikeKey(word string) bool {
	for _, p := range []string{"ssh-", "ecdsa-", "sk-ssh-", "sk-ecdsa-", "rsa-sha2-"} {
		if strings.HasPrefix(word, p) {
			return true
		}
	}
	return false
}

// takeOptions cuts the options off: all up to the first space outside quotes.
func takeOptions(line string) (options, rest string, err error) {
	quoted := false
	for i := 0; i < len(line); i++ {
		switch c := line[i]; {
		case c == '\\' && i+1 < len(line) && line[i+1] == '"':
			i++
		case c == '"':
			quoted = !quoted
		case (c == ' ' || c == '\t') && !quoted:
			return line[:i], strings.TrimLeft(line[i:], " \t"), nil
		}
	}
	if quoted {
		return "", "", errors.New("options: quote without its end")
	}
	return "", "", fmt.Errorf("%q: want a key type or options with a key after them", clip(line))
}

func (a *allowed) readOptions(text string) error {
	for {
		name, value, rest, err := nextOption(text)
		if err != nil {
			return err
		}
		if err := a.setOption(strings.ToLower(name), value); err != nil {
			return fmt.Errorf("option %s: %w", clip(name), err)
		}
		if rest == "" {
			break
		}
		if rest[0] != ',' || len(rest) == 1 {
			return fmt.Errorf("options: %q: want a comma and another option", clip(rest))
		}
		text = rest[1:]
	}
	if !a.validAfter.IsZero() && !a.validBefore.IsZero() && !a.validBefore.After(a.validAfter) {
		return errors.New("options: valid-before is not later than valid-after")
	}
	return nil
}

// nextOption takes `name` or `name="value"` off the head of text.
func nextOption(text string) (name, value, rest string, err error) {
	end := strings.IndexAny(text, `=,"`)
	if end < 0 || text[end] == ',' {
		if end < 0 {
			end = len(text)
		}
		return text[:end], "", text[end:], nil
	}
	name = text[:end]
	quoted, ok := strings.CutPrefix(text[end:], `="`)
	if !ok {
		return "", "", "", fmt.Errorf("option %s: want a value in quotes", clip(name))
	}
	var out strings.Builder
	for i := 0; i < len(quoted); i++ {
		switch {
		case quoted[i] == '\\' && i+1 < len(quoted) && quoted[i+1] == '"':
			i++
			out.WriteByte('"')
		case quoted[i] == '"':
			return name, out.String(), quoted[i+1:], nil
		default:
			out.WriteByte(quoted[i])
		}
	}
	return "", "", "", fmt.Errorf("option %s: quote without its end", clip(name))
}

func (a *allowed) setOption(name, value string) (err error) {
	switch name {
	case "namespaces":
		if value == "" || a.namespaces != "" {
			return errors.New("empty, or given twice")
		}
		a.namespaces = value
	case "valid-after":
		if !a.validAfter.IsZero() {
			return errors.New("given twice")
		}
		a.validAfter, err = parseTime(value)
	case "valid-before":
		if !a.validBefore.IsZero() {
			return errors.New("given twice")
		}
		a.validBefore, err = parseTime(value)
	case "cert-authority":
		return errors.New("certificates are not supported: list the signing key itself")
	default:
		return errors.New("unknown: want namespaces, valid-after or valid-before")
	}
	return err
}

// parseTime reads YYYYMMDD, YYYYMMDDHHMM or YYYYMMDDHHMMSS, in local time unless a Z follows.
func parseTime(text string) (time.Time, error) {
	digits, zone := text, time.Local
	if d, ok := strings.CutSuffix(strings.ToUpper(text), "Z"); ok {
		digits, zone = d, time.UTC
	}
	layout, ok := map[int]string{8: "20060102", 12: "200601021504", 14: "20060102150405"}[len(digits)]
	if !ok {
		return time.Time{}, fmt.Errorf("time %q: want YYYYMMDD[HHMM[SS]][Z]", clip(text))
	}
	t, err := time.ParseInLocation(layout, digits, zone)
	if err != nil {
		return time.Time{}, fmt.Errorf("time %q: want YYYYMMDD[HHMM[SS]][Z]", clip(text))
	}
	if t.Unix() <= 0 {
		return time.Time{}, fmt.Errorf("time %q: before 1970", clip(text))
	}
	return t, nil
}

// parseKey reads "keytype base64 [comment]".
func parseKey(text string) (key ssh.PublicKey, err error) {
	kind, rest := cutSpace(text)
	encoded, _ := cutSpace(rest)
	if strings.Contains(kind, "-cert-v0") {
		return nil, fmt.Errorf("key type %q: certificates are not supported", clip(kind))
	}
	blob, err := base64.StdEncoding.Strict().DecodeString(encoded)
	if err != nil || encoded == "" {
		return nil, fmt.Errorf("key %q: not base64", clip(kind))
	}
	key, err = ssh.ParsePublicKey(blob)
	if err != nil {
		return nil, fmt.Errorf("key %q: %w", clip(kind), clipped(err))
	}
	if key.Type() != kind {
		return nil, fmt.Errorf("key type %q: the key itself is %q", clip(kind), key.Type())
	}
	return key, nil
}

// keyMaySign holds the kinds of key that may sign a tag.
func keyMaySign(key ssh.PublicKey) error {
	switch key.Type() {
	case ssh.KeyAlgoED25519, ssh.KeyAlgoSKED25519, ssh.KeyAlgoECDSA256:
		return nil
	case ssh.KeyAlgoRSA:
		holder, ok := key.(ssh.CryptoPublicKey)
		if !ok {
			return errors.New("key type ssh-rsa: no size")
		}
		pub, ok := holder.CryptoPublicKey().(*rsa.PublicKey)
		if !ok || pub.N.BitLen() < minRSABits {
			return fmt.Errorf("key type ssh-rsa: shorter than %d bits", minRSABits)
		}
		return nil
	default:
		return fmt.Errorf("key type %q: want ed25519, sk-ed25519, ecdsa p-256 or rsa of %d bits",
			key.Type(), minRSABits)
	}
}

func cutSpace(s string) (word, rest string) {
	i := strings.IndexAny(s, " \t")
	if i < 0 {
		return s, ""
	}
	return s[:i], strings.TrimLeft(s[i:], " \t")
}

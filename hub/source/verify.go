package source

import (
	"bytes"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/hiddeco/sshsig"
	"golang.org/x/crypto/ssh"
)

// namespace is what Git signs under; a signature made for a file or a mail is no signature of a tag.
const namespace = "git"

// A Signer is who signed a tag.
type Signer struct {
	// Principal is the tagger's address where the signer's line allows it, else the line's first pattern.
	Principal string
	// KeyType is the SSH key type, like "ssh-ed25519", or "openpgp".
	KeyType string
	// Fingerprint is "SHA256:..." as ssh-keygen -l prints it, or "OPENPGP:" and the primary key's
	// fingerprint.
	Fingerprint string
}

// VerifyTag says who signed tree's tag, judged at now, the moment of receipt: what the tagger claims as the
// date decides nothing. The signature is checked over the raw object's bytes.
//
// Keys: ed25519, sk-ed25519 (touched), ECDSA P-256, RSA of 3072 bits or more; hashes: SHA-256 and SHA-512.
// Errors: ErrUnsigned, ErrBadSignature, ErrUnknownSigner (also for a key that is out of its time or revoked),
// ErrRenamedTag, ErrMalformedTag, ErrNestedTag.
func VerifyTag(tree *Tree, signers AllowedSigners, now time.Time) (s Signer, err error) {
	defer rescue(&err)
	tag, err := parseTag(tree.RawTag)
	if err == nil {
		err = tag.belongs(tree)
	}
	if err != nil {
		return Signer{}, fmt.Errorf("verify tag %s: %w", tree.Tag, err)
	}
	switch {
	case tag.signature == nil:
		return Signer{}, fmt.Errorf("verify tag %s: %w", tree.Tag, ErrUnsigned)
	case tag.pgp:
		s, err = verifyPGP(tag, signers.pgp, now)
	default:
		s, err = verifySSH(tag, signers, now)
	}
	if err != nil {
		return Signer{}, fmt.Errorf("verify tag %s: %w", tree.Tag, err)
	}
	return s, nil
}

// belongs holds the raw tag against what the tree says of itself.
func (t rawTag) belongs(tree *Tree) error {
	if err := t.named(tree.Tag); err != nil {
		return err
	}
	id, err := nameOf(plumbing.TagObject, tree.RawTag)
	if err != nil {
		return err
	}
	if id.String() != tree.TagObject || t.object != tree.Commit {
		return fmt.Errorf("%w: the tag object is not this tree's", ErrBadSignature)
	}
	return nil
}

func verifySSH(tag rawTag, signers AllowedSigners, now time.Time) (Signer, error) {
	block, rest := pem.Decode(tag.signature)
	if block == nil || block.Type != sshsig.PEMType || len(block.Headers) > 0 || len(rest) > 0 {
		return Signer{}, fmt.Errorf("%w: malformed block", ErrBadSignature)
	}
	sig, err := sshsig.ParseSignature(block.Bytes)
	if err != nil {
		return Signer{}, fmt.Errorf("%w: %w", ErrBadSignature, clipped(err))
	}
	if err := keyMaySign(sig.PublicKey); err != nil {
		return Signer{}, fmt.Errorf("%w: %w", ErrBadSignature, err)
	}
	if sig.Namespace != namespace {
		return Signer{}, fmt.Errorf("%w: namespace %q: want %q",
			ErrBadSignature, clip(sig.Namespace), namespace)
	}
	if err := touched(sig); err != nil {
		return Signer{}, fmt.Errorf("%w: %w", ErrBadSignature, err)
	}
	err = sshsig.Verify(bytes.NewReader(tag.payload), sig, sig.PublicKey, sig.HashAlgorithm, namespace)
	if err != nil {
		return Signer{}, fmt.Errorf("%w: it does not fit the tag", ErrBadSignature)
	}
	return signers.find(sig.PublicKey, tag.email, now)
}

// touched wants the user's touch from a security key: the lowest bit of the flags that follow the signature.
func touched(sig *sshsig.Signature) error {
	if sig.PublicKey.Type() != ssh.KeyAlgoSKED25519 {
		return nil
	}
	if len(sig.Signature.Rest) != 5 || sig.Signature.Rest[0]&1 == 0 {
		return errors.New("the security key was not touched")
	}
	return nil
}

// find looks for a line that allows key for a tag at now. The first such line wins; else the last reason is
// told.
func (a AllowedSigners) find(key ssh.PublicKey, email string, now time.Time) (Signer, error) {
	fingerprint := ssh.FingerprintSHA256(key)
	if _, yes := slices.BinarySearch(a.revoked, fingerprint); yes {
		return Signer{}, fmt.Errorf("%w: key %s is revoked", ErrUnknownSigner, fingerprint)
	}
	reason := fmt.Errorf("%w: key %s is in no line", ErrUnknownSigner, fingerprint)
	for _, line := range a.lines {
		if line.fingerprint != fingerprint {
			continue
		}
		if why := line.refuses(email, now); why != "" {
			reason = fmt.Errorf("%w: key %s: line %d: %s", ErrUnknownSigner, fingerprint, line.number, why)
			continue
		}
		who := firstName(line.principals)
		if email != "" && inList(email, line.principals) == 1 {
			who = email
		}
		return Signer{Principal: who, KeyType: key.Type(), Fingerprint: fingerprint}, nil
	}
	return Signer{}, reason
}

func (l allowed) refuses(email string, now time.Time) string {
	const layout = "2006-01-02 15:04:05Z"
	switch {
	case l.namespaces != "" && inList(namespace, l.namespaces) != 1:
		return fmt.Sprintf("allowed for namespaces %q only", clip(l.namespaces))
	case !l.validAfter.IsZero() && now.Unix() < l.validAfter.Unix():
		return "valid after " + l.validAfter.UTC().Format(layout)
	case !l.validBefore.IsZero() && now.Unix() > l.validBefore.Unix():
		return "was valid before " + l.validBefore.UTC().Format(layout)
	case firstName(l.principals) == "":
		return "names nobody"
	case inList(email, l.principals) < 0:
		return fmt.Sprintf("excludes %q", clip(email))
	}
	return ""
}

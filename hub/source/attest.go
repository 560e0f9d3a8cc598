package source

import (
	"bytes"
	"crypto/ed25519"
	"encoding/pem"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hiddeco/sshsig"
	"golang.org/x/crypto/ssh"
)

// attestNamespace is what builders sign under: a signature of a tag is none of an attestation, and the
// other way round.
const attestNamespace = "stavily-attestation"

// attestationMax bounds an armored signature in bytes.
const attestationMax = 16 << 10

// Attest signs a builder's statement and returns the armored signature, as `ssh-keygen -Y sign -n
// stavily-attestation` does.
func Attest(statement []byte, key ed25519.PrivateKey) ([]byte, error) {
	signer, err := ssh.NewSignerFromKey(key)
	if err != nil {
		return nil, fmt.Errorf("attest: key: %w", err)
	}
	sig, err := sshsig.Sign(bytes.NewReader(statement), signer, sshsig.HashSHA512, attestNamespace)
	if err != nil {
		return nil, fmt.Errorf("attest: %w", err)
	}
	return sshsig.Armor(sig), nil
}

// VerifyAttestation says which of the builders signed statement, judged at now. Keys and errors are those
// of VerifyTag: ErrBadSignature, and ErrUnknownSigner for a builder that is in no line, out of its time or
// revoked.
func VerifyAttestation(statement, armored []byte, builders AllowedSigners, now time.Time) (s Signer,
	err error,
) {
	defer rescue(&err)
	sig, err := readSignature(armored)
	if err != nil {
		return s, fmt.Errorf("attestation: %w: %w", ErrBadSignature, err)
	}
	err = sshsig.Verify(bytes.NewReader(statement), sig, sig.PublicKey, sig.HashAlgorithm, attestNamespace)
	if err != nil {
		return s, fmt.Errorf("attestation: %w: it does not fit the statement", ErrBadSignature)
	}
	if s, err = builders.builder(sig.PublicKey, now); err != nil {
		return s, fmt.Errorf("attestation: %w", err)
	}
	return s, nil
}

func readSignature(armored []byte) (*sshsig.Signature, error) {
	if len(armored) > attestationMax {
		return nil, &LimitError{What: "bytes of the signature", Limit: attestationMax, Got: int64(len(armored))}
	}
	block, rest := pem.Decode(armored)
	if block == nil || block.Type != sshsig.PEMType || len(block.Headers) > 0 || len(bytes.TrimSpace(rest)) > 0 {
		return nil, fmt.Errorf("want one block %q", sshsig.PEMType)
	}
	sig, err := sshsig.ParseSignature(block.Bytes)
	if err != nil {
		return nil, clipped(err)
	}
	if err := keyMaySign(sig.PublicKey); err != nil {
		return nil, err
	}
	if sig.Namespace != attestNamespace {
		return nil, fmt.Errorf("namespace %q: want %q", clip(sig.Namespace), attestNamespace)
	}
	return sig, touched(sig)
}

// builder looks for a line that allows key to attest at now.
func (a AllowedSigners) builder(key ssh.PublicKey, now time.Time) (Signer, error) {
	fingerprint := ssh.FingerprintSHA256(key)
	if _, yes := slices.BinarySearch(a.revoked, fingerprint); yes {
		return Signer{}, fmt.Errorf("%w: key %s is revoked", ErrUnknownSigner, fingerprint)
	}
	reason := fmt.Errorf("%w: key %s is in no line of the allowed builders", ErrUnknownSigner, fingerprint)
	for _, line := range a.lines {
		switch {
		case line.fingerprint != fingerprint:
		case line.namespaces != "" && inList(attestNamespace, line.namespaces) != 1:
			reason = fmt.Errorf("%w: key %s: line %d: allowed for namespaces %q only", ErrUnknownSigner, fingerprint,
				line.number, clip(line.namespaces))
		case !line.validAfter.IsZero() && now.Before(line.validAfter),
			!line.validBefore.IsZero() && now.After(line.validBefore):
			reason = fmt.Errorf("%w: key %s: line %d: out of its time", ErrUnknownSigner, fingerprint, line.number)
		default:
			return Signer{Principal: firstName(line.principals), KeyType: key.Type(), Fingerprint: fingerprint}, nil
		}
	}
	return Signer{}, reason
}

// BuilderLine is the line of an allowed_signers file that lets principal attest builds with the key pub.
func BuilderLine(principal string, pub ed25519.PublicKey) (string, error) {
	key, err := ssh.NewPublicKey(pub)
	if err != nil {
		return "", fmt.Errorf("builder line: %w", err)
	}
	line := fmt.Sprintf("%s namespaces=%q %s", principal, attestNamespace, ssh.MarshalAuthorizedKey(key))
	if _, err := ParseAllowedSigners(strings.NewReader(line)); err != nil {
		return "", fmt.Errorf("builder line: principal %q: %w", principal, err)
	}
	return line, nil
}

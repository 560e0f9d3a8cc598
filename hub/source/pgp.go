package source

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	pgperrors "github.com/ProtonMail/go-crypto/openpgp/errors"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
)

// AddOpenPGP allows the one armored public key as principal's.
func (a *AllowedSigners) AddOpenPGP(principal string, armored []byte) (err error) {
	defer rescue(&err)
	if n := bytes.Count(armored, []byte("-----BEGIN ")); n != 1 {
		return fmt.Errorf("openpgp key of %q: %d armored blocks: want one", principal, n)
	}
	keys, err := openpgp.ReadArmoredKeyRing(bytes.NewReader(armored))
	if err != nil {
		return fmt.Errorf("openpgp key of %q: %w", principal, clipped(err))
	}
	if len(keys) != 1 || principal == "" {
		return fmt.Errorf("openpgp key of %q: %d keys: want a name and one key", principal, len(keys))
	}
	if err := pgpMaySign(keys[0]); err != nil {
		return fmt.Errorf("openpgp key of %q: %w", principal, err)
	}
	a.pgp = append(slices.Clone(a.pgp), pgpSigner{principal: principal, keys: keys})
	return nil
}

// verifyPGP checks a signature by the one packet it may hold.
func verifyPGP(tag rawTag, signers []pgpSigner, now time.Time) (Signer, error) {
	blob, err := onePacket(tag.signature)
	if err != nil {
		return Signer{}, fmt.Errorf("%w: %w", ErrBadSignature, err)
	}
	cfg := &packet.Config{Time: func() time.Time { return now }}
	reason := fmt.Errorf("%w: no OpenPGP key of this signature is allowed", ErrUnknownSigner)
	for _, s := range signers {
		payload := bytes.NewReader(tag.payload)
		_, who, err := openpgp.VerifyDetachedSignature(s.keys, payload, bytes.NewReader(blob), cfg)
		if err == nil && who != nil {
			fingerprint := fmt.Sprintf("OPENPGP:%X", who.PrimaryKey.Fingerprint)
			return Signer{Principal: s.principal, KeyType: "openpgp", Fingerprint: fingerprint}, nil
		}
		if !errors.Is(err, pgperrors.ErrUnknownIssuer) {
			reason = fmt.Errorf("%w: openpgp key of %q: %w", ErrBadSignature, s.principal, clipped(err))
		}
	}
	return Signer{}, reason
}

// onePacket unwraps the armor and wants exactly one signature packet with a strong hash in it.
func onePacket(armored []byte) ([]byte, error) {
	block, err := armor.Decode(bytes.NewReader(armored))
	if err != nil {
		return nil, clipped(err)
	}
	var blob bytes.Buffer
	if _, err := blob.ReadFrom(block.Body); err != nil {
		return nil, clipped(err)
	}
	packets := packet.NewReader(bytes.NewReader(blob.Bytes()))
	first, err := packets.Next()
	if err != nil {
		return nil, clipped(err)
	}
	sig, ok := first.(*packet.Signature)
	if !ok {
		return nil, errors.New("openpgp: not a signature packet")
	}
	if _, err := packets.Next(); err == nil {
		return nil, errors.New("openpgp: more than one packet: want one signature")
	}
	if sig.SigType != packet.SigTypeBinary {
		return nil, fmt.Errorf("openpgp: signature type %d: want a signature of a document", sig.SigType)
	}
	if !strongHash(sig.Hash.String()) {
		return nil, fmt.Errorf("openpgp: hash %s: want SHA-256 or longer", sig.Hash)
	}
	return blob.Bytes(), nil
}

func strongHash(name string) bool {
	return slices.Contains([]string{"SHA-256", "SHA-384", "SHA-512", "SHA3-256", "SHA3-512"}, name)
}

// pgpMaySign wants every key of who that can sign to be a strong one.
func pgpMaySign(who *openpgp.Entity) error {
	keys := []*packet.PublicKey{who.PrimaryKey}
	for _, sub := range who.Subkeys {
		keys = append(keys, sub.PublicKey)
	}
	for _, key := range keys {
		switch key.PubKeyAlgo {
		case packet.PubKeyAlgoRSA, packet.PubKeyAlgoRSASignOnly:
			if bits, err := key.BitLength(); err != nil || bits < minRSABits {
				return fmt.Errorf("key %s: rsa shorter than %d bits", key.KeyIdString(), minRSABits)
			}
		case packet.PubKeyAlgoDSA:
			return fmt.Errorf("key %s: dsa", key.KeyIdString())
		default: // elliptic curves, and keys that cannot sign
		}
	}
	return nil
}

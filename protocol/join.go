package protocol

import (
	"encoding/base64"
	"strings"
)

// JoinToken lets an agent join. It carries the digest of the hub's CA certificate, so
// that the very first connection is already pinned.
type JoinToken struct {
	ID     []byte `cbor:"1,keyasint"` // 8 bytes; the hub's name for it
	Secret []byte `cbor:"2,keyasint"` // 16 bytes; the hub keeps only its digest
	CA     Digest `cbor:"3,keyasint"` // of the CA certificate, DER
}

const joinTokenPrefix = "stavily-join-"

// String returns the token as people carry it: a prefix that secret scanners can
// know, and base64url.
func (t JoinToken) String() string {
	return joinTokenPrefix + base64.RawURLEncoding.EncodeToString(MustMarshal(t))
}

// ParseJoinToken reads what String writes. The error has CodeBadInput and does not
// repeat the token.
func ParseJoinToken(s string) (JoinToken, error) {
	var t JoinToken
	text, ok := strings.CutPrefix(strings.TrimSpace(s), joinTokenPrefix)
	if !ok {
		return t, Errorf(CodeBadInput, "join token: want it to begin with %q", joinTokenPrefix)
	}
	b, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		return t, Errorf(CodeBadInput, "join token: cut off or mistyped: %w", err)
	}
	if err := UnmarshalExact(b, &t); err != nil {
		return JoinToken{}, Errorf(CodeBadInput, "join token: cut off or mistyped: %w", err)
	}
	if len(t.ID) != 8 || len(t.Secret) != 16 {
		return JoinToken{}, Errorf(CodeBadInput, "join token: id of %d and secret of %d bytes, want 8 and 16",
			len(t.ID), len(t.Secret))
	}
	if t.String() != joinTokenPrefix+text { // the decoder passes over line ends and spare bits
		return JoinToken{}, Errorf(CodeBadInput, "join token: mistyped: its last character, or a line end in it")
	}
	return t, nil
}

// JoinRequest is the one message that an agent sends on an ALPNJoin connection. With
// a token it asks for an identity; with Renew it asks for a new certificate for the
// identity of the client certificate that it connected with, expired or not.
type JoinRequest struct {
	TokenID []byte  `cbor:"1,keyasint,omitempty"`
	Secret  []byte  `cbor:"2,keyasint,omitempty"`
	Address Address `cbor:"3,keyasint"` // Site may be empty: the token's
	CSR     []byte  `cbor:"4,keyasint"` // PKCS #10, DER; P-256; its names are ignored
	Device  Device  `cbor:"5,keyasint"`
	Renew   bool    `cbor:"6,keyasint,omitempty"`
}

// JoinReply is the hub's one answer: Error, or all that an agent needs for ever.
type JoinReply struct {
	Error       *Error  `cbor:"1,keyasint,omitempty"`
	Address     Address `cbor:"2,keyasint"`
	Epoch       uint64  `cbor:"3,keyasint"`
	Certificate []byte  `cbor:"4,keyasint,omitempty"` // the agent's, DER
	CA          []byte  `cbor:"5,keyasint,omitempty"` // the hub's, DER
	Root        []byte  `cbor:"6,keyasint,omitempty"` // root seal key, 32 bytes
	Keyring     []byte  `cbor:"7,keyasint,omitempty"` // sealed with ContextKeyring
	Time        int64   `cbor:"8,keyasint"`           // ms since 1970, by the hub's clock
}

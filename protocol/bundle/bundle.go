// Package bundle is the file in which a hub and an agent without a line are carried to
// each other by hand: the same sealed documents, files by digest and batches of records
// that the line carries, one behind the other.
//
// Nothing in a bundle is believed for standing there. What a hub says is sealed by its
// keys, files are named by what is sealed, and what an agent says is signed by the key of
// its identity: see SPEC.md, section 13. The digests here find what a bad medium broke.
package bundle

import (
	"github.com/stavily/stavily/protocol"
)

// Magic begins every bundle.
const Magic = "STAVBND1"

// The bounds of a bundle.
const (
	// EntriesMax bounds the entries: some thousand agents of a site.
	EntriesMax = 16384
	// SizeMax bounds a bundle in bytes.
	SizeMax = 2 << 30
	// headMax bounds a header and an entry's head in bytes.
	headMax = 1024
)

// Direction is which way a bundle goes.
type Direction uint8

// The directions.
const (
	ToSite    Direction = 1 // a hub's, for the agents of a site
	FromAgent Direction = 2 // an agent's, for its hub
)

// Header says what a bundle is for. It finds mistakes early and proves nothing.
type Header struct {
	Direction Direction       `cbor:"1,keyasint"`
	Hub       protocol.Digest `cbor:"2,keyasint"` // of the hub's public root key
	Site      protocol.Site   `cbor:"3,keyasint"`
	Time      int64           `cbor:"4,keyasint"` // ms since 1970, anybody's word
	// Agent is who a bundle FromAgent is of, Epoch its enrolment and Identity the public key
	// of its certificate, PKIX.
	Agent    protocol.AgentName `cbor:"5,keyasint,omitempty"`
	Epoch    uint64             `cbor:"6,keyasint,omitempty"`
	Identity []byte             `cbor:"7,keyasint,omitempty"`
}

// Kind is what an entry is.
type Kind uint8

// The kinds of entries. Those above Wish are unknown and passed over.
const (
	End      Kind = 1  // the last: how many there were, and their digest
	File     Kind = 2  // an artifact or sealed release, by digest
	Desired  Kind = 3  // a sealed desired document, for To
	Moment   Kind = 4  // a sealed Moment
	Keyring  Kind = 5  // the sealed keyring
	Secrets  Kind = 6  // a SecretsReply, for To
	Acks     Kind = 7  // sealed protocol.Acks, for To
	Reported Kind = 8  // protocol.Reported
	Records  Kind = 9  // protocol.Batch
	Wish     Kind = 10 // protocol.SecretsWish
)

var kindNames = [...]string{
	"unknown", "end", "file", "desired", "moment", "keyring", "secrets", "acks", "reported", "records", "wish",
}

// String returns the kind's name.
func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return kindNames[0]
}

// longest returns how many bytes an entry of that kind may have.
func (k Kind) longest() int64 {
	switch k {
	case File:
		return protocol.ArtifactMax
	case Desired, Keyring:
		return protocol.DocumentMax
	case End:
		return headMax
	case Moment, Secrets, Acks, Reported, Records, Wish:
		return protocol.MessageMax
	default:
		return protocol.ArtifactMax
	}
}

// Entry is one thing in a bundle.
type Entry struct {
	Kind   Kind             `cbor:"1,keyasint"`
	Digest protocol.Digest  `cbor:"2,keyasint"` // of the content
	Size   int64            `cbor:"3,keyasint"` // of the content, bytes
	To     protocol.Address `cbor:"4,keyasint,omitzero"`

	// At is where the content begins, bytes from the beginning of the bundle.
	At int64 `cbor:"-"`
}

// ending is the content of the entry End.
type ending struct {
	Entries uint64 `cbor:"1,keyasint"` // before this one
	// Digest is that of all bytes before this entry's head.
	Digest protocol.Digest `cbor:"2,keyasint"`
	// Signature is Header.Identity's ECDSA signature of Claim, ASN.1; FromAgent only.
	Signature []byte `cbor:"3,keyasint,omitempty"`
}

// Claim returns what an agent signs of its bundle: its name, its enrolment and the digest
// of all of it.
func Claim(h *Header, all protocol.Digest) []byte {
	return protocol.MustMarshal([]any{"stavily-bundle/1", string(h.Site), string(h.Agent), h.Epoch, all[:]})
}

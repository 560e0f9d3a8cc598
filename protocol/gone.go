package protocol

import (
	"bytes"
	"cmp"
)

// Gone is an agent that is no part of its site any more, though the hub's CA once signed its key.
// A gateway, which does not ask the hub, lets it in no more.
type Gone struct {
	Agent AgentName `cbor:"1,keyasint" json:"agent"`
	Key   Digest    `cbor:"2,keyasint" json:"key"` // of its certificate's SubjectPublicKeyInfo
}

// Compare orders by agent, then key.
func (g Gone) Compare(other Gone) int {
	return cmp.Or(cmp.Compare(g.Agent, other.Agent), bytes.Compare(g.Key[:], other.Key[:]))
}

// CheckGone holds a document's list against what each receiver relies on. The error has
// CodeLimit, CodeBadName or CodeBadMessage.
func CheckGone(all []Gone) error {
	if len(all) > GoneMax {
		return Errorf(CodeLimit, "desired: %d agents gone, limit GoneMax %d", len(all), GoneMax)
	}
	for i, g := range all {
		if err := g.Agent.Check(); err != nil {
			return err
		}
		if i > 0 && all[i-1].Compare(g) >= 0 {
			return Errorf(CodeBadMessage, "desired: agents gone not in ascending order")
		}
	}
	return nil
}

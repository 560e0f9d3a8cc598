package fleet

import (
	"time"

	"github.com/stavily/stavily/hub/store"
	"github.com/stavily/stavily/protocol"
)

// Desired names the newest desired document of an agent; revision 0 is none.
type Desired struct {
	Revision uint64          `json:"revision"`
	Digest   protocol.Digest `json:"digest"` // of the sealed document
	Size     int64           `json:"size"`   // of the sealed document, bytes
	Issued   time.Time       `json:"issued"`
	// Content is the digest of what the document asks, whatever its revision and time:
	// two documents that ask the same have the same.
	Content protocol.Digest `json:"-"`
}

// SetDesired keeps a new sealed desired document for an agent, in place of the one
// before. Revisions only rise: the error has CodeStale for one at or below the newest,
// CodeNotFound for an unknown agent. d.Digest and d.Size follow from sealed.
func SetDesired(tx *store.Tx, name protocol.AgentName, d Desired, sealed []byte) error {
	digest := protocol.DigestOf(sealed)
	n, err := store.Changed(tx.Exec(`UPDATE agent SET desired_revision = ?, desired_digest = ?, desired_size = ?,
		desired_issued = ?, desired_content = ? WHERE name = ? AND desired_revision < ?`, store.Signed(d.Revision),
		digest[:], len(sealed), store.Millis(d.Issued), d.Content[:], name, store.Signed(d.Revision)))
	if err != nil {
		return err
	}
	if n == 0 {
		return notAbove(tx, name, d.Revision)
	}
	_, err = tx.Exec(`INSERT INTO agent_desired (agent, sealed) VALUES (?, ?)
		ON CONFLICT (agent) DO UPDATE SET sealed = excluded.sealed`, name, sealed)
	return err
}

// notAbove says why no row took a revision.
func notAbove(tx *store.Tx, name protocol.AgentName, revision uint64) error {
	a, err := Get(tx, name)
	if err != nil {
		return err
	}
	return protocol.Errorf(protocol.CodeStale, "agent %q: desired revision %d is not above %d", name, revision,
		a.Desired.Revision)
}

// Document returns the newest sealed desired document of an agent; CodeNotFound when it
// has none.
func Document(tx *store.Tx, name protocol.AgentName) ([]byte, error) {
	var sealed []byte
	err := tx.QueryRow("SELECT sealed FROM agent_desired WHERE agent = ?", name).Scan(&sealed)
	if store.None(err) {
		return nil, protocol.Errorf(protocol.CodeNotFound, "agent %q: no desired document", name)
	}
	return sealed, err
}

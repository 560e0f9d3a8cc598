package fleet

import (
	"time"

	"github.com/stavily/stavily/hub/store"
	"github.com/stavily/stavily/protocol"
)

// SetGateway says whether an agent may carry for its site; CodeNotFound when there is none of
// that name.
func SetGateway(tx *store.Tx, name protocol.AgentName, gateway bool) error {
	n, err := store.Changed(tx.Exec("UPDATE agent SET gateway = ? WHERE name = ?", gateway, name))
	return changed(n, err, name)
}

// IsGateway reports whether the agent at an address may carry for its site.
func IsGateway(tx *store.Tx, at protocol.Address) (bool, error) {
	var gateway bool
	err := tx.QueryRow("SELECT gateway FROM agent WHERE name = ? AND site = ? AND revoked = 0", at.Agent,
		at.Site).Scan(&gateway)
	if store.None(err) {
		return false, nil
	}
	return gateway, err
}

// Gateways returns the agents that may carry for a site, by name.
func Gateways(tx *store.Tx, site protocol.Site) ([]Agent, error) {
	rows, err := tx.Query(`SELECT name FROM agent WHERE gateway = 1 AND revoked = 0 AND site = ?
		ORDER BY name`, site)
	names, err := store.Collect(rows, err, func(row store.Scanner) (name protocol.AgentName, err error) {
		return name, row.Scan(&name)
	})
	out := make([]Agent, 0, len(names))
	for _, name := range names {
		a, err := Get(tx, name)
		if err != nil {
			return nil, err
		}
		out = append(out, a)
	}
	return out, err
}

// OfflineBy says that no agent is connected by a gateway any more, which is gone.
func OfflineBy(tx *store.Tx, gateway protocol.Address, now time.Time) error {
	_, err := tx.Exec("UPDATE agent SET online = 0, since = ? WHERE online = 1 AND via = ? AND site = ?",
		store.Millis(now), gateway.Agent, gateway.Site)
	return err
}

package fleet

import (
	"fmt"
	"time"

	"github.com/stavily/stavily/hub/store"
	"github.com/stavily/stavily/protocol"
)

// Enrolment is what makes an agent.
type Enrolment struct {
	Address  protocol.Address
	Device   protocol.Device
	Identity Identity
	Labels   map[string]string // the operator's first; may be nil
	Time     time.Time
	Gateway  bool // it may carry for its site
}

// Enrol adds an agent and returns the epoch of its enrolment: one above that of any
// agent that ever had the name, so that nothing that was meant for another device
// reaches this one (T-01). The error has CodeExists when the name is taken.
func Enrol(tx *store.Tx, e Enrolment) (epoch uint64, err error) {
	if err := e.check(); err != nil {
		return 0, err
	}
	name := e.Address.Agent
	var site protocol.Site
	err = tx.QueryRow("SELECT site FROM agent WHERE name = ?", name).Scan(&site)
	if err == nil {
		return 0, protocol.Errorf(protocol.CodeExists, "enrol %s: agent %q is enrolled already, at site %q; "+
			"if its device is gone, remove it first: stavily agent remove %s", e.Address, name, site, name)
	}
	if !store.None(err) {
		return 0, err
	}
	if epoch, err = NextEpoch(tx, name); err != nil {
		return 0, err
	}
	_, err = tx.Exec(`INSERT INTO agent_epoch (name, epoch) VALUES (?, ?)
		ON CONFLICT (name) DO UPDATE SET epoch = excluded.epoch`, name, store.Signed(epoch))
	if err != nil {
		return 0, err
	}
	at := store.Millis(e.Time)
	_, err = tx.Exec(`INSERT INTO agent (name, site, epoch, device, key_fingerprint, cert_serial, cert_not_after,
		enrolled, revoked, online, boot, session, since, last_seen, reported_boot, reported_sequence,
		desired_revision, desired_size, desired_issued, gateway)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, 0, 0, 0, 0, ?, ?, 0, 0, 0, 0, 0, ?)`,
		name, e.Address.Site, store.Signed(epoch), protocol.MustMarshal(e.Device), e.Identity.KeyFingerprint,
		e.Identity.Serial, store.Millis(e.Identity.NotAfter), at, at, at, e.Gateway)
	if err != nil {
		return 0, err
	}
	if err := comes(tx, e.Address, e.Identity.KeyFingerprint); err != nil {
		return 0, err
	}
	if err := putLabels(tx, name, originOperator, e.Labels); err != nil {
		return 0, err
	}
	return epoch, putLabels(tx, name, originDevice, e.Device.Labels)
}

func (e *Enrolment) check() error {
	if err := e.Address.Check(); err != nil {
		return fmt.Errorf("enrol: %w", err)
	}
	for _, labels := range []map[string]string{e.Labels, e.Device.Labels} {
		if err := checkLabels(labels); err != nil {
			return fmt.Errorf("enrol %s: %w", e.Address, err)
		}
	}
	return nil
}

// NextEpoch returns the epoch that Enrol would give the name.
func NextEpoch(tx *store.Tx, name protocol.AgentName) (uint64, error) {
	var last int64
	err := tx.QueryRow("SELECT epoch FROM agent_epoch WHERE name = ?", name).Scan(&last)
	if err != nil && !store.None(err) {
		return 0, err
	}
	return store.Unsigned(last) + 1, nil
}

// Remove forgets an agent and all that was desired of it; CodeNotFound when there is
// none. Its name is free again; its epoch is never used again.
func Remove(tx *store.Tx, name protocol.AgentName) error {
	if err := goes(tx, name); err != nil {
		return err
	}
	n, err := store.Changed(tx.Exec("DELETE FROM agent WHERE name = ?", name))
	return changed(n, err, name)
}

// SetIdentity keeps the certificate that an agent renewed to.
func SetIdentity(tx *store.Tx, name protocol.AgentName, id Identity) error {
	n, err := store.Changed(tx.Exec(`UPDATE agent SET key_fingerprint = ?, cert_serial = ?, cert_not_after = ?
		WHERE name = ?`, id.KeyFingerprint, id.Serial, store.Millis(id.NotAfter), name))
	return changed(n, err, name)
}

// SetRevoked says whether the hub turns the agent away. What it does on its own goes
// on: the hub may refuse the line, never the plant.
func SetRevoked(tx *store.Tx, name protocol.AgentName, revoked bool) error {
	n, err := store.Changed(tx.Exec("UPDATE agent SET revoked = ? WHERE name = ?", revoked, name))
	return changed(n, err, name)
}

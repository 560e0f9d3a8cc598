package fleet

import (
	"cmp"
	"encoding/hex"
	"errors"
	"slices"
	"strings"

	"github.com/stavily/stavily/hub/store"
	"github.com/stavily/stavily/protocol"
)

// bookGone holds the agents that were removed, by site, name and fingerprint of their key, and
// when their certificates end: until long after that a gateway without the hub would let them in.
const bookGone = "gone"

func goneKey(a protocol.Address, fingerprint string) string { return a.String() + "/" + fingerprint }

// Gone returns the agents that are no part of a site any more though they have keys that the CA
// once signed: those that were removed, the newest GoneMax of them by the ends of their
// certificates, and those that are revoked. They are in ascending order.
func Gone(tx *store.Tx, site protocol.Site) ([]protocol.Gone, error) {
	entries, err := tx.Entries(bookGone)
	if err != nil {
		return nil, err
	}
	type gone struct {
		protocol.Gone
		until int64
	}
	var all []gone
	for _, e := range entries {
		parts := strings.Split(e.Key, "/")
		if len(parts) != 3 || parts[0] != string(site) {
			continue
		}
		g := gone{Gone: protocol.Gone{Agent: protocol.AgentName(parts[1])}}
		key, err := hex.DecodeString(parts[2])
		if err = errors.Join(err, protocol.Unmarshal(e.Value, &g.until)); err != nil || len(key) != len(g.Key) {
			return nil, protocol.Errorf(protocol.CodeStorage, "%s %q: not readable: %w", e.Book, e.Key, err)
		}
		g.Key = protocol.Digest(key)
		all = append(all, g)
	}
	rows, err := tx.Query(`SELECT name, key_fingerprint, cert_not_after FROM agent
		WHERE revoked = 1 AND site = ?`, site)
	revoked, err := store.Collect(rows, err, func(row store.Scanner) (g gone, err error) {
		var fingerprint string
		if err = row.Scan(&g.Agent, &fingerprint, &g.until); err != nil {
			return g, err
		}
		return g, g.Key.UnmarshalText([]byte(fingerprint))
	})
	if err != nil {
		return nil, err
	}
	all = append(all, revoked...)
	slices.SortFunc(all, func(a, b gone) int { return cmp.Or(cmp.Compare(b.until, a.until), a.Compare(b.Gone)) })
	out := make([]protocol.Gone, 0, len(all))
	for _, g := range all[:min(len(all), protocol.GoneMax)] {
		out = append(out, g.Gone)
	}
	slices.SortFunc(out, protocol.Gone.Compare)
	return out, nil
}

// goes notes that an agent is about to be removed.
func goes(tx *store.Tx, name protocol.AgentName) error {
	var a protocol.Address
	var fingerprint string
	var until int64
	err := tx.QueryRow("SELECT site, name, key_fingerprint, cert_not_after FROM agent WHERE name = ?", name).
		Scan(&a.Site, &a.Agent, &fingerprint, &until)
	if store.None(err) {
		return nil
	}
	if err != nil || len(fingerprint) != 2*len(protocol.Digest{}) {
		return err
	}
	return tx.PutEntry(store.Entry{
		Book: bookGone, Key: goneKey(a, fingerprint), Value: protocol.MustMarshal(until),
	})
}

// IsGone reports whether an agent with this key was removed.
func IsGone(tx *store.Tx, a protocol.Address, fingerprint string) (bool, error) {
	_, err := tx.Entry(bookGone, goneKey(a, fingerprint))
	if protocol.CodeOf(err) == protocol.CodeNotFound {
		return false, nil
	}
	return err == nil, err
}

// comes forgets that an agent with this key was removed: it is back.
func comes(tx *store.Tx, a protocol.Address, fingerprint string) error {
	err := tx.DropEntry(bookGone, goneKey(a, fingerprint))
	if protocol.CodeOf(err) == protocol.CodeNotFound {
		return nil
	}
	return err
}

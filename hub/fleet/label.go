package fleet

import (
	"maps"
	"slices"
	"strings"

	"github.com/stavily/stavily/hub/store"
	"github.com/stavily/stavily/protocol"
)

// Who gave a label. Where both gave one of the same key, the operator's holds: a device
// may describe itself but not choose its place.
const (
	originOperator = "operator"
	originDevice   = "device"
)

const (
	// labelKeyMax and labelValueMax bound a label in bytes.
	labelKeyMax   = 64
	labelValueMax = 256
)

// SetLabel gives an agent the operator's label, or takes it away when value is empty.
// The error has CodeNotFound, CodeBadName for a bad key, or CodeLimit over LabelsMax.
func SetLabel(tx *store.Tx, name protocol.AgentName, key, value string) error {
	a, err := Get(tx, name)
	if err != nil {
		return err
	}
	if value == "" {
		_, err := tx.Exec("DELETE FROM agent_label WHERE agent = ? AND name = ? AND origin = 'operator'", name, key)
		return err
	}
	a.Labels[key] = value
	if err := checkLabels(a.Labels); err != nil {
		return err
	}
	return putLabels(tx, name, originOperator, map[string]string{key: value})
}

// ByLabels returns, by name, the agents on which every one of the labels holds; all
// agents for no labels.
func ByLabels(tx *store.Tx, labels map[string]string) ([]Agent, error) {
	all, err := List(tx)
	if err != nil || len(labels) == 0 {
		return all, err
	}
	fits := map[protocol.AgentName]int{}
	for _, key := range slices.Sorted(maps.Keys(labels)) {
		rows, err := tx.Query(`SELECT l.agent FROM agent_label l WHERE l.name = ? AND l.value = ? AND (l.origin =
			'operator' OR NOT EXISTS (SELECT 1 FROM agent_label o WHERE o.agent = l.agent AND o.name = l.name
			AND o.origin = 'operator'))`, key, labels[key])
		names, err := store.Collect(rows, err, func(row store.Scanner) (name protocol.AgentName, err error) {
			return name, row.Scan(&name)
		})
		if err != nil {
			return nil, err
		}
		for _, name := range names {
			fits[name]++
		}
	}
	return slices.DeleteFunc(all, func(a Agent) bool { return fits[a.Address.Agent] < len(labels) }), nil
}

// checkLabels returns an error for the first label, by key, that is out of bounds.
func checkLabels(labels map[string]string) error {
	if len(labels) > protocol.LabelsMax {
		return protocol.Errorf(protocol.CodeLimit, "%d labels, limit %d", len(labels), protocol.LabelsMax)
	}
	for _, key := range slices.Sorted(maps.Keys(labels)) {
		if bad := strings.IndexFunc(key, func(r rune) bool { return !isKeyRune(r) }); bad >= 0 || key == "" {
			return protocol.Errorf(protocol.CodeBadName, "label %q: want a-z, A-Z, 0-9, '-', '_', '.' or '/'", key)
		}
		if len(key) > labelKeyMax || len(labels[key]) > labelValueMax {
			return protocol.Errorf(protocol.CodeLimit,
				"label %.64q: %d bytes of key and %d of value, limits %d and %d",
				key, len(key), len(labels[key]), labelKeyMax, labelValueMax)
		}
	}
	return nil
}

func isKeyRune(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' ||
		strings.ContainsRune("-_./", r)
}

func putLabels(tx *store.Tx, name protocol.AgentName, origin string, labels map[string]string) error {
	for _, key := range slices.Sorted(maps.Keys(labels)) {
		_, err := tx.Exec(`INSERT INTO agent_label (agent, name, origin, value) VALUES (?, ?, ?, ?)
			ON CONFLICT (agent, name, origin) DO UPDATE SET value = excluded.value`, name, key, origin, labels[key])
		if err != nil {
			return err
		}
	}
	return nil
}

// HasLabel reports whether any agent has a label of that key.
func HasLabel(tx *store.Tx, key string) (bool, error) {
	n := 0
	err := tx.QueryRow("SELECT count(*) FROM (SELECT 1 FROM agent_label WHERE name = ? LIMIT 1)", key).Scan(&n)
	return n > 0, err
}

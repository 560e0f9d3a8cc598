// Package fleet keeps what the hub knows of its agents: who they are and where, their
// labels, whether they are connected, what they are to do and what they say they do;
// and the tokens by which new ones join.
//
// Of two facts about one agent the newer holds, and newer is told by epoch, boot,
// session, sequence and revision, never by a clock.
package fleet

import (
	"time"

	"github.com/stavily/stavily/hub/store"
	"github.com/stavily/stavily/protocol"
)

// Agent is one agent of the fleet.
type Agent struct {
	Address protocol.Address `json:"address"`
	Epoch   uint64           `json:"epoch"` // of the enrolment; from 1, never the same twice for one name
	// Labels are the operator's, Device.Labels the device's own; see Label.
	Labels   map[string]string  `json:"labels"`
	Device   protocol.Device    `json:"device"`
	Identity Identity           `json:"identity"`
	Enrolled time.Time          `json:"enrolled"`
	Revoked  bool               `json:"revoked"`
	Gateway  bool               `json:"gateway,omitempty"` // it may carry for its site
	Presence Presence           `json:"presence"`
	LastSeen time.Time          `json:"last_seen"` // when the hub heard of it last
	Reported *protocol.Reported `json:"reported,omitempty"`
	Desired  Desired            `json:"desired"`
}

// Identity is the certificate that an agent has.
type Identity struct {
	KeyFingerprint string    `json:"key_fingerprint"`
	Serial         string    `json:"serial"`
	NotAfter       time.Time `json:"not_after"`
}

// Presence is whether an agent is connected, and since when.
type Presence struct {
	Online  bool   `json:"online"`
	Boot    uint64 `json:"boot"`
	Session uint64 `json:"session"`
	// Via is the gateway by which it is, or was; empty for its own line.
	Via   protocol.AgentName `json:"via,omitempty"`
	Since time.Time          `json:"since"`
}

// Label returns the value that holds for key: the operator's, or else the device's.
func (a *Agent) Label(key string) (value string, ok bool) {
	if value, ok = a.Labels[key]; ok {
		return value, true
	}
	value, ok = a.Device.Labels[key]
	return value, ok
}

// AllLabels returns every label that holds, as Label does.
func (a *Agent) AllLabels() map[string]string {
	all := make(map[string]string, len(a.Labels)+len(a.Device.Labels))
	for key, value := range a.Device.Labels {
		all[key] = value
	}
	for key, value := range a.Labels {
		all[key] = value
	}
	return all
}

// RevisionMax bounds the revisions that an agent is believed to hold, so that there is
// always one above.
const RevisionMax = 1 << 62

// Ahead reports whether the agent holds a revision that the books do not know, as after they
// were put back from a backup: it would refuse what the hub has for it, and whether the hub
// is right is for a person to say.
func (a *Agent) Ahead() bool {
	r := a.Reported
	return r != nil && r.Revision > 0 && r.Revision < RevisionMax && r.Revision >= a.Desired.Revision &&
		r.Digest != a.Desired.Digest
}

const agentColumns = `name, site, epoch, device, key_fingerprint, cert_serial, cert_not_after, enrolled,
	revoked,
	online, boot, session, since, last_seen, reported, desired_revision, desired_digest, desired_size,
	desired_issued, desired_content, gateway, via`

// Get returns the agent of that name; CodeNotFound when there is none.
func Get(tx *store.Tx, name protocol.AgentName) (Agent, error) {
	a, err := scanAgent(tx.QueryRow("SELECT "+agentColumns+" FROM agent WHERE name = ?", name))
	if store.None(err) {
		return Agent{}, notFound(name)
	}
	if err != nil {
		return Agent{}, err
	}
	rows, err := tx.Query(`SELECT agent, name, value FROM agent_label
		WHERE origin = 'operator' AND agent = ?`, name)
	labels, err := store.Collect(rows, err, scanLabel)
	for _, l := range labels {
		a.Labels[l.key] = l.value
	}
	return a, err
}

// List returns all agents by name.
func List(tx *store.Tx) ([]Agent, error) {
	rows, err := tx.Query("SELECT " + agentColumns + " FROM agent ORDER BY name")
	agents, err := store.Collect(rows, err, scanAgent)
	if err != nil {
		return nil, err
	}
	rows, err = tx.Query("SELECT agent, name, value FROM agent_label WHERE origin = 'operator' ORDER BY agent")
	labels, err := store.Collect(rows, err, scanLabel)
	if err != nil {
		return nil, err
	}
	at := 0 // both lists are in the order of names
	for _, l := range labels {
		for agents[at].Address.Agent != l.agent {
			at++
		}
		agents[at].Labels[l.key] = l.value
	}
	return agents, nil
}

// Count returns how many agents there are and how many of them are connected.
func Count(tx *store.Tx) (all, online int, err error) {
	err = tx.QueryRow("SELECT count(*), coalesce(sum(online), 0) FROM agent").Scan(&all, &online)
	return all, online, err
}

type label struct {
	agent      protocol.AgentName
	key, value string
}

func scanLabel(row store.Scanner) (label, error) {
	var l label
	return l, row.Scan(&l.agent, &l.key, &l.value)
}

func scanAgent(row store.Scanner) (Agent, error) {
	a := Agent{Labels: map[string]string{}}
	var device, reported []byte
	var epoch, notAfter, enrolled, boot, session, since, seen, revision, issued int64
	err := row.Scan(&a.Address.Agent, &a.Address.Site, &epoch, &device, &a.Identity.KeyFingerprint,
		&a.Identity.Serial, &notAfter, &enrolled, &a.Revoked, &a.Presence.Online, &boot, &session, &since, &seen,
		&reported, &revision, store.DigestColumn{To: &a.Desired.Digest}, &a.Desired.Size, &issued,
		store.DigestColumn{To: &a.Desired.Content}, &a.Gateway, &a.Presence.Via)
	if err != nil {
		return Agent{}, err
	}
	a.Epoch, a.Desired.Revision = store.Unsigned(epoch), store.Unsigned(revision)
	a.Presence.Boot, a.Presence.Session = store.Unsigned(boot), store.Unsigned(session)
	a.Presence.Since, a.LastSeen = store.Time(since), store.Time(seen)
	a.Identity.NotAfter, a.Enrolled, a.Desired.Issued = store.Time(notAfter), store.Time(enrolled),
		store.Time(issued)
	if err := protocol.Unmarshal(device, &a.Device); err != nil {
		return Agent{}, protocol.Errorf(protocol.CodeStorage, "agent %q: device: %w", a.Address.Agent, err)
	}
	if len(reported) == 0 {
		return a, nil
	}
	a.Reported = &protocol.Reported{}
	if err := protocol.Unmarshal(reported, a.Reported); err != nil {
		return Agent{}, protocol.Errorf(protocol.CodeStorage, "agent %q: reported: %w", a.Address.Agent, err)
	}
	return a, nil
}

func notFound(name protocol.AgentName) error {
	return protocol.Errorf(protocol.CodeNotFound, "agent %q: not found", name)
}

// changed turns a statement that met no agent into its error.
func changed(n int64, err error, name protocol.AgentName) error {
	if err == nil && n == 0 {
		return notFound(name)
	}
	return err
}

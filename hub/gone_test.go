package hub

import (
	"slices"
	"testing"
	"time"

	"github.com/stavily/stavily/hub/api"
	"github.com/stavily/stavily/hub/fleet"
	"github.com/stavily/stavily/hub/store"
	"github.com/stavily/stavily/protocol"
)

// S-12: the gateways of a site hear, sealed and in revisions that only rise, which of its agents
// are gone; one that comes back is not among them, nor one of another site.
func TestGatewaysHearWhoIsGone(t *testing.T) {
	w := newWorld(t)
	w.enrol("gw-1", nil)
	pump, other := w.enrol("pump", nil), w.enrol("valve", nil)
	gone := func(d *device) protocol.Gone {
		return protocol.Gone{Agent: d.at.Agent, Key: protocol.DigestOf(d.cert.RawSubjectPublicKeyInfo)}
	}
	remove := func(name protocol.AgentName) {
		t.Helper()
		_, err := w.hub.Remove(w.now, name)
		check(t, err)
	}
	revision := uint64(0)
	wants := func(want ...protocol.Gone) {
		t.Helper()
		doc := w.desired("gw-1")
		if !slices.Equal(doc.Gone, want) || doc.Revision <= revision {
			t.Errorf("revision %d after %d, gone %v, want %v", doc.Revision, revision, doc.Gone, want)
		}
		revision = doc.Revision
	}
	remove("pump")
	_, err := w.hub.SetGateway(w.now, "gw-1", true) // it learns of those before
	check(t, err)
	wants(gone(pump))
	remove("valve")
	wants(gone(pump), gone(other))
	second := w.enrol("pump", nil) // another device
	if err := w.hub.Operate(func(tx *store.Tx) error { return fleet.SetRevoked(tx, "pump", true) }); err != nil {
		t.Fatal(err)
	}
	token := w.token(api.NewToken{Site: "lab", Count: 1, TTL: time.Hour})
	reply := w.hub.Join(w.now, protocol.JoinRequest{
		TokenID: token.ID, Secret: token.Secret, Address: protocol.Address{Agent: "valve"}, CSR: other.csr(t),
		Device: protocol.Device{Platform: "linux/amd64"},
	}, nil)
	if reply.Error != nil {
		t.Fatal(reply.Error)
	}
	both := []protocol.Gone{gone(pump), gone(second)}
	slices.SortFunc(both, protocol.Gone.Compare)
	wants(both...)
	token = w.token(api.NewToken{Site: "oslo", Count: 1, TTL: time.Hour, Gateway: true})
	reply = w.hub.Join(w.now, protocol.JoinRequest{
		TokenID: token.ID, Secret: token.Secret, Address: protocol.Address{Agent: "gw-2"}, CSR: newDevice(t).csr(t),
		Device: protocol.Device{Platform: "linux/amd64"},
	}, nil)
	if reply.Error != nil {
		t.Fatal(reply.Error)
	}
	if a := look(w, func(tx *store.Tx) (fleet.Agent, error) { return fleet.Get(tx, "gw-2") }); a.Desired.Revision != 0 {
		t.Errorf("another site's gateway was sent %v", w.desired("gw-2").Gone)
	}
}

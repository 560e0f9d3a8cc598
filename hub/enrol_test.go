package hub

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"testing"
	"time"

	"github.com/stavily/stavily/hub/api"
	"github.com/stavily/stavily/hub/fleet"
	"github.com/stavily/stavily/hub/store"
	"github.com/stavily/stavily/protocol"
)

func (w *world) agents() []fleet.Agent {
	w.Helper()
	return look(w, fleet.List)
}

// S-12: a token lets a device join, by a key that stays on it.
func TestJoin(t *testing.T) {
	w := newWorld(t)
	d := w.enrol("pump", map[string]string{"role": "gateway"})
	if d.at != (protocol.Address{Site: "lab", Agent: "pump"}) || d.Epoch != 1 || d.Time != day.UnixMilli() {
		t.Errorf("reply %+v", d.JoinReply)
	}
	of, err := protocol.IdentityOf(d.cert)
	if err != nil || of != d.at || !d.key.PublicKey.Equal(d.cert.PublicKey) {
		t.Errorf("certificate of %v, %v", of, err)
	}
	_, err = d.cert.Verify(x509.VerifyOptions{
		Roots: w.hub.ca.Pool(), CurrentTime: day, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	check(t, err)
	if ring, err := OpenKeyring(d.Root, d.Keyring); err != nil || len(ring.Keys) != 2 {
		t.Errorf("keyring %+v, %v", ring, err)
	}
	keys, err := w.hub.Admitted()
	if err != nil || keys[d.at] != fingerprint(d.cert) || len(keys) != 1 {
		t.Errorf("admitted %v, %v", keys, err)
	}
}

// Each refusal to join is said, changes nothing and spends no token.
func TestJoinRefuses(t *testing.T) {
	w := newWorld(t)
	w.enrol("pump", nil)
	token := w.token(api.NewToken{Site: "lab", Count: 1, TTL: time.Hour})
	named := w.token(api.NewToken{Site: "lab", Agent: "fan", Count: 1, TTL: time.Hour})
	old := w.token(api.NewToken{Site: "lab", Count: 1, TTL: time.Second})
	spent := w.token(api.NewToken{Site: "lab", Count: 1, TTL: time.Hour})
	use := func(t protocol.JoinToken, name protocol.AgentName, site protocol.Site) protocol.JoinRequest {
		return protocol.JoinRequest{
			TokenID: t.ID, Secret: t.Secret, Address: protocol.Address{Site: site, Agent: name}, CSR: newDevice(w).csr(w),
		}
	}
	if r := w.hub.Join(day, use(spent, "valve", ""), nil); r.Error != nil {
		t.Fatal(r.Error)
	}
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	check(t, err)
	big, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, p384)
	check(t, err)
	with := func(change func(*protocol.JoinRequest)) protocol.JoinRequest {
		r := use(token, "new", "")
		change(&r)
		return r
	}
	for _, c := range []struct {
		name string
		req  protocol.JoinRequest
		code protocol.Code
		want string
	}{
		{"unknown token", with(func(r *protocol.JoinRequest) { r.TokenID = []byte("12345678") }), protocol.CodeRefused, "not known to this hub"},
		{"no token", with(func(r *protocol.JoinRequest) { r.TokenID, r.Secret = nil, nil }), protocol.CodeRefused, "not known to this hub"},
		{"wrong secret", with(func(r *protocol.JoinRequest) { r.Secret = named.Secret }), protocol.CodeRefused, "wrong secret"},
		{"used up", use(spent, "new", ""), protocol.CodeRefused, "used up"},
		{"expired", use(old, "new", ""), protocol.CodeRefused, "expired on 2026-03-01 12:00:01"},
		{"name taken", use(token, "pump", ""), protocol.CodeExists, `agent "pump" is enrolled already, at site "lab"`},
		{"bad name", use(token, "Pump!", ""), protocol.CodeBadName, `agent name "Pump!"`},
		{"no name", use(token, "", ""), protocol.CodeBadName, "agent name"},
		{"another site", use(token, "new", "oslo"), protocol.CodeRefused, "the token is for site lab, the agent says site oslo"},
		{"another agent", use(named, "new", ""), protocol.CodeRefused, "the token is for agent fan, this one says it is new"},
		{"garbage for a request", with(func(r *protocol.JoinRequest) { r.CSR = []byte("csr") }), protocol.CodeBadMessage, "certificate request of lab/new"},
		{"nothing for a request", with(func(r *protocol.JoinRequest) { r.CSR = nil }), protocol.CodeBadMessage, "certificate request of lab/new"},
		{"signature broken", with(func(r *protocol.JoinRequest) { r.CSR[len(r.CSR)-1] ^= 1 }), protocol.CodeBadMessage, "certificate request of lab/new"},
		{"P-384", with(func(r *protocol.JoinRequest) { r.CSR = big }), protocol.CodeRefused, "want an ECDSA P-256 key"},
		{"bad label", with(func(r *protocol.JoinRequest) { r.Device.Labels = map[string]string{"a b": "c"} }), protocol.CodeBadName, `label "a b"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := w.hub.Join(day.Add(time.Minute), c.req, nil)
			if r.Error == nil {
				t.Fatal("it joined")
			}
			refused(t, r.Error, c.code, c.want)
			if r.Certificate != nil || r.CA != nil || r.Keyring != nil || r.Epoch != 0 {
				t.Errorf("a refusal tells %+v", r)
			}
			if got := w.agents(); len(got) != 2 {
				t.Errorf("agents %v", got)
			}
		})
	}
	// The token that was refused so often is good still.
	if r := w.hub.Join(day.Add(time.Minute), use(token, "new", "lab"), nil); r.Error != nil || r.Epoch != 1 {
		t.Errorf("got %+v", r)
	}
}

// An agent renews by the certificate it has, for as long as its site may be away.
func TestRenew(t *testing.T) {
	w := newWorld(t)
	other := newWorld(t)
	d, foreign := w.enrol("pump", nil), other.enrol("pump", nil)
	end := d.cert.NotAfter
	for _, c := range []struct {
		name string
		at   time.Time
		old  *x509.Certificate
		want string
	}{
		{"in its time", day.Add(time.Hour), d.cert, ""},
		{"over", end.Add(time.Hour), d.cert, ""},
		{"over for a year", end.Add(365 * 24 * time.Hour), d.cert, ""},
		{"over for too long", end.Add(renewalGrace + time.Second), d.cert, "too long ago; join again with a token"},
		{"no certificate", day, nil, "renew: no client certificate"},
		{"of another hub", day, foreign.cert, "renew: x509"},
		{"the authority's own", day, w.hub.ca.Certificate, "want 1 URI name"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := w.hub.Join(c.at, protocol.JoinRequest{Renew: true, CSR: d.csr(t)}, c.old)
			if c.want != "" {
				if r.Error == nil {
					t.Fatal("it renewed")
				}
				refused(t, r.Error, r.Error.Code, c.want)
				return
			}
			if r.Error != nil || r.Address != d.at || r.Epoch != 1 {
				t.Fatalf("got %+v, %v", r, r.Error)
			}
			cert, err := x509.ParseCertificate(r.Certificate)
			check(t, err)
			if !cert.NotAfter.After(c.at) || w.agents()[0].Identity.Serial != cert.SerialNumber.Text(16) {
				t.Errorf("until %v", cert.NotAfter)
			}
		})
	}
	if r := w.hub.Join(day, protocol.JoinRequest{Renew: true, CSR: []byte("x")}, d.cert); r.Error == nil {
		t.Error("renewed without a request")
	}
}

// T-01: a name that another device took over is not renewed for the one that had it.
func TestRenewRefusesTheDeviceBefore(t *testing.T) {
	w := newWorld(t)
	first := w.enrol("pump", nil)
	if _, err := w.hub.Remove(w.now, "pump"); err != nil {
		t.Fatal(err)
	}
	r := w.hub.Join(day, protocol.JoinRequest{Renew: true, CSR: first.csr(t)}, first.cert)
	if r.Error == nil {
		t.Fatal("a removed agent renewed")
	}
	refused(t, r.Error, protocol.CodeNotFound, `agent "pump"`)
	second := w.enrol("pump", nil)
	if second.Epoch != 2 {
		t.Errorf("epoch %d", second.Epoch)
	}
	if r = w.hub.Join(day, protocol.JoinRequest{Renew: true, CSR: first.csr(t)}, first.cert); r.Error == nil {
		t.Fatal("the device before renewed the name of the next one")
	}
	refused(t, r.Error, protocol.CodeRefused, "the certificate is of another device")
	keys, err := w.hub.Admitted()
	if err != nil || keys[second.at] != fingerprint(second.cert) {
		t.Errorf("admitted %v, %v", keys, err)
	}
	// So is one that was turned away.
	check(t, w.hub.Operate(func(tx *store.Tx) error { return fleet.SetRevoked(tx, "pump", true) }))
	if r = w.hub.Join(day, protocol.JoinRequest{Renew: true, CSR: second.csr(t)}, second.cert); r.Error == nil {
		t.Fatal("a revoked agent renewed")
	}
	if keys, _ = w.hub.Admitted(); len(keys) != 0 {
		t.Errorf("admitted %v", keys)
	}
}

func TestNewTokenRefuses(t *testing.T) {
	w := newWorld(t)
	for _, c := range []struct {
		wish api.NewToken
		want string
	}{
		{api.NewToken{Site: "", Count: 1, TTL: 1}, "site"},
		{api.NewToken{Site: "a/b", Count: 1, TTL: 1}, "site"},
		{api.NewToken{Site: "lab", Count: 0, TTL: 1}, "0 uses"},
		{api.NewToken{Site: "lab", Count: 1 << 20, TTL: 1}, "want 1 to"},
		{api.NewToken{Site: "lab", Count: 1, TTL: 0}, "valid for"},
		{api.NewToken{Site: "lab", Agent: "a", Count: 2, TTL: 1}, "for the one agent"},
	} {
		_, err := w.hub.NewToken(day, c.wish)
		refused(t, err, protocol.CodeOf(err), c.want)
	}
	// Tokens that are long over are forgotten.
	w.token(api.NewToken{Site: "lab", Count: 1, TTL: time.Hour})
	w.hub.Tick(day.Add(tokensKept))
	if got := look(w, fleet.Tokens); len(got) != 1 {
		t.Errorf("%d tokens", len(got))
	}
	w.hub.Tick(day.Add(tokensKept + 3*time.Hour))
	if got := look(w, fleet.Tokens); len(got) != 0 {
		t.Errorf("%d tokens", len(got))
	}
}

package hub

import (
	"crypto/x509"
	"testing"
	"time"

	"github.com/stavily/stavily/hub/api"
	"github.com/stavily/stavily/protocol"
)

// carries lets a gateway pass on what an agent said.
func (w *world) carries(by, from *device, kind protocol.Kind, v any) {
	w.Helper()
	c := protocol.Carried{Agent: from.at.Agent, Kind: kind, Payload: protocol.MustMarshal(v)}
	if !w.says(by.at, protocol.UpCarried, protocol.MustMarshal(c)) {
		w.Error("not acknowledged")
	}
}

// answered returns the topics and, of what went by a gateway, the kinds of what was sent.
func (w *world) answered() (out []string) {
	w.Helper()
	for _, m := range w.sent.take() {
		text := m.Topic
		if _, kind, err := protocol.ParseTopic(m.Topic); err == nil && kind == protocol.DownCarried {
			var c protocol.Carried
			check(w, protocol.Unmarshal(m.Payload, &c))
			check(w, c.Check(false))
			text += " " + string(c.Agent) + " " + string(c.Kind)
		}
		out = append(out, text)
	}
	return out
}

func (w *world) wantAnswers(what string, want ...string) {
	w.Helper()
	got := w.answered()
	if len(got) != len(want) {
		w.Errorf("%s: sent %v, want %v", what, got, want)
		return
	}
	for i := range want {
		if got[i] != want[i] {
			w.Errorf("%s: sent %v, want %v", what, got, want)
		}
	}
}

func online(session uint64) protocol.Presence {
	return protocol.Presence{Online: true, Boot: 1, Session: session}
}

func aBatch(sequence uint64) protocol.Batch {
	return protocol.Batch{Epoch: 1, Lane: protocol.LaneLog, Records: []protocol.Record{{
		Mark: protocol.Mark{Boot: 1, Sequence: sequence}, Body: protocol.MustMarshal(protocol.LogLine{Text: "a"}),
	}}}
}

// S-12: an agent that no operator has made a gateway carries nothing, whoever it is.
func TestOnlyGatewaysCarry(t *testing.T) {
	w := newWorld(t)
	gw, pump := w.enrol("gw-1", nil), w.enrol("pump", nil)
	w.sent.take()
	w.carries(gw, pump, protocol.UpPresence, online(1))
	w.carries(gw, pump, protocol.UpRecords, aBatch(1))
	w.wantAnswers("no gateway")
	if w.agent("pump").Presence.Online {
		t.Error("believed an agent that is no gateway")
	}
	_, err := w.hub.SetGateway(w.now, "gw-1", true)
	check(t, err)
	w.carries(gw, pump, protocol.UpPresence, online(1))
	if p := w.agent("pump").Presence; !p.Online || p.Via != "gw-1" {
		t.Errorf("presence %+v", p)
	}
	w.carries(gw, gw, protocol.UpRecords, aBatch(1))
	stranger := &device{at: protocol.Address{Site: "lab", Agent: "stranger"}}
	w.carries(gw, stranger, protocol.UpRecords, aBatch(1))
	w.wantAnswers("for itself and for nobody's agent")
	w.carries(gw, pump, protocol.UpRecords, aBatch(1))
	w.wantAnswers("a gateway", "m/lab/gw-1/d/carried pump d/ack")

	_, err = w.hub.SetGateway(w.now, "gw-1", false)
	check(t, err)
	if w.agent("pump").Presence.Online {
		t.Error("online by a gateway that is none any more")
	}
	w.carries(gw, pump, protocol.UpRecords, aBatch(2))
	w.wantAnswers("no gateway any more")
}

// An agent is answered by the way on which it said last that it is online: a second gateway
// takes over, what the first still says of it comes too late, and its own line is the shortest.
func TestAnswersGoTheWayThatIsUp(t *testing.T) {
	w := newWorld(t)
	one, two, pump := w.enrol("gw-1", nil), w.enrol("gw-2", nil), w.enrol("pump", nil)
	for _, gw := range []*device{one, two} {
		_, err := w.hub.SetGateway(w.now, gw.at.Agent, true)
		check(t, err)
		w.says(gw.at, protocol.UpPresence, protocol.MustMarshal(online(1)))
	}
	w.sent.take()
	w.carries(one, pump, protocol.UpPresence, online(1))
	w.carries(two, pump, protocol.UpPresence, online(2))
	w.carries(one, pump, protocol.UpPresence, protocol.Presence{Boot: 1, Session: 1})
	w.carries(one, pump, protocol.UpRecords, aBatch(1)) // lay on the first one's line
	w.wantAnswers("the second took over", "m/lab/gw-2/d/carried pump d/ack")
	w.says(one.at, protocol.UpPresence, protocol.MustMarshal(protocol.Presence{Boot: 1, Session: 1}))
	if p := w.agent("pump").Presence; !p.Online || p.Via != "gw-2" {
		t.Errorf("after the first gateway's end: %+v", p)
	}
	w.says(two.at, protocol.UpPresence, protocol.MustMarshal(protocol.Presence{Boot: 1, Session: 1}))
	if w.agent("pump").Presence.Online {
		t.Error("online by a gateway that is gone")
	}
	w.carries(two, pump, protocol.UpPresence, online(3))
	w.says(pump.at, protocol.UpPresence, protocol.MustMarshal(online(4)))
	w.says(pump.at, protocol.UpRecords, protocol.MustMarshal(aBatch(2)))
	w.wantAnswers("its own line", "m/lab/pump/d/ack")
	if p := w.agent("pump").Presence; p.Via != "" {
		t.Errorf("on its own line: %+v", p)
	}
}

// Only a gateway's certificate lets it serve, and for its own site.
func TestGatewayCertificate(t *testing.T) {
	w := newWorld(t)
	d := w.enrol("gw-1", nil)
	serves := func(cert *x509.Certificate, site protocol.Site) error {
		_, err := cert.Verify(x509.VerifyOptions{
			Roots: w.hub.ca.Pool(), CurrentTime: day, DNSName: protocol.GatewayServerName(site),
			KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		})
		return err
	}
	if serves(d.cert, "lab") == nil {
		t.Error("any agent's certificate serves")
	}
	_, err := w.hub.SetGateway(w.now, "gw-1", true)
	check(t, err)
	renewed := w.hub.Join(day, protocol.JoinRequest{Renew: true, Address: d.at, CSR: d.csr(t)}, d.cert)
	if renewed.Error != nil {
		t.Fatal(renewed.Error)
	}
	cert, err := x509.ParseCertificate(renewed.Certificate)
	check(t, err)
	check(t, serves(cert, "lab"))
	if serves(cert, "oslo") == nil {
		t.Error("serves for another site")
	}
	if cert.VerifyHostname(protocol.HubServerName) == nil {
		t.Error("serves as the hub")
	}
	token := w.token(api.NewToken{Site: "lab", Count: 1, TTL: time.Hour, Gateway: true})
	reply := w.hub.Join(day, protocol.JoinRequest{
		TokenID: token.ID, Secret: token.Secret, Address: protocol.Address{Agent: "gw-2"}, CSR: newDevice(t).csr(t),
	}, nil)
	if reply.Error != nil || !w.agent("gw-2").Gateway {
		t.Fatalf("by token: %v, gateway %v", reply.Error, w.agent("gw-2").Gateway)
	}
	cert, err = x509.ParseCertificate(reply.Certificate)
	check(t, err)
	check(t, serves(cert, "lab"))
}

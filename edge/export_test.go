package edge_test

import (
	"bytes"
	"reflect"
	"testing"
	"time"

	"github.com/stavily/stavily/edge"
	"github.com/stavily/stavily/protocol"
)

// What a stopped agent's status makes of itself is what the agent that wrote it would say: the
// hub takes it for that, and an older one of the same boot changes nothing.
func TestStatusSaysWhatStateSays(t *testing.T) {
	w := safe(t)
	w.hub.standard()
	w.boot()
	if _, wish, err := new(w.agent.Status()).State(w.vault); err != nil || wish != nil {
		t.Errorf("a step may use no secret, and yet: %+v, %v", wish, err)
	}
	w.online()
	w.hub.deploy(w.mayUse(1))
	w.pass(time.Minute)
	sealed := w.hub.box(protocol.SecretSet{Address: here, Epoch: 1, Revision: 7}, "value")
	w.hub.say(protocol.DownSecrets, protocol.SecretsReply{Epoch: 1, Sealed: sealed})
	w.pass(time.Minute)
	w.offline()
	w.hub.deploy(w.hub.desired(2)) // not heard of
	w.pass(time.Hour)
	w.agent.Tick(w.now)

	var kept edge.Status
	if err := protocol.Unmarshal(protocol.MustMarshal(w.agent.Status()), &kept); err != nil {
		t.Fatal(err)
	}
	report, wish, err := kept.State(w.vault)
	if err != nil || wish == nil {
		t.Fatalf("wish %+v, %v", wish, err)
	}
	last := w.hub.reports[len(w.hub.reports)-1]
	if report.Boot != last.Boot || report.Sequence != last.Sequence+1 || report.Epoch != 1 {
		t.Errorf("enrolment %d, boot %d, report %d: not behind the last, %+v", report.Epoch, report.Boot, report.Sequence, last)
	}
	said, wished := w.agent.State(w.now)
	if !bytes.Equal(protocol.MustMarshal(report), protocol.MustMarshal(said)) {
		t.Errorf("the status makes\n%+v\nof itself, the agent says\n%+v", report, said)
	}
	if err := wish.CheckProof(here); err != nil || wish.Held != protocol.DigestOf(sealed) || wish.Revision != 7 {
		t.Errorf("wish for revision above %d of %s, %v", wish.Revision, wish.Held.Short(), err)
	}
	if wish.Proof, wished.Proof = nil, nil; !reflect.DeepEqual(wish, wished) {
		t.Errorf("the status wishes %+v, the agent %+v", wish, wished)
	}
}

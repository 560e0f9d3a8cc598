package hub

import (
	"strings"
	"testing"

	"github.com/stavily/stavily/edge"
	"github.com/stavily/stavily/hub/api"
	"github.com/stavily/stavily/hub/secret"
	"github.com/stavily/stavily/protocol"
)

// keeper is a device with a vault, as an agent has it.
type keeper struct {
	*device
	w        *world
	vault    *edge.DeviceVault
	revision uint64
	held     protocol.Digest
}

func (w *world) keeper(d *device) *keeper {
	w.Helper()
	key, err := protocol.NewSecretsKey()
	check(w, err)
	return &keeper{device: d, w: w, vault: edge.NewDeviceVault(key, d.key)}
}

func (k *keeper) wish() protocol.SecretsWish {
	k.w.Helper()
	wish, err := k.vault.Claim(k.at, k.Epoch)
	check(k.w, err)
	wish.Epoch, wish.Held, wish.Revision = k.Epoch, k.held, k.revision
	return wish
}

// ask says a wish, and returns what came of it.
func (k *keeper) ask() (text string, came bool) {
	k.w.Helper()
	k.w.sent.take()
	k.w.says(k.at, protocol.UpSecrets, protocol.MustMarshal(k.wish()))
	return k.got()
}

// got takes what the hub sent to the device: the names and values in it.
func (k *keeper) got() (text string, came bool) {
	k.w.Helper()
	for _, m := range k.w.sent.take() {
		if m.Topic != protocol.Topic(k.at, protocol.DownSecrets) {
			continue
		}
		var reply protocol.SecretsReply
		check(k.w, protocol.Unmarshal(m.Payload, &reply))
		came = true
		if len(reply.Sealed) == 0 {
			continue
		}
		payload, err := protocol.Open(protocol.ContextSecrets, k.w.hub.keys.Ring, reply.Sealed)
		check(k.w, err)
		var set protocol.SecretSet
		check(k.w, protocol.UnmarshalExact(payload, &set))
		list, err := k.vault.Open(&set)
		check(k.w, err)
		if set.Revision <= k.revision {
			k.w.Errorf("revision %d after %d", set.Revision, k.revision)
		}
		k.revision, k.held, text = set.Revision, protocol.DigestOf(reply.Sealed), "none"
		var parts []string
		for _, s := range list.Secrets {
			parts = append(parts, string(s.Name)+"="+string(s.Value))
			text = strings.Join(parts, " ")
		}
	}
	return text, came
}

func (w *world) setSecret(name, value string, to secret.Target) api.SecretSet {
	w.Helper()
	out, err := w.hub.SetSecret(w.now, protocol.Secret{Name: protocol.SecretName(name), Value: []byte(value)}, to)
	check(w, err)
	return out
}

// Secrets go to whom they are for when they are set, changed, taken away, or a label says so.
func TestSecretsGoToDevices(t *testing.T) {
	w := newWorld(t)
	k, other := w.keeper(w.enrol("pump", nil)), w.keeper(w.enrol("fan", nil))
	if text, came := k.ask(); !came || text != "" {
		t.Fatalf("nothing to have: %q, answered %v", text, came)
	}
	w.sent.take()
	if out := w.setSecret("key", "one", secret.Target{Agent: "pump"}); len(out.Agents) != 1 || out.Agents[0] != "pump" {
		t.Errorf("sent to %v", out.Agents)
	}
	if text, _ := k.got(); text != "key=one" {
		t.Errorf("got %q", text)
	}
	if text, came := k.ask(); !came || text != "" {
		t.Errorf("it holds the newest: %q", text)
	}
	if text, _ := other.ask(); text != "" {
		t.Errorf("the other one got %q", text)
	}
	w.setSecret("key", "two", secret.Target{Agent: "pump"})
	w.setSecret("all", "everybody's", secret.Target{})
	if text, _ := k.got(); text != "all=everybody's key=two" {
		t.Errorf("got %q", text)
	}
	w.setSecret("role", "gateway's", secret.Target{Label: "role=gateway"})
	if text, came := k.got(); came {
		t.Errorf("got %q without the label", text)
	}
	_, err := w.hub.Label(w.now, "pump", map[string]string{"role": "gateway"})
	check(t, err)
	if text, _ := k.got(); text != "all=everybody's key=two role=gateway's" {
		t.Errorf("got %q", text)
	}
	for _, name := range []protocol.SecretName{"all", "role"} {
		to := secret.Target{}
		if name == "role" {
			to.Label = "role=gateway"
		}
		_, err := w.hub.RemoveSecret(name, to)
		check(t, err)
	}
	_, err = w.hub.RemoveSecret("key", secret.Target{Agent: "pump"})
	check(t, err)
	if text, _ := k.got(); text != "none" {
		t.Errorf("after all were removed: %q", text)
	}
}

// What was lost on the way is sent again when a report names another set; books that were
// put back go above what the device holds.
func TestSecretsAreComparedWhole(t *testing.T) {
	w := newWorld(t)
	k := w.keeper(w.enrol("pump", nil))
	k.ask()
	w.setSecret("key", "one", secret.Target{})
	w.sent.take() // lost
	report := protocol.Reported{Epoch: 1, Boot: 1, Sequence: 1}
	w.says(k.at, protocol.UpReported, protocol.MustMarshal(report))
	if text, _ := k.got(); text != "key=one" {
		t.Errorf("after a report without: %q", text)
	}
	report.Sequence, report.Secrets = 2, k.held
	w.says(k.at, protocol.UpReported, protocol.MustMarshal(report))
	if _, came := k.got(); came {
		t.Error("sent again what is held")
	}
	k.revision, k.held = 41, protocol.DigestOf([]byte("of a life that the books forgot"))
	if text, _ := k.ask(); text != "key=one" || k.revision != 42 {
		t.Errorf("above what is held: %q, revision %d", text, k.revision)
	}
	again := w.keeper(k.device) // its disk was made anew: another key
	again.revision = 0
	if text, _ := again.ask(); text != "key=one" || again.revision != 43 {
		t.Errorf("for a new key: %q, revision %d", text, again.revision)
	}
}

// A key that the enrolled device did not sign gets nothing; what does not fit is refused whole.
func TestSecretsRefused(t *testing.T) {
	w := newWorld(t)
	k, thief := w.keeper(w.enrol("pump", nil)), w.keeper(w.enrol("fan", nil))
	w.setSecret("key", "one", secret.Target{Agent: "pump"})
	w.sent.take()
	wish := thief.wish()
	for name, change := range map[string]func(w *protocol.SecretsWish){
		"another's identity": func(*protocol.SecretsWish) {},
		"stolen identity":    func(w *protocol.SecretsWish) { w.Identity = k.wish().Identity },
		"stolen proof":       func(w *protocol.SecretsWish) { w.Identity, w.Proof = k.wish().Identity, k.wish().Proof },
		"another enrolment":  func(w *protocol.SecretsWish) { *w = k.wish(); w.Epoch = 2 },
	} {
		bad := wish
		change(&bad)
		if !w.says(k.at, protocol.UpSecrets, protocol.MustMarshal(bad)) {
			t.Errorf("%s: will come again for ever", name)
		}
		if sent := w.sent.take(); len(sent) > 0 {
			t.Errorf("%s: answered by %d messages", name, len(sent))
		}
	}
	k.ask()
	big := strings.Repeat("x", protocol.SecretMax)
	for _, name := range []string{"a", "b", "c", "d", "e"} {
		w.setSecret(name, big, secret.Target{})
	}
	_, err := w.hub.SetSecret(w.now, protocol.Secret{Name: "f", Value: []byte(big)}, secret.Target{})
	refused(t, err, protocol.CodeLimit, "lab/pump", "SecretSetMax")
	if list := look(w, w.hub.keys.Safe.List); len(list) != 6 {
		t.Errorf("%d secrets are kept", len(list))
	}
	_, err = w.hub.Remove(w.now, "pump")
	check(t, err)
	fresh := w.keeper(w.enrol("pump", nil))
	if text, _ := fresh.ask(); !strings.HasPrefix(text, "a=") || fresh.revision != 1 || fresh.Epoch != 2 {
		t.Errorf("the next of its name: revision %d of enrolment %d", fresh.revision, fresh.Epoch)
	}
}

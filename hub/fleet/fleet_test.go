package fleet

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/stavily/stavily/hub/store"
	"github.com/stavily/stavily/protocol"
)

var (
	now  = time.UnixMilli(1_800_000_000_000).UTC()
	gate = protocol.Address{Site: "plant", Agent: "gate-1"}
)

// inBooks runs f on books of its own.
func inBooks(t *testing.T, f func(tx *store.Tx)) {
	t.Helper()
	s, err := store.Open(context.Background(), store.Memory)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	err = s.Update(context.Background(), func(tx *store.Tx) error {
		f(tx)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// wants complains unless err has the code and, with a text, holds it.
func wants(t *testing.T, err error, code protocol.Code, text string) {
	t.Helper()
	if protocol.CodeOf(err) != code || err != nil && !strings.Contains(err.Error(), text) {
		t.Errorf("got %v (%s), want %s %q", err, protocol.CodeOf(err), code, text)
	}
}

func enrolment() Enrolment {
	return Enrolment{
		Address: gate, Time: now, Labels: map[string]string{"env": "production"},
		Device: protocol.Device{Platform: "linux-arm64", Cores: 4, Labels: map[string]string{
			"board": "pi",
			"env":   "lab",
		}},
		Identity: Identity{KeyFingerprint: "f", Serial: "1", NotAfter: now.Add(time.Hour)},
	}
}

func mustEnrol(t *testing.T, tx *store.Tx, e Enrolment) uint64 {
	t.Helper()
	epoch, err := Enrol(tx, e)
	if err != nil {
		t.Fatal(err)
	}
	return epoch
}

func mustGet(t *testing.T, tx *store.Tx, name protocol.AgentName) Agent {
	t.Helper()
	a, err := Get(tx, name)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestEnrol(t *testing.T) {
	inBooks(t, func(tx *store.Tx) {
		if epoch := mustEnrol(t, tx, enrolment()); epoch != 1 {
			t.Errorf("epoch %d, want 1", epoch)
		}
		a := mustGet(t, tx, gate.Agent)
		if a.Address != gate || a.Epoch != 1 || a.Device.Cores != 4 || a.Identity != enrolment().Identity ||
			a.Revoked ||
			!a.Enrolled.Equal(now) || a.Presence.Online || a.Reported != nil || a.Desired.Revision != 0 {
			t.Errorf("got %+v", a)
		}
		_, err := Enrol(tx, enrolment())
		wants(t, err, protocol.CodeExists, "stavily agent remove gate-1")
		elsewhere := enrolment()
		elsewhere.Address.Site = "harbour" // a name is one in the whole fleet
		_, err = Enrol(tx, elsewhere)
		wants(t, err, protocol.CodeExists, `at site "plant"`)
		bad := enrolment()
		bad.Address.Agent = "Gate"
		_, err = Enrol(tx, bad)
		wants(t, err, protocol.CodeBadName, "Gate")
		_, err = Get(tx, "none")
		wants(t, err, protocol.CodeNotFound, `agent "none"`)
	})
}

// T-01: who gets a name again gets nothing that was meant for who had it.
func TestEpochOutlivesTheAgent(t *testing.T) {
	inBooks(t, func(tx *store.Tx) {
		mustEnrol(t, tx, enrolment())
		d := Desired{Revision: 9, Digest: protocol.DigestOf([]byte("d")), Size: 1, Issued: now}
		wants(t, SetDesired(tx, gate.Agent, d, []byte("d")), protocol.CodeOK, "")
		wants(t, SetPresence(tx, gate, protocol.Presence{Online: true, Boot: 50, Session: 2}, now),
			protocol.CodeOK, "")
		wants(t, Remove(tx, gate.Agent), protocol.CodeOK, "")
		wants(t, Remove(tx, gate.Agent), protocol.CodeNotFound, "")
		second := enrolment()
		second.Labels = nil
		if epoch := mustEnrol(t, tx, second); epoch != 2 {
			t.Errorf("epoch %d, want 2", epoch)
		}
		if epoch, err := EpochAt(tx, gate); epoch != 2 || err != nil {
			t.Errorf("epoch %d, %v, want 2", epoch, err)
		}
		_, err := EpochAt(tx, protocol.Address{Site: "harbour", Agent: gate.Agent})
		wants(t, err, protocol.CodeNotFound, `it is at "plant"`)
		_, err = EpochAt(tx, protocol.Address{Site: "plant", Agent: "none"})
		wants(t, err, protocol.CodeNotFound, "")
		a := mustGet(t, tx, gate.Agent)
		if a.Desired != (Desired{}) || len(a.Labels) != 0 || a.Presence.Boot != 0 {
			t.Errorf("inherited %+v", a)
		}
		report := protocol.Reported{Epoch: 1, Boot: 99, Sequence: 9}
		wants(t, SetReported(tx, gate, report, now), protocol.CodeStale, "report of epoch 1, enrolled with epoch 2")
	})
}

func TestPresenceOrder(t *testing.T) {
	type step struct {
		online        bool
		boot, session uint64
		want          bool // online after it
	}
	for name, steps := range map[string][]step{
		"a late Will of the session before": {{true, 1, 1, true}, {true, 1, 2, true}, {false, 1, 1, true}},
		"a late Will of the boot before":    {{true, 1, 9, true}, {true, 2, 1, true}, {false, 1, 9, true}},
		"its own Will":                      {{true, 1, 1, true}, {false, 1, 1, false}},
		"online again after its own Will":   {{true, 1, 1, true}, {false, 1, 1, false}, {true, 1, 1, false}},
		"a Will before anything was heard":  {{false, 3, 1, false}, {true, 3, 1, false}, {true, 3, 2, true}},
		"the same twice": {
			{true, 1, 1, true},
			{true, 1, 1, true},
			{false, 1, 1, false},
			{false, 1, 1, false},
		},
		"an older boot with a higher session": {{true, 4, 1, true}, {true, 3, 7, true}, {false, 3, 8, true}},
		"the largest counters that there are": {{true, 1<<64 - 1, 1, true}, {false, 1 << 63, 5, true}},
	} {
		t.Run(name, func(t *testing.T) {
			inBooks(t, func(tx *store.Tx) {
				mustEnrol(t, tx, enrolment())
				for i, s := range steps {
					at := now.Add(time.Duration(i+1) * time.Second)
					p := protocol.Presence{Online: s.online, Boot: s.boot, Session: s.session}
					wants(t, SetPresence(tx, gate, p, at), protocol.CodeOK, "")
					if got := mustGet(t, tx, gate.Agent).Presence; got.Online != s.want {
						t.Fatalf("step %d: %+v, want online %v", i+1, got, s.want)
					}
				}
			})
		})
	}
}

// Presence is where the newest of all that was said leaves it, in whatever order it came.
func TestPresenceProperty(t *testing.T) {
	seeds := uint64(50)
	if testing.Short() {
		seeds = 8
	}
	for seed := range seeds {
		rng := rand.New(rand.NewPCG(seed, 2))
		var said []protocol.Presence
		for session := range uint64(6) {
			said = append(said, protocol.Presence{Online: true, Boot: 1 + session/3, Session: 1 + session%3})
			if session < 5 {
				said = append(said, protocol.Presence{Boot: 1 + session/3, Session: 1 + session%3})
			}
		}
		said = append(said, said...) // each twice
		rng.Shuffle(len(said), func(i, j int) { said[i], said[j] = said[j], said[i] })
		inBooks(t, func(tx *store.Tx) {
			mustEnrol(t, tx, enrolment())
			for _, p := range said {
				wants(t, SetPresence(tx, gate, p, now), protocol.CodeOK, "")
			}
			got := mustGet(t, tx, gate.Agent).Presence
			if !got.Online || got.Boot != 2 || got.Session != 3 {
				t.Errorf("seed %d: %+v", seed, got)
			}
		})
	}
}

func TestAllOffline(t *testing.T) {
	inBooks(t, func(tx *store.Tx) {
		mustEnrol(t, tx, enrolment())
		wants(t, SetPresence(tx, gate, protocol.Presence{Online: true, Boot: 1, Session: 1}, now),
			protocol.CodeOK, "")
		if all, online, err := Count(tx); all != 1 || online != 1 || err != nil {
			t.Errorf("%d agents, %d online, %v", all, online, err)
		}
		wants(t, AllOffline(tx, now), protocol.CodeOK, "")
		if all, online, err := Count(tx); all != 1 || online != 0 || err != nil {
			t.Errorf("%d agents, %d online, %v", all, online, err)
		}
		wants(t, SetPresence(tx, gate, protocol.Presence{Online: true, Boot: 1, Session: 2}, now),
			protocol.CodeOK, "")
		if !mustGet(t, tx, gate.Agent).Presence.Online {
			t.Error("the next session does not count")
		}
	})
}

func TestReported(t *testing.T) {
	report := func(boot, sequence, revision uint64) protocol.Reported {
		return protocol.Reported{
			Epoch: 1, Boot: boot, Sequence: sequence, Revision: revision,
			Device: protocol.Device{Platform: "linux-arm64", Labels: map[string]string{"rev": fmt.Sprint(revision)}},
		}
	}
	inBooks(t, func(tx *store.Tx) {
		mustEnrol(t, tx, enrolment())
		for _, c := range []struct{ boot, sequence, revision, want uint64 }{
			{1, 0, 1, 1}, {1, 2, 2, 2}, {1, 1, 9, 2}, {1, 2, 9, 2}, {2, 1, 3, 3}, {1, 7, 9, 3},
		} {
			was := mustGet(t, tx, gate.Agent)
			before, after, err := Report(tx, gate, report(c.boot, c.sequence, c.revision), now)
			wants(t, err, protocol.CodeOK, "")
			a := mustGet(t, tx, gate.Agent)
			if !reflect.DeepEqual(before, was) || !reflect.DeepEqual(after, a) {
				t.Errorf("%+v: before %+v, after %+v; the books say %+v, %+v", c, before, after, was, a)
			}
			if a.Reported == nil || a.Reported.Revision != c.want || a.Device.Labels["rev"] != fmt.Sprint(c.want) {
				t.Errorf("%+v: reported %+v", c, a.Reported)
			}
			with, err := ByLabels(tx, map[string]string{"rev": fmt.Sprint(c.want)})
			if err != nil || len(with) != 1 {
				t.Errorf("%+v: %d by label, %v", c, len(with), err)
			}
		}
		if with, err := ByLabels(tx, map[string]string{"board": "pi"}); err != nil || len(with) != 0 {
			t.Errorf("a label that the device no longer gives holds: %d, %v", len(with), err)
		}
		bad := report(3, 1, 4)
		bad.Device.Labels["no good"] = "x"
		wants(t, SetReported(tx, gate, bad, now), protocol.CodeBadName, "no good")
		_, _, err := Report(tx, protocol.Address{Site: "harbour", Agent: gate.Agent}, report(4, 1, 5), now)
		wants(t, err, protocol.CodeNotFound, `at site "harbour"`)
		moved := protocol.Address{Site: "harbour", Agent: gate.Agent}
		wants(t, SetReported(tx, moved, report(4, 1, 5), now), protocol.CodeNotFound, `at site "harbour"`)
		wants(t, SetPresence(tx, moved, protocol.Presence{}, now), protocol.CodeNotFound, "harbour")
		wants(t, Seen(tx, moved, now), protocol.CodeNotFound, "")
		wants(t, Seen(tx, gate, now.Add(time.Hour)), protocol.CodeOK, "")
		if a := mustGet(t, tx, gate.Agent); a.Reported.Revision != 3 || !a.LastSeen.Equal(now.Add(time.Hour)) {
			t.Errorf("after refusals: %+v, seen %v", a.Reported, a.LastSeen)
		}
	})
}

func TestDesiredOnlyRises(t *testing.T) {
	inBooks(t, func(tx *store.Tx) {
		mustEnrol(t, tx, enrolment())
		d := Desired{Revision: 2, Digest: protocol.DigestOf([]byte("d")), Size: 1, Issued: now}
		wants(t, SetDesired(tx, gate.Agent, d, []byte("d")), protocol.CodeOK, "")
		wants(t, SetDesired(tx, gate.Agent, d, []byte("d")), protocol.CodeStale, "desired revision 2 is not above 2")
		d.Revision = 1
		wants(t, SetDesired(tx, gate.Agent, d, []byte("d")), protocol.CodeStale, "desired revision 1 is not above 2")
		d.Revision = 3
		wants(t, SetDesired(tx, gate.Agent, d, []byte("d")), protocol.CodeOK, "")
		wants(t, SetDesired(tx, "none", d, []byte("d")), protocol.CodeNotFound, "none")
		if got := mustGet(t, tx, gate.Agent).Desired; got != d {
			t.Errorf("got %+v, want %+v", got, d)
		}
	})
}

// T-03: the operator's label holds over the device's own.
func TestLabels(t *testing.T) {
	inBooks(t, func(tx *store.Tx) {
		mustEnrol(t, tx, enrolment()) // env: production by the operator, lab by the device
		other := enrolment()
		other.Address.Agent, other.Labels = "gate-0", nil
		mustEnrol(t, tx, other)
		names := func(labels map[string]string) string {
			agents, err := ByLabels(tx, labels)
			if err != nil {
				t.Fatal(err)
			}
			var all []string
			for _, a := range agents {
				for key, value := range labels {
					if got, ok := a.Label(key); !ok || got != value || a.AllLabels()[key] != value {
						t.Errorf("%s: label %s is %q, chosen by %q", a.Address, key, got, value)
					}
				}
				all = append(all, string(a.Address.Agent))
			}
			return strings.Join(all, " ")
		}
		check := func(want string, labels map[string]string) {
			t.Helper()
			if got := names(labels); got != want {
				t.Errorf("%v: got %q, want %q", labels, got, want)
			}
		}
		check("gate-0 gate-1", nil)
		check("gate-0", map[string]string{"env": "lab"})
		check("gate-1", map[string]string{"env": "production", "board": "pi"})
		check("", map[string]string{"env": "production", "board": "none"})
		wants(t, SetLabel(tx, gate.Agent, "env", ""), protocol.CodeOK, "")
		check("gate-0 gate-1", map[string]string{"env": "lab", "board": "pi"})
		wants(t, SetLabel(tx, gate.Agent, "role", "gateway"), protocol.CodeOK, "")
		wants(t, SetLabel(tx, gate.Agent, "role", "sensor"), protocol.CodeOK, "")
		check("gate-1", map[string]string{"role": "sensor"})
		wants(t, SetLabel(tx, "none", "role", "x"), protocol.CodeNotFound, "none")
		wants(t, SetLabel(tx, gate.Agent, "a b", "x"), protocol.CodeBadName, "a b")
		wants(t, SetLabel(tx, gate.Agent, "a", strings.Repeat("x", labelValueMax+1)), protocol.CodeLimit, "")
		for i := range protocol.LabelsMax - 1 {
			wants(t, SetLabel(tx, gate.Agent, fmt.Sprint("l", i), "x"), protocol.CodeOK, "")
		}
		wants(t, SetLabel(tx, gate.Agent, "one-more", "x"), protocol.CodeLimit, "limit 64")
		all, err := List(tx)
		if err != nil || len(all) != 2 || len(all[0].Labels) != 0 || len(all[1].Labels) != protocol.LabelsMax {
			t.Errorf("list: %d agents, %v", len(all), err)
		}
	})
}

func TestIdentityAndRevocation(t *testing.T) {
	inBooks(t, func(tx *store.Tx) {
		mustEnrol(t, tx, enrolment())
		id := Identity{KeyFingerprint: "g", Serial: "2", NotAfter: now.Add(48 * time.Hour)}
		wants(t, SetIdentity(tx, gate.Agent, id), protocol.CodeOK, "")
		wants(t, SetRevoked(tx, gate.Agent, true), protocol.CodeOK, "")
		if a := mustGet(t, tx, gate.Agent); a.Identity != id || !a.Revoked {
			t.Errorf("got %+v", a)
		}
		wants(t, SetIdentity(tx, "none", id), protocol.CodeNotFound, "")
		wants(t, SetRevoked(tx, "none", true), protocol.CodeNotFound, "")
	})
}

func TestTokens(t *testing.T) {
	path := filepath.Join(t.TempDir(), "hub.db")
	s, err := store.Open(context.Background(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	random := bytes.NewReader([]byte("id-aaaaasecret-secret-id-bbbbbsecret-secret2"))
	err = s.Update(context.Background(), func(tx *store.Tx) error {
		spec := TokenSpec{Site: "plant", Count: 2, TTL: time.Hour}
		token, err := NewToken(tx, spec, random, now)
		if err != nil {
			return err
		}
		use := func(secret []byte, at time.Time) error {
			_, err := UseToken(tx, token.ID, secret, at)
			return err
		}
		_, err = UseToken(tx, []byte("unknown!"), token.Secret, now)
		wants(t, err, protocol.CodeRefused, "not known")
		wants(t, use([]byte("wrong"), now), protocol.CodeRefused, "wrong secret")
		wants(t, use(nil, now), protocol.CodeRefused, "wrong secret")
		wants(t, use(token.Secret, now.Add(time.Hour)), protocol.CodeRefused, "expired on 2027-01-15 09:00:00")
		wants(t, use(token.Secret, now), protocol.CodeOK, "") // refusals cost no use
		wants(t, use(token.Secret, now.Add(time.Hour-1)), protocol.CodeOK, "")
		wants(t, use(token.Secret, now), protocol.CodeRefused, "used up")
		wants(t, use([]byte("wrong"), now), protocol.CodeRefused, "wrong secret")

		var kept []byte
		if err := tx.QueryRow("SELECT secret FROM join_token").Scan(&kept); err != nil || bytes.Contains(kept,
			token.Secret) {
			t.Errorf("the secret itself is kept (%v)", err)
		}
		all, err := Tokens(tx)
		if err != nil || len(all) != 1 || all[0].Uses != 0 || all[0].Site != "plant" ||
			!all[0].Expires.Equal(now.Add(time.Hour)) {
			t.Errorf("tokens %+v, %v", all, err)
		}
		if n, err := DropOldTokens(tx, now); n != 0 || err != nil {
			t.Errorf("dropped %d early, %v", n, err)
		}
		wants(t, DropToken(tx, token.ID), protocol.CodeOK, "")
		wants(t, DropToken(tx, token.ID), protocol.CodeNotFound, "")
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestTokenSpec(t *testing.T) {
	good := TokenSpec{Site: "plant", Agent: "gate-1", Count: 1, TTL: time.Hour}
	for name, spoil := range map[string]func(*TokenSpec){
		"":             func(*TokenSpec) {},
		"site":         func(s *TokenSpec) { s.Site = "" },
		"agent name":   func(s *TokenSpec) { s.Agent = "Gate" },
		"0 uses":       func(s *TokenSpec) { s.Count = 0 },
		"2 uses":       func(s *TokenSpec) { s.Count = 2 },
		"10001 uses":   func(s *TokenSpec) { s.Agent, s.Count = "", TokenUsesMax+1 },
		"valid for 0s": func(s *TokenSpec) { s.TTL = 0 },
	} {
		inBooks(t, func(tx *store.Tx) {
			spec := good
			spoil(&spec)
			_, err := NewToken(tx, spec, strings.NewReader(strings.Repeat("r", 24)), now)
			if (err == nil) != (name == "") || err != nil && !strings.Contains(err.Error(), name) {
				t.Errorf("%q: got %v", name, err)
			}
		})
	}
	inBooks(t, func(tx *store.Tx) {
		if _, err := NewToken(tx, good, strings.NewReader("short"), now); err == nil {
			t.Error("a token of too little randomness")
		}
	})
}

func BenchmarkSetPresence(b *testing.B) {
	s, err := store.Open(context.Background(), filepath.Join(b.TempDir(), "hub.db"))
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	tx, err := s.Begin(context.Background())
	if err != nil {
		b.Fatal(err)
	}
	defer tx.Rollback()
	if _, err := Enrol(tx, enrolment()); err != nil {
		b.Fatal(err)
	}
	for session := uint64(1); b.Loop(); session++ {
		if err := SetPresence(tx, gate, protocol.Presence{Online: true, Boot: 1, Session: session},
			now); err != nil {
			b.Fatal(err)
		}
	}
}

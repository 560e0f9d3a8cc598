package secret

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stavily/stavily/hub/fleet"
	"github.com/stavily/stavily/hub/store"
	"github.com/stavily/stavily/protocol"
)

var day = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func newSafe(t *testing.T, b byte) *Safe {
	t.Helper()
	s, err := NewSafe(bytes.Repeat([]byte{b}, KeySize))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func open(t *testing.T) (*store.Store, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "books.db")
	books, err := store.Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = books.Close() })
	return books, path
}

func update(t *testing.T, books *store.Store, f func(tx *store.Tx) error) error {
	t.Helper()
	return books.Update(t.Context(), f)
}

func agent(name, site string, labels map[string]string) *fleet.Agent {
	return &fleet.Agent{
		Address: protocol.Address{Site: protocol.Site(site), Agent: protocol.AgentName(name)}, Labels: labels,
	}
}

// Of several values of one name the most closely aimed holds; the books show none of them.
func TestFor(t *testing.T) {
	books, path := open(t)
	s := newSafe(t, 1)
	for _, c := range []struct {
		name, value string
		to          Target
	}{
		{"key", "everybody's", Target{}},
		{"key", "the site's", Target{Site: "berlin"}},
		{"key", "the label's", Target{Label: "role=gateway"}},
		{"key", "its own value", Target{Agent: "gw-1"}},
		{"other", "the other value", Target{Label: "role="}},
	} {
		err := update(t, books, func(tx *store.Tx) error {
			info, err := s.Set(tx, protocol.Secret{Name: protocol.SecretName(c.name), Value: []byte(c.value)}, c.to, day)
			if err == nil && (info.Target != c.to || len(info.Digest) != 12 || info.Changed != day) {
				t.Errorf("%+v", info)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		agent *fleet.Agent
		want  string
	}{
		{agent("gw-1", "berlin", map[string]string{"role": "gateway"}), "key=its own value"},
		{agent("gw-2", "berlin", map[string]string{"role": "gateway"}), "key=the label's"},
		{agent("gw-3", "berlin", nil), "key=the site's"},
		{agent("gw-4", "rome", map[string]string{"role": ""}), "key=everybody's other=the other value"},
	} {
		var got []string
		err := update(t, books, func(tx *store.Tx) error {
			list, err := s.For(tx, c.agent)
			for _, one := range list.Secrets {
				got = append(got, string(one.Name)+"="+string(one.Value))
			}
			return err
		})
		if text := strings.Join(got, " "); err != nil || text != c.want {
			t.Errorf("%s: %q, want %q, %v", c.agent.Address, text, c.want, err)
		}
	}
	for _, suffix := range []string{"", "-wal"} {
		if b, err := os.ReadFile(path + suffix); err == nil && bytes.Contains(b, []byte("value")) {
			for _, word := range []string{"its own value", "the other value"} {
				if bytes.Contains(b, []byte(word)) {
					t.Errorf("books%s: hold %q", suffix, word)
				}
			}
		}
	}
	err := update(t, books, func(tx *store.Tx) error {
		_, err := newSafe(t, 2).For(tx, agent("gw-1", "berlin", nil))
		return err
	})
	if protocol.CodeOf(err) != protocol.CodeStorage || !strings.Contains(err.Error(), `secret "key"`) {
		t.Errorf("another hub's key: %v", err)
	}
}

func TestSetRefuses(t *testing.T) {
	books, _ := open(t)
	s := newSafe(t, 1)
	good := protocol.Secret{Name: "key", Value: []byte("v")}
	for name, c := range map[string]struct {
		one  protocol.Secret
		to   Target
		code protocol.Code
	}{
		"name":       {protocol.Secret{Name: "Key", Value: []byte("v")}, Target{}, protocol.CodeBadName},
		"empty":      {protocol.Secret{Name: "key"}, Target{}, protocol.CodeLimit},
		"two":        {good, Target{Agent: "a", Site: "b"}, protocol.CodeBadInput},
		"agent name": {good, Target{Agent: "A"}, protocol.CodeBadName},
		"site name":  {good, Target{Site: "b/c"}, protocol.CodeBadName},
		"label":      {good, Target{Label: "role"}, protocol.CodeBadInput},
		"label key":  {good, Target{Label: "=x"}, protocol.CodeBadInput},
	} {
		err := update(t, books, func(tx *store.Tx) error {
			_, err := s.Set(tx, c.one, c.to, day)
			return err
		})
		if protocol.CodeOf(err) != c.code {
			t.Errorf("%s: %v, want %s", name, err, c.code)
		}
	}
	if _, err := NewSafe([]byte("short")); protocol.CodeOf(err) != protocol.CodeBadInput {
		t.Errorf("a short key: %v", err)
	}
}

// Listing tells two values apart; removing takes the one of that target.
func TestListAndRemove(t *testing.T) {
	books, _ := open(t)
	s := newSafe(t, 1)
	err := update(t, books, func(tx *store.Tx) error {
		for to, value := range map[Target]string{{}: "same", {Site: "b"}: "same", {Agent: "a"}: "else"} {
			if _, err := s.Set(tx, protocol.Secret{Name: "key", Value: []byte(value)}, to, day); err != nil {
				return err
			}
		}
		list, err := s.List(tx)
		if len(list) != 3 || list[0].Target.Agent != "a" || list[0].Digest == list[1].Digest || list[1].Digest != list[2].Digest {
			t.Errorf("%+v", list)
		}
		if err := s.Remove(tx, "key", Target{Site: "c"}); protocol.CodeOf(err) != protocol.CodeNotFound {
			t.Errorf("removed what is not there: %v", err)
		}
		if err := s.Remove(tx, "key", Target{Site: "b"}); err != nil {
			t.Error(err)
		}
		if list, _ := s.List(tx); len(list) != 2 {
			t.Errorf("%+v", list)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

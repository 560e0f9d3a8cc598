package hub

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/stavily/stavily/hub/api"
	"github.com/stavily/stavily/hub/registry"
	"github.com/stavily/stavily/hub/source"
	"github.com/stavily/stavily/hub/store"
	"github.com/stavily/stavily/protocol"
)

func (w *world) follower() *Follower {
	return &Follower{
		Publish: w.publish, Hub: w.hub, Log: slog.New(slog.DiscardHandler),
		Do: func(_ context.Context, f func(time.Time) error) error { return f(w.now) },
	}
}

// looked has the follower look two hours later, and returns what it says of the plugin.
func (w *world) looked(f *Follower) api.Followed {
	w.Helper()
	w.now = w.now.Add(2 * time.Hour)
	check(w, f.Look(w.Context()))
	return look(w, w.hub.Follows)[0]
}

// O-04, M-02, P-03: a signed tag of the channel becomes a release and moves what updates by
// itself; a bad one stays out; a moved one is an alarm.
func TestFollow(t *testing.T) {
	w := newLongWorld(t)
	w.three()
	w.enrol("gw-1", map[string]string{"role": "gateway"})
	w.deploy("update: automatic\n" + plainText)
	f := w.follower()
	_, err := w.hub.Follow(w.now, "work", api.Follow{Channel: "nightly"})
	refused(t, err, protocol.CodeBadInput, "nightly")
	_, err = w.hub.Follow(w.now, "nobody", api.Follow{Channel: "stable"})
	refused(t, err, protocol.CodeNotFound)
	_, err = w.hub.Follow(w.now, "work", api.Follow{Channel: "stable", By: "ada"})
	check(t, err)
	if o := w.looked(f); o.Trouble != "" || o.Newest != "" || !o.Next.After(w.now) {
		t.Errorf("nothing new: %+v", o)
	}
	// A pre-release is not of the channel.
	w.repository(plugin{name: "work", version: "1.1.0-beta.1"})
	if o := w.looked(f); o.Newest != "" || w.action("gw-1") != "1.0.0" {
		t.Errorf("beta: %+v", o)
	}
	// One whom nobody of the signers signed stays out, and is not tried again.
	w.signedBy(plugin{name: "work", version: "1.1.0"}, nil)
	dir := w.folder("work")
	_, err = source.SignTag(dir, source.TagRequest{Tag: "v1.1.0", Tagger: author, When: day, Key: otherKey(t)})
	check(t, err)
	if o := w.looked(f); o.Refused["v1.1.0"] == "" || o.Trouble == "" || w.action("gw-1") != "1.0.0" {
		t.Errorf("stranger's: %+v", o)
	}
	if o := w.looked(f); o.Trouble != "" {
		t.Errorf("tried again: %+v", o)
	}
	// A good one goes all the way.
	w.repository(plugin{name: "work", version: "1.1.1"})
	if o := w.looked(f); o.Newest != "1.1.1" || w.action("gw-1") != "1.1.1" {
		t.Errorf("good: %+v, runs %s", o, w.action("gw-1"))
	}
	// The same tag on something else is no update.
	w.repository(plugin{name: "work", version: "1.1.1", files: map[string]string{"note.txt": "another"}})
	if o := w.looked(f); o.Moved["v1.1.1"] == "" {
		t.Errorf("moved: %+v", o)
	}
	w.looked(f)
	var kinds []string
	for _, n := range look(w, func(tx *store.Tx) ([]api.Notice, error) { return w.hub.Notices(tx, 20) }) {
		kinds = append(kinds, n.Kind)
	}
	if got := strings.Join(kinds, " "); got != "moved-tag updated published refused follow" {
		t.Errorf("notices %s", got)
	}
	check(t, w.hub.Unfollow("work"))
	refused(t, w.hub.Unfollow("work"), protocol.CodeNotFound)
}

func TestNextTag(t *testing.T) {
	tags := []source.TagObject{{Name: "v1.0.0", Object: "a"}, {Name: "v1.2.0", Object: "b"}, {Name: "v2.0.0-rc.1", Object: "c"}}
	published := func(v string, s registry.State) registry.Release { return registry.Release{Version: v, State: s} }
	for _, c := range []struct {
		name     string
		o        api.Followed
		releases []registry.Release
		want     string
	}{
		{"newest", api.Followed{Channel: "stable"}, nil, "v1.2.0"},
		{"of its channel", api.Followed{Channel: "rc"}, nil, "v2.0.0-rc.1"},
		{"nothing newer", api.Followed{Channel: "stable"}, []registry.Release{published("1.2.0", registry.Published)}, ""},
		{"yanked is not made again", api.Followed{Channel: "stable"}, []registry.Release{published("1.2.0", registry.Yanked)}, ""},
		{"failed may be", api.Followed{Channel: "stable"}, []registry.Release{published("1.2.0", registry.Failed)}, "v1.2.0"},
		{
			"another channel is higher",
			api.Followed{Channel: "stable"},
			[]registry.Release{published("2.0.0-rc.1", registry.Published)},
			"v1.2.0",
		},
		{"refused as it is", api.Followed{Channel: "stable", Refused: map[string]string{"v1.2.0": "b"}}, nil, "v1.0.0"},
		{"refused as it was", api.Followed{Channel: "stable", Refused: map[string]string{"v1.2.0": "x"}}, nil, "v1.2.0"},
		{"moved", api.Followed{Channel: "stable", Moved: map[string]string{"v1.2.0": "b"}}, nil, "v1.0.0"},
	} {
		if got := nextTag(&c.o, tags, c.releases); got.Name != c.want {
			t.Errorf("%s: %q, want %q", c.name, got.Name, c.want)
		}
	}
}

func otherKey(t *testing.T) ed25519.PrivateKey {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	check(t, err)
	return key
}

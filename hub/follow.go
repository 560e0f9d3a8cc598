package hub

import (
	"context"
	"fmt"
	"hash/fnv"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/stavily/stavily/hub/api"
	"github.com/stavily/stavily/hub/registry"
	"github.com/stavily/stavily/hub/source"
	"github.com/stavily/stavily/hub/store"
	"github.com/stavily/stavily/hub/version"
	"github.com/stavily/stavily/protocol"
)

// bookFollows holds an api.Followed for every plugin whose repository the hub looks at by
// itself.
const bookFollows = "follows"

const (
	followEvery    = time.Hour
	followShortest = time.Minute
	followLongest  = 30 * 24 * time.Hour
	// followsMax bounds the plugins that are followed, and refusedMax the tags that are
	// remembered of one.
	followsMax = 1000
	refusedMax = 200
)

// Follow has the hub look for new tags of a plugin by itself: those of the channel become
// releases, and workflows that update by themselves move to them.
func (h *Hub) Follow(now time.Time, plugin protocol.PluginName, in api.Follow,
) (out *api.Followed, err error) {
	if in.Every == 0 {
		in.Every = followEvery
	}
	err = h.Operate(func(tx *store.Tx) error {
		if err := checkFollow(tx, plugin, in); err != nil {
			return err
		}
		out = &api.Followed{Plugin: plugin}
		if _, err := getJSON(tx, bookFollows, string(plugin), out); err != nil {
			return err
		}
		out.Channel, out.Every, out.Next = in.Channel, in.Every, now
		err := notice(tx, api.Notice{
			At: now, Kind: "follow", Subject: string(plugin), By: in.By,
			Text: fmt.Sprintf("channel %s, every %v", in.Channel, in.Every),
		})
		if err != nil {
			return err
		}
		return putJSON(tx, bookFollows, string(plugin), out)
	})
	if err != nil {
		return nil, fmt.Errorf("follow %s: %w", plugin, err)
	}
	return out, nil
}

func checkFollow(tx *store.Tx, plugin protocol.PluginName, in api.Follow) error {
	if !slices.Contains(version.Channels(), version.Channel(in.Channel)) {
		return protocol.Errorf(protocol.CodeBadInput, "channel %q: want one of %v", in.Channel, version.Channels())
	}
	if in.Every < followShortest || in.Every > followLongest {
		return protocol.Errorf(protocol.CodeBadInput, "every %v: want %v to %v", in.Every, followShortest,
			followLongest)
	}
	all, err := tx.Entries(bookFollows)
	if err == nil && len(all) >= followsMax {
		err = protocol.Errorf(protocol.CodeLimit, "%d plugins are followed, limit %d", len(all), followsMax)
	}
	if err != nil {
		return err
	}
	_, err = registry.GetPlugin(tx, plugin)
	return err
}

// Unfollow ends that; CodeNotFound when the plugin is not followed.
func (h *Hub) Unfollow(plugin protocol.PluginName) error {
	return h.Operate(func(tx *store.Tx) error {
		if err := tx.DropEntry(bookFollows, string(plugin)); err != nil {
			return protocol.Errorf(protocol.CodeNotFound, "plugin %q: not followed", plugin)
		}
		return nil
	})
}

// Follows returns the plugins that are followed, by name.
func (h *Hub) Follows(tx *store.Tx) (out []api.Followed, err error) {
	entries, err := tx.Entries(bookFollows)
	for i := 0; err == nil && i < len(entries); i++ {
		var f api.Followed
		_, err = getJSON(tx, bookFollows, entries[i].Key, &f)
		out = append(out, f)
	}
	return out, err
}

// Follower looks at the repositories of followed plugins, beside the hub's loop and one after
// the other.
type Follower struct {
	Publish *Publisher
	Hub     *Hub
	Log     *slog.Logger
	// Do runs f in the hub's loop.
	Do func(ctx context.Context, f func(now time.Time) error) error
}

// Look looks at each plugin that is due. What goes wrong with one is told in its entry and
// does not keep the others waiting.
func (f *Follower) Look(ctx context.Context) error {
	var due []api.Followed
	err := f.Do(ctx, func(now time.Time) error {
		return f.Hub.Operate(func(tx *store.Tx) error {
			all, err := f.Hub.Follows(tx)
			due = slices.DeleteFunc(all, func(o api.Followed) bool { return now.Before(o.Next) })
			return err
		})
	})
	for i := 0; err == nil && i < len(due); i++ {
		err = f.look(ctx, &due[i])
	}
	return err
}

// look takes one plugin's newest tag to a release, if there is one. The error is the books'.
func (f *Follower) look(ctx context.Context, o *api.Followed) error {
	var plugin registry.Plugin
	var releases []registry.Release
	var pins map[string]string
	err := f.Publish.Operate(ctx, func(tx *store.Tx) (err error) {
		if plugin, err = registry.GetPlugin(tx, o.Plugin); err != nil {
			return err
		}
		if releases, err = registry.Releases(tx, o.Plugin); err == nil {
			pins, err = registry.Pins(tx, plugin.Repository)
		}
		return err
	})
	if protocol.CodeOf(err) == protocol.CodeNotFound {
		return f.end(ctx, o, nil, err)
	}
	if err != nil {
		return err
	}
	tags, err := f.tags(ctx, &plugin)
	if err != nil {
		return f.end(ctx, o, nil, err)
	}
	told := alarms(o, tags, pins)
	next := nextTag(o, tags, releases)
	if next.Name == "" {
		return f.end(ctx, o, told, nil)
	}
	v := strings.TrimPrefix(next.Name, "v")
	subject := string(o.Plugin) + "@" + v
	// The version is the highest of its channel, though another channel may have a higher one.
	_, err = f.Publish.Publish(ctx, plugin, v, true, func(registry.Stage) {})
	switch {
	case err == nil:
		o.Newest = v
		told = append(told, api.Notice{Kind: "published", Subject: subject, Text: "from channel " + o.Channel})
	case passes(err): // it is tried again
	default:
		o.Refused = remembered(o.Refused, next)
		told = append(told, api.Notice{Kind: "refused", Subject: subject, Text: err.Error()})
	}
	return f.end(ctx, o, told, err)
}

func (f *Follower) tags(ctx context.Context, p *registry.Plugin) ([]source.TagObject, error) {
	credential, err := f.Publish.Config.credential(p.Credential)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, f.Publish.Config.FetchTimeout)
	defer cancel()
	tags, err := source.TagObjects(ctx, p.Repository, source.Options{Credentials: credential})
	if err != nil {
		return nil, coded(err)
	}
	return tags, nil
}

// passes reports whether trying the same tag again may go better.
func passes(err error) bool {
	switch protocol.CodeOf(err) {
	case protocol.CodeUnavailable, protocol.CodeDeadline, protocol.CodeStorage, protocol.CodeNotFound:
		return true
	default:
		return false
	}
}

// alarms notes the tags that no longer mean what they did, and returns what is new of them: a
// tag that moves is no update (M-02).
func alarms(o *api.Followed, tags []source.TagObject, pins map[string]string) (out []api.Notice) {
	for _, t := range tags {
		if was, known := pins[t.Name]; known && was != t.Object && o.Moved[t.Name] != t.Object {
			o.Moved = remembered(o.Moved, t)
			out = append(out, api.Notice{
				Kind: "moved-tag", Subject: string(o.Plugin) + " " + t.Name,
				Text: fmt.Sprintf("was %.12s, is %.12s now: somebody rewrote a published version; nothing was taken",
					was, t.Object),
			})
		}
	}
	return out
}

// nextTag returns the tag that is to become a release: the newest of the channel that is above all
// that was published of it, and was not refused as it is; none when there is no such.
func nextTag(o *api.Followed, tags []source.TagObject, releases []registry.Release) (out source.TagObject) {
	within, err := version.Parse(o.Channel)
	if err != nil {
		return out
	}
	highest := ""
	for _, r := range releases {
		if r.State != registry.Failed && within.Takes(r.Version) && version.Compare(r.Version, highest) > 0 {
			highest = r.Version
		}
	}
	for _, t := range tags {
		v := strings.TrimPrefix(t.Name, "v")
		stays := o.Refused[t.Name] == t.Object || o.Moved[t.Name] != ""
		if within.Takes(v) && !stays && version.Compare(v, highest) > 0 {
			highest, out = v, t
		}
	}
	return out
}

func remembered(m map[string]string, t source.TagObject) map[string]string {
	out := maps.Clone(m)
	if out == nil || len(out) >= refusedMax {
		out = map[string]string{}
	}
	out[t.Name] = t.Object
	return out
}

// end keeps what a look came to, tells it, and moves the workflows that update by themselves.
func (f *Follower) end(ctx context.Context, o *api.Followed, told []api.Notice, trouble error) error {
	if o.Trouble = ""; trouble != nil {
		o.Trouble = trouble.Error()
		f.Log.Warn("followed plugin", slog.String("plugin", string(o.Plugin)), slog.String("error", o.Trouble))
	}
	return f.Do(ctx, func(now time.Time) error {
		o.Looked, o.Next = now, now.Add(o.Every+jitter(string(o.Plugin), now, o.Every))
		err := f.Hub.Operate(func(tx *store.Tx) error {
			var still api.Followed
			if found, err := getJSON(tx, bookFollows, string(o.Plugin), &still); err != nil || !found {
				return err // nobody follows it any more
			}
			o.Channel, o.Every = still.Channel, still.Every
			for _, n := range told {
				n.At = now
				f.Log.Warn("notice", slog.String("kind", n.Kind), slog.String("subject", n.Subject),
					slog.String("text", n.Text))
				if err := notice(tx, n); err != nil {
					return err
				}
			}
			return putJSON(tx, bookFollows, string(o.Plugin), o)
		})
		if err != nil {
			return err
		}
		return f.Hub.automatic(now, o.Plugin)
	})
}

// jitter returns up to a tenth of a period, so that looks at many repositories spread.
func jitter(name string, now time.Time, every time.Duration) time.Duration {
	h := fnv.New64a()
	fmt.Fprint(h, name, now.UnixNano())
	return time.Duration(h.Sum64() % uint64(every/10))
}

package registry

import (
	"slices"
	"strings"
	"time"

	"github.com/stavily/stavily/hub/store"
	"github.com/stavily/stavily/hub/version"
	"github.com/stavily/stavily/protocol"

	"github.com/Masterminds/semver/v3"
)

// Pin is what a tag of a repository means.
type Pin struct {
	Repository string
	Tag        string
	TagObject  string // Git object ID, hexadecimal
	Commit     string // Git object ID, hexadecimal
}

// PinTag remembers what a tag means, the first time, and afterwards demands the same.
// The error for a tag that moved has CodeExists: somebody rewrote a published version.
func PinTag(tx *store.Tx, p Pin, now time.Time) error {
	var object, commit string
	err := tx.QueryRow("SELECT tag_object, commit_id FROM tag_pin WHERE repository = ? AND tag = ?",
		p.Repository,
		p.Tag).Scan(&object, &commit)
	switch {
	case store.None(err):
		_, err := tx.Exec(`INSERT INTO tag_pin (repository, tag, tag_object, commit_id, pinned)
			VALUES (?, ?, ?, ?, ?)`,
			p.Repository, p.Tag, p.TagObject, p.Commit, store.Millis(now))
		return err
	case err != nil:
		return err
	case commit != p.Commit:
		return movedError(p, commit, p.Commit)
	case object != p.TagObject:
		return movedError(p, object, p.TagObject)
	}
	return nil
}

// Pins returns the tag objects that the tags of a repository are known to mean, by tag.
func Pins(tx *store.Tx, repository string) (map[string]string, error) {
	rows, err := tx.Query("SELECT tag, tag_object FROM tag_pin WHERE repository = ?", repository)
	all, err := store.Collect(rows, err, func(row store.Scanner) (p Pin, err error) {
		return p, row.Scan(&p.Tag, &p.TagObject)
	})
	out := make(map[string]string, len(all))
	for _, p := range all {
		out[p.Tag] = p.TagObject
	}
	return out, err
}

func movedError(p Pin, was, is string) error {
	return protocol.Errorf(protocol.CodeExists, "tag %s of %s moved: was %s is now %s", p.Tag, p.Repository,
		short(was), short(is))
}

func short(id string) string { return id[:min(12, len(id))] }

// CheckVersion refuses, with CodeStale, a version below the highest that the plugin
// ever published, unless older are allowed (O-05).
func CheckVersion(tx *store.Tx, plugin protocol.PluginName, asked string, allowOlder bool) error {
	v, err := parseVersion(asked)
	if err != nil {
		return protocol.Errorf(protocol.CodeBadInput, "plugin %q: %w", plugin, err)
	}
	highest, err := Highest(tx, plugin)
	if err != nil || highest == "" || allowOlder {
		return err
	}
	top, err := parseVersion(highest)
	if err != nil {
		return protocol.Errorf(protocol.CodeStorage, "plugin %q: highest version: %w", plugin, err)
	}
	if v.LessThan(top) {
		return protocol.Errorf(protocol.CodeStale, "plugin %q: version %s is below %s, which was published before",
			plugin, asked, highest)
	}
	return nil
}

// Highest returns the highest version that a plugin ever published, empty for none.
func Highest(tx *store.Tx, plugin protocol.PluginName) (string, error) {
	var highest string
	err := tx.QueryRow("SELECT version FROM plugin_highest WHERE plugin = ?", plugin).Scan(&highest)
	if store.None(err) {
		return "", nil
	}
	return highest, err
}

func raise(tx *store.Tx, plugin protocol.PluginName, to *semver.Version) error {
	err := CheckVersion(tx, plugin, to.Original(), false)
	if protocol.CodeOf(err) == protocol.CodeStale {
		return nil // the caller allowed an older one
	}
	if err != nil {
		return err
	}
	_, err = tx.Exec(`INSERT INTO plugin_highest (plugin, version) VALUES (?, ?)
		ON CONFLICT (plugin) DO UPDATE SET version = excluded.version`, plugin, to.Original())
	return err
}

// Resolve returns the newest published release that ref asks for: "name" (the newest),
// "name@1", "name@^1.2", "name@1.2.0" or "name@beta". Pre-releases are taken only when ref
// names one, or their channel. The error has CodeBadInput for a bad ref and CodeNotFound
// with the versions that there are.
func Resolve(tx *store.Tx, ref string) (Release, error) {
	name, want, err := version.Cut(ref)
	if err != nil {
		return Release{}, err
	}
	plugin := protocol.PluginName(name)
	if err := plugin.Check(); err != nil {
		return Release{}, protocol.Errorf(protocol.CodeBadInput, "%q: %w", ref, err)
	}
	if _, err := GetPlugin(tx, plugin); err != nil {
		return Release{}, err
	}
	rows, err := tx.Query("SELECT "+releaseColumns+" FROM release WHERE plugin = ?", plugin)
	all, err := store.Collect(rows, err, scanRelease)
	if err != nil {
		return Release{}, err
	}
	sortReleases(all)
	for _, r := range all {
		if r.State == Published && want.Takes(r.Version) {
			return withArtifacts(tx, r, nil)
		}
	}
	return Release{}, protocol.Errorf(protocol.CodeNotFound, "%q: no published release fits; there %s", ref,
		listed(all))
}

// listedMax bounds the versions that an error names.
const listedMax = 8

func listed(all []Release) string {
	if len(all) == 0 {
		return "is none"
	}
	var text []string
	for _, r := range all[:min(len(all), listedMax)] {
		one := r.Version
		if r.State != Published {
			one += " (" + string(r.State) + ")"
		}
		text = append(text, one)
	}
	if len(all) > listedMax {
		text = append(text, "and older ones")
	}
	return "are " + strings.Join(text, ", ")
}

// sortReleases puts the highest version first.
func sortReleases(all []Release) {
	slices.SortFunc(all, func(a, b Release) int {
		va, errA := parseVersion(a.Version)
		vb, errB := parseVersion(b.Version)
		if errA != nil || errB != nil { // PutRelease lets none in
			return strings.Compare(b.Version, a.Version)
		}
		if c := vb.Compare(va); c != 0 {
			return c
		}
		return strings.Compare(b.Version, a.Version) // they differ in build metadata only
	})
}

// parseVersion reads a version as manifests write it: all three numbers, no "v".
func parseVersion(s string) (*semver.Version, error) {
	v, err := semver.StrictNewVersion(s)
	if err != nil {
		return nil, protocol.Errorf(protocol.CodeBadInput, "version %q: %w", s, err)
	}
	return v, nil
}

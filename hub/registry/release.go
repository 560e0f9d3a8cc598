package registry

import (
	"time"

	"github.com/stavily/stavily/hub/store"
	"github.com/stavily/stavily/protocol"

	"github.com/Masterminds/semver/v3"
)

// State says whether a release may be used.
type State string

// The states.
const (
	Published State = "published"
	Failed    State = "failed"  // a stage said no; may be tried again
	Yanked    State = "yanked"  // no new use; agents that hold it keep it
	Revoked   State = "revoked" // no use: agents stop it and let go of it
)

// Release is what the books know of one version of a plugin. The sealed document and
// the artifacts are in Files.
type Release struct {
	Plugin     protocol.PluginName `json:"plugin"`
	Version    string              `json:"version"` // semver without "v"
	Digest     protocol.Digest     `json:"digest"`  // of the sealed release; zero while failed
	Size       int64               `json:"size"`    // of the sealed release, bytes
	Repository string              `json:"repository"`
	Tag        string              `json:"tag"`
	TagObject  string              `json:"tag_object"`
	Commit     string              `json:"commit"`
	Tree       protocol.Digest     `json:"tree"`
	Signer     string              `json:"signer"`
	SignerKey  string              `json:"signer_key"`
	Artifacts  []Artifact          `json:"artifacts"` // by platform
	State      State               `json:"state"`
	Created    time.Time           `json:"created"`
}

// Artifact is one file of a release.
type Artifact struct {
	Platform string          `json:"platform"`
	Digest   protocol.Digest `json:"digest"`
	Size     int64           `json:"size"` // bytes
	Metered  bool            `json:"metered"`
}

const releaseColumns = `plugin, version, digest, size, repository, tag, tag_object, commit_id, tree, signer,
	signer_key, state, created`

// Ref returns the release as a desired document names it.
func (r *Release) Ref() protocol.ReleaseRef {
	return protocol.ReleaseRef{Plugin: r.Plugin, Version: r.Version, Digest: r.Digest, Size: r.Size}
}

// PutRelease keeps r, once: a version that was published or yanked is refused with
// CodeExists unless its digest is the same, which changes nothing. A failed one is
// replaced. Publishing raises the plugin's highest version.
func PutRelease(tx *store.Tx, r Release) error {
	version, err := checkRelease(&r)
	if err != nil {
		return err
	}
	old, err := GetRelease(tx, r.Plugin, r.Version)
	switch {
	case protocol.CodeOf(err) == protocol.CodeNotFound:
	case err != nil:
		return err
	case old.State != Failed && old.Digest == r.Digest:
		return nil
	case old.State != Failed:
		return protocol.Errorf(protocol.CodeExists, "publish %s@%s: %s before as %s, now %s; raise the version",
			r.Plugin, r.Version, old.State, old.Digest.Short(), r.Digest.Short())
	}
	if _, err := tx.Exec("DELETE FROM release WHERE plugin = ? AND version = ?", r.Plugin,
		r.Version); err != nil {
		return err
	}
	if err := insertRelease(tx, &r); err != nil {
		return err
	}
	if r.State != Published {
		return nil
	}
	return raise(tx, r.Plugin, version)
}

func checkRelease(r *Release) (*semver.Version, error) {
	if err := r.Plugin.Check(); err != nil {
		return nil, err
	}
	version, err := parseVersion(r.Version)
	switch {
	case err != nil:
		return nil, protocol.Errorf(protocol.CodeBadInput, "publish %s: %w", r.Plugin, err)
	case r.State != Published && r.State != Failed:
		return nil, protocol.Errorf(protocol.CodeBadInput, "publish %s@%s: state %q, want %s or %s", r.Plugin,
			r.Version, r.State, Published, Failed)
	case r.State == Published && (r.Digest.IsZero() || r.Size <= 0):
		return nil, protocol.Errorf(protocol.CodeBadInput, "publish %s@%s: not sealed", r.Plugin, r.Version)
	}
	return version, nil
}

func insertRelease(tx *store.Tx, r *Release) error {
	_, err := tx.Exec("INSERT INTO release ("+releaseColumns+") VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
		r.Plugin, r.Version, store.DigestBytes(r.Digest), r.Size, r.Repository, r.Tag, r.TagObject, r.Commit,
		store.DigestBytes(r.Tree), r.Signer, r.SignerKey, string(r.State), store.Millis(r.Created))
	if err != nil {
		return err
	}
	for _, a := range r.Artifacts {
		_, err := tx.Exec(`INSERT INTO release_artifact (plugin, version, platform, digest, size, metered)
			VALUES (?, ?, ?, ?, ?, ?)`, r.Plugin, r.Version, a.Platform, a.Digest[:], a.Size, a.Metered)
		if err != nil {
			return err
		}
	}
	return nil
}

// GetRelease returns one version of a plugin, whatever its state; CodeNotFound when
// there is none.
func GetRelease(tx *store.Tx, plugin protocol.PluginName, version string) (Release, error) {
	r, err := scanRelease(tx.QueryRow("SELECT "+releaseColumns+" FROM release WHERE plugin = ? AND version = ?",
		plugin, version))
	if store.None(err) {
		return Release{}, protocol.Errorf(protocol.CodeNotFound, "release %s@%s: not found", plugin, version)
	}
	return withArtifacts(tx, r, err)
}

// ReleaseOf returns the release whose sealed document has that digest; CodeNotFound
// when there is none.
func ReleaseOf(tx *store.Tx, digest protocol.Digest) (Release, error) {
	r, err := scanRelease(tx.QueryRow("SELECT "+releaseColumns+" FROM release WHERE digest = ?", digest[:]))
	if store.None(err) {
		return Release{}, protocol.Errorf(protocol.CodeNotFound, "release %s: not found", digest.Short())
	}
	return withArtifacts(tx, r, err)
}

// Releases returns all releases of a plugin, whatever their state, the highest version
// first.
func Releases(tx *store.Tx, plugin protocol.PluginName) ([]Release, error) {
	rows, err := tx.Query("SELECT "+releaseColumns+" FROM release WHERE plugin = ?", plugin)
	all, err := store.Collect(rows, err, scanRelease)
	if err != nil {
		return nil, err
	}
	sortReleases(all)
	for i, r := range all {
		if all[i], err = withArtifacts(tx, r, nil); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// SetState publishes again, yanks or revokes a release that was published once. The error
// has CodeNotFound, or CodeStale for a release that failed.
func SetState(tx *store.Tx, plugin protocol.PluginName, version string, state State) error {
	r, err := GetRelease(tx, plugin, version)
	if err != nil {
		return err
	}
	if r.State == Failed || state == Failed {
		return protocol.Errorf(protocol.CodeStale, "%s@%s: never published: it is not %s", plugin, version, state)
	}
	_, err = tx.Exec("UPDATE release SET state = ? WHERE plugin = ? AND version = ?", string(state), plugin,
		version)
	return err
}

// Revocations returns the digests of the releases that are revoked, ascending.
func Revocations(tx *store.Tx) ([]protocol.Digest, error) {
	rows, err := tx.Query("SELECT digest FROM release WHERE state = ? ORDER BY digest", string(Revoked))
	return store.Collect(rows, err, func(row store.Scanner) (d protocol.Digest, err error) {
		return d, row.Scan(store.DigestColumn{To: &d})
	})
}

func withArtifacts(tx *store.Tx, r Release, err error) (Release, error) {
	if err != nil {
		return Release{}, err
	}
	rows, err := tx.Query(`SELECT platform, digest, size, metered FROM release_artifact
		WHERE plugin = ? AND version = ? ORDER BY platform`, r.Plugin, r.Version)
	r.Artifacts, err = store.Collect(rows, err, func(row store.Scanner) (Artifact, error) {
		var a Artifact
		return a, row.Scan(&a.Platform, store.DigestColumn{To: &a.Digest}, &a.Size, &a.Metered)
	})
	return r, err
}

func scanRelease(row store.Scanner) (Release, error) {
	var r Release
	var created int64
	err := row.Scan(&r.Plugin, &r.Version, store.DigestColumn{To: &r.Digest}, &r.Size, &r.Repository, &r.Tag,
		&r.TagObject, &r.Commit, store.DigestColumn{To: &r.Tree}, &r.Signer, &r.SignerKey, &r.State, &created)
	r.Created = store.Time(created)
	return r, err
}

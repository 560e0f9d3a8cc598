// Package source is the hub's room for Git: it lists the tags of a plugin repository, fetches one signed tag
// within hard bounds, turns it into a plain tree of regular files, and says who signed it.
//
// The way of a release is Fetch, then VerifyTag, then Pin.Check. Nothing here has a work tree, runs a hook,
// follows a submodule or trusts a byte of the remote: the pack is read by a reader that counts, every
// object's name is computed again, and the signature is checked over the raw tag object as it came.
//
// sign.go is the author's half: it makes a repository and a signed tag without git or ssh-keygen.
package source

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	"golang.org/x/mod/semver"
)

// A Ref names one version of one repository.
type Ref struct {
	// URL is https://, ssh://, git@host:path, file:// or a local path. It holds no credential.
	URL string
	// Tag is a version, like "v1.2.0" or "1.2.0".
	Tag string
}

// Limits bound what a repository may cost. A zero field means its default.
type Limits struct {
	RefBytes    int64         // bytes of the remote's list of refs
	PackBytes   int64         // bytes that the remote may send as a pack
	ObjectBytes int64         // bytes of all objects once unpacked, deltas included
	Objects     int           // objects in the pack, or read from a local repository
	TreeBytes   int64         // bytes of all exported files
	FileBytes   int64         // bytes of one exported file
	Files       int           // files and folders of the tree
	Depth       int           // names in one path
	PathBytes   int           // bytes of one path
	TagBytes    int           // bytes of the raw tag object
	Time        time.Duration // of one Fetch or Tags, whatever the caller's deadline
}

// DefaultLimits fit a plugin with its vendored dependencies on a hub with 512 MB.
func DefaultLimits() Limits {
	return Limits{
		RefBytes:    16 << 20,
		PackBytes:   64 << 20,
		ObjectBytes: 128 << 20,
		Objects:     50_000,
		TreeBytes:   64 << 20,
		FileBytes:   16 << 20,
		Files:       20_000,
		Depth:       32,
		PathBytes:   512,
		TagBytes:    64 << 10,
		Time:        5 * time.Minute,
	}
}

// Options say how a repository is reached.
type Options struct {
	Credentials Credentials
	Limits      Limits
	// Proxy chooses a proxy for https, as in net/http; nil is a direct connection.
	Proxy func(*http.Request) (*url.URL, error)
}

// Tags lists the remote's tags that are versions, lowest first. It fetches no object.
func Tags(ctx context.Context, url string, opt Options) (names []string, err error) {
	all, err := TagObjects(ctx, url, opt)
	for _, t := range all {
		names = append(names, t.Name)
	}
	return names, err
}

// TagObject is a tag with the ID of the object that it names, 40 hex digits.
type TagObject struct {
	Name, Object string
}

// TagObjects is Tags with what each of them names now.
func TagObjects(ctx context.Context, url string, opt Options) (tags []TagObject, err error) {
	defer rescue(&err)
	opt.Limits = opt.Limits.filled()
	ctx, cancel := context.WithTimeout(ctx, opt.Limits.Time)
	defer cancel()
	repo, err := open(ctx, url, opt)
	if err != nil {
		return nil, fmt.Errorf("tags %s: %w", shown(url), because(ctx, err))
	}
	defer repo.close()
	all, err := repo.tags(ctx)
	if err != nil {
		return nil, fmt.Errorf("tags %s: %w", shown(url), because(ctx, err))
	}
	for name, id := range all {
		if isVersion(name) {
			tags = append(tags, TagObject{name, id.String()})
		}
	}
	slices.SortFunc(tags, func(s, t TagObject) int { return compareVersions(s.Name, t.Name) })
	return tags, nil
}

// Fetch brings the signed tag ref and the files it names. The signature is not judged here; see VerifyTag.
//
// Errors: ErrNotFound, ErrAuth, ErrUnsigned for a lightweight tag, ErrMalformedTag, ErrNestedTag,
// ErrRenamedTag, ErrLimit (a *LimitError) and ErrHostileTree.
func Fetch(ctx context.Context, ref Ref, opt Options) (tree *Tree, err error) {
	defer rescue(&err)
	if !isVersion(ref.Tag) {
		return nil, fmt.Errorf("fetch %s: tag %q: want a version like v1.2.0", shown(ref.URL), ref.Tag)
	}
	opt.Limits = opt.Limits.filled()
	ctx, cancel := context.WithTimeout(ctx, opt.Limits.Time)
	defer cancel()
	tree, err = fetch(ctx, ref, opt)
	if err != nil {
		return nil, fmt.Errorf("fetch %s %s: %w", shown(ref.URL), ref.Tag, because(ctx, err))
	}
	return tree, nil
}

func fetch(ctx context.Context, ref Ref, opt Options) (*Tree, error) {
	repo, err := open(ctx, ref.URL, opt)
	if err != nil {
		return nil, err
	}
	defer repo.close()
	tags, err := repo.tags(ctx)
	if err != nil {
		return nil, err
	}
	id, ok := tags[ref.Tag]
	if !ok {
		return nil, fmt.Errorf("tag %q: %w", ref.Tag, ErrNotFound)
	}
	objs, err := repo.fetch(ctx, id)
	if err != nil {
		return nil, err
	}
	return export(ctx, objs, ref.Tag, exportPlan{id: id, limits: opt.Limits})
}

// A repository is one open connection to a remote, or a local store.
type repository interface {
	// tags lists refs/tags by their short name.
	tags(ctx context.Context) (map[string]plumbing.Hash, error)
	// fetch brings id and all that it reaches, history left out.
	fetch(ctx context.Context, id plumbing.Hash) (objects, error)
	close()
}

// objects gives an object by its name; the content was checked against the name.
type objects interface {
	get(id plumbing.Hash) (plumbing.ObjectType, []byte, error)
}

func open(ctx context.Context, url string, opt Options) (repository, error) {
	at, err := parseURL(url)
	if err != nil {
		return nil, err
	}
	switch at.kind {
	case overHTTP:
		return newHTTPRemote(at, opt)
	case overSSH:
		return dialSSH(ctx, at, opt)
	default:
		return openLocal(at.path, opt.Limits)
	}
}

// filled puts the default where the caller said nothing.
func (l Limits) filled() Limits {
	d := DefaultLimits()
	l.RefBytes = orDefault(l.RefBytes, d.RefBytes)
	l.PackBytes = orDefault(l.PackBytes, d.PackBytes)
	l.ObjectBytes = orDefault(l.ObjectBytes, d.ObjectBytes)
	l.Objects = orDefault(l.Objects, d.Objects)
	l.TreeBytes = orDefault(l.TreeBytes, d.TreeBytes)
	l.FileBytes = orDefault(l.FileBytes, d.FileBytes)
	l.Files = orDefault(l.Files, d.Files)
	l.Depth = orDefault(l.Depth, d.Depth)
	l.PathBytes = orDefault(l.PathBytes, d.PathBytes)
	l.TagBytes = orDefault(l.TagBytes, d.TagBytes)
	l.Time = orDefault(l.Time, d.Time)
	return l
}

func orDefault[T int | int64 | time.Duration](v, d T) T {
	if v <= 0 {
		return d
	}
	return v
}

// isVersion says whether a tag's name is a full semantic version, with or without a "v". It is the only gate
// through which a ref name passes, so it admits no slash, no space and no control character.
func isVersion(tag string) bool {
	v := canonical(tag)
	return len(tag) <= 128 && semver.IsValid(v) && semver.Canonical(v)+semver.Build(v) == v
}

func canonical(tag string) string {
	if len(tag) > 0 && tag[0] == 'v' {
		return tag
	}
	return "v" + tag
}

func compareVersions(a, b string) int {
	if c := semver.Compare(canonical(a), canonical(b)); c != 0 {
		return c
	}
	if a < b {
		return -1
	}
	return 1
}

// because puts the deadline's own error first: a cut connection otherwise hides it.
func because(ctx context.Context, err error) error {
	if cause := ctx.Err(); cause != nil && !errors.Is(err, cause) {
		return fmt.Errorf("%w: %w", cause, err)
	}
	return err
}

// rescue turns a panic of the Git library into an error: its decoders read bytes that a stranger chose, and a
// stranger must not end the hub.
func rescue(err *error) {
	if r := recover(); r != nil {
		*err = fmt.Errorf("git: decoder gave up: %v", r)
	}
}

package hub

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/Masterminds/semver/v3"

	"github.com/stavily/stavily/hub/api"
	"github.com/stavily/stavily/hub/build"
	"github.com/stavily/stavily/hub/deploy"
	"github.com/stavily/stavily/hub/registry"
	"github.com/stavily/stavily/hub/source"
	"github.com/stavily/stavily/hub/store"
	"github.com/stavily/stavily/protocol"
	"github.com/stavily/stavily/wasmhost"
)

// Publisher takes plugins from their repositories to sealed releases. It works beside
// the hub's loop, because fetching and building take time, and asks the loop for the
// books.
type Publisher struct {
	Config Config
	Log    *slog.Logger
	Keys   *Keys
	Files  *registry.Files
	Build  *build.Builder
	Clock  func() time.Time
	// Operate runs f in the hub's loop, all of it or nothing.
	Operate func(ctx context.Context, f func(*store.Tx) error) error
}

// Add registers a repository: its newest tag, which one of the allowed signers must have
// signed, says which plugin it is. Nothing is built.
func (p *Publisher) Add(ctx context.Context, in api.AddPlugin) (registry.Plugin, error) {
	none := registry.Plugin{}
	url := in.Repository
	credential, err := p.Config.credential(in.Credential)
	if err != nil {
		return none, err
	}
	tags, err := source.Tags(ctx, url, source.Options{Credentials: credential})
	if err != nil {
		return none, fmt.Errorf("add %s: %w", source.Redact(url), coded(err))
	}
	if len(tags) == 0 {
		return none, protocol.Errorf(protocol.CodeNotFound, "add %s: no tag that is a version, such as v1.0.0",
			source.Redact(url))
	}
	c := &candidate{
		repository: url, credential: in.Credential, signers: in.AllowedSigners, tag: tags[len(tags)-1],
	}
	for _, step := range []func(context.Context, *candidate) (string, error){p.fetch, p.signature, p.manifest} {
		if _, err := step(ctx, c); err != nil {
			return none, fmt.Errorf("add %s: tag %s: %w", source.Redact(url), c.tag, coded(err))
		}
	}
	info := c.release.Manifest.Plugin
	plugin := registry.Plugin{
		Name: info.Name, Type: info.Type, Repository: url, Credential: in.Credential,
		AllowedSigners: in.AllowedSigners,
		Description:    info.Description, Added: p.Clock(),
	}
	return plugin, p.Operate(ctx, func(tx *store.Tx) error { return registry.AddPlugin(tx, plugin) })
}

// candidate is a release on its way. Each stage finds what the ones before it left.
type candidate struct {
	plugin     protocol.PluginName // empty while a repository is being added
	repository string
	credential string // the name of one, empty for none
	signers    string
	tag        string
	older      bool // the operator asked for a version below the highest

	tree    *source.Tree
	release protocol.Release
	module  []byte // as built, then as metered: the engine's where one runs the plugin; nil if native only
	script  []byte // what the engine runs; nil without one
	engine  *build.Engine
	native  []build.Output
	bundle  *build.Bundle // built elsewhere; nil for what is built here
	tests   string        // what its builder says of the plugin's own tests
	sealed  []byte
}

// Publish takes one version of a registered plugin through every stage and tells
// report each verdict as it falls. What fails leaves its verdicts and no release.
func (p *Publisher) Publish(ctx context.Context, plugin registry.Plugin, version string, older bool,
	report func(registry.Stage),
) (registry.Release, error) {
	return p.publish(ctx, plugin, Asked{Version: version, Older: older}, nil, report)
}

func (p *Publisher) publish(ctx context.Context, plugin registry.Plugin, ask Asked, bundle *build.Bundle,
	report func(registry.Stage),
) (registry.Release, error) {
	version := ask.Version
	c := &candidate{
		plugin: plugin.Name, repository: plugin.Repository, credential: plugin.Credential,
		signers: plugin.AllowedSigners,
		tag:     "v" + version, older: ask.Older, bundle: bundle,
	}
	if _, err := semver.StrictNewVersion(version); err != nil {
		return registry.Release{}, protocol.Errorf(protocol.CodeBadInput,
			"publish %s: version %q: want one such as 1.2.0", plugin.Name, version)
	}
	if err := p.begin(ctx, c, version); err != nil {
		return registry.Release{}, err
	}
	for _, stage := range p.stages() {
		verdict, err := p.run(ctx, stage, c)
		report(verdict)
		if err = errors.Join(err, p.note(ctx, c, version, verdict)); err != nil {
			return registry.Release{}, fmt.Errorf("publish %s@%s: %s: %w", plugin.Name, version, stage.name, err)
		}
	}
	var kept registry.Release
	return kept, p.Operate(ctx, func(tx *store.Tx) (err error) {
		kept, err = registry.GetRelease(tx, plugin.Name, version)
		return err
	})
}

// note keeps a verdict; one that failed makes the version a failed one, which may be
// tried again.
func (p *Publisher) note(ctx context.Context, c *candidate, version string, verdict registry.Stage) error {
	return p.Operate(ctx, func(tx *store.Tx) error {
		err := registry.SetStage(tx, c.plugin, version, verdict)
		if err != nil || verdict.Verdict != registry.StageFailed {
			return err
		}
		src := c.release.Source
		return registry.PutRelease(tx, registry.Release{
			Plugin: c.plugin, Version: version, Repository: source.Redact(c.repository), Tag: c.tag,
			TagObject: src.TagObject, Commit: src.Commit, Tree: src.Tree, Signer: src.Signer, SignerKey: src.SignerKey,
			State: registry.Failed, Created: p.Clock(),
		})
	})
}

// begin refuses a version that is published already and forgets an earlier try.
func (p *Publisher) begin(ctx context.Context, c *candidate, version string) error {
	var before registry.Release
	err := p.Operate(ctx, func(tx *store.Tx) error {
		r, err := registry.GetRelease(tx, c.plugin, version)
		if err == nil && r.State != registry.Failed {
			before = r
			return protocol.Errorf(protocol.CodeExists, "publish %s@%s: published on %s from commit %.12s; a "+
				"version never changes",
				c.plugin, version, r.Created.Format(time.DateTime), r.Commit)
		}
		return registry.ClearStages(tx, c.plugin, version)
	})
	if before.Version != "" {
		err = errors.Join(p.moved(ctx, c, &before), err)
	}
	return err
}

// moved returns an error when the tag of a published release is not what it was: the
// release stays, and whoever asked should look at the repository (M-02).
func (p *Publisher) moved(ctx context.Context, c *candidate, r *registry.Release) error {
	_, err := p.fetch(ctx, c)
	if err != nil || c.tree.TagObject == r.TagObject {
		return nil //nolint:nilerr // the version is published, whatever became of its repository
	}
	return protocol.Errorf(protocol.CodeBadSeal,
		"publish %s@%s: %w: tag %s was %.12s on commit %.12s, is now %.12s "+
			"on commit %.12s: somebody rewrote a published version", r.Plugin, r.Version, source.ErrMovedTag, c.tag,
		r.TagObject, r.Commit, c.tree.TagObject, c.tree.Commit)
}

type stage struct {
	name registry.StageName
	run  func(context.Context, *candidate) (detail string, err error)
}

// errSkipped makes a stage's verdict "skipped"; its text says why.
var errSkipped = errors.New("skipped")

// stages is the way of a release, in order.
func (p *Publisher) stages() []stage {
	return []stage{
		{registry.StageFetch, p.fetch},
		{registry.StageSignature, p.signature},
		{registry.StageManifest, p.manifest},
		{registry.StageCompatibility, p.compatibility},
		{registry.StageScan, p.scan},
		{registry.StageBuild, p.build},
		{registry.StageTest, p.testAll},
		{registry.StageVerify, p.verify},
		{registry.StageMeter, p.meter},
		{registry.StageEngines, p.agree},
		{registry.StageSeal, p.seal},
		{registry.StageKeep, p.keep},
	}
}

// run lets one stage decide. The stage after a failed one never runs.
func (p *Publisher) run(ctx context.Context, s stage, c *candidate) (registry.Stage, error) {
	began := p.Clock()
	detail, err := s.run(ctx, c)
	verdict := registry.Stage{
		Name: s.name, Verdict: registry.StageOK, Detail: detail,
		Ended: p.Clock(), TookMS: p.Clock().Sub(began).Milliseconds(),
	}
	switch {
	case errors.Is(err, errSkipped):
		verdict.Verdict = registry.StageSkipped
		return verdict, nil
	case err != nil:
		err = coded(err)
		verdict.Verdict, verdict.Detail = registry.StageFailed, err.Error()
	}
	return verdict, err
}

func (p *Publisher) fetch(ctx context.Context, c *candidate) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, p.Config.FetchTimeout)
	defer cancel()
	credential, err := p.Config.credential(c.credential)
	if err != nil {
		return "", err
	}
	tree, err := source.Fetch(ctx, source.Ref{URL: c.repository, Tag: c.tag},
		source.Options{Credentials: credential})
	if err != nil {
		return "", err
	}
	c.tree = tree
	c.release.Source = protocol.Source{
		Repository: source.Redact(c.repository), Tag: tree.Tag, TagObject: tree.TagObject, Commit: tree.Commit,
		Tree: tree.Digest,
	}
	return fmt.Sprintf("commit %.12s, %d files, %d bytes", tree.Commit, tree.Files, tree.Bytes), nil
}

// signature verifies who signed the tag, and that the tag has not moved since this
// hub first saw it.
func (p *Publisher) signature(ctx context.Context, c *candidate) (string, error) {
	signers, err := source.ParseAllowedSigners(strings.NewReader(c.signers))
	if err != nil {
		return "", err
	}
	signer, err := source.VerifyTag(c.tree, signers, p.Clock())
	if err != nil {
		return "", err
	}
	c.release.Source.Signer, c.release.Source.SignerKey = signer.Principal, signer.Fingerprint
	err = p.Operate(ctx, func(tx *store.Tx) error {
		return registry.PinTag(tx, registry.Pin{
			Repository: c.repository, Tag: c.tag, TagObject: c.tree.TagObject, Commit: c.tree.Commit,
		}, p.Clock())
	})
	if protocol.CodeOf(err) == protocol.CodeExists {
		err = protocol.Errorf(protocol.CodeBadSeal, "%w: somebody rewrote a version that this hub has seen", err)
	}
	return fmt.Sprintf("tag %s signed by %s (%s)", c.tag, signer.Principal, signer.Fingerprint), err
}

func (p *Publisher) manifest(_ context.Context, c *candidate) (string, error) {
	m, warnings, err := build.ReadManifest(c.tree)
	if err != nil {
		return "", err
	}
	c.release.Manifest = *m
	if want := strings.TrimPrefix(c.tag, "v"); m.Plugin.Version != want {
		return "", protocol.Errorf(protocol.CodeBadInput, "%s: plugin.version is %s, the tag says %s",
			build.ManifestFile, m.Plugin.Version, want)
	}
	if c.plugin != "" && m.Plugin.Name != c.plugin {
		return "", protocol.Errorf(protocol.CodeBadInput, "%s: plugin.name is %s, the repository is registered "+
			"as %s",
			build.ManifestFile, m.Plugin.Name, c.plugin)
	}
	if c.release.Schema, err = build.ReadSchema(c.tree, m); err != nil {
		return "", err
	}
	if err := checkExamples(c.tree, m, c.release.Schema); err != nil {
		return "", err
	}
	if _, beyond := deploy.DeviceSchema(c.release.Schema); len(beyond) > 0 {
		warnings = append(warnings, m.Configuration.Schema+": checked at the hub only: "+strings.Join(beyond, ", "))
	}
	return strings.Join(append([]string{m.String() + ", " + string(m.Plugin.Type)}, warnings...), "; "), err
}

func (p *Publisher) compatibility(ctx context.Context, c *candidate) (string, error) {
	m := &c.release.Manifest
	err := p.Operate(ctx, func(tx *store.Tx) error {
		return registry.CheckVersion(tx, m.Plugin.Name, m.Plugin.Version, c.older)
	})
	if err != nil {
		return "", err
	}
	if c.bundle != nil {
		return "built elsewhere: no toolchain is asked", nil
	}
	return p.Build.Compatible(m)
}

func (p *Publisher) scan(context.Context, *candidate) (string, error) {
	return "no scanner in this version", errSkipped
}

func (p *Publisher) build(ctx context.Context, c *candidate) (string, error) {
	if c.bundle != nil {
		return p.attested(c)
	}
	ctx, cancel := context.WithTimeout(ctx, p.Config.BuildTimeout)
	defer cancel()
	out, err := p.Build.Build(ctx, build.Request{
		Tree: c.tree, TreeDigest: c.tree.Digest,
		Manifest: &c.release.Manifest,
	})
	if err != nil {
		return "", err
	}
	c.release.Builder = out.Builder
	if err := c.take(out); err != nil {
		return "", err
	}
	how := "built"
	if out.Cached {
		how = "from the cache"
	}
	return fmt.Sprintf("%s, %s, %s", out.Builder.Toolchain, how, platformsOf(out.Outputs)), nil
}

func (p *Publisher) test(ctx context.Context, c *candidate) (string, error) {
	if c.bundle != nil && c.release.Manifest.Testing.Suite != "" {
		return c.tests, nil
	}
	ctx, cancel := context.WithTimeout(ctx, p.Config.BuildTimeout)
	defer cancel()
	out, err := p.Build.Test(ctx, build.Request{
		Tree: c.tree, TreeDigest: c.tree.Digest,
		Manifest: &c.release.Manifest,
	})
	if errors.Is(err, build.ErrNoTests) {
		return err.Error(), errSkipped
	}
	return out, err
}

func (p *Publisher) verify(_ context.Context, c *candidate) (string, error) {
	said, err := verifyNative(c.native, &c.release.Manifest)
	if err != nil {
		return "", err
	}
	if c.module != nil {
		v, err := wasmhost.Verify(c.module, &c.release.Manifest)
		if err != nil {
			return "", err
		}
		said = append([]string{fmt.Sprintf("%d imports, all allowed", len(v.Imports))}, said...)
	}
	return strings.Join(said, "; "), nil
}

// meter makes the module pay fuel, and verifies what came out by the function that
// the agents use.
func (p *Publisher) meter(_ context.Context, c *candidate) (string, error) {
	if c.module == nil {
		return noModule, errSkipped
	}
	metered, err := build.Meter(c.module)
	if err != nil {
		return "", err
	}
	if _, err := wasmhost.Verify(metered, &c.release.Manifest); err != nil {
		return "", err
	}
	grown := 100 * (float64(len(metered))/float64(len(c.module)) - 1)
	c.module = metered
	return fmt.Sprintf("%d bytes (%+.1f %%), %s", len(metered), grown, protocol.DigestOf(metered).Short()), nil
}

func (p *Publisher) seal(_ context.Context, c *candidate) (string, error) {
	c.release.Artifacts = c.artifacts()
	payload := protocol.MustMarshal(c.release)
	if err := protocol.UnmarshalExact(payload, &protocol.Release{}); err != nil { // nobody could open it
		return "", err
	}
	sealed, err := protocol.Seal(protocol.ContextRelease, p.Keys.Release, payload)
	c.sealed = sealed
	return fmt.Sprintf("release %s, %d bytes", protocol.DigestOf(sealed).Short(), len(sealed)), err
}

// keep writes the artifact with its engine, then the release, then the books, so that the books never
// name what is not there.
func (p *Publisher) keep(ctx context.Context, c *candidate) (string, error) {
	for _, file := range c.files() {
		if _, err := p.Files.Put(file); err != nil {
			return "", err
		}
	}
	digest, err := p.Files.Put(c.sealed)
	if err != nil {
		return "", err
	}
	src, info := c.release.Source, c.release.Manifest.Plugin
	r := registry.Release{
		Plugin: info.Name, Version: info.Version, Digest: digest, Size: int64(len(c.sealed)),
		Repository: src.Repository, Tag: src.Tag, TagObject: src.TagObject, Commit: src.Commit, Tree: src.Tree,
		Signer: src.Signer, SignerKey: src.SignerKey, State: registry.Published, Created: p.Clock(),
	}
	for _, a := range c.release.Artifacts {
		r.Artifacts = append(r.Artifacts, registry.Artifact{
			Platform: a.Platform, Digest: a.Digest, Size: a.Size, Metered: a.Metered,
		})
	}
	return digest.Short(), p.Operate(ctx, func(tx *store.Tx) error { return registry.PutRelease(tx, r) })
}

// coded gives the errors of rooms that know no codes the one that the operator's exit
// code follows from.
func coded(err error) error {
	if protocol.CodeOf(err) != protocol.CodeInternal {
		return err
	}
	for _, c := range []struct {
		is   error
		code protocol.Code
	}{
		{source.ErrUnsigned, protocol.CodeBadSeal},
		{source.ErrBadSignature, protocol.CodeBadSeal},
		{source.ErrUnknownSigner, protocol.CodeBadSeal},
		{source.ErrRenamedTag, protocol.CodeBadSeal},
		{source.ErrMalformedTag, protocol.CodeBadSeal},
		{source.ErrNestedTag, protocol.CodeBadSeal},
		{source.ErrMovedTag, protocol.CodeBadSeal},
		{source.ErrNotNewer, protocol.CodeStale},
		{source.ErrHostileTree, protocol.CodeRefused},
		{source.ErrLimit, protocol.CodeLimit},
		{source.ErrNotFound, protocol.CodeNotFound},
		{source.ErrAuth, protocol.CodeRefused},
		{source.ErrRedirect, protocol.CodeRefused},
		{context.DeadlineExceeded, protocol.CodeDeadline},
		{context.Canceled, protocol.CodeUnavailable},
	} {
		if errors.Is(err, c.is) {
			return protocol.Errorf(c.code, "%w", err)
		}
	}
	return protocol.Errorf(protocol.CodeBadInput, "%w", err)
}

package build

import (
	"archive/tar"
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/stavily/stavily/protocol"
)

// BundleMax bounds a bundle in bytes: artifacts for a few platforms.
const BundleMax = 3 * protocol.ArtifactMax

// The files of a bundle, which is a POSIX tar.
const (
	bundleStatement = "statement.json"
	bundleSignature = "statement.json.sig"
	bundleArtifacts = "artifacts/"
	statementMax    = 256 << 10
)

// Bundle is what was built elsewhere, with a builder's signed word about it. Nothing of it
// is believed before the signature over Statement has been verified; then Open.
type Bundle struct {
	Statement []byte // an in-toto statement with SLSA provenance, JSON
	Signature []byte // over Statement, armored as ssh-keygen -Y sign does
	artifacts map[string][]byte
}

// Attestation is what a builder says of its outputs.
type Attestation struct {
	Plugin  protocol.PluginName
	Version string
	Commit  string          // Git object ID of the source, hexadecimal
	Tree    protocol.Digest // of the source's files
	Builder protocol.Builder
	Tests   string // how the plugin's own tests went; empty when it has none
	Outputs []Output
}

// The names of the statement's formats.
const (
	statementType = "https://in-toto.io/Statement/v1"
	predicateType = "https://slsa.dev/provenance/v1"
	buildType     = "https://github.com/stavily/stavily/hub/build@v1"
)

// statement is the JSON of an attestation: in-toto's envelope, SLSA's provenance.
type statement struct {
	Type          string     `json:"_type"`
	Subject       []subject  `json:"subject"`
	PredicateType string     `json:"predicateType"`
	Predicate     provenance `json:"predicate"`
}

type subject struct {
	Name        string            `json:"name"` // the platform
	Digest      digests           `json:"digest"`
	Annotations map[string]string `json:"annotations,omitempty"` // engine, note
}

type digests struct {
	SHA256    string `json:"sha256,omitempty"`
	GitCommit string `json:"gitCommit,omitempty"`
}

type provenance struct {
	BuildDefinition struct {
		BuildType          string `json:"buildType"`
		ExternalParameters struct {
			Plugin  string `json:"plugin"`
			Version string `json:"version"`
		} `json:"externalParameters"`
		ResolvedDependencies []resource `json:"resolvedDependencies"`
	} `json:"buildDefinition"`
	RunDetails struct {
		Builder struct {
			ID      string            `json:"id"` // the row of the table of builders
			Version map[string]string `json:"version"`
		} `json:"builder"`
		Byproducts []byproduct `json:"byproducts,omitempty"`
	} `json:"runDetails"`
}

type resource struct {
	Name   string  `json:"name"` // source, tree or inputs
	Digest digests `json:"digest"`
}

type byproduct struct {
	Name    string `json:"name"` // tests or note
	Content string `json:"content"`
}

// Statement writes a as the text that its builder signs.
func (a *Attestation) Statement() ([]byte, error) {
	s := statement{Type: statementType, PredicateType: predicateType}
	for _, o := range a.Outputs {
		of := subject{Name: o.Platform, Digest: digests{SHA256: hexOf(protocol.DigestOf(o.Bytes))}}
		if o.Engine != "" || o.Note != "" {
			of.Annotations = map[string]string{"engine": o.Engine, "note": o.Note}
		}
		s.Subject = append(s.Subject, of)
	}
	d, r := &s.Predicate.BuildDefinition, &s.Predicate.RunDetails
	d.BuildType, d.ExternalParameters.Plugin, d.ExternalParameters.Version = buildType, string(a.Plugin),
		a.Version
	d.ResolvedDependencies = []resource{
		{"source", digests{GitCommit: a.Commit}},
		{"tree", digests{SHA256: hexOf(a.Tree)}},
		{"inputs", digests{SHA256: hexOf(a.Builder.Inputs)}},
	}
	r.Builder.ID, r.Builder.Version = a.Builder.Name, map[string]string{"toolchain": a.Builder.Toolchain}
	if a.Tests != "" {
		r.Byproducts = append(r.Byproducts, byproduct{"tests", a.Tests})
	}
	for _, note := range a.Builder.Notes {
		r.Byproducts = append(r.Byproducts, byproduct{"note", note})
	}
	text, err := json.MarshalIndent(s, "", "  ")
	return append(text, '\n'), err
}

func hexOf(d protocol.Digest) string { return hex.EncodeToString(d[:]) }

// Pack puts outputs and the signed statement about them into one file.
func (b *Bundle) Pack(outputs []Output) ([]byte, error) {
	files := map[string][]byte{bundleStatement: b.Statement, bundleSignature: b.Signature}
	for _, o := range outputs {
		files[bundleArtifacts+o.Platform] = o.Bytes
	}
	return tarred(files)
}

// ReadBundle reads what Pack wrote, strictly: these files, each once, and no others. The
// error has CodeBadInput or CodeLimit.
func ReadBundle(packed []byte) (*Bundle, error) {
	if len(packed) > BundleMax {
		return nil, protocol.Errorf(protocol.CodeLimit, "bundle: %d bytes, limit BundleMax %d", len(packed),
			BundleMax)
	}
	b := &Bundle{artifacts: map[string][]byte{}}
	for r := tar.NewReader(bytes.NewReader(packed)); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err == nil {
			err = b.take(h, r)
		}
		if err != nil {
			return nil, protocol.Errorf(codeOfInput(err), "bundle: %w", err)
		}
	}
	switch {
	case b.Statement == nil:
		return nil, protocol.Errorf(protocol.CodeBadInput, "bundle: no %s in it", bundleStatement)
	case b.Signature == nil:
		return nil, protocol.Errorf(protocol.CodeBadInput, "bundle: no %s in it: it is not signed", bundleSignature)
	}
	return b, nil
}

func (b *Bundle) take(h *tar.Header, r io.Reader) error {
	platform, artifact := strings.CutPrefix(h.Name, bundleArtifacts)
	_, twice := b.artifacts[platform]
	most := int64(statementMax)
	if artifact {
		most = protocol.ArtifactMax
	}
	switch {
	case h.Typeflag != tar.TypeReg || h.Size < 0:
		return fmt.Errorf("%q: want a regular file", clipText(h.Name))
	case h.Size > most:
		return protocol.Errorf(protocol.CodeLimit, "%q: %d bytes, limit %d", clipText(h.Name), h.Size, most)
	}
	body, err := io.ReadAll(r)
	switch {
	case err != nil:
		return err
	case artifact && platform != "" && !twice:
		b.artifacts[platform] = body
	case h.Name == bundleStatement && b.Statement == nil:
		b.Statement = body
	case h.Name == bundleSignature && b.Signature == nil:
		b.Signature = body
	default:
		return fmt.Errorf("%q: twice, or not one of its files", clipText(h.Name))
	}
	return nil
}

// Open reads the statement, whose signature the caller has verified, and holds the
// artifacts to it. Errors name the field that is missing, or the artifact that differs,
// and have CodeBadInput, or CodeDigest for another content.
func (b *Bundle) Open() (*Attestation, error) {
	var s statement
	dec := json.NewDecoder(bytes.NewReader(b.Statement))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&s); err != nil || dec.More() {
		return nil, protocol.Errorf(protocol.CodeBadInput, "attestation: not one statement of ours: %v", err)
	}
	a, err := s.attestation()
	if err != nil {
		return nil, protocol.Errorf(protocol.CodeBadInput, "attestation: %w", err)
	}
	for i := range a.Outputs {
		o := &a.Outputs[i]
		if o.Bytes = b.artifacts[o.Platform]; o.Bytes == nil {
			return nil, protocol.Errorf(protocol.CodeBadInput, "attestation: the artifact for %s is not in the bundle",
				clipText(o.Platform))
		}
		if got, want := hexOf(protocol.DigestOf(o.Bytes)), s.Subject[i].Digest.SHA256; got != want {
			return nil, protocol.Errorf(protocol.CodeDigest, "attestation: the artifact for %s has sha256 %.12s, the "+
				"builder signed %.12s", o.Platform, got, want)
		}
	}
	if len(b.artifacts) != len(a.Outputs) {
		return nil, protocol.Errorf(protocol.CodeBadInput, "attestation: %d artifacts in the bundle, the builder "+
			"signed %d",
			len(b.artifacts), len(a.Outputs))
	}
	return a, nil
}

// attestation takes the fields out of a statement and names the first that is missing.
func (s *statement) attestation() (*Attestation, error) {
	d, r := &s.Predicate.BuildDefinition, &s.Predicate.RunDetails
	of := map[string]digests{}
	for _, dep := range d.ResolvedDependencies {
		of[dep.Name] = dep.Digest
	}
	for _, f := range []struct{ name, got, want string }{
		{"_type", s.Type, statementType},
		{"predicateType", s.PredicateType, predicateType},
		{"buildDefinition.buildType", d.BuildType, buildType},
	} {
		if f.got != f.want {
			return nil, fmt.Errorf("%s: %q, want %q", f.name, clipText(f.got), f.want)
		}
	}
	for _, f := range []struct {
		name, got string
		digits    int // of a digest; 0 for any text
	}{
		{"externalParameters.plugin", d.ExternalParameters.Plugin, 0},
		{"externalParameters.version", d.ExternalParameters.Version, 0},
		{"resolvedDependencies source.gitCommit", of["source"].GitCommit, 40},
		{"resolvedDependencies tree.sha256", of["tree"].SHA256, 64},
		{"resolvedDependencies inputs.sha256", of["inputs"].SHA256, 64},
		{"runDetails.builder.id", r.Builder.ID, 0},
		{"runDetails.builder.version.toolchain", r.Builder.Version["toolchain"], 0},
	} {
		if f.got == "" {
			return nil, fmt.Errorf("%s: missing", f.name)
		}
		if _, err := hex.DecodeString(f.got); f.digits > 0 && (err != nil || len(f.got) != f.digits) {
			return nil, fmt.Errorf("%s: %q, want %d hexadecimal digits", f.name, clipText(f.got), f.digits)
		}
	}
	a := &Attestation{
		Plugin: protocol.PluginName(d.ExternalParameters.Plugin), Version: d.ExternalParameters.Version,
		Commit: of["source"].GitCommit, Tree: digestOf(of["tree"]),
		Builder: protocol.Builder{
			Name: r.Builder.ID, Toolchain: r.Builder.Version["toolchain"],
			Inputs: digestOf(of["inputs"]),
		},
	}
	for _, p := range r.Byproducts {
		switch p.Name {
		case "tests":
			a.Tests = p.Content
		case "note":
			a.Builder.Notes = append(a.Builder.Notes, p.Content)
		}
	}
	return a, s.outputs(a)
}

// digestOf reads a digest that was checked.
func digestOf(d digests) (out protocol.Digest) {
	b, _ := hex.DecodeString(d.SHA256)
	copy(out[:], b)
	return out
}

// outputs takes the subjects, the module first as a build has it.
func (s *statement) outputs(a *Attestation) error {
	slices.SortStableFunc(s.Subject, func(x, y subject) int {
		return strings.Compare(moduleFirst(x.Name), moduleFirst(y.Name))
	})
	for i, of := range s.Subject {
		if of.Name == "" || len(of.Digest.SHA256) != 64 {
			return fmt.Errorf("subject %d: want a name and a sha256", i+1)
		}
		if i > 0 && s.Subject[i-1].Name == of.Name {
			return fmt.Errorf("subject %q: twice", clipText(of.Name))
		}
		a.Outputs = append(a.Outputs, Output{
			Platform: of.Name, Engine: of.Annotations["engine"], Note: of.Annotations["note"],
		})
	}
	if len(a.Outputs) == 0 {
		return errors.New("subject: missing")
	}
	return nil
}

func moduleFirst(platform string) string {
	if platform == protocol.PlatformWASM {
		return ""
	}
	return platform
}

// Result returns what was attested, as a build here gives it. who is the builder.
func (a *Attestation) Result(who string) *Result {
	by := a.Builder
	by.Notes = append([]string{"built elsewhere, attested by " + who}, by.Notes...)
	r := newResult(a.Outputs, by, false)
	r.Builder.Notes = by.Notes // the outputs' own are among them
	return r
}

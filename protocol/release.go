package protocol

// PlatformWASM is the platform of an artifact that runs wherever wasmhost does.
const PlatformWASM = "wasm"

// Release is one version of a plugin, for ever the same: what the hub built, of what,
// for whom. It travels sealed with ContextRelease and is named by the digest of the
// sealed bytes.
type Release struct {
	Manifest  Manifest   `cbor:"1,keyasint" json:"manifest"`
	Source    Source     `cbor:"2,keyasint" json:"source"`
	Builder   Builder    `cbor:"3,keyasint" json:"builder"`
	Artifacts []Artifact `cbor:"4,keyasint" json:"artifacts"`
	// Schema is the JSON Schema of the configuration, as in the source; agents check
	// a step's configuration with it no further than its size.
	Schema []byte `cbor:"5,keyasint,omitempty" json:"-"`
}

// Source is where a release comes from and who signed it.
type Source struct {
	Repository string `cbor:"1,keyasint" json:"repository"` // URL without credentials
	Tag        string `cbor:"2,keyasint" json:"tag"`
	TagObject  string `cbor:"3,keyasint" json:"tag_object"` // Git object ID, hexadecimal
	Commit     string `cbor:"4,keyasint" json:"commit"`     // Git object ID, hexadecimal
	Tree       Digest `cbor:"5,keyasint" json:"tree"`       // our own, over the exported files
	Signer     string `cbor:"6,keyasint" json:"signer"`     // principal of allowed_signers
	SignerKey  string `cbor:"7,keyasint" json:"signer_key"` // SHA256:..., as ssh-keygen prints it
}

// Builder is how the artifacts came about; the same inputs give the same artifacts.
type Builder struct {
	Name      string   `cbor:"1,keyasint" json:"name"`      // row of the table of builders
	Toolchain string   `cbor:"2,keyasint" json:"toolchain"` // what it calls itself
	Inputs    Digest   `cbor:"3,keyasint" json:"inputs"`    // tree, dependencies, flags
	Notes     []string `cbor:"4,keyasint,omitempty" json:"notes"`
}

// Artifact is one file for one platform.
type Artifact struct {
	Platform string   `cbor:"1,keyasint" json:"platform"`
	Digest   Digest   `cbor:"2,keyasint" json:"digest"`
	Size     int64    `cbor:"3,keyasint" json:"size"`
	Chunks   []Digest `cbor:"4,keyasint" json:"-"` // of each ChunkSize bytes, in order
	// Metered says that the module pays fuel: the artifact's own, or that of its engine.
	Metered bool `cbor:"5,keyasint" json:"metered"`
	// Engine is what runs the artifact; nil when it is a module itself, or native.
	Engine *Engine `cbor:"6,keyasint,omitempty" json:"engine,omitempty"`
}

// NewArtifact describes the file b for platform.
func NewArtifact(platform string, b []byte) Artifact {
	f := NewFile(b)
	return Artifact{Platform: platform, Digest: f.Digest, Size: f.Size, Chunks: f.Chunks}
}

// For returns the artifact for a platform, which is PlatformWASM for the one that runs
// anywhere. The error has CodeIncompatible.
func (r *Release) For(platform string) (Artifact, error) {
	for _, a := range r.Artifacts {
		if a.Platform == platform {
			return a, nil
		}
	}
	return Artifact{}, Errorf(CodeIncompatible, "release %s: no artifact for platform %s", &r.Manifest, platform)
}

package protocol

import (
	"path"
	"strings"
)

// The bounds of an Engine.
const (
	// EngineArgsMax bounds the arguments of an engine.
	EngineArgsMax = 16
	// EngineArgMax bounds each of them in bytes.
	EngineArgMax = 255
	// EngineLibrariesMax bounds the libraries of an engine.
	EngineLibrariesMax = 4
)

// Engine is what runs an artifact that is no WebAssembly module itself but a zip archive
// of scripts. The engine's files are artifacts like any other: named by digest, fetched
// once, and shared by all plugins that name them.
type Engine struct {
	Name   string   `cbor:"1,keyasint" json:"name"` // for people, such as "quickjs"
	Module File     `cbor:"2,keyasint" json:"module"`
	Args   []string `cbor:"3,keyasint" json:"args"` // the first is the program's own name
	Path   string   `cbor:"4,keyasint" json:"path"` // the folder where the engine sees the artifact's files
	// Libraries are zip archives that the engine sees besides, such as a standard library.
	Libraries []Library `cbor:"5,keyasint,omitempty" json:"libraries,omitempty"`
}

// File is a file by digest, as it is fetched.
type File struct {
	Digest Digest   `cbor:"1,keyasint" json:"digest"`
	Size   int64    `cbor:"2,keyasint" json:"size"`
	Chunks []Digest `cbor:"3,keyasint" json:"-"` // of each ChunkSize bytes, in order
}

// Library is a zip archive whose files an engine sees in the folder Path.
type Library struct {
	Path string `cbor:"1,keyasint" json:"path"`
	File File   `cbor:"2,keyasint" json:"file"`
}

// NewFile describes the file b.
func NewFile(b []byte) File {
	f := File{Digest: DigestOf(b), Size: int64(len(b))}
	for at := 0; at < len(b); at += ChunkSize {
		f.Chunks = append(f.Chunks, DigestOf(b[at:min(at+ChunkSize, len(b))]))
	}
	return f
}

// Check holds a file against the bounds of artifacts. The error has CodeLimit or
// CodeBadMessage.
func (f *File) Check() error {
	if f.Size <= 0 || f.Size > ArtifactMax {
		return Errorf(CodeLimit, "artifact of %d bytes, limit ArtifactMax %d", f.Size, ArtifactMax)
	}
	if want := ChunkCount(f.Size); uint32(len(f.Chunks)) != want {
		return Errorf(CodeBadMessage, "%d chunk digests, want %d", len(f.Chunks), want)
	}
	return nil
}

// File returns the artifact's own file.
func (a *Artifact) File() File { return File{Digest: a.Digest, Size: a.Size, Chunks: a.Chunks} }

// Files returns every file that must be there to run the artifact: its own first, then
// the engine's.
func (a *Artifact) Files() []File {
	out := []File{a.File()}
	if a.Engine == nil {
		return out
	}
	out = append(out, a.Engine.Module)
	for _, l := range a.Engine.Libraries {
		out = append(out, l.File)
	}
	return out
}

// Check holds an artifact with all its files against their bounds. The error has
// CodeLimit or CodeBadMessage and names what it is about.
func (a *Artifact) Check() error {
	own := a.File()
	if err := own.Check(); err != nil {
		return err
	}
	if a.Engine == nil {
		return nil
	}
	if err := a.Engine.check(); err != nil {
		return Errorf(CodeOf(err), "engine %q: %w", clipName(a.Engine.Name), err)
	}
	return nil
}

func (e *Engine) check() error {
	switch {
	case len(e.Args) == 0 || len(e.Args) > EngineArgsMax:
		return Errorf(CodeLimit, "%d arguments, want 1 to EngineArgsMax %d", len(e.Args), EngineArgsMax)
	case len(e.Libraries) > EngineLibrariesMax:
		return Errorf(CodeLimit, "%d libraries, limit EngineLibrariesMax %d", len(e.Libraries), EngineLibrariesMax)
	}
	for _, text := range e.Args {
		if len(text) > EngineArgMax || strings.ContainsRune(text, 0) {
			return Errorf(CodeLimit, "argument of %d bytes, limit EngineArgMax %d, none of them zero", len(text),
				EngineArgMax)
		}
	}
	if err := e.Module.Check(); err != nil {
		return err
	}
	paths := []string{e.Path}
	for i := range e.Libraries {
		if err := e.Libraries[i].File.Check(); err != nil {
			return err
		}
		paths = append(paths, e.Libraries[i].Path)
	}
	return checkPaths(paths)
}

func checkPaths(paths []string) error {
	seen := map[string]bool{}
	for _, p := range paths {
		if !path.IsAbs(p) || path.Clean(p) != p || p == "/" || len(p) > EngineArgMax || seen[p] {
			return Errorf(CodeBadMessage, "path %q: want an absolute, clean one below /, each once", clipName(p))
		}
		seen[p] = true
	}
	return nil
}

// clipName cuts what comes from outside before it is said.
func clipName(s string) string { return s[:min(len(s), 64)] }

package build

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/stavily/stavily/hub/build/sdk"
	"github.com/stavily/stavily/protocol"
)

// templates are the sources that a new plugin begins with: those of common and of the
// language's folder. A name ends with .txt, before it may stand the type that it is for.
//
//go:embed template
var templates embed.FS

// Scaffold is what a new plugin is to be.
type Scaffold struct {
	Language string
	Type     protocol.PluginType
	Name     protocol.PluginName
	Author   string
}

// Scaffolds returns the languages that there is a beginning for, in ascending order.
func Scaffolds() []string {
	entries, err := templates.ReadDir("template")
	if err != nil {
		return nil
	}
	var out []string
	for _, e := range entries {
		if e.Name() != "common" {
			out = append(out, e.Name())
		}
	}
	return out
}

// Files returns a complete source by slash-separated paths: manifest, program, tests, cases,
// configuration schema, example, README and the SDK. The error has CodeBadInput.
func (s Scaffold) Files() (map[string][]byte, error) {
	if err := errors.Join(s.Name.Check(), s.Type.Check()); err != nil {
		return nil, protocol.Errorf(protocol.CodeBadInput, "new plugin: %w", err)
	}
	if !slices.Contains(Scaffolds(), s.Language) {
		return nil, protocol.Errorf(protocol.CodeBadInput, "new plugin: language %q: want one of %s", s.Language,
			strings.Join(Scaffolds(), ", "))
	}
	out := map[string][]byte{}
	for _, dir := range []string{"common", s.Language} {
		if err := s.fill(out, path.Join("template", dir)); err != nil {
			return nil, err
		}
	}
	switch s.Language {
	case "go":
		under(out, "stavily/", sdk.GoFiles())
	case "rust":
		if s.Name == sdk.RustCrate {
			return nil, protocol.Errorf(protocol.CodeBadInput, "new plugin: %q is the SDK's own name", s.Name)
		}
		under(out, "stavily/", sdk.RustFiles())
		out["Cargo.lock"] = []byte(s.cargoLock())
	default:
		under(out, "", EditorSDK(s.Language))
	}
	return out, nil
}

// scaffoldNames are shorter names of languages.
var scaffoldNames = map[string]string{"js": "javascript", "ts": "typescript", "py": "python"}

// ScaffoldLanguage returns a language's name as a manifest says it, of that or of a shorter one.
func ScaffoldLanguage(name string) string {
	if long, is := scaffoldNames[name]; is {
		return long
	}
	return name
}

// EditorSDK returns the files of a language's SDK that editors look for in the folder .sdk
// of a source; none for a language whose sources carry the SDK themselves. No build reads
// them: hidden folders are left out at the desk, and git ignores this one.
func EditorSDK(language string) map[string][]byte {
	files := map[string]string{}
	switch language {
	case "javascript", "typescript":
		files = sdk.JS()
	case "python":
		files = sdk.Python()
	}
	out := map[string][]byte{}
	for name, text := range files {
		out[".sdk/"+name] = []byte(text)
	}
	return out
}

// under puts files below a folder.
func under(out map[string][]byte, dir string, files map[string][]byte) {
	for name, data := range files {
		out[dir+name] = data
	}
}

func (s Scaffold) fill(out map[string][]byte, dir string) error {
	coverage := "0 # is not measured"
	i := slices.IndexFunc(builders, func(l *language) bool { return l.name == s.Language })
	if i >= 0 && builders[i].coverage != "" {
		coverage = "70"
	}
	words := strings.NewReplacer("NAME", string(s.Name), "KIND", string(s.Type), "LANGUAGE", s.Language,
		"COVERAGE", coverage, "AUTHOR", strings.ReplaceAll(s.Author, `"`, "'"))
	return fs.WalkDir(templates, dir, func(at string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		name := strings.TrimSuffix(strings.TrimPrefix(at, dir+"/"), ".txt")
		for _, kind := range []protocol.PluginType{protocol.Trigger, protocol.Action, protocol.Output} {
			cut, is := strings.CutSuffix(name, "."+string(kind))
			if is && kind != s.Type {
				return nil
			}
			name = cut
		}
		if name == "gitignore" {
			name = ".gitignore"
		}
		text, err := templates.ReadFile(at)
		out[name] = []byte(words.Replace(string(text)))
		return err
	})
}

// cargoLock is the lock of a crate that needs the SDK and nothing else.
func (s Scaffold) cargoLock() string {
	own := fmt.Sprintf("[[package]]\nname = %q\nversion = \"1.0.0\"\n", s.Name) +
		"dependencies = [\n \"stavily\",\n]\n"
	all := []string{own, "[[package]]\nname = \"stavily\"\nversion = \"0.1.0\"\n"}
	if s.Name > sdk.RustCrate {
		slices.Reverse(all)
	}
	return "version = 3\n\n" + strings.Join(all, "\n")
}

// The bounds of a folder that is built at the desk.
const (
	folderFilesMax = 10_000
	folderBytesMax = 64 << 20
)

// Folder is a folder of this machine as a Tree, without hidden folders and what builds
// leave in it, and its digest. Links are refused, and more than 10,000 files or 64 MiB.
func Folder(dir string) (Tree, protocol.Digest, error) {
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		err = protocol.Errorf(protocol.CodeNotFound, "folder %q: want one that is there", dir)
		return nil, protocol.Digest{}, err
	}
	t := folder{FS: os.DirFS(dir), dir: dir}
	var all strings.Builder
	count, size := 0, int64(0)
	err := t.walk(func(name string, info fs.FileInfo) error {
		if count, size = count+1, size+info.Size(); count > folderFilesMax || size > folderBytesMax {
			return protocol.Errorf(protocol.CodeLimit, "folder %s: over %d files or %d bytes", dir,
				folderFilesMax, folderBytesMax)
		}
		data, err := fs.ReadFile(t, name)
		fmt.Fprintf(&all, "%q %s\n", name, protocol.DigestOf(data))
		return err
	})
	return t, protocol.DigestOf([]byte(all.String())), err
}

type folder struct {
	fs.FS
	dir string
}

// ReadDir leaves out what is no part of the source, for whoever walks it.
func (t folder) ReadDir(name string) ([]fs.DirEntry, error) {
	entries, err := fs.ReadDir(t.FS, name)
	return slices.DeleteFunc(entries, func(e fs.DirEntry) bool {
		base := e.Name()
		if e.IsDir() {
			return base[0] == '.' || base == "target" || base == "node_modules"
		}
		return path.Ext(base) == ".wasm"
	}), err
}

// walk calls f for each file of the source, in ascending order.
func (t folder) walk(f func(name string, info fs.FileInfo) error) error {
	return fs.WalkDir(t, ".", func(name string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir():
			return nil
		case !entry.Type().IsRegular():
			return protocol.Errorf(protocol.CodeRefused, "%s: %s, want regular files only", name, entry.Type())
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		return f(name, info)
	})
}

// WriteTo copies the source into a new folder.
func (t folder) WriteTo(dir string) error {
	return t.walk(func(name string, _ fs.FileInfo) error {
		at := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
			return fmt.Errorf("copy: %w", err)
		}
		data, err := fs.ReadFile(t.FS, name)
		if err != nil {
			return fmt.Errorf("copy: %w", err)
		}
		return os.WriteFile(at, data, 0o644)
	})
}

var (
	_ Tree         = folder{}
	_ fs.ReadDirFS = folder{}
)

//go:build linux && (amd64 || arm64 || riscv64)

package native

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/stavily/stavily/protocol"
)

// profile is how programs of one language are started, and what they need of the machine.
type profile struct {
	exec    string // in the jail
	args    []string
	binds   []bind
	version string // of the interpreter; empty when there is none
}

// multiarch is the folder of this architecture below a folder of libraries, on systems
// that keep one.
const multiarch = tripletArch + "-linux-gnu"

// libraryDirs are the folders in which a loader looks.
var libraryDirs = []string{"/lib", "/lib64", "/usr/lib", "/usr/lib64"}

// pythons are the interpreters that are taken, the first that is there.
var pythons = []string{"/usr/bin/python3", "/usr/local/bin/python3"}

// profileOf returns how a plugin is started. A tar for Python is a folder with a
// __main__.py and all that it imports beyond the standard library; everything else is a
// program, alone or as "main" in a tar.
func profileOf(m *protocol.Manifest, dir string, dynamic bool) (profile, error) {
	if strings.EqualFold(m.Runtime.Language, "python") {
		if _, err := os.Lstat(filepath.Join(dir, "__main__.py")); err == nil {
			return pythonProfile()
		}
	}
	program := filepath.Join(dir, entryName)
	if info, err := os.Lstat(program); err != nil || info.Mode()&0o111 == 0 {
		return profile{}, protocol.Errorf(protocol.CodeUnverified, "artifact: no program %q in it", entryName)
	}
	p := profile{exec: pluginDir + "/" + entryName, args: []string{string(m.Plugin.Name)}}
	if dynamic {
		p.binds = loaderBinds()
	}
	return p, nil
}

// pythonProfile is the machine's own CPython with its standard library, and nothing of
// what was installed beside it: -I and -S keep the environment, the working directory and
// the site's packages out.
func pythonProfile() (profile, error) {
	for _, link := range pythons {
		program, err := filepath.EvalSymlinks(link)
		if err != nil {
			continue
		}
		version, ok := strings.CutPrefix(filepath.Base(program), "python")
		if !ok {
			continue
		}
		library := filepath.Join(filepath.Dir(filepath.Dir(program)), "lib", "python"+version)
		if _, err := os.Stat(library); err != nil {
			continue
		}
		binds := append(loaderBinds(), bind{Path: program}, bind{Path: library})
		return profile{
			exec: program, args: []string{program, "-I", "-S", "-B", "-u", pluginDir}, version: version,
			binds: withoutNested(binds),
		}, nil
	}
	return profile{}, protocol.Errorf(protocol.CodeIncompatible, "runtime.language python: none of %s is here",
		strings.Join(pythons, ", "))
}

// loaderBinds are the loader, the libraries and the loader's index.
func loaderBinds() []bind {
	var out []bind
	for _, dir := range libraryDirs {
		info, err := os.Lstat(dir)
		switch {
		case err != nil:
		case info.Mode()&fs.ModeSymlink != 0:
			if target, err := os.Readlink(dir); err == nil {
				out = append(out, bind{Path: dir, Link: target})
			}
		case isDir(filepath.Join(dir, multiarch)):
			out = append(out, bind{Path: filepath.Join(dir, multiarch)})
		default:
			out = append(out, bind{Path: dir})
		}
	}
	if _, err := os.Stat("/etc/ld.so.cache"); !errors.Is(err, fs.ErrNotExist) {
		out = append(out, bind{Path: "/etc/ld.so.cache"})
	}
	return out
}

// withoutNested leaves out what lies in another bind.
func withoutNested(binds []bind) []bind {
	var out []bind
	for _, b := range binds {
		nested := false
		for _, over := range binds {
			nested = nested || over.Link == "" && strings.HasPrefix(b.Path, over.Path+"/")
		}
		if !nested {
			out = append(out, b)
		}
	}
	return out
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

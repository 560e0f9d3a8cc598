package build

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	platform "github.com/stavily/stavily/firmware-targets"
	"github.com/stavily/stavily/protocol"
)

// jailed are the platforms whose agents can run a native artifact: the ones that have a
// sandbox for it (wasmhost/native).
var jailed = []string{"linux-amd64", "linux-arm64", "linux-riscv64"}

// nativePlatforms returns the platforms for which m's native artifacts are built: those
// that it supports (M-13, M-14) of those that have a sandbox.
func nativePlatforms(m *protocol.Manifest) ([]platform.Platform, error) {
	var out []platform.Platform
	for _, name := range jailed {
		if p, ok := platform.Lookup(name); ok && asked(m.OS.Supported, p.GOOS) && asked(m.OS.Architectures, p.Arch) {
			out = append(out, p)
		}
	}
	if len(out) == 0 {
		return nil, protocol.Errorf(protocol.CodeIncompatible, "plugin %s: it needs a native artifact, and of the "+
			"platforms that can run one, %s, its os_requirements support none", m, strings.Join(jailed, ", "))
	}
	return out, nil
}

// asked reports whether have is among those that serve; none named means any.
func asked(serve []string, have string) bool { return len(serve) == 0 || slices.Contains(serve, have) }

// tarred packs files the same way each time, as agents unpack them: a POSIX tar of regular
// files in the order of their names, with no times and no owners.
func tarred(files map[string][]byte) ([]byte, error) {
	var b bytes.Buffer
	t := tar.NewWriter(&b)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		err := t.WriteHeader(&tar.Header{
			Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: int64(len(files[name])), Format: tar.FormatUSTAR,
		})
		if err == nil {
			_, err = t.Write(files[name])
		}
		if err != nil {
			return nil, protocol.Errorf(protocol.CodeBadInput, "tar: %q: %w", clipText(name), err)
		}
	}
	if err := t.Close(); err != nil {
		return nil, fmt.Errorf("tar: %w", err)
	}
	return b.Bytes(), nil
}

// pythonNative packs the sources with the packages of their lock, for the machine's own
// CPython: one artifact for each platform.
func pythonNative(ctx context.Context, w *workspace, lock pipLock) ([]Output, error) {
	platforms, err := nativePlatforms(w.m)
	if err != nil {
		return nil, err
	}
	sources, err := pythonSources(w.tree, false)
	if err != nil {
		return nil, err
	}
	sources["__main__.py"] = []byte(pythonNativeEntry)
	var out []Output
	for _, p := range platforms {
		wheels, err := w.wheels(ctx, lock, p)
		if err != nil {
			return nil, err
		}
		packages, err := wheelFiles(wheels)
		if err != nil {
			return nil, err
		}
		files := maps.Clone(sources)
		for name, b := range packages {
			at := "vendor/" + name
			if files[at] != nil {
				return nil, protocol.Errorf(protocol.CodeBadInput, "%s: %s lies in the source too", lock.file, at)
			}
			files[at] = b
		}
		packed, err := tarred(files)
		if err != nil {
			return nil, err
		}
		out = append(out, Output{Platform: p.Name, Bytes: packed, Note: "CPython of the device; " + wheelNames(wheels)})
	}
	return out, nil
}

// pythonNativeEntry is what a machine's CPython is started with.
const pythonNativeEntry = `import os, sys
here = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [here, os.path.join(here, "vendor")]
from main import plugin
plugin.main()
`

func wheelNames(wheels []wheel) string {
	names := make([]string, len(wheels))
	for i, w := range wheels {
		names[i] = w.file
	}
	return strings.Join(names, ", ")
}

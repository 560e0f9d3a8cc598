//go:build linux && (amd64 || arm64 || riscv64)

package native

import (
	"bytes"
	"encoding/binary"
	"os"
	"path"
	"path/filepath"

	"github.com/stavily/stavily/protocol"
)

// The bounds of an unpacked artifact.
const (
	unpackedFilesMax = 16 << 10
	unpackedBytesMax = 512 << 20
)

// elfMagic begins a program.
const elfMagic = "\x7fELF"

// unpack puts an artifact into an empty folder: a program as "main", or the files of a
// tar. It says whether the program needs a loader and libraries.
func unpack(artifact []byte, dir string) (dynamic bool, err error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return false, protocol.Errorf(protocol.CodeStorage, "unpack: %w", err)
	}
	defer root.Close()
	switch {
	case bytes.HasPrefix(artifact, []byte(elfMagic)):
		return needsLoader(artifact), put(root, entryName, 0o555, artifact)
	case isTar(artifact):
		if err := unpackTar(artifact, root); err != nil {
			return false, err
		}
		head, err := root.ReadFile(entryName)
		return err == nil && needsLoader(head), nil
	}
	return false, protocol.Errorf(protocol.CodeUnverified, "artifact: neither an ELF program nor a POSIX tar")
}

// unpackTar unpacks files and folders, nothing else and nothing out of root.
func unpackTar(artifact []byte, root *os.Root) error {
	files, total := 0, 0
	return readTar(artifact, func(f tarFile) error {
		files, total = files+1, total+len(f.body)
		name := path.Clean(f.name)
		switch {
		case files > unpackedFilesMax || total > unpackedBytesMax:
			return protocol.Errorf(protocol.CodeLimit, "artifact: %q: more than %d files or %d bytes",
				f.name, unpackedFilesMax, unpackedBytesMax)
		case !filepath.IsLocal(name):
			return protocol.Errorf(protocol.CodeUnverified, "artifact: %q: leads out of it", f.name)
		case f.dir:
			if err := root.MkdirAll(name, 0o755); err != nil {
				return protocol.Errorf(protocol.CodeUnverified, "artifact: %w", err)
			}
			return nil
		}
		mode := os.FileMode(0o444)
		if f.mode&0o111 != 0 {
			mode = 0o555
		}
		return put(root, name, mode, f.body)
	})
}

func put(root *os.Root, name string, mode os.FileMode, body []byte) error {
	if err := root.MkdirAll(path.Dir(name), 0o755); err != nil {
		return protocol.Errorf(protocol.CodeUnverified, "artifact: %w", err)
	}
	f, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return protocol.Errorf(protocol.CodeUnverified, "artifact: %w", err)
	}
	_, err = f.Write(body)
	if closing := f.Close(); err == nil {
		err = closing
	}
	if err != nil {
		return protocol.Errorf(protocol.CodeStorage, "unpack: %w", err)
	}
	return nil
}

// needsLoader reports whether a program of our architectures (ELF, 64 bits,
// little-endian) asks for an interpreter, which loads its libraries.
func needsLoader(elf []byte) bool {
	const headMin, interpreter = 64, 3
	if len(elf) < headMin || string(elf[:4]) != elfMagic {
		return false
	}
	at := binary.LittleEndian.Uint64(elf[32:])
	size := uint64(binary.LittleEndian.Uint16(elf[54:]))
	for range binary.LittleEndian.Uint16(elf[56:]) {
		if at > uint64(len(elf))-4 {
			return false
		}
		if binary.LittleEndian.Uint32(elf[at:]) == interpreter {
			return true
		}
		at += size
	}
	return false
}

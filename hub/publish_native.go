package hub

import (
	"archive/tar"
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/stavily/stavily/hub/build"
	"github.com/stavily/stavily/protocol"
)

// noModule is why the stages that are about WebAssembly are skipped.
const noModule = "native only: the device's sandbox holds it to its limits"

// machines are what a program for a platform says in its header.
var machines = map[string]elf.Machine{
	"linux-amd64": elf.EM_X86_64, "linux-arm64": elf.EM_AARCH64, "linux-riscv64": elf.EM_RISCV,
}

// verifyNative holds native artifacts to what agents will take: a program for its platform,
// or an archive of regular files that has the way in.
func verifyNative(all []build.Output, m *protocol.Manifest) (said []string, err error) {
	for _, o := range all {
		kind, err := nativeKind(o, m)
		if err != nil {
			return nil, protocol.Errorf(protocol.CodeUnverified, "native artifact for %s: %w", o.Platform, err)
		}
		said = append(said, fmt.Sprintf("%s: %s of %d bytes, %s", o.Platform, kind, len(o.Bytes),
			protocol.DigestOf(o.Bytes).Short()))
	}
	return said, nil
}

func nativeKind(o build.Output, m *protocol.Manifest) (string, error) {
	machine, known := machines[o.Platform]
	if !known {
		return "", errors.New("no agent of that platform runs native artifacts")
	}
	if bytes.HasPrefix(o.Bytes, []byte(elf.ELFMAG)) {
		return "program", checkProgram(o.Bytes, machine)
	}
	entry := "main"
	if m.Runtime.Language == "python" {
		entry = "__main__.py"
	}
	return "archive", checkArchive(o.Bytes, entry)
}

func checkProgram(b []byte, machine elf.Machine) error {
	f, err := elf.NewFile(bytes.NewReader(b))
	if err != nil {
		return err
	}
	defer f.Close()
	if f.Machine != machine || f.Class != elf.ELFCLASS64 || f.Data != elf.ELFDATA2LSB {
		return fmt.Errorf("the program is for %s, %s, want %s", f.Machine, f.Class, machine)
	}
	return nil
}

// checkArchive reads a tar to its end.
func checkArchive(b []byte, entry string) error {
	found := false
	for r := tar.NewReader(bytes.NewReader(b)); ; {
		h, err := r.Next()
		switch {
		case errors.Is(err, io.EOF) && !found:
			return fmt.Errorf("the archive has no %s", entry)
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("neither a program nor a tar: %w", err)
		case h.Typeflag != tar.TypeReg && h.Typeflag != tar.TypeDir, h.Format != tar.FormatUSTAR:
			return fmt.Errorf("%q: want files and folders in a POSIX tar only", h.Name)
		}
		found = found || h.Name == entry
	}
}

// artifacts describes all that was built, the module first.
func (c *candidate) artifacts() []protocol.Artifact {
	var out []protocol.Artifact
	if c.module != nil {
		out = append(out, c.artifact())
	}
	for _, o := range c.native {
		out = append(out, protocol.NewArtifact(o.Platform, o.Bytes))
	}
	return out
}

// platforms says for which platforms something was built.
func platformsOf(outputs []build.Output) string {
	names := make([]string, len(outputs))
	for i, o := range outputs {
		names[i] = fmt.Sprintf("%s %s", o.Platform, protocol.DigestOf(o.Bytes).Short())
	}
	return strings.Join(names, ", ")
}

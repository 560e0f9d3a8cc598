//go:build linux && (amd64 || arm64 || riscv64)

package native

import (
	"strings"

	"github.com/stavily/stavily/protocol"
)

// Machine says what this machine has for native artifacts, as an agent reports it.
func (h *Host) Machine() *protocol.Native {
	out := &protocol.Native{}
	for _, layer := range h.Layers() {
		if layer.Enforced {
			out.Layers = append(out.Layers, layer.Field)
		}
	}
	if path, found := findLibrary("libc"); found {
		out.Libc = "glibc"
		if strings.Contains(path, "ld-musl") {
			out.Libc = "musl"
		}
	}
	if python, err := pythonProfile(); err == nil {
		out.Interpreters = map[string]string{"python": python.version}
	}
	return out
}

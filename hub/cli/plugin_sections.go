package cli

import (
	"encoding/binary"
	"fmt"
)

// sectionNames are those of WebAssembly, by number. A custom one has a name of its own.
var sectionNames = []string{
	"custom", "type", "import", "function", "table", "memory", "global", "export", "start", "element", "code",
	"data", "data count",
}

// wasmSection is one section of a module.
type wasmSection struct {
	Name  string `json:"name"`
	Bytes int    `json:"bytes"` // of its content
}

// wasmSections lists the sections of a module, which was parsed before, in order.
func wasmSections(module []byte) ([]wasmSection, error) {
	const head = 8
	if len(module) < head {
		return nil, fmt.Errorf("module: %d bytes, want %d at least", len(module), head)
	}
	var out []wasmSection
	for rest := module[head:]; len(rest) > 0; {
		size, n := binary.Uvarint(rest[1:])
		if n <= 0 || size > uint64(len(rest)-1-n) {
			return nil, fmt.Errorf("module: section %d ends after the module", len(out))
		}
		content := rest[1+n : 1+n+int(size)]
		s := wasmSection{Name: fmt.Sprint("section ", rest[0]), Bytes: len(content)}
		if int(rest[0]) < len(sectionNames) {
			s.Name = sectionNames[rest[0]]
		}
		if rest[0] == 0 {
			s.Name = customName(content)
		}
		out = append(out, s)
		rest = rest[1+n+int(size):]
	}
	return out, nil
}

// customName is what a custom section calls itself.
func customName(content []byte) string {
	size, n := binary.Uvarint(content)
	if n <= 0 || size > uint64(len(content)-n) {
		return sectionNames[0]
	}
	return fmt.Sprintf("%s %q", sectionNames[0], content[n:n+int(size)])
}

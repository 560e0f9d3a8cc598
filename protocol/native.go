package protocol

import "strings"

// Native is what an agent has for native artifacts.
type Native struct {
	// Layers are those of its sandbox that this device enforces, such as namespaces,
	// landlock, seccomp and cgroup.
	Layers []string `cbor:"1,keyasint,omitempty" json:"layers"`
	// Libc is glibc or musl; empty when it was not recognized.
	Libc string `cbor:"2,keyasint,omitempty" json:"libc,omitempty"`
	// Interpreters are the versions of those that run plugins, by language: python is 3.11.
	// As many numbers are told as are known.
	Interpreters map[string]string `cbor:"3,keyasint,omitempty" json:"interpreters,omitempty"`
}

// The words of Runtime.Native.
const (
	NativeAlso = "also" // a native artifact beside the module
	NativeOnly = "only" // a native artifact and no module
)

// LanguageRanges returns the ranges in which the language's version must be, all of them
// (M-07, M-10, M-11): a bare version is the least, or for max_version the most, that
// serves.
func (m *Manifest) LanguageRanges() []string {
	l := &m.Compatibility.Language
	var out []string
	for _, b := range []struct{ text, bare string }{
		{m.Runtime.MinVersion, ">="}, {l.MinVersion, ">="}, {l.MaxVersion, "<="},
	} {
		switch {
		case b.text == "":
		case strings.IndexByte("0123456789", b.text[0]) >= 0:
			out = append(out, b.bare+b.text)
		default:
			out = append(out, b.text)
		}
	}
	return out
}

package sdk

import "golang.org/x/tools/txtar"

// GoFiles returns the Go SDK's files by their slash-separated paths.
func GoFiles() map[string][]byte { return filesOf(archive) }

// RustFiles returns the Rust SDK's files by their slash-separated paths.
func RustFiles() map[string][]byte { return filesOf(rustArchive) }

func filesOf(text []byte) map[string][]byte {
	out := map[string][]byte{}
	for _, f := range txtar.Parse(text).Files {
		out[f.Name] = f.Data
	}
	return out
}

package cases

import (
	_ "embed"
	"slices"
)

//go:embed schema.json
var schema []byte

// Schema returns the JSON Schema of a file of cases, for editors.
func Schema() []byte { return slices.Clone(schema) }

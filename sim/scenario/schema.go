package scenario

import (
	"bytes"
	_ "embed" // the schema
	"encoding/json"
)

//go:embed schema.json
var schema []byte

// Schema returns the JSON Schema of scenarios, for editors. The caller must not change
// it.
func Schema() []byte { return schema }

// makeSchema writes the schema from the tables that the parser reads by.
func makeSchema() ([]byte, error) {
	top := object(topKeys).schema
	top["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	top["title"] = "Stavily scenario, " + Version
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", " ")
	err := enc.Encode(top)
	return b.Bytes(), err
}

package deploy

import (
	"strings"
	"testing"

	"github.com/stavily/stavily/protocol"
)

// M-28: a schema compiles by itself: nothing is loaded, and what is wrong is said.
func TestCompileSchemaRefuses(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"not JSON", `{"type":`, "schema c.json: unexpected EOF"},
		{"two values", `{} {}`, "schema c.json: "},
		{"not a schema", `{"type":"thing"}`, "/type"},
		{"a file", `{"$ref":"file:///etc/passwd"}`, `reference to "file:///etc/passwd": not allowed`},
		{"the network", `{"$ref":"https://example.com/s.json"}`, `reference to "https://example.com/s.json": not allowed`},
		{"a folder", `{"$ref":"other.json"}`, "not allowed"},
		{"bad pattern", `{"pattern":"("}`, "pattern"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := CompileSchema("c.json", []byte(c.text))
			if err == nil || protocol.CodeOf(err) != protocol.CodeBadInput || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %s", err, c.want)
			}
		})
	}
	if _, err := CompileSchema("c.json", []byte(`{"$ref":"#/$defs/a","$defs":{"a":{"type":"object"}}}`)); err != nil {
		t.Errorf("a reference within: %v", err)
	}
}

// Validate names the place as a document's path.
func TestValidateNamesThePlace(t *testing.T) {
	schema, err := CompileSchema("c.json", []byte(`{"properties":{"a":{"items":{"properties":{"b":{"type":"string"}}}}},"required":["c"]}`))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		config     any
		path, want string
	}{
		{map[string]any{"c": nil}, "", ""},
		{nil, "", "missing property 'c'"},
		{map[string]any{"c": 1, "a": []any{nil, map[string]any{"b": int64(3)}}}, ".a[1].b", "got number, want string"},
	} {
		path, err := Validate(schema, c.config)
		text := ""
		if err != nil {
			text = err.Error()
		}
		if path != c.path || text != c.want {
			t.Errorf("%v: %q, %q", c.config, path, text)
		}
	}
}

package hub

import (
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/stavily/stavily/hub/build"
	"github.com/stavily/stavily/hub/deploy"
	"github.com/stavily/stavily/hub/document"
	"github.com/stavily/stavily/protocol"
)

// examplesMax bounds the files of a plugin's folder of examples.
const examplesMax = 256

// checkExamples holds a plugin's own words to each other: its schema compiles (M-28),
// and every example of a configuration, YAML or JSON, fits it (M-29).
func checkExamples(tree fs.FS, m *protocol.Manifest, schema []byte) error {
	fits := func(any) (string, error) { return "", nil }
	if schema != nil {
		compiled, err := deploy.CompileSchema(m.Configuration.Schema, schema)
		if err != nil {
			return err
		}
		fits = func(config any) (string, error) { return deploy.Validate(compiled, config) }
	}
	if m.Configuration.Examples == "" {
		return nil
	}
	names, err := exampleFiles(tree, path.Clean(m.Configuration.Examples))
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := checkExample(tree, name, fits); err != nil {
			return err
		}
	}
	return nil
}

func exampleFiles(tree fs.FS, dir string) ([]string, error) {
	entries, err := fs.ReadDir(tree, dir)
	if err != nil {
		return nil, protocol.Errorf(protocol.CodeBadInput,
			"%s: configuration.examples: the source has no folder %q",
			build.ManifestFile, dir)
	}
	var names []string
	for _, e := range entries {
		if slices.Contains([]string{".yaml", ".yml", ".json"}, path.Ext(e.Name())) {
			names = append(names, path.Join(dir, e.Name()))
		}
	}
	if len(names) == 0 || len(names) > examplesMax {
		return nil, protocol.Errorf(protocol.CodeBadInput, "%s: configuration.examples: %q has %d files of YAML "+
			"or JSON, want 1 to %d", build.ManifestFile, dir, len(names), examplesMax)
	}
	return names, nil
}

// readExample reads one example: the configuration, and the document for its places.
func readExample(tree fs.FS, name string) (config any, doc *document.Document, err error) {
	f, err := tree.Open(name)
	if err != nil {
		return nil, nil, protocol.Errorf(protocol.CodeBadInput, "example: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, document.SizeMax+1))
	if err != nil {
		return nil, nil, protocol.Errorf(protocol.CodeBadInput, "example %s: %w", name, err)
	}
	if doc, err = document.Parse(name, text); err != nil {
		return nil, nil, err
	}
	err = doc.Decode(&config)
	return config, doc, err
}

func checkExample(tree fs.FS, name string, fits func(any) (string, error)) error {
	config, doc, err := readExample(tree, name)
	if err != nil {
		return err
	}
	at, err := fits(config)
	if err != nil {
		return doc.Errorf(strings.TrimPrefix(at, "."), "example does not fit the schema: %v", err)
	}
	return nil
}

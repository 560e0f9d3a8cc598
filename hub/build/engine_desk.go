package build

import (
	"archive/zip"
	"bytes"
	"path/filepath"
	"strings"

	"github.com/stavily/stavily/protocol"
)

// EngineOf returns the name of the engine that runs a packed script: the one that would
// find in it the file that it is started with. The error has CodeBadInput.
func EngineOf(script []byte) (string, error) {
	archive, err := zip.NewReader(bytes.NewReader(script), int64(len(script)))
	if err != nil {
		return "", protocol.Errorf(protocol.CodeBadInput, "script: %w", err)
	}
	var wants []string
	for _, e := range engines {
		main := strings.TrimPrefix(e.args[len(e.args)-1], appPath+"/")
		if f, err := archive.Open(main); err == nil {
			return e.name, f.Close()
		}
		wants = append(wants, main+" for "+e.name)
	}
	return "", protocol.Errorf(protocol.CodeBadInput, "script: the archive has no %s",
		strings.Join(wants, ", nor "))
}

// EngineAt reads an engine by name from a folder, or from the one that has the file dir. An
// empty dir is FindEngine. The error has CodeUnavailable.
func EngineAt(name, dir string) (*Engine, error) {
	if dir == "" {
		return FindEngine(name)
	}
	for _, of := range engines {
		if of.name != name {
			continue
		}
		if filepath.Base(dir) == of.module {
			dir = filepath.Dir(dir)
		}
		e, err := of.read(dir)
		if err != nil {
			return nil, protocol.Errorf(protocol.CodeUnavailable, "%w", err)
		}
		return e, nil
	}
	return nil, protocol.Errorf(protocol.CodeUnavailable, "engine %q: not known to this hub", name)
}

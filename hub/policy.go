package hub

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/stavily/stavily/hub/document"
	"github.com/stavily/stavily/protocol"
)

// BuildPolicy is what an operator lets pass at a publication that the default does not.
type BuildPolicy struct {
	// AllowUnmeasured lets a plugin pass whose coverage cannot be measured in its language,
	// whatever its manifest promises (M-31); the verdict says so.
	AllowUnmeasured bool `json:"allow_unmeasured"`
	// AllowUnconfined lets a build run code of the source on a machine that cannot confine
	// it; the release says so.
	AllowUnconfined bool `json:"allow_unconfined"`
}

// configFile is what may stand in hub.yaml in the hub's home.
type configFile struct {
	Builds BuildPolicy `json:"builds"`
}

// WithFile returns c with what the file hub.yaml in its home allows beyond it; without
// such a file it is c. Errors carry line and column.
func (c Config) WithFile() (Config, error) {
	path := filepath.Join(c.Home, "hub.yaml")
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return c, nil
	}
	if err == nil && info.Size() > document.SizeMax {
		return c, protocol.Errorf(protocol.CodeLimit, "%s: %d bytes, limit %d", path, info.Size(), document.SizeMax)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return c, protocol.Errorf(protocol.CodeStorage, "hub config: %w", err)
	}
	doc, err := document.Parse(path, text)
	if err != nil {
		return c, err
	}
	var file configFile
	if err := doc.Decode(&file); err != nil {
		return c, err
	}
	c.Builds.AllowUnmeasured = c.Builds.AllowUnmeasured || file.Builds.AllowUnmeasured
	c.Builds.AllowUnconfined = c.Builds.AllowUnconfined || file.Builds.AllowUnconfined
	return c, nil
}

package main

import (
	"fmt"
	"io/fs"
	"strings"
	"unicode"
)

const (
	fileDefault = "runs.jsonl"
	fileMax     = 200
)

type config struct {
	File *string `json:"file"`
	Sync *bool   `json:"sync"`

	sync bool // Sync, or its default
}

// Validate fills in the defaults and refuses a path that would leave the plugin's
// directory. The host refuses it too; here the operator hears it before a run does.
func (c *config) Validate() error {
	c.sync = c.Sync == nil || *c.Sync
	if c.File == nil {
		name := fileDefault
		c.File = &name
	}
	name := *c.File
	switch {
	case len(name) > fileMax:
		return fmt.Errorf("file: %d bytes, limit %d", len(name), fileMax)
	case !fs.ValidPath(name) || name == ".":
		return fmt.Errorf("file %q: want a relative path without . and .. and double slashes", name)
	case strings.ContainsFunc(name, func(r rune) bool { return r == '\\' || r == ':' || unicode.IsControl(r) }):
		return fmt.Errorf("file %q: want no backslash, colon or control character", name)
	}
	return nil
}

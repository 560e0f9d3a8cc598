package sdk

import (
	"archive/zip"
	"bytes"
	"io"
	"io/fs"
	"time"

	"golang.org/x/mod/sumdb/dirhash"
	modzip "golang.org/x/mod/zip"
	"golang.org/x/tools/txtar"
)

// zipSum returns the h1 sum of the zip's contents, as go.sum has it.
func (m Packed) zipSum() (string, error) {
	z, err := zip.NewReader(bytes.NewReader(m.Zip), int64(len(m.Zip)))
	if err != nil {
		return "", err
	}
	var names []string
	for _, f := range z.File {
		names = append(names, f.Name)
	}
	return dirhash.Hash1(names, func(name string) (io.ReadCloser, error) { return z.Open(name) })
}

// file is a file of an archive as package zip wants to see it.
type file struct{ txtar.File }

func (f file) Path() string                 { return f.Name }
func (f file) Lstat() (fs.FileInfo, error)  { return info(f), nil }
func (f file) Open() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(f.Data)), nil }

// info is what there is to know of a file without a file system: its size.
type info struct{ txtar.File }

func (i info) Name() string     { return i.File.Name }
func (info) Mode() fs.FileMode  { return 0o644 }
func (info) ModTime() time.Time { return time.Time{} }
func (info) IsDir() bool        { return false }
func (info) Sys() any           { return nil }
func (i info) Size() int64      { return int64(len(i.Data)) }

var (
	_ modzip.File = file{}
	_ fs.FileInfo = info{}
)

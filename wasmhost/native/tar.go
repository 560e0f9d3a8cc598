//go:build linux && (amd64 || arm64 || riscv64)

package native

import (
	"bytes"
	"strconv"
	"strings"

	"github.com/stavily/stavily/protocol"
)

// A tar as artifacts are packed: POSIX ustar, regular files and folders. The standard
// library's reader knows six dialects, links and sparse files, and costs an agent 45 kB.
const (
	tarBlock = 512
	tarMagic = "ustar\x0000"

	atMode, atSize, atSum, atType, atMagic, atPrefix, atEnd = 100, 124, 148, 156, 257, 345, 500
)

// tarFile is one file or folder of a tar.
type tarFile struct {
	name string // as it stands there
	mode int64
	dir  bool
	body []byte
}

// isTar reports whether b begins as a tar does.
func isTar(b []byte) bool {
	return len(b) >= tarBlock && string(b[atMagic:atMagic+len(tarMagic)]) == tarMagic
}

// readTar calls each for every entry, in order, until it returns an error. Errors have
// CodeUnverified and name the entry.
func readTar(b []byte, each func(tarFile) error) error {
	for len(b) >= tarBlock {
		head := b[:tarBlock]
		if bytes.Count(head, []byte{0}) == tarBlock {
			return nil
		}
		b = b[tarBlock:]
		f := tarFile{name: tarName(head)}
		size, err := f.read(head)
		if err != nil {
			return err
		}
		if size > int64(len(b)) {
			return protocol.Errorf(protocol.CodeUnverified, "artifact: %q: of %d bytes, cut short", f.name, size)
		}
		f.body = b[:size]
		if err := each(f); err != nil {
			return err
		}
		b = b[min(int64(len(b)), (size+tarBlock-1)/tarBlock*tarBlock):]
	}
	return protocol.Errorf(protocol.CodeUnverified, "artifact: tar is cut short")
}

// read reads a header and returns the size of what follows.
func (f *tarFile) read(head []byte) (size int64, err error) {
	bad := func(what string) (int64, error) {
		return 0, protocol.Errorf(protocol.CodeUnverified, "artifact: %q: %s", f.name, what)
	}
	sum := int64(8 * ' ') // the sum's own field counts as spaces
	for i, c := range head {
		if i < atSum || i >= atType {
			sum += int64(c)
		}
	}
	switch want, ok := octal(head[atSum:atType]); {
	case !isTar(head):
		return bad("not as in a POSIX tar")
	case !ok || want != sum:
		return bad("checksum differs")
	}
	switch head[atType] {
	case '0', 0:
		if strings.HasSuffix(f.name, "/") {
			return bad("is a file and called like a folder")
		}
	case '5':
		f.dir = true
	default:
		return bad("want files and folders only")
	}
	mode, ok := octal(head[atMode : atMode+8])
	size, known := octal(head[atSize : atSize+12])
	if !ok || !known || f.dir && size != 0 {
		return bad("mode or size is no number")
	}
	f.mode = mode
	return size, nil
}

// octal reads a number, which ends with a space or NUL.
func octal(field []byte) (int64, bool) {
	n, err := strconv.ParseUint(strings.Trim(string(field), " \x00"), 8, 63)
	return int64(n), err == nil
}

// tarName joins the two halves of a name.
func tarName(head []byte) string {
	name, _, _ := strings.Cut(string(head[:atMode]), "\x00")
	prefix, _, _ := strings.Cut(string(head[atPrefix:atEnd]), "\x00")
	if prefix == "" {
		return name
	}
	return prefix + "/" + name
}

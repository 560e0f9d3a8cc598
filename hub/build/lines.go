package build

import (
	"bytes"
	"debug/dwarf"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/stavily/stavily/protocol"
	"github.com/stavily/stavily/wasmhost/meter"
)

// lines are the lines of a source that count for its coverage, and which of them have run.
type lines struct {
	mine func(file string, line int) bool
	ran  map[place]bool // every line with code that was compiled in some module; true: it ran
}

// place is a line of a file, its path from the source's own root.
type place struct {
	file string
	line int
}

// percent returns how much ran of the lines with code. A source without any is covered.
func (l *lines) percent() float64 {
	ran := 0
	for _, did := range l.ran {
		if did {
			ran++
		}
	}
	if len(l.ran) == 0 {
		return 100
	}
	return 100 * float64(ran) / float64(len(l.ran))
}

// cover returns module with a mark wherever its line table (DWARF 4 or 5) says that a
// statement of one of the lines begins, and what is to be called once it has run.
func (l *lines) cover(module []byte) (marked []byte, ended func(func(string) (uint64, bool)), err error) {
	at, err := l.statements(module)
	if err != nil {
		return nil, nil, protocol.Errorf(protocol.CodeRefused, "test: coverage: line table: %w", err)
	}
	places := slices.Sorted(maps.Keys(at))
	for _, of := range at {
		for _, p := range of {
			if !l.ran[p] {
				l.ran[p] = false // it counts
			}
		}
	}
	if marked, err = meter.Cover(module, places); err != nil {
		return nil, nil, protocol.Errorf(protocol.CodeRefused, "test: coverage: %w", err)
	}
	return marked, func(global func(string) (uint64, bool)) {
		for i, address := range places {
			if v, _ := global(meter.CoverGlobal + strconv.Itoa(i)); v == 0 {
				continue
			}
			for _, p := range at[address] {
				l.ran[p] = true
			}
		}
	}, nil
}

// statements reads where statements of the lines begin in a module.
func (l *lines) statements(module []byte) (map[uint32][]place, error) {
	data, size, err := debugSections(module)
	if err != nil {
		return nil, err
	}
	at := map[uint32][]place{}
	units := data.Reader()
	for {
		unit, err := units.Next()
		if err != nil || unit == nil {
			return at, err
		}
		units.SkipChildren()
		table, err := data.LineReader(unit)
		if err != nil {
			return nil, err
		}
		if table == nil {
			continue
		}
		if err := l.unit(table, size, at); err != nil {
			return nil, err
		}
	}
}

// buildRoot is what the compiler is told that the folder of a build is called; the source
// is in the folder src of it.
const buildRoot = "/build/src/"

// unit adds the statements of one compilation unit. Rows beyond the code are those of
// functions that the linker left out.
func (l *lines) unit(table *dwarf.LineReader, size uint64, at map[uint32][]place) error {
	for {
		var row dwarf.LineEntry
		err := table.Next(&row)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if !row.IsStmt || row.EndSequence || row.Line == 0 || row.File == nil || row.Address >= size {
			continue
		}
		file, inside := strings.CutPrefix(path.Clean(row.File.Name), buildRoot)
		if !inside || !l.mine(file, row.Line) {
			continue
		}
		address := uint32(row.Address)
		if p := (place{file, row.Line}); !slices.Contains(at[address], p) {
			at[address] = append(at[address], p)
		}
	}
}

// debugSections reads the debugging data of a module, and how long its code section is.
func debugSections(module []byte) (data *dwarf.Data, code uint64, err error) {
	found := map[string][]byte{}
	for b := module[min(8, len(module)):]; len(b) > 0; {
		id := b[0]
		size, n := binary.Uvarint(b[1:])
		if n <= 0 || size > uint64(len(b)-1-n) {
			return nil, 0, fmt.Errorf("section %d: ends too early", id)
		}
		content := b[1+n : 1+n+int(size)]
		b = b[1+n+int(size):]
		if id == 10 { // the code section
			code = size
		}
		length, n := binary.Uvarint(content)
		if id != 0 || n <= 0 || length > uint64(len(content)-n) {
			continue
		}
		found[string(content[n:n+int(length)])] = content[n+int(length):]
	}
	data, err = dwarf.New(found[".debug_abbrev"], nil, nil, found[".debug_info"], found[".debug_line"], nil,
		found[".debug_ranges"], found[".debug_str"])
	if err != nil {
		return nil, 0, err
	}
	for _, name := range []string{
		".debug_addr", ".debug_line_str", ".debug_str_offsets", ".debug_rnglists", ".debug_loclists",
	} {
		if section, have := found[name]; have {
			if err := data.AddSection(name, section); err != nil {
				return nil, 0, err
			}
		}
	}
	return data, code, nil
}

// rustTests is what begins code that is for tests only.
var rustTests = regexp.MustCompile(`^(\s*)#\[(cfg\(test\)|test)\]`)

// rustLines are the lines of a crate's own sources but those of its tests: not folders for
// tests, benchmarks and examples, not packages within the source, and not what an attribute
// keeps for tests, which ends, as rustfmt writes it, with a brace below the attribute.
func rustLines(tree fs.FS) (*lines, error) {
	mine := map[string][]bool{}
	err := fs.WalkDir(tree, ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && name != "." && (slices.Contains(rustAside, name) || hasFile(tree, name+"/Cargo.toml")):
			return fs.SkipDir
		case d.IsDir() || path.Ext(name) != ".rs" || slices.Contains(rustAsideFiles, path.Base(name)):
			return nil
		}
		text, err := fs.ReadFile(tree, name)
		mine[name] = ownLines(text)
		return err
	})
	return &lines{ran: map[place]bool{}, mine: func(file string, line int) bool {
		own := mine[file]
		return line <= len(own) && own[line-1]
	}}, err
}

// rustAside are folders of a crate whose programs are no part of the plugin.
var rustAside = []string{"tests", "benches", "examples", "target", "vendor"}

// rustAsideFiles are the build script and where the tests of a module stand by custom.
var rustAsideFiles = []string{"build.rs", "tests.rs", "test.rs"}

func hasFile(tree fs.FS, name string) bool {
	_, err := fs.Stat(tree, name)
	return err == nil
}

// ownLines says of each line of a Rust source whether it is no test's.
func ownLines(text []byte) []bool {
	var own []bool
	end := ""
	for line := range bytes.Lines(text) {
		s := strings.TrimRight(string(line), "\r\n")
		if m := rustTests.FindStringSubmatch(s); m != nil && end == "" {
			end = m[1] + "}"
		}
		own = append(own, end == "")
		if s == end || end != "" && strings.HasSuffix(s, ";") && strings.HasPrefix(strings.TrimSpace(s), "mod ") {
			end = ""
		}
	}
	return own
}

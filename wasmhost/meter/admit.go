package meter

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// pagesMax is the most a 32-bit memory can hold, in pages of 64 KiB.
const pagesMax = 1 << 16

// Import is one import. A function's name for an allow-list is "module.name".
type Import struct {
	Module, Name string
	Kind         Kind
	at           int
}

// Export is one export; Index counts in the space of its kind.
type Export struct {
	Name  string
	Kind  Kind
	Index uint32
	// Plain says that it is a function without parameters and results.
	Plain bool
	at    int
}

// Info is the shape of a module: what limits are held against. Counts are of things defined in the module
// unless said otherwise; maxima are over its functions.
type Info struct {
	Bytes        int // of the whole module
	Types        int
	Functions    int // defined ones
	BodyBytes    int // of all bodies
	BodyBytesMax int
	LocalsMax    int // with parameters
	NestingMax   int // of blocks
	LoopNestMax  int // of loops
	BrTableMax   int // labels without the default
	BrLabelsMax  int // of all br_tables of a function
	BrLabelsSum  int // of all functions

	LoopsLocalsMax int // loops of a function times its locals
	NestLocalsMax  int // deepest nest of loops of a function, squared, times its locals
	NestLocalsSum  int // the same, summed over all functions: a bomb may be many small ones
	NestingSum     int // square of the nesting, summed over all functions
	IndirectSum    int // calls through a table
	CarriedSum     int // values that a block may carry, its function's locals too, over all blocks

	Tables         int // with imported ones
	TableMin       int64
	TableMax       int64 // the largest maximum declared
	TableUnbounded bool  // a table declares no maximum
	TableGrow      bool  // the module has a table.grow

	Memories  int   // with an imported one: 0 or 1
	MemoryMin int64 // in pages of 64 KiB
	MemoryMax int64 // in pages; below zero when none is declared

	Globals     int // with imported ones
	Elements    int // of all segments
	DataBytes   int
	CustomBytes int
	HasStart    bool

	Imports []Import
	Exports []Export
}

// Inspect reads a module as Parse does, metered or not, and gives its shape.
func Inspect(wasm []byte) (Info, error) {
	m, err := Parse(wasm)
	if err != nil {
		return Info{}, fmt.Errorf("inspect: %w", err)
	}
	return m.Info(), nil
}

// Info gives the shape of the module.
func (m *Module) Info() Info { return m.info }

func (i *Info) noteTable(low, high int64) {
	i.TableMin = max(i.TableMin, low)
	i.TableMax = max(i.TableMax, high)
	i.TableUnbounded = i.TableUnbounded || high < 0
}

// add takes the shape of one scanned body.
func (i *Info) add(s *scan, size int) {
	i.BodyBytes += size
	i.BodyBytesMax = max(i.BodyBytesMax, size)
	i.LocalsMax = max(i.LocalsMax, s.locals)
	i.NestingMax = max(i.NestingMax, s.nesting)
	i.LoopNestMax = max(i.LoopNestMax, s.nest)
	i.BrTableMax = max(i.BrTableMax, s.brTable)
	i.BrLabelsMax = max(i.BrLabelsMax, s.brLabels)
	i.BrLabelsSum += s.brLabels
	i.LoopsLocalsMax = max(i.LoopsLocalsMax, s.loops*(s.locals+1))
	i.NestLocalsMax = max(i.NestLocalsMax, s.nest*s.nest*(s.locals+1))
	i.NestLocalsSum += s.nest * s.nest * (s.locals + 1)
	i.NestingSum += s.nesting * s.nesting
	i.CarriedSum += s.carried
	i.IndirectSum += s.indirects
	i.TableGrow = i.TableGrow || s.tableGrow
}

// Limits bounds the shape of a module before it is compiled: 8 kB of valid code can hold wazero's
// compiler for 38 s. A field of zero allows none of its kind.
type Limits struct {
	Bytes, Functions, BodyBytes, Locals, Nesting, LoopNest, BrTable int
	LoopsLocals, NestLocals, NestLocalsSum, NestingSum              int
	BrLabels, BrLabelsSum, CarriedSum, IndirectSum                  int
	Tables, TableElements                                           int
	MemoryPages                                                     int // of the minimum
	Globals, DataBytes, CustomBytes, Elements                       int
	Types, Exports                                                  int

	// MaximaRequired refuses a memory without a declared maximum, and one above MemoryPages. Go declares
	// none, so by default the host's own cap is what holds.
	MaximaRequired bool
	// Start allows a start section.
	Start bool
	// Imports lists the functions that may be imported, as "module.name". Nothing else may be.
	Imports []string
}

// Admit says whether a module of this shape is within the limits; the error names the first limit that
// is not kept, what was found and what is allowed.
func Admit(info Info, l Limits) error {
	for _, c := range [...]struct {
		name      string
		got, want int
	}{
		{"Bytes", info.Bytes, l.Bytes},
		{"Types", info.Types, l.Types},
		{"Functions", info.Functions, l.Functions},
		{"BodyBytes", info.BodyBytesMax, l.BodyBytes},
		{"Locals", info.LocalsMax, l.Locals},
		{"Nesting", info.NestingMax, l.Nesting},
		{"LoopNest", info.LoopNestMax, l.LoopNest},
		{"BrTable", info.BrTableMax, l.BrTable},
		{"BrLabels", info.BrLabelsMax, l.BrLabels},
		{"BrLabelsSum", info.BrLabelsSum, l.BrLabelsSum},
		{"CarriedSum", info.CarriedSum, l.CarriedSum},
		{"IndirectSum", info.IndirectSum, l.IndirectSum},
		{"LoopsLocals", info.LoopsLocalsMax, l.LoopsLocals},
		{"NestLocals", info.NestLocalsMax, l.NestLocals},
		{"NestLocalsSum", info.NestLocalsSum, l.NestLocalsSum},
		{"NestingSum", info.NestingSum, l.NestingSum},
		{"Tables", info.Tables, l.Tables},
		{"TableElements", int(info.TableMin), l.TableElements},
		{"TableElements", int(info.TableMax), l.TableElements},
		{"MemoryPages", int(info.MemoryMin), l.MemoryPages},
		{"Globals", info.Globals, l.Globals},
		{"Elements", info.Elements, l.Elements},
		{"DataBytes", info.DataBytes, l.DataBytes},
		{"CustomBytes", info.CustomBytes, l.CustomBytes},
		{"Exports", len(info.Exports), l.Exports},
	} {
		if c.got > c.want {
			return fmt.Errorf("admit: %s: %d, at most %d", c.name, c.got, c.want)
		}
	}
	if err := l.kinds(info); err != nil {
		return fmt.Errorf("admit: %w", err)
	}
	return l.imports(info.Imports)
}

// kinds checks what is no count.
func (l *Limits) kinds(info Info) error {
	if info.HasStart && !l.Start {
		return errors.New("start section: not allowed (limit Start)")
	}
	// A table that nobody can grow is bounded by its minimum; the host never grows one.
	if info.TableGrow {
		return fmt.Errorf("TableElements: table.grow not allowed")
	}
	if l.MaximaRequired && info.Memories > 0 && (info.MemoryMax < 0 || info.MemoryMax > int64(l.MemoryPages)) {
		return fmt.Errorf("MaximaRequired: memory maximum of %d pages, want one of at most %d",
			info.MemoryMax, l.MemoryPages)
	}
	return nil
}

func (l *Limits) imports(list []Import) error {
	for _, i := range list {
		if i.Kind != KindFunc {
			return fmt.Errorf("admit: Imports: %s %q %q not allowed, only functions are", i.Kind, i.Module, i.Name)
		}
		if !slices.Contains(l.Imports, i.Module+"."+i.Name) {
			return fmt.Errorf("admit: Imports: function %q %q not allowed", i.Module, i.Name)
		}
	}
	return nil
}

// DefaultLimits lets real plugins pass and keeps wazero's compiler within seconds for the shapes known to
// be dear. It is for the metered form: names and DWARF, which Go does not strip, are gone then. The imports
// allowed are those of WASI preview 1 without sockets, and fuel.out.
//
// What it is tuned to, the most that was found in real modules (Go of 4 MB, CPython of 6.5, QuickJS,
// Haskell, Rust) and what is allowed: NestingSum 4.2 million of 16 (Go nests blocks as deep as a function has
// resume points: 552, and 1,152 in one of 14 MB), NestLocalsSum 45,000 of 500,000 (C nests loops: CPython 8
// deep), BrLabels 14,600 of 32,768, BrLabelsSum 80,000 of 400,000, CarriedSum 1.1 million of 8, IndirectSum
// 2,700 of 30,000. What the shapes that they let pass cost is said in RATIONALE.md, "Why is a module compiled
// by a child?": the child is there for those, and for the ones that nobody thought of.
func DefaultLimits() Limits {
	return Limits{
		Bytes: 8 << 20, Types: 4096, Functions: 20_000, BodyBytes: 256 << 10, Locals: 2000, Nesting: 2048,
		LoopNest: 32, BrTable: 4096, LoopsLocals: 100_000, NestLocals: 50_000,
		NestLocalsSum: 500_000, NestingSum: 16_000_000, BrLabels: 32_768, BrLabelsSum: 400_000,
		CarriedSum: 8_000_000, IndirectSum: 30_000,
		Tables: 4, TableElements: 65_536, MemoryPages: 1024, Globals: 1024, Elements: 65_536,
		DataBytes: 6 << 20, CustomBytes: 64 << 10, Exports: 1024,
		Imports: defaultImports(),
	}
}

// defaultImports names WASI preview 1 as one would find it in a linker's output.
func defaultImports() []string {
	const wasi = "args_get args_sizes_get environ_get environ_sizes_get clock_res_get clock_time_get " +
		"fd_advise fd_allocate fd_close fd_datasync fd_fdstat_get fd_fdstat_set_flags fd_fdstat_set_rights " +
		"fd_filestat_get fd_filestat_set_size fd_filestat_set_times fd_pread fd_prestat_get " +
		"fd_prestat_dir_name fd_pwrite fd_read fd_readdir fd_renumber fd_seek fd_sync fd_tell fd_write " +
		"path_create_directory path_filestat_get path_filestat_set_times path_link path_open path_readlink " +
		"path_remove_directory path_rename path_symlink path_unlink_file poll_oneoff proc_exit proc_raise " +
		"random_get sched_yield"
	var out []string
	for _, name := range strings.Fields(wasi) {
		out = append(out, "wasi_snapshot_preview1."+name)
	}
	return append(out, ImportModule+"."+ImportName)
}

package wasmhost

import (
	"slices"
	"strings"

	"github.com/stavily/stavily/protocol"
	"github.com/stavily/stavily/wasmhost/meter"
)

// wasiModule is the module that guests import WASI preview 1 from.
const wasiModule = "wasi_snapshot_preview1"

// pagesPerMB is how many pages of WebAssembly memory one MB of a manifest has.
const pagesPerMB = 16

// nestingMax bounds the blocks of a function within each other. Go's compiler opens one
// for each point at which a function can be resumed: 550 in encoding/json.
const nestingMax = 4096

// memoryMBMax is what 32-bit memory can have at most.
const memoryMBMax = 4095

// Verdict is what Verify found out about a module.
type Verdict struct {
	Imports  []string // "module.name", in ascending order
	Metered  bool     // it pays fuel
	Compiles bool     // a child compiled it within its bounds; Verify itself does not say so
	SizeB    int      // of the module, bytes
	// MemoryMinMB and MemoryMaxMB are what the module declares of its memory, rounded
	// up. Max is 0 when it declares none; the host's limit holds all the same.
	MemoryMinMB, MemoryMaxMB uint32
}

// Verify shows that a module asks for no more than a plugin may have: it is a WASI
// preview 1 command of at most protocol.ArtifactMax bytes, of a shape that compiles in
// bounded time, imports nothing but WASI without sockets and the meter, and its memory
// fits the manifest's limit. The hub asks when it has built a module, the agent before
// it loads one. Errors have CodeUnverified or CodeLimit and name the import or bound.
func Verify(wasm []byte, m *protocol.Manifest) (Verdict, error) {
	if len(wasm) > protocol.ArtifactMax {
		return Verdict{}, protocol.Errorf(protocol.CodeLimit, "verify %s: %d bytes, limit %d",
			m, len(wasm), protocol.ArtifactMax)
	}
	info, err := meter.Inspect(wasm)
	if err != nil {
		return Verdict{}, unverified(m, err)
	}
	limits := m.Limits.WithDefaults()
	v := Verdict{SizeB: len(wasm), Metered: metered(info), MemoryMinMB: megabytes(info.MemoryMin)}
	if info.MemoryMax > 0 {
		v.MemoryMaxMB = megabytes(info.MemoryMax)
	}
	for _, i := range info.Imports {
		v.Imports = append(v.Imports, i.Module+"."+i.Name)
	}
	slices.Sort(v.Imports)
	if err := verifyShape(info, limits); err != nil {
		return v, unverified(m, err)
	}
	if v.Metered {
		if err := meter.Check(wasm); err != nil {
			return v, unverified(m, err)
		}
	}
	return v, nil
}

func unverified(m *protocol.Manifest, err error) error {
	return protocol.Errorf(protocol.CodeUnverified, "verify %s: %w", m, err)
}

func metered(info meter.Info) bool {
	return slices.ContainsFunc(info.Imports, func(i meter.Import) bool { return i.Module == meter.ImportModule })
}

// megabytes returns how many MB hold that many pages; none for a negative number.
func megabytes(pages int64) uint32 {
	return uint32((max(pages, 0) + pagesPerMB - 1) / pagesPerMB)
}

// verifyShape holds a module's shape against its limits. Imports come first, because
// their names say the most.
func verifyShape(info meter.Info, limits protocol.Limits) error {
	bounds := meter.DefaultLimits()
	for _, i := range info.Imports {
		name := i.Module + "." + i.Name
		if !slices.Contains(bounds.Imports, name) {
			return protocol.Errorf(protocol.CodeUnverified, "import %s: %s", clip(name, 100), notAllowed(i))
		}
	}
	if limits.MemoryMB > memoryMBMax {
		return protocol.Errorf(protocol.CodeLimit, "max_memory_mb %d: at most %d", limits.MemoryMB, memoryMBMax)
	}
	bounds.MemoryPages = int(limits.MemoryMB) * pagesPerMB
	bounds.Bytes = protocol.ArtifactMax
	bounds.Nesting = max(bounds.Nesting, nestingMax)
	if err := meter.Admit(info, bounds); err != nil {
		return err
	}
	return verifyCommand(info)
}

func notAllowed(i meter.Import) string {
	switch {
	case i.Kind != meter.KindFunc:
		return "only functions can be imported"
	case i.Module == wasiModule && strings.HasPrefix(i.Name, "sock_"):
		return "no socket is open to a plugin; ask for http.request or dns.resolve"
	case i.Module == wasiModule:
		return "not a function of WASI preview 1"
	}
	return "want only " + wasiModule
}

// verifyCommand checks that the module is a WASI command and not a reactor or a library.
func verifyCommand(info meter.Info) error {
	has := func(name string, kind meter.Kind) bool {
		return slices.ContainsFunc(info.Exports, func(e meter.Export) bool {
			return e.Name == name && e.Kind == kind
		})
	}
	switch {
	case !has("memory", meter.KindMemory):
		return protocol.Errorf(protocol.CodeUnverified, "no export \"memory\": want a WASI command")
	case !has("_start", meter.KindFunc):
		return protocol.Errorf(protocol.CodeUnverified, "no export \"_start\": want a WASI command")
	case !slices.ContainsFunc(info.Exports, func(e meter.Export) bool { return e.Name == "_start" && e.Plain }):
		return protocol.Errorf(protocol.CodeUnverified, "export \"_start\" has parameters or results: want none")
	case metered(info) && !has(meter.FuelGlobal, meter.KindGlobal):
		return protocol.Errorf(protocol.CodeUnverified, "imports %s.%s without exporting %q",
			meter.ImportModule, meter.ImportName, meter.FuelGlobal)
	}
	return nil
}

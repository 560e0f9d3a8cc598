package wasmhost

import (
	"context"
	"io"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/sys"
)

// WASI preview 1 as a plugin gets it: three streams, two clocks, randomness, arguments,
// polling, and read-only mounts that are trees in memory. It is our own and not the
// engine's, so that every descriptor is counted, every wait ends with the guest, and
// whatever is not the same twice can be recorded. See RATIONALE.md, "Why a WASI of our own?".

// wasiErrno is an error number of WASI preview 1.
type wasiErrno uint32

// The numbers that are in use.
const (
	wasiOK       wasiErrno = 0
	wasiBadf     wasiErrno = 8
	wasiExist    wasiErrno = 20
	wasiFault    wasiErrno = 21
	wasiIlseq    wasiErrno = 25
	wasiInval    wasiErrno = 28
	wasiIO       wasiErrno = 29
	wasiIsdir    wasiErrno = 31
	wasiMfile    wasiErrno = 33
	wasiNameLong wasiErrno = 37
	wasiNoent    wasiErrno = 44
	wasiNomem    wasiErrno = 48
	wasiNosys    wasiErrno = 52
	wasiNotdir   wasiErrno = 54
	wasiNotsup   wasiErrno = 58
	wasiPerm     wasiErrno = 63
	wasiRofs     wasiErrno = 69
	wasiSpipe    wasiErrno = 70
)

// world is all that one guest has besides its memory. Only the guest's goroutine touches
// it.
type world struct {
	in     *instance
	args   []string
	env    []string
	random io.Reader
	born   time.Time
	tape   *tape // records or replays what is not the same twice; nil for neither

	fds  []*openFile // by descriptor; nil is a closed one
	used int         // opened by the guest and not yet closed
	most int         // of used
	held int64       // bytes unpacked for open files
}

// worldly is what a plugin says of the world of its instances.
type worldly struct {
	args, env []string
	mounts    []Mount
	tape      *tape
}

func newWorld(in *instance, b blueprint) *world {
	w := &world{
		in: in, args: b.world.args, env: b.world.env, random: b.host.cfg.Random, born: in.clock(),
		tape: b.world.tape, most: int(b.limits.Files),
	}
	for range 3 {
		w.fds = append(w.fds, &openFile{})
	}
	for _, m := range b.world.mounts {
		w.fds = append(w.fds, &openFile{node: m.Tree.root, mount: m.Path})
	}
	return w
}

// wasiFunc is a function of WASI. Its parameters are in order, one letter each: i for 32
// bits, I for 64. All return an error number.
type wasiFunc struct {
	name   string
	params string
	do     func(w *world, m api.Memory, a []uint64) wasiErrno
}

// wasiFuncs are all that a guest may import, besides proc_exit. What would change a file
// is among them, because languages import it by themselves; it answers that the file
// system is read-only. No function of sockets is.
func wasiFuncs() []wasiFunc {
	return []wasiFunc{
		{"args_get", "ii", argsGet},
		{"args_sizes_get", "ii", argsSizesGet},
		{"environ_get", "ii", environGet},
		{"environ_sizes_get", "ii", environSizesGet},
		{"clock_res_get", "ii", clockResGet},
		{"clock_time_get", "iIi", clockTimeGet},
		{"fd_advise", "iIIi", fdAdvise},
		{"fd_allocate", "iII", fdAllocate},
		{"fd_close", "i", fdClose},
		{"fd_datasync", "i", fdSync},
		{"fd_fdstat_get", "ii", fdFdstatGet},
		{"fd_fdstat_set_flags", "ii", fdFdstatSetFlags},
		{"fd_fdstat_set_rights", "iII", fdFdstatSetRights},
		{"fd_filestat_get", "ii", fdFilestatGet},
		{"fd_filestat_set_size", "iI", fdFilestatSetSize},
		{"fd_filestat_set_times", "iIIi", fdFilestatSetTimes},
		{"fd_pread", "iiiIi", fdPread},
		{"fd_prestat_get", "ii", fdPrestatGet},
		{"fd_prestat_dir_name", "iii", fdPrestatDirName},
		{"fd_pwrite", "iiiIi", fdPwrite},
		{"fd_read", "iiii", fdRead},
		{"fd_readdir", "iiiIi", fdReaddir},
		{"fd_renumber", "ii", fdRenumber},
		{"fd_seek", "iIii", fdSeek},
		{"fd_sync", "i", fdSync},
		{"fd_tell", "ii", fdTell},
		{"fd_write", "iiii", fdWrite},
		{"path_create_directory", "iii", pathCreateDirectory},
		{"path_filestat_get", "iiiii", pathFilestatGet},
		{"path_filestat_set_times", "iiiiIIi", pathFilestatSetTimes},
		{"path_link", "iiiiiii", pathLink},
		{"path_open", "iiiiiIIii", pathOpen},
		{"path_readlink", "iiiiii", pathReadlink},
		{"path_remove_directory", "iii", pathRemove},
		{"path_rename", "iiiiii", pathRename},
		{"path_symlink", "iiiii", pathSymlink},
		{"path_unlink_file", "iii", pathRemove},
		{"poll_oneoff", "iiii", pollOneoff},
		{"proc_raise", "i", procRaise},
		{"random_get", "ii", randomGet},
		{"sched_yield", "", schedYield},
	}
}

// addWASI gives a runtime the functions that guests import.
func addWASI(ctx context.Context, r wazero.Runtime) error {
	b := r.NewHostModuleBuilder(wasiModule)
	for _, f := range wasiFuncs() {
		b = b.NewFunctionBuilder().WithGoModuleFunction(f, f.types(), []api.ValueType{api.ValueTypeI32}).
			Export(f.name)
	}
	b = b.NewFunctionBuilder().WithGoFunction(api.GoFunc(procExit), []api.ValueType{api.ValueTypeI32}, nil).
		Export("proc_exit")
	_, err := b.Instantiate(ctx)
	return err
}

func (f wasiFunc) types() []api.ValueType {
	var out []api.ValueType
	for _, c := range f.params {
		t := api.ValueTypeI32
		if c == 'I' {
			t = api.ValueTypeI64
		}
		out = append(out, t)
	}
	return out
}

// Call does the function for the guest that calls it.
func (f wasiFunc) Call(ctx context.Context, mod api.Module, stack []uint64) {
	in, ok := ctx.Value(instanceKey{}).(*instance)
	if !ok || in.world == nil {
		panic(sys.NewExitError(exitEnded))
	}
	in.tank.toll(in)
	stack[0] = uint64(f.do(in.world, mod.Memory(), stack))
}

func procExit(_ context.Context, stack []uint64) { panic(sys.NewExitError(uint32(stack[0]))) }

// checkAlive unwinds the guest's stack when it must end.
func (w *world) checkAlive() {
	if w.in.ended() {
		panic(sys.NewExitError(exitEnded))
	}
}

// strings of a list that is NUL-terminated, and where they are put.
func (w *world) list(m api.Memory, list []string, at, bytes uint32) wasiErrno {
	for i, s := range list {
		if !m.WriteUint32Le(at+uint32(4*i), bytes) || !m.WriteString(bytes, s+"\x00") {
			return wasiFault
		}
		bytes += uint32(len(s)) + 1
	}
	return wasiOK
}

func (w *world) sizes(m api.Memory, list []string, count, size uint32) wasiErrno {
	total := 0
	for _, s := range list {
		total += len(s) + 1
	}
	if !m.WriteUint32Le(count, uint32(len(list))) || !m.WriteUint32Le(size, uint32(total)) {
		return wasiFault
	}
	return wasiOK
}

func argsGet(w *world, m api.Memory, a []uint64) wasiErrno {
	return w.list(m, w.args, uint32(a[0]), uint32(a[1]))
}

func argsSizesGet(w *world, m api.Memory, a []uint64) wasiErrno {
	return w.sizes(m, w.args, uint32(a[0]), uint32(a[1]))
}

func environGet(w *world, m api.Memory, a []uint64) wasiErrno {
	return w.list(m, w.env, uint32(a[0]), uint32(a[1]))
}

func environSizesGet(w *world, m api.Memory, a []uint64) wasiErrno {
	return w.sizes(m, w.env, uint32(a[0]), uint32(a[1]))
}

// procRaise: a plugin has nobody to send a signal to.
func procRaise(*world, api.Memory, []uint64) wasiErrno { return wasiNosys }

func schedYield(w *world, _ api.Memory, _ []uint64) wasiErrno {
	w.checkAlive()
	return wasiOK
}

var _ api.GoModuleFunction = wasiFunc{}

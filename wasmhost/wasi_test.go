package wasmhost

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"github.com/stavily/stavily/protocol"
	"github.com/stavily/stavily/wasmhost/meter"
)

// forwarder returns a module that exports one page of memory and a function for each of
// WASI's that does nothing but call it.
func forwarder() []byte {
	section := func(id byte, items [][]byte) []byte {
		body := binary.AppendUvarint(nil, uint64(len(items)))
		for _, item := range items {
			body = append(body, item...)
		}
		return append(binary.AppendUvarint([]byte{id}, uint64(len(body))), body...)
	}
	name := func(s string) []byte { return append(binary.AppendUvarint(nil, uint64(len(s))), s...) }
	var types, imports, funcs, exports, codes [][]byte
	all := wasiFuncs()
	for i, f := range all {
		params := binary.AppendUvarint([]byte{0x60}, uint64(len(f.params)))
		body := []byte{0}
		for j, t := range f.types() {
			params = append(params, t)
			body = append(body, 0x20, byte(j))
		}
		types = append(types, append(params, 1, api.ValueTypeI32))
		index := binary.AppendUvarint(nil, uint64(i))
		imports = append(imports, slices.Concat(name(wasiModule), name(f.name), []byte{0}, index))
		funcs = append(funcs, index)
		exports = append(exports, slices.Concat(name(f.name), []byte{0}, binary.AppendUvarint(nil, uint64(len(all)+i))))
		body = append(append(append(body, 0x10), index...), 0x0b)
		codes = append(codes, append(binary.AppendUvarint(nil, uint64(len(body))), body...))
	}
	exports = append(exports, append(name("memory"), 2, 0))
	return slices.Concat([]byte("\x00asm\x01\x00\x00\x00"), section(1, types), section(2, imports), section(3, funcs),
		section(5, [][]byte{{1, 1, 1}}), section(7, exports), section(10, codes))
}

// letter is a guest whose functions of WASI the test calls itself.
type letter struct {
	t   *testing.T
	in  *instance
	mod api.Module
	ctx context.Context
}

// Where the tests put things in the guest's memory.
const (
	atPath   = 1024
	atIovec  = 8192
	atBuffer = 16384
	atResult = 32768
	beyond   = 65536 - 2 // of which two bytes are memory
)

func newLetter(t *testing.T, most int) *letter {
	t.Helper()
	tree, err := ZipTree(zipOf(t, "a.txt", "hello world", "sub/b.raw", "stored", "sub/deep/", ""))
	must(t, err)
	h := newHost(t, Config{})
	in := &instance{
		duplex: newDuplex(), clock: func() time.Time { return time.Unix(1000, 5) },
		done: make(chan struct{}), errs: newLineWriter(h, Spec{}), cancel: func() {},
	}
	in.Fate = NewFate(in.kill)
	in.yield = func(struct{}) bool { // the guest's functions are called here, where no host takes turns
		in.linger()
		return true
	}
	in.world = newWorld(in, blueprint{
		host: h, limits: protocol.Limits{Files: uint32(most)},
		world: worldly{args: []string{"engine", "x"}, env: []string{"A=b"}, mounts: []Mount{{"/lib", tree}}},
	})
	ctx := context.WithValue(context.Background(), instanceKey{}, in)
	r := wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfigInterpreter())
	t.Cleanup(func() { _ = r.Close(ctx) })
	must(t, addWASI(ctx, r))
	mod, err := r.Instantiate(ctx, forwarder())
	must(t, err)
	return &letter{t: t, in: in, mod: mod, ctx: ctx}
}

// call calls a function and returns its error number.
func (l *letter) call(name string, args ...uint64) wasiErrno {
	l.t.Helper()
	out, err := l.mod.ExportedFunction(name).Call(l.ctx, args...)
	if err != nil {
		l.t.Fatalf("%s%v: %v", name, args, err)
	}
	return wasiErrno(out[0])
}

// path puts a path into memory and returns where, and its length.
func (l *letter) path(s string) (at, size uint64) {
	l.mod.Memory().WriteString(atPath, s)
	return atPath, uint64(len(s))
}

func (l *letter) iovec(at, size uint32) {
	l.mod.Memory().WriteUint32Le(atIovec, at)
	l.mod.Memory().WriteUint32Le(atIovec+4, size)
}

func (l *letter) u32(at uint32) uint32 { v, _ := l.mod.Memory().ReadUint32Le(at); return v }
func (l *letter) u64(at uint32) uint64 { v, _ := l.mod.Memory().ReadUint64Le(at); return v }

// open opens a path from the mount.
func (l *letter) open(path string, how, rights uint64) (fd uint64, e wasiErrno) {
	at, size := l.path(path)
	e = l.call("path_open", 3, 0, at, size, how, rights, 0, 0, atResult)
	return uint64(l.u32(atResult)), e
}

// TestWASIErrors: each function by what can be wrong with what it is given. Descriptors:
// 0 to 2 the streams, 3 the mount, 4 a file, 5 a folder, 9 none.
func TestWASIErrors(t *testing.T) {
	l := newLetter(t, 8)
	if fd, e := l.open("a.txt", 0, rightRead); fd != 4 || e != wasiOK {
		t.Fatalf("open: %d %d", fd, e)
	}
	if fd, e := l.open("sub", openFolder, rightRead); fd != 5 || e != wasiOK {
		t.Fatalf("open: %d %d", fd, e)
	}
	l.iovec(atBuffer, 4)
	m := l.mod.Memory()
	m.WriteUint32Le(atIovec+16, beyond) // an iovec that leads out of memory
	m.WriteUint32Le(atIovec+20, 10)
	m.WriteString(atPath+100, "a.txt")
	m.WriteString(atPath+200, "new")
	m.WriteString(atPath+300, "../x")
	m.WriteString(atPath+400, "/a.txt")
	m.WriteString(atPath+500, "a\x00b")
	m.WriteString(atPath+600, "a\xff")
	m.WriteString(atPath+700, "a.txt/x")
	m.WriteString(atPath+800, "sub/")
	const file, none, up, root, nul, text, below, dir = atPath + 100, atPath + 200, atPath + 300, atPath + 400, atPath + 500,
		atPath + 600, atPath + 700, atPath + 800
	type row struct {
		want wasiErrno
		args []uint64
	}
	bad := func(args ...uint64) row { return row{wasiBadf, args} }
	fault := func(args ...uint64) row { return row{wasiFault, args} }
	inval := func(args ...uint64) row { return row{wasiInval, args} }
	rofs := func(args ...uint64) row { return row{wasiRofs, args} }
	ok := func(args ...uint64) row { return row{wasiOK, args} }
	const neg = 1<<64 - 1
	table := map[string][]row{
		"args_get":          {ok(atBuffer, atResult), fault(beyond, atResult), fault(atBuffer, beyond)},
		"args_sizes_get":    {ok(atBuffer, atResult), fault(beyond+1, atResult), fault(atBuffer, beyond)},
		"environ_get":       {ok(atBuffer, atResult), fault(beyond, atResult), fault(atBuffer, beyond)},
		"environ_sizes_get": {ok(atBuffer, atResult), fault(beyond+1, atResult)},
		"clock_res_get": {
			ok(0, atResult), ok(1, atResult),
			{wasiNotsup, []uint64{2, atResult}},
			{wasiNotsup, []uint64{3, atResult}},
			inval(4, atResult),
			fault(0, beyond),
		},
		"clock_time_get": {
			ok(0, 1, atResult), ok(1, 0, atResult), {wasiNotsup, []uint64{3, 0, atResult}}, inval(9, 0, atResult), fault(0, 0, beyond),
		},
		"fd_advise": {
			ok(4, 0, 5, 0), ok(4, 0, 0, 5), inval(4, 0, 0, 6), inval(4, neg, 0, 0), bad(9, 0, 0, 0), {wasiSpipe, []uint64{1, 0, 0, 0}},
		},
		"fd_allocate":   {rofs(4, 0, 5), bad(9, 0, 5), {wasiSpipe, []uint64{1, 0, 5}}, {wasiIsdir, []uint64{5, 0, 5}}},
		"fd_close":      {bad(9), bad(1 << 31), bad(1<<32 - 1)},
		"fd_datasync":   {ok(4), bad(9), inval(1)},
		"fd_fdstat_get": {ok(0, atResult), ok(4, atResult), bad(9, atResult), fault(4, beyond)},
		"fd_fdstat_set_flags": {
			ok(4, 0), ok(4, 1), ok(4, 0), bad(9, 0), inval(4, 32),
			{wasiNotsup, []uint64{0, 4}},
			{wasiNotsup, []uint64{4, 16}},
		},
		"fd_fdstat_set_rights":  {bad(9, 0, 0), {wasiNosys, []uint64{4, 0, 0}}},
		"fd_filestat_get":       {ok(0, atResult), ok(5, atResult), bad(9, atResult), fault(4, beyond)},
		"fd_filestat_set_size":  {rofs(4, 1), bad(9, 1), inval(4, neg), inval(1, 1), {wasiIsdir, []uint64{5, 1}}},
		"fd_filestat_set_times": {rofs(4, 1, 1, 5), bad(9, 1, 1, 5), inval(4, 1, 1, 3), inval(4, 1, 1, 12), inval(4, 1, 1, 16)},
		"fd_pread": {
			ok(4, atIovec, 1, 6, atResult), bad(9, atIovec, 1, 0, atResult),
			{wasiSpipe, []uint64{0, atIovec, 1, 0, atResult}},
			{wasiIsdir, []uint64{5, atIovec, 1, 0, atResult}},
			inval(4, atIovec, 1, neg, atResult), fault(4, atIovec, 1, 0, beyond),
			fault(4, beyond, 1, 0, atResult), fault(4, atIovec+16, 1, 0, atResult), inval(4, atIovec, 1025, 0, atResult),
		},
		"fd_prestat_get": {ok(3, atResult), bad(0, atResult), bad(4, atResult), bad(5, atResult), bad(9, atResult), fault(3, beyond)},
		"fd_prestat_dir_name": {
			ok(3, atResult, 4), ok(3, atResult, 9), {wasiNameLong, []uint64{3, atResult, 3}}, bad(4, atResult, 4), fault(3, beyond, 4),
		},
		"fd_pwrite": {bad(4, atIovec, 1, 0, atResult), bad(9, atIovec, 1, 0, atResult), {wasiSpipe, []uint64{1, atIovec, 1, 0, atResult}}},
		"fd_read": {
			ok(4, atIovec, 1, atResult), ok(4, atIovec, 0, atResult), bad(1, atIovec, 1, atResult), bad(9, atIovec, 1, atResult),
			{wasiIsdir, []uint64{5, atIovec, 1, atResult}},
			fault(4, atIovec, 1, beyond), fault(0, atIovec, 1, beyond), fault(4, beyond, 1, atResult),
			fault(4, atIovec+16, 1, atResult), fault(4, 1<<32-8, 1, atResult), inval(4, atIovec, 1<<29, atResult),
		},
		"fd_readdir": {
			ok(5, atBuffer, 100, 0, atResult), ok(5, atBuffer, 0, 0, atResult), ok(5, atBuffer, 100, neg, atResult),
			bad(9, atBuffer, 100, 0, atResult),
			{wasiNotdir, []uint64{4, atBuffer, 100, 0, atResult}},
			{wasiNotdir, []uint64{0, atBuffer, 100, 0, atResult}},
			fault(5, beyond, 100, 0, atResult), fault(5, atBuffer, 100, 0, beyond),
		},
		// The table of descriptors does not grow by what a guest says.
		"fd_renumber": {bad(9, 4), bad(4, 9), bad(4, 1<<31-1), bad(4, 1<<32-1), ok(4, 4), {wasiNotsup, []uint64{4, 1}}, {wasiNotsup, []uint64{0, 4}}},
		"fd_seek": {
			ok(4, 3, 0, atResult), ok(4, neg, 1, atResult), ok(4, 99, 2, atResult), ok(4, 0, 0, atResult), inval(4, neg, 0, atResult),
			inval(4, 0, 3, atResult),
			bad(9, 0, 0, atResult), bad(5, 0, 0, atResult),
			{wasiSpipe, []uint64{0, 0, 0, atResult}},
			fault(4, 0, 0, beyond),
		},
		"fd_sync": {ok(4), bad(9), inval(1)},
		"fd_tell": {ok(4, atResult), bad(9, atResult), bad(5, atResult), {wasiSpipe, []uint64{1, atResult}}, fault(4, beyond)},
		"fd_write": {
			ok(2, atIovec, 1, atResult), bad(0, atIovec, 1, atResult), bad(4, atIovec, 1, atResult), bad(5, atIovec, 1, atResult),
			bad(9, atIovec, 1, atResult), fault(1, beyond, 1, atResult), fault(1, atIovec, 1, beyond), fault(1, atIovec+16, 1, atResult),
		},
		"path_create_directory": {
			rofs(3, none, 3), {wasiExist, []uint64{3, file, 5}}, bad(9, none, 3), {wasiNotdir, []uint64{4, none, 3}}, fault(3, beyond, 3),
		},
		"path_filestat_get": {
			ok(3, 0, file, 5, atResult), ok(3, 1, dir, 4, atResult),
			{wasiNoent, []uint64{3, 0, none, 3, atResult}},
			{wasiNoent, []uint64{3, 0, file, 0, atResult}},
			{wasiPerm, []uint64{3, 0, up, 4, atResult}},
			{wasiPerm, []uint64{3, 0, root, 6, atResult}},
			inval(3, 0, nul, 3, atResult),
			{wasiIlseq, []uint64{3, 0, text, 2, atResult}},
			{wasiNotdir, []uint64{3, 0, below, 7, atResult}},
			{wasiNotdir, []uint64{4, 0, file, 5, atResult}},
			{wasiNotdir, []uint64{0, 0, file, 5, atResult}},
			bad(9, 0, file, 5, atResult),
			fault(3, 0, beyond, 5, atResult), fault(3, 0, file, 5, beyond),
			{wasiNameLong, []uint64{3, 0, 0, guestPathMax + 1, atResult}},
		},
		"path_filestat_set_times": {
			rofs(3, 0, file, 5, 1, 1, 5),
			{wasiNoent, []uint64{3, 0, none, 3, 1, 1, 5}},
			inval(3, 0, file, 5, 1, 1, 3),
			bad(9, 0, file, 5, 1, 1, 5),
		},
		"path_link": {
			rofs(3, 0, file, 5, 3, none, 3),
			{wasiNoent, []uint64{3, 0, none, 3, 3, none, 3}},
			{wasiExist, []uint64{3, 0, file, 5, 3, file, 5}},
			bad(9, 0, file, 5, 3, none, 3),
			{wasiPerm, []uint64{3, 0, up, 4, 3, none, 3}},
		},
		"path_open": {
			{wasiNoent, []uint64{3, 0, none, 3, 0, 2, 0, 0, atResult}},
			rofs(3, 0, none, 3, 1, 2, 0, 0, atResult),
			{wasiExist, []uint64{3, 0, file, 5, 5, 2, 0, 0, atResult}},
			rofs(3, 0, file, 5, 8, 2, 0, 0, atResult), rofs(3, 0, file, 5, 0, 64, 0, 0, atResult),
			rofs(3, 0, file, 5, 0, 66, 0, 0, atResult),
			{wasiNotdir, []uint64{3, 0, file, 5, 2, 2, 0, 0, atResult}},
			{wasiIsdir, []uint64{3, 0, dir, 4, 0, 64, 0, 0, atResult}},
			{wasiPerm, []uint64{3, 0, up, 4, 0, 2, 0, 0, atResult}},
			{wasiPerm, []uint64{5, 0, up, 4, 0, 2, 0, 0, atResult}},
			inval(3, 0, file, 5, 16, 2, 0, 0, atResult), inval(3, 0, file, 5, 0, 2, 0, 32, atResult),
			bad(9, 0, file, 5, 0, 2, 0, 0, atResult),
			{wasiNotdir, []uint64{4, 0, file, 5, 0, 2, 0, 0, atResult}},
			fault(3, 0, beyond, 5, 0, 2, 0, 0, atResult), fault(3, 0, file, 5, 0, 2, 0, 0, beyond),
		},
		"path_readlink": {
			inval(3, file, 5, atBuffer, 10, atResult),
			{wasiNoent, []uint64{3, none, 3, atBuffer, 10, atResult}},
			bad(9, file, 5, atBuffer, 10, atResult),
		},
		"path_remove_directory": {rofs(3, dir, 4), {wasiNoent, []uint64{3, none, 3}}, bad(9, dir, 4), {wasiPerm, []uint64{3, up, 4}}},
		"path_rename": {
			rofs(3, file, 5, 3, none, 3),
			{wasiNoent, []uint64{3, none, 3, 3, file, 5}},
			bad(9, file, 5, 3, none, 3),
			bad(3, file, 5, 9, none, 3),
			{wasiPerm, []uint64{3, file, 5, 3, up, 4}},
		},
		"path_symlink": {
			rofs(file, 5, 3, none, 3), {wasiExist, []uint64{file, 5, 3, file, 5}}, bad(file, 5, 9, none, 3), fault(beyond, 5, 3, none, 3),
		},
		"path_unlink_file": {rofs(3, file, 5), {wasiNoent, []uint64{3, none, 3}}, bad(9, file, 5)},
		"poll_oneoff": {
			inval(atBuffer, atResult, 0, atResult+512), inval(atBuffer, atResult, 1025, atResult+512),
			inval(atBuffer, atResult, 1<<28, atResult+512),
			fault(beyond, atResult, 1, atResult+512), fault(atBuffer, beyond, 1, atResult+512), fault(atBuffer, atResult, 1, beyond),
		},
		"proc_raise":  {{wasiNosys, []uint64{9}}},
		"random_get":  {ok(atBuffer, 0), ok(atBuffer, 32), ok(65536, 0), fault(beyond, 3), fault(65537, 0), fault(0, 1<<32-1)},
		"sched_yield": {ok()},
	}
	for _, f := range wasiFuncs() {
		if len(table[f.name]) == 0 {
			t.Errorf("%s: no row", f.name)
		}
		for _, r := range table[f.name] {
			if got := l.call(f.name, r.args...); got != r.want {
				t.Errorf("%s%v: %d, want %d", f.name, r.args, got, r.want)
			}
		}
	}
}

// TestWASIAnswers: what comes where all is right.
func TestWASIAnswers(t *testing.T) {
	l := newLetter(t, 3)
	m := l.mod.Memory()
	l.call("args_sizes_get", atResult, atResult+4)
	l.call("args_get", atBuffer, atBuffer+100)
	if args,
		_ := m.Read(atBuffer+100, 9); l.u32(atResult) != 2 || l.u32(atResult+4) != 9 || string(args) != "engine\x00x\x00" || l.u32(atBuffer+4) != atBuffer+107 {
		t.Errorf("arguments %q, %d of %d bytes", args, l.u32(atResult), l.u32(atResult+4))
	}
	l.call("clock_res_get", 1, atResult)
	res := l.u64(atResult)
	l.call("clock_time_get", 0, 0, atResult)
	if now := l.u64(atResult); res != 1000 || now != 1000e9+5 {
		t.Errorf("time %d in steps of %d", now, res)
	}
	if l.call("clock_time_get", 1, 0, atResult); l.u64(atResult) != 1e9 {
		t.Errorf("monotonic time begins at %d", l.u64(atResult))
	}
	l.call("fd_prestat_get", 3, atResult)
	l.call("fd_prestat_dir_name", 3, atBuffer, 4)
	if name, _ := m.Read(atBuffer, 4); l.u64(atResult) != 4<<32 || string(name) != "/lib" {
		t.Errorf("mount %q, %x", name, l.u64(atResult))
	}
	fd, e := l.open("sub/../a.txt", 0, rightRead)
	l.iovec(atBuffer, 5)
	m.WriteUint32Le(atIovec+8, atBuffer+50)
	m.WriteUint32Le(atIovec+12, 100)
	l.call("fd_read", fd, atIovec, 2, atResult)
	first, _ := m.Read(atBuffer, 5)
	rest, _ := m.Read(atBuffer+50, 6)
	if e != wasiOK || l.u32(atResult) != 11 || string(first)+string(rest) != "hello world" {
		t.Errorf("read %q %q, %d bytes", first, rest, l.u32(atResult))
	}
	l.call("fd_seek", fd, 1<<64-5, 2, atResult)
	l.call("fd_read", fd, atIovec, 1, atResult)
	l.call("fd_tell", fd, atResult+8)
	if last, _ := m.Read(atBuffer, 5); string(last) != "world" || l.u64(atResult+8) != 11 {
		t.Errorf("after seek %q at %d", last, l.u64(atResult+8))
	}
	l.call("fd_filestat_get", fd, atResult)
	if kind, _ := m.ReadByte(atResult + 16); kind != typeFile || l.u64(atResult+32) != 11 || l.u64(atResult+24) != 1 {
		t.Errorf("file of type %d, %d bytes", kind, l.u64(atResult+32))
	}
	if got := l.list(3); got != ". .. a.txt sub" {
		t.Errorf("folder: %s", got)
	}
	// M-20: as many descriptors as the limit says, and one that is closed can be had again.
	for i := range 3 {
		_, e = l.open("sub/b.raw", 0, rightRead)
		if want := []wasiErrno{wasiOK, wasiOK, wasiMfile}[i]; e != want {
			t.Errorf("open %d: %d, want %d", i+2, e, want)
		}
	}
	l.call("fd_close", fd)
	if again, e := l.open("sub", openFolder, rightRead); again != fd || e != wasiOK {
		t.Errorf("open after close: %d %d, want %d", again, e, fd)
	}
	if got := l.list(fd); got != ". .. b.raw deep" {
		t.Errorf("folder: %s", got)
	}
	l.call("fd_renumber", fd, fd+1)
	if l.call("fd_close", fd) != wasiBadf || l.list(fd+1) != ". .. b.raw deep" || l.in.world.used != 2 {
		t.Errorf("after renumber: %s, %d in use", l.list(fd+1), l.in.world.used)
	}
	if l.call("fd_close", 3) != wasiOK || l.in.world.used != 2 {
		t.Errorf("a mount that is closed counts: %d", l.in.world.used)
	}
}

// list reads a folder by a buffer that holds little more than one entry.
func (l *letter) list(fd uint64) string {
	var names []string
	for cookie := uint64(0); ; {
		if e := l.call("fd_readdir", fd, atBuffer, 40, cookie, atResult); e != wasiOK {
			return fmt.Sprint(e)
		}
		used := l.u32(atResult)
		if used < 24 || used < 24+l.u32(atBuffer+16) {
			return strings.Join(names, " ")
		}
		name, _ := l.mod.Memory().Read(atBuffer+24, l.u32(atBuffer+16))
		names = append(names, string(name))
		cookie = l.u64(atBuffer)
	}
}

// subscribe puts a subscription into memory: what the guest waits for, number i.
func (l *letter) subscribe(i uint32, kind byte, fd, flags uint32, wait uint64) {
	m, at := l.mod.Memory(), uint32(atBuffer)+i*subscriptionSize
	m.WriteUint64Le(at, uint64(100+i))
	m.WriteByte(at+8, kind)
	m.WriteUint32Le(at+16, fd)
	m.WriteUint64Le(at+24, wait)
	m.WriteUint32Le(at+40, flags)
}

// poll polls n subscriptions and spells the events: user:errno:bytes:flags.
func (l *letter) poll(n uint64) string {
	if e := l.call("poll_oneoff", atBuffer, atIovec, n, atResult); e != wasiOK {
		return fmt.Sprint("errno ", uint32(e))
	}
	var out []string
	for i := range l.u32(atResult) {
		at := uint32(atIovec) + i*eventSize
		errno, _ := l.mod.Memory().ReadUint16Le(at + 8)
		flags, _ := l.mod.Memory().ReadUint16Le(at + 24)
		out = append(out, fmt.Sprintf("%d:%d:%d:%d", l.u64(at), errno, l.u64(at+16), flags))
	}
	return strings.Join(out, " ")
}

// TestPoll: timers, streams and files, together and alone.
func TestPoll(t *testing.T) {
	l := newLetter(t, 3)
	fd, _ := l.open("a.txt", 0, rightRead)
	expect := func(name, want string, n uint64) {
		t.Helper()
		if got := l.poll(n); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	const soon, late = uint64(time.Millisecond), uint64(time.Hour)
	l.subscribe(0, pollClock, clockMonotonic, 0, soon)
	expect("a timer", "100:0:0:0", 1)
	l.subscribe(1, pollClock, clockReal, 0, late)
	expect("the first of two timers", "100:0:0:0", 2)
	l.subscribe(0, pollClock, clockReal, 1, 999e9)
	expect("a time that is over", "100:0:0:0", 1)
	l.subscribe(0, pollClock, clockReal, 1, 1000e9+5+soon)
	expect("a time to come", "100:0:0:0", 1)
	l.subscribe(0, pollClock, 2, 0, soon)
	expect("a clock that is none", "100:58:0:0", 1)
	l.subscribe(0, pollClock, clockReal, 2, soon)
	expect("unknown flags", "errno 28", 1)
	l.subscribe(0, 3, 0, 0, 0)
	expect("unknown kind", "errno 28", 1)
	l.subscribe(0, pollWrite, 1, 0, 0)
	expect("stdout beside a long timer", "100:0:0:0", 2)
	l.subscribe(0, pollRead, 9, 0, 0)
	expect("no descriptor", "100:8:0:0", 1)
	l.subscribe(0, pollWrite, 0, 0, 0)
	expect("stdin cannot be written", "100:8:0:0", 1)
	l.subscribe(0, pollRead, uint32(fd), 0, 0)
	expect("a file", "100:0:11:0", 1)
	l.subscribe(0, pollRead, 0, 0, 0)
	l.subscribe(1, pollClock, clockReal, 0, soon)
	expect("stdin with nothing in it", "101:0:0:0", 2)
	_, err := l.in.Write([]byte("abc"))
	must(t, err)
	l.subscribe(1, pollClock, clockReal, 0, late)
	expect("stdin with something in it", "100:0:3:0", 2)
	l.subscribe(1, pollWrite, 2, 0, 0)
	expect("two at once", "100:0:3:0 101:0:0:0", 2)
	l.iovec(atBuffer+500, 10)
	l.call("fd_read", 0, atIovec, 1, atResult)
	l.subscribe(0, pollRead, 0, 0, 0)
	l.in.start(func() { expect("stdin that ends while it is waited for", "100:0:0:1", 1) })
	l.in.Settle()
	l.in.Finish()
	if _, waits := l.in.next(); waits {
		t.Error("waits for a stdin that has ended")
	}
}

// TestSleepEnds: a guest that sleeps ends with its instance (F10).
func TestSleepEnds(t *testing.T) {
	for name, input := range map[string]bool{"timer": false, "stdin and timer": true} {
		l := newLetter(t, 3)
		l.subscribe(0, pollClock, clockMonotonic, 0, uint64(time.Hour))
		l.subscribe(1, pollRead, 0, 0, 0)
		n := uint64(1)
		if input {
			n = 2
		}
		ended := make(chan error)
		go func() {
			_, err := l.mod.ExportedFunction("poll_oneoff").Call(l.ctx, atBuffer, atIovec, n, atResult)
			ended <- err
		}()
		l.in.End(protocol.Errorf(protocol.CodeDeadline, "over"))
		if err := <-ended; err == nil || !strings.Contains(err.Error(), "exit_code") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestNothingElseIsOffered: what is not in the table is refused by its name, and all that is
// admitted is there.
func TestNothingElseIsOffered(t *testing.T) {
	offered := []string{wasiModule + ".proc_exit", meter.ImportModule + "." + meter.ImportName}
	for _, f := range wasiFuncs() {
		offered = append(offered, wasiModule+"."+f.name)
	}
	admitted := meter.DefaultLimits().Imports
	slices.Sort(offered)
	slices.Sort(admitted)
	if !slices.Equal(offered, admitted) {
		t.Errorf("offered %v\nadmitted %v", offered, admitted)
	}
	for _, name := range []string{"sock_accept", "sock_recv", "sock_send", "sock_shutdown", "sock_open", "thread_spawn", "fd_open", "path_openat"} {
		info := meter.Info{Imports: []meter.Import{{Module: wasiModule, Name: name, Kind: meter.KindFunc}}}
		if err := verifyShape(info, protocol.DefaultLimits()); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v, want it refused by name", name, err)
		}
	}
}

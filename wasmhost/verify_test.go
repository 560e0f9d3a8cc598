package wasmhost

import (
	"bytes"
	"context"
	"encoding/binary"
	"slices"
	"strings"
	"testing"

	"github.com/stavily/stavily/protocol"
	"github.com/stavily/stavily/wasmhost/meter"
)

// tiny is a module made by hand: functions of type ()->(), one memory.
type tiny struct {
	imports  []string // "module.name"
	pages    byte     // of memory at the start
	noMemory bool     // the memory is not exported
	noStart  bool     // _start is not exported
	locals   int      // of _start, of type i64
	body     []byte   // of _start, without end
	padding  int      // bytes of a custom section
	data     int      // bytes of a data segment, from address 0
}

func (m tiny) wasm() []byte {
	section := func(id byte, b []byte) []byte { return append([]byte{id}, sized(b)...) }
	imports := []byte{byte(len(m.imports))}
	for _, i := range m.imports {
		module, name, _ := strings.Cut(i, ".")
		imports = append(append(append(imports, sized([]byte(module))...), sized([]byte(name))...), 0, 0)
	}
	exports := []byte{0}
	export := func(name string, kind, index byte) {
		exports[0]++
		exports = append(append(exports, sized([]byte(name))...), kind, index)
	}
	if !m.noMemory {
		export("memory", 2, 0)
	}
	if !m.noStart {
		export("_start", 0, byte(len(m.imports)))
	}
	locals := []byte{0}
	if m.locals > 0 {
		locals = append(binary.AppendUvarint([]byte{1}, uint64(m.locals)), 0x7e)
	}
	body := sized(append(append(locals, m.body...), 0x0b))
	out := slices.Concat([]byte("\x00asm\x01\x00\x00\x00"), section(1, []byte{1, 0x60, 0, 0}), section(2, imports),
		section(3, []byte{1, 0}), section(5, []byte{1, 0, m.pages}), section(7, exports), section(10, append([]byte{1}, body...)))
	if m.data > 0 {
		segment := append([]byte{1, 0, 0x41, 0, 0x0b}, sized(make([]byte, m.data))...)
		out = append(out, section(11, segment)...)
	}
	if m.padding > 0 {
		out = append(out, section(0, append([]byte{1, 'x'}, bytes.Repeat([]byte{0}, m.padding)...))...)
	}
	return out
}

// sized puts the length before b.
func sized(b []byte) []byte {
	var out []byte
	n := len(b)
	for ; n >= 0x80; n >>= 7 {
		out = append(out, byte(n)|0x80)
	}
	return append(append(out, byte(n)), b...)
}

// TestVerify: M-17, M-25, S-04.
func TestVerify(t *testing.T) {
	m := protocol.Manifest{Plugin: protocol.PluginInfo{Name: "p", Version: "1.0.0"}, Limits: protocol.Limits{MemoryMB: 2}}
	for name, c := range map[string]struct {
		module []byte
		code   protocol.Code
		text   string
	}{
		"command":     {tiny{imports: []string{"wasi_snapshot_preview1.sched_yield"}, pages: 1}.wasm(), protocol.CodeOK, ""},
		"at limit":    {tiny{pages: 32}.wasm(), protocol.CodeOK, ""},
		"memory":      {tiny{pages: 33}.wasm(), protocol.CodeUnverified, "MemoryPages: 33, at most 32"},
		"socket":      {tiny{imports: []string{"wasi_snapshot_preview1.sock_send"}}.wasm(), protocol.CodeUnverified, "sock_send"},
		"unknown":     {tiny{imports: []string{"wasi_snapshot_preview1.gpio"}}.wasm(), protocol.CodeUnverified, "gpio"},
		"other":       {tiny{imports: []string{"env.abort"}}.wasm(), protocol.CodeUnverified, "import env.abort"},
		"half meter":  {tiny{imports: []string{"fuel.out"}}.wasm(), protocol.CodeUnverified, "__fuel"},
		"no memory":   {tiny{noMemory: true}.wasm(), protocol.CodeUnverified, `"memory"`},
		"reactor":     {tiny{noStart: true}.wasm(), protocol.CodeUnverified, `"_start"`},
		"custom":      {tiny{padding: 1 << 20}.wasm(), protocol.CodeUnverified, "CustomBytes"},
		"too big":     {make([]byte, protocol.ArtifactMax+1), protocol.CodeLimit, "33554432"},
		"no module":   {[]byte("#!/bin/sh\n"), protocol.CodeUnverified, "WebAssembly"},
		"empty":       {nil, protocol.CodeUnverified, ""},
		"half a file": {tiny{}.wasm()[:30], protocol.CodeUnverified, ""},
	} {
		v, err := Verify(c.module, &m)
		if protocol.CodeOf(err) != c.code || err != nil && !strings.Contains(err.Error(), c.text) {
			t.Errorf("%s: got %v %v, want %v with %q", name, protocol.CodeOf(err), err, c.code, c.text)
		}
		if err == nil && (v.SizeB != len(c.module) || v.Metered || v.MemoryMinMB == 0) {
			t.Errorf("%s: verdict %+v", name, v)
		}
	}
	metered := guest(t, "probe")
	m.Limits.MemoryMB = 64
	v, err := Verify(metered, &m)
	if err != nil || !v.Metered || !slices.Contains(v.Imports, "fuel.out") {
		t.Errorf("metered guest: %+v %v", v, err)
	}
	i := bytes.LastIndex(metered, []byte{0x10, 0x00}) // some code; any change must be seen or be valid
	spoiled := bytes.Clone(metered)
	spoiled[i]++
	if _, err := Verify(spoiled, &m); err == nil {
		t.Log("a changed byte still makes a metered module") // it may lie in data
	}
}

// TestTinyHostile runs what needs no language: a call without end, and a loop, from the
// first instruction on.
func TestTinyHostile(t *testing.T) {
	for name, c := range map[string]struct {
		body []byte
		data int
		code protocol.Code
	}{
		"loop":         {[]byte{0x03, 0x40, 0x0c, 0x00, 0x0b}, 0, protocol.CodeDeadline},
		"recursion":    {[]byte{0x10, 0x00}, 0, protocol.CodeMemory},
		"unreachable":  {[]byte{0x00}, 0, protocol.CodeContract},
		"return":       {nil, 0, protocol.CodeContract},
		"giant data":   {nil, 24 << 20, protocol.CodeUnverified}, // for a memory of one page
		"page of data": {nil, 1 << 16, protocol.CodeContract},
	} {
		for engine, interpreter := range map[string]bool{"compiler": false, "interpreter": true} {
			metered, err := meter.Instrument(tiny{pages: 1, body: c.body, data: c.data}.wasm())
			must(t, err)
			s := specOf("p", metered)
			s.Manifest.Limits.Seconds = 1
			_, err = newHost(t, Config{Interpreter: interpreter}).Load(context.Background(), s)
			if protocol.CodeOf(err) != c.code {
				t.Errorf("%s in the %s: %v, want %v", name, engine, err, c.code)
			}
		}
	}
}

// FuzzVerify: any bytes give a verdict or an error, in bounded time.
func FuzzVerify(f *testing.F) {
	f.Add(tiny{pages: 1, body: []byte{0x03, 0x40, 0x0c, 0x00, 0x0b}, imports: []string{"wasi_snapshot_preview1.fd_write"}}.wasm())
	metered, err := meter.Instrument(tiny{pages: 1, body: []byte{0x10, 0x00}}.wasm())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(metered)
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, err := Verify(b, &protocol.Manifest{}); err != nil && protocol.CodeOf(err) == protocol.CodeInternal {
			t.Errorf("error without a code: %v", err)
		}
	})
}

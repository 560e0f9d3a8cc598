package wasmhost

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stavily/stavily/protocol"
)

// event200 is an event of about 200 bytes, as a device would fire it.
const event200 = `{"metric":"temperature.cpu","value":83.5,"unit":"celsius","above":80,"for_s":30,` +
	`"host":"gateway-07.plant.example","labels":{"env":"production","role":"gateway","line":"7"},"seq":123456}`

// BenchmarkCall is one warm call: event in, the same data out.
func BenchmarkCall(b *testing.B) {
	for _, name := range []string{"probe", "cborprobe"} {
		b.Run(name, func(b *testing.B) {
			p := load(b, newHost(b, Config{}), specOf(name, guest(b, name)))
			benchCall(b, p)
		})
	}
	b.Run("c", func(b *testing.B) {
		benchCall(b, load(b, newHost(b, Config{}), cGuest(b, protocol.Action)))
	})
	b.Run("probe-unmetered", func(b *testing.B) {
		benchCall(b, load(b, newHost(b, Config{AllowUnmetered: true}), specOf("probe", plainGuest(b, "probe"))))
	})
}

func benchCall(b *testing.B, p *Plugin) {
	r := work(b, event200)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	b.ReportAllocs()
	for b.Loop() {
		if a := p.Call(ctx, r); a.Error != nil {
			b.Fatal(a.Error)
		}
	}
}

// BenchmarkEcho is the host's part of a call alone: no guest computes.
func BenchmarkEcho(b *testing.B) {
	d := newDuplex()
	d.start(func() {
		defer func() { _ = recover() }()
		buf := make([]byte, 1<<16)
		id := 0
		say := func(s string) { _, _ = guestOut{d}.Write([]byte(s + "\n")) }
		say(strings.TrimSpace(goodHello))
		for {
			n, err := guestIn{d: d}.Read(buf)
			switch {
			case err != nil:
				return
			case strings.HasPrefix(string(buf[:n]), `{"init`):
				say(`{"ready":{}}`)
			default:
				id++
				say(`{"id":` + itoa(id) + `,"answer":{"data":` + event200 + `}}`)
			}
		}
	})
	c := conversation{rw: d}
	if err := c.open(expect{protocol.Action, "p"}, start{}); err != nil {
		b.Fatal(err)
	}
	r := work(b, event200)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.ask(r, nil); err != nil {
			b.Fatal(err)
		}
		d.Settle()
	}
	d.Finish()
}

func itoa(n int) string { return jsonOf(protocol.MustMarshal(n)) }

// BenchmarkLoad is what a start of an agent does for each Go plugin of 3 MB that it has: a new
// Host, whose code is in the cache on disk and whose verdict was kept.
func BenchmarkLoad(b *testing.B) {
	s := specOf("probe", guest(b, "probe"))
	c := Config{
		CacheDir: b.TempDir(), Compile: Compile{Command: compileCommand(b)},
		Verdicts: &verdicts{kept: map[protocol.Digest]Verdict{}},
	}
	load := func() {
		h, err := New(context.Background(), c)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := h.Load(context.Background(), s); err != nil {
			b.Fatal(err)
		}
		if err := h.Close(context.Background()); err != nil {
			b.Fatal(err)
		}
	}
	load()
	for b.Loop() {
		load()
	}
}

// BenchmarkVerify is what both hub and agent do with a module of 3 MB.
func BenchmarkVerify(b *testing.B) {
	wasm := guest(b, "probe")
	for b.Loop() {
		if _, err := Verify(wasm, &protocol.Manifest{}); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkMemory reports the resident memory of one more instance of a Go plugin.
func BenchmarkMemory(b *testing.B) {
	h := newHost(b, Config{})
	s := specOf("probe", guest(b, "probe"))
	load(b, h, s)
	before := resident(b)
	n := 0
	for b.Loop() {
		load(b, h, s)
		n++
	}
	b.ReportMetric(float64(resident(b)-before)/float64(n)/(1<<20), "MiB/instance")
}

func resident(b *testing.B) int {
	statm, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		b.Skip(err)
	}
	var all, rss int
	if _, err := fmt.Sscan(string(statm), &all, &rss); err != nil {
		b.Fatal(err)
	}
	return rss * os.Getpagesize()
}

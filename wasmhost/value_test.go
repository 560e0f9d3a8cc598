package wasmhost

import (
	"bytes"
	"encoding/json"
	"math"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stavily/stavily/protocol"
)

// TestValues: JSON in, CBOR, JSON out; and the CBOR is the project's own.
func TestValues(t *testing.T) {
	for in, want := range map[string]string{
		`null`: `null`, `true`: `true`, ` false `: `false`, `0`: `0`, `-0`: `0`, `23`: `23`, `24`: `24`, `-1`: `-1`,
		`255`: `255`, `256`: `256`, `65536`: `65536`, `4294967296`: `4294967296`, `9007199254740993`: `9007199254740993`,
		`18446744073709551615`: `18446744073709551615`, `-9223372036854775808`: `-9223372036854775808`,
		`18446744073709551616`: `1.8446744073709552e+19`, `1.0`: `1.0`, `-0.0`: `-0.0`, `1e3`: `1000.0`, `0.1`: `0.1`,
		`5.960464477539063e-8`: `5.960464477539063e-08`, `1e-9`: `1e-09`, `65504.0`: `65504.0`, `65505.0`: `65505.0`,
		`3.4028234663852886e38`: `3.4028234663852886e+38`, `1.7976931348623157e308`: `1.7976931348623157e+308`,
		`""`: `""`, `"a\"\\\/\b\f\n\r\t"`: `"a\"\\/\u0008\u000c\n\u000d\u0009"`, `"\u00fc\ud83d\ude00"`: `"ü😀"`,
		`[]`: `[]`, `{}`: `{}`, `[[],[1]]`: `[[],[1]]`, `{"bb":1,"a":2,"c":{"z":1,"y":2}}`: `{"a":2,"c":{"y":2,"z":1},"bb":1}`,
	} {
		raw := rawOf(t, in)
		if got := jsonOf(raw); got != want {
			t.Errorf("%s became %s, want %s", in, got, want)
		}
		var v any
		must(t, protocol.Unmarshal(raw, &v))
		if again := protocol.MustMarshal(v); !bytes.Equal(raw, again) {
			t.Errorf("%s is %x, deterministic is %x", in, raw, again)
		}
	}
}

// TestNoValues lists what is refused, in both encodings.
func TestNoValues(t *testing.T) {
	for _, in := range []string{
		``, `nul`, `tru`, `01`, `-`, `1.`, `.5`, `1e`, `+1`, `NaN`, `1e999`, `"`, `"\x"`, `"\u12"`, `"\ud800"`, `"\ud800\u0041"`,
		"\"\x01\"", "\"\xff\"", `[1,]`, `[1 2]`, `[`, `{"a"}`, `{"a":1,}`, `{a:1}`, `{"a":1,"a":2}`, `{"a":1,"\u0061":2}`, `1 2`,
		`{1:2}`, "[" + strings.Repeat("1,", protocol.ArrayMax) + "1]", strings.Repeat("[", 11) + strings.Repeat("]", 11),
	} {
		var w writer
		if err := fromJSON(&w, []byte(in), dataDepthMax); err == nil {
			t.Errorf("JSON %.40q was taken as %x", in, w.b)
		}
	}
	for _, in := range []string{
		"", "\x18", "\x61", "\x61\xff", "\x41a", "\xc1\x00", "\x9f\xff", "\xbf\xff", "\x7f\xff", "\xf7", "\xf8\x20", "\xf9\x7e\x00",
		"\xf9\x7c\x00", "\xfa\x7f\x80\x00\x00", "\xfb\x7f\xf8\x00\x00\x00\x00\x00\x00", "\x3b\x80\x00\x00\x00\x00\x00\x00\x00",
		"\x81", "\xa1\x61a", "\xa1\x01\x01", "\xa2\x61a\x01\x61a\x02", "\x00\x00", "\x9b\xff\xff\xff\xff\xff\xff\xff\xff", "\x1c",
	} {
		var w writer
		if err := w.canonical([]byte(in), dataDepthMax); err == nil {
			t.Errorf("CBOR %x was taken as %x", in, w.b)
		}
	}
}

// TestHalves holds every half-precision float that is a number to the CBOR library.
func TestHalves(t *testing.T) {
	for h := range 1 << 16 {
		f := protocol.OfFloat16(uint16(h))
		if math.IsNaN(f) || math.IsInf(f, 0) {
			continue
		}
		var w writer
		w.float(f)
		if want := protocol.MustMarshal(f); !bytes.Equal(w.b, want) {
			t.Fatalf("%g is %x, want %x", f, w.b, want)
		}
	}
}

// TestManyPairs crosses the lengths at which a map's head grows.
func TestManyPairs(t *testing.T) {
	for _, n := range []int{0, 1, 23, 24, 255, 256, protocol.MapMax} {
		m := map[string][]int{}
		for i := range n {
			m[strings.Repeat("k", 1+i%40)+string(rune('a'+i%26))+string(rune(0x100+i))] = []int{i}
		}
		text, err := json.Marshal(m)
		must(t, err)
		if raw, want := rawOf(t, string(text)), protocol.MustMarshal(m); !bytes.Equal(raw, want) {
			t.Errorf("%d pairs are not in deterministic encoding", n)
		}
	}
}

// FuzzJSON holds the reader to encoding/json: what it takes, both take, with the same
// value; and a value survives JSON, CBOR and JSON.
func FuzzJSON(f *testing.F) {
	for _, s := range []string{`{"a":[1,2.5e3,"\u00fc"],"b":null}`, `"\ud83d\ude00"`, `-0.0`, `[[[]]]`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var w writer
		if fromJSON(&w, b, dataDepthMax) != nil {
			return
		}
		var v any
		if err := json.Unmarshal(b, &v); err != nil {
			t.Fatalf("%q: taken, but %v", b, err)
		}
		out := toJSON(nil, w.b)
		if bytes.ContainsAny(out, "\n\r") || !utf8.Valid(out) {
			t.Fatalf("%q became %q", b, out)
		}
		var again writer
		if err := fromJSON(&again, out, dataDepthMax); err != nil || !bytes.Equal(again.b, w.b) {
			t.Fatalf("%q became %q: %v", b, out, err)
		}
		var c writer
		if err := c.canonical(w.b, dataDepthMax); err != nil || !bytes.Equal(c.b, w.b) {
			t.Fatalf("%q became %x: %v", b, w.b, err)
		}
	})
}

// FuzzCBOR: what is taken is a fixed point, and the CBOR library takes it too.
func FuzzCBOR(f *testing.F) {
	for _, s := range []string{"\xa2\x61b\x01\x61a\xf9\x3c\x00", "\x9f\xff", "\x82\x18\x01\x63abc", "\x3b\x7f\xff\xff\xff\xff\xff\xff\xff"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var w writer
		if w.canonical(b, dataDepthMax) != nil {
			return
		}
		var again writer
		if err := again.canonical(w.b, dataDepthMax); err != nil || !bytes.Equal(again.b, w.b) {
			t.Fatalf("%x became %x and then %x: %v", b, w.b, again.b, err)
		}
		var v any
		if err := protocol.Unmarshal(w.b, &v); err != nil {
			t.Fatalf("%x: %v", w.b, err)
		}
		if !bytes.Equal(protocol.MustMarshal(v), w.b) {
			t.Fatalf("%x is not deterministic", w.b)
		}
		item, rest, ok := cut(w.b)
		if !ok || len(rest) > 0 || len(item) != len(w.b) {
			t.Fatalf("cut %x: %x %x %v", w.b, item, rest, ok)
		}
	})
}

// TestClip cuts at characters.
func TestClip(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"abc", "abc"},
		{"abcdefgh", "abcdefgh"},
		{"abcdefghi", "abcde..."},
		{"abcdüfghi", "abcd..."},
		{"\x80\x80\x80\x80\x80\x80\x80\x80\x80", "..."},
		{"\xff\xfeab", "?ab"},
	} {
		if got := clip(c.in, 8); got != c.want {
			t.Errorf("%q: got %q, want %q", c.in, got, c.want)
		}
	}
}

// FuzzCanonical holds the check of what is canonical already to the rewriting of everything.
func FuzzCanonical(f *testing.F) {
	for _, s := range []string{
		"\xa2\x61a\x01\x61b\x82\xf9\x3c\x00\x20", "\xa2\x61b\x01\x61a\x02", "\xa2\x61a\x01\x61a\x02", "\x18\x17", "\xfa\x3f\x80\x00\x00",
		"\xfa\x40\x49\x0f\xdb", "\xfb\x40\x09\x21\xfb\x54\x44\x2d\x18", "\xf9\x7c\x00", "\x3b\xff\xff\xff\xff\xff\xff\xff\xff", "\x62\xc3\xbc",
		"\xa1\x66answer\xa1\x65items\x82\xa1\x64data\xa1\x61a\x01\xa2\x61b\x01\x61a\x02", "\x61\xff", "\x9b\x00\x00\x00\x01\x00\x00\x00\x00",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, depth := range []int{2, dataDepthMax, messageDepthMax} {
			var got, want writer
			is, says := got.canonical(b, depth), want.rewrite(b, depth)
			if (is == nil) != (says == nil) || is == nil && !bytes.Equal(got.b, want.b) {
				t.Fatalf("%x to depth %d: %x, %v; rewritten %x, %v", b, depth, got.b, is, want.b, says)
			}
			end := canonicalEnd(b, 0, depth)
			if end == 0 {
				continue
			}
			var one writer
			if rest, err := one.item(b, depth); err != nil || len(rest) != len(b)-end || !bytes.Equal(one.b, b[:end]) {
				t.Fatalf("%x: canonical to %d, rewritten %x, %v", b, end, one.b, err)
			}
		}
	})
}

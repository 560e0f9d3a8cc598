package runs

import (
	"math"
	"testing"

	"github.com/stavily/stavily/protocol"
)

func TestJSON(t *testing.T) {
	for _, c := range []struct {
		in   any
		want string
	}{
		{0, "0"},
		{uint64(math.MaxUint64), "18446744073709551615"},
		{int64(math.MinInt64), "-9223372036854775808"},
		{-1, "-1"},
		{protocol.Raw{0x3b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, "-18446744073709551616"},
		{1.5, "1.5"},
		{0.1, "0.1"},
		{2.0, "2"},
		{math.NaN(), `"NaN"`},
		{math.Inf(-1), `"-Inf"`},
		{protocol.Raw{0xf9, 0x00, 0x01}, "5.960464477539063e-8"}, // the smallest half
		{"fan \"east\"\n", `"fan \"east\"\n"`},
		{[]byte{0xde, 0xad}, `"3q0="`},
		{[]any{true, false, nil}, "[true,false,null]"},
		{map[string]any{"b": 1, "aa": []int{}}, `{"b":1,"aa":[]}`},
		{map[int]any{-3: "x", 7: "y"}, `{"7":"y","-3":"x"}`},
		{map[bool]int{true: 1}, `{"true":1}`},
		{protocol.Raw{0xa1, 0x82, 0x01, 0x61, 0x61, 0x02}, `{"[1,\"a\"]":2}`},
		{protocol.Raw{}, ""},
		{protocol.Raw{0xff}, `{"not-cbor":"/w=="}`},
		{protocol.Raw{0x01, 0x02}, `{"not-cbor":"AQI="}`},
		{protocol.Raw{0xc1, 0x00}, `{"not-cbor":"wQA="}`},                 // a tag
		{protocol.Raw{0x5f, 0x41, 0x00, 0xff}, `{"not-cbor":"X0EA/w=="}`}, // no definite length
		{protocol.Raw{0x9b, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, `{"not-cbor":"m3//////////"}`},
	} {
		raw, ok := c.in.(protocol.Raw)
		if !ok {
			raw = protocol.MustMarshal(c.in)
		}
		if got := string(JSON(raw)); got != c.want {
			t.Errorf("%x: got %s, want %s", []byte(raw), got, c.want)
		}
	}
}

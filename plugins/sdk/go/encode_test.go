package stavily

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"strconv"
	"testing"
	"time"
)

type shown struct {
	Name   string  `json:"name"`
	On     bool    `json:"on,omitempty"`
	Count  uint16  `json:"count,omitempty"`
	Value  float64 `json:"value"`
	hidden int
	Gone   string `json:"-"`
	Plain  int8
}

type named string

func (n named) MarshalText() ([]byte, error) { return []byte("text of " + n), nil }

type selfMade struct{ A int }

func (*selfMade) MarshalJSON() ([]byte, error) { return []byte(`{"own":true}`), nil }

// What is written without encoding/json is what that writes.
func TestPlainValues(t *testing.T) {
	self := map[string]any{}
	self["self"] = self
	many := map[string]int{}
	for i := range 200 {
		many[string(rune('a'+i%26))+string(rune('a'+i/26))] = i
	}
	for _, c := range []struct {
		v     any
		plain bool
	}{
		{nil, true},
		{true, true},
		{-7, true},
		{int64(math.MinInt64), true},
		{uint64(math.MaxUint64), true},
		{1.0, true},
		{-0.0, true},
		{math.Copysign(0, -1), true},
		{81.5, true},
		{1e-6, true},
		{123456789012345680000.0, true},
		{1e21, false},
		{1e-7, false},
		{math.NaN(), false},
		{math.Inf(-1), false},
		{"plain <&> text\x7f", true},
		{"quote\"", false},
		{"ü", false},
		{"\n", false},
		{"\xff", false},
		{map[string]any(nil), true},
		{map[string]any{}, true},
		{map[string]any{"b": 1, "a": map[string]any{"x": "y", "w": nil}, "c": 1.5, "d": false}, true},
		{map[string]any{"a": []int{1}}, false},
		{map[string]any{"ü": 1}, false},
		{map[string]bool{"b": true, "a": false}, true},
		{map[string]string{"b": "1", "a": "2"}, true},
		{map[string]float64{"b": 0.1}, true},
		{map[string]int{"b": 3}, true},
		{many, false},
		{self, false},
		{shown{Name: "n", hidden: 1, Gone: "g"}, true},
		{shown{Name: "n", On: true, Count: 9, Value: -1, Plain: -3}, true},
		{&shown{Name: "a\"b"}, false},
		{&shown{Name: "ab"}, true},
		{(*shown)(nil), false},
		{selfMade{1}, false},
		{&selfMade{1}, false},
		{named("x"), false},
		{struct{ N named }{"x"}, false},
		{struct{ T time.Time }{}, false},
		{struct{ R json.RawMessage }{json.RawMessage("{ }")}, false},
		{struct{}{}, true},
		{[]int{1}, false},
		{errors.New("x"), true},
	} {
		got, ok := appendPlain([]byte("before"), c.v)
		if ok != c.plain {
			t.Errorf("%#v: written %v, want %v", c.v, ok, c.plain)
		}
		if !ok {
			continue
		}
		var want bytes.Buffer
		e := json.NewEncoder(&want)
		e.SetEscapeHTML(false)
		if err := e.Encode(c.v); err != nil {
			t.Fatal(err)
		}
		if "before"+want.String() != string(got)+"\n" {
			t.Errorf("%#v: got %s, want %s", c.v, got, want.String())
		}
	}
}

// A number is read as strconv does.
func FuzzParseFloat(f *testing.F) {
	for _, text := range []string{"0", "81.5", "0.1", "123456789.12345", "999999999999999", "1e3", "-1.5", "0.000000000001"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		c := cursor{b: []byte(text)}
		if c.figure(); c.bad || c.i != len(text) {
			return // figure has looked at it before
		}
		got, err := parseFloat([]byte(text))
		want, bad := strconv.ParseFloat(text, 64)
		if got != want || (err == nil) != (bad == nil) {
			t.Errorf("%q: got %v, %v; want %v, %v", text, got, err, want, bad)
		}
	})
}

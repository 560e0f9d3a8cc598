package wasmhost

import (
	"context"
	"testing"
)

// TestCall is the thin path: load, wake, answer.
func TestCall(t *testing.T) {
	h := newHost(t, Config{})
	p := load(t, h, specOf("good", guest(t, "good")))
	for _, data := range []string{`{"a":1}`, `[1,2.5,1.0,18446744073709551615,-9223372036854775808,"ü\n",null,true]`, `null`} {
		a := p.Call(context.Background(), work(t, data))
		if a.Error != nil {
			t.Fatalf("%s: %v", data, a.Error)
		}
		if want := data; data != "null" && jsonOf(a.Data) != want {
			t.Errorf("got %s, want %s", jsonOf(a.Data), want)
		}
		t.Logf("%+v", a.Usage)
	}
}

package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/stavily/stavily/plugins/sdk/go"
	"github.com/stavily/stavily/plugins/sdk/go/stavilytest"
)

type m = map[string]any

// delivery makes a run with these results.
func delivery(h *stavilytest.Host, key string, results ...stavily.Result) stavily.Delivery {
	return stavily.Delivery{Event: h.Event(m{"value": 81}), Results: results, Key: key}
}

func TestDeliver(t *testing.T) {
	h := stavilytest.Start(t, plugin, nil)
	for i, results := range [][]stavily.Result{nil, {
		{Step: "a", Status: "ok", Data: json.RawMessage(`{"text":"<1\n2>"}`)},
		{Step: "b", Status: "error", Error: &stavily.Error{Code: "plugin", Text: "no"}},
	}} {
		if err := h.Deliver(delivery(h, fmt.Sprint("k", i), results...)); err != nil {
			t.Fatal(err)
		}
	}
	const head = `{"run":"000102030405060708090a0b0c0d0e0f","workflow":"test","time_ms":1767225600000,` +
		`"event":{"value":81},`
	want := head + `"results":[],"key":"k0"}` + "\n" +
		head + `"results":[{"step":"a","status":"ok","data":{"text":"<1\n2>"}},` +
		`{"step":"b","status":"error","error":{"code":"plugin","text":"no"}}],"key":"k1"}` + "\n"
	if got := h.Files["runs.jsonl"]; got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	asked := string(h.Calls[0].Args)
	if !strings.HasPrefix(asked, `{"path":"runs.jsonl",`) || !strings.HasSuffix(asked, `"sync":true}`) {
		t.Errorf("asked %s", asked)
	}
}

func TestFileAndSync(t *testing.T) {
	h := stavilytest.Start(t, plugin, m{"file": "log/x.jsonl", "sync": false})
	if err := h.Deliver(delivery(h, "k")); err != nil || h.Files["log/x.jsonl"] == "" {
		t.Errorf("files %v, %v", h.Files, err)
	}
	if got := string(h.Calls[0].Args); !strings.HasSuffix(got, `"sync":false}`) {
		t.Errorf("asked %s", got)
	}
}

// A delivery that is repeated under its key is written once; as many others as are
// remembered later, it may come again.
func TestRepeatedDelivery(t *testing.T) {
	h := stavilytest.Start(t, plugin, nil)
	for _, key := range []string{"a", "b", "a", "", ""} {
		if err := h.Deliver(delivery(h, key)); err != nil {
			t.Fatal(err)
		}
	}
	if got := strings.Count(h.Files["runs.jsonl"], "\n"); got != 4 {
		t.Errorf("%d lines, want 4: a, b, and two without a key", got)
	}
	for i := range keysMax {
		if err := h.Deliver(delivery(h, fmt.Sprint("k", i))); err != nil {
			t.Fatal(err)
		}
	}
	if got := strings.Count(h.Files["runs.jsonl"], "\n"); got != 4+keysMax {
		t.Errorf("%d lines, want %d", got, 4+keysMax)
	}
}

// What failed is not remembered as done.
func TestFailedDelivery(t *testing.T) {
	h := stavilytest.Start(t, plugin, nil)
	h.Answer("fs.append", func(json.RawMessage) (any, error) {
		return nil, &stavily.Error{Code: "storage", Text: "disk full"}
	})
	for range 2 {
		err := h.Deliver(delivery(h, "k"))
		if stavily.Code(err) != stavily.CodeRetryable || !strings.Contains(err.Error(), "disk full") {
			t.Errorf("disk full: got %v", err)
		}
	}
	h.Deny("fs.append")
	if err := h.Deliver(delivery(h, "k")); stavily.Code(err) != stavily.CodePlugin {
		t.Errorf("denied: got %v", err)
	}
}

// A run that is too long for a line loses data, the largest first, and says so.
func TestLongRun(t *testing.T) {
	h := stavilytest.Start(t, plugin, nil)
	big := func(n int) json.RawMessage { return json.RawMessage(`"` + strings.Repeat(`\"`, n/2) + `"`) }
	err := h.Deliver(delivery(h, "k",
		stavily.Result{Step: "a", Status: "ok", Data: big(30 << 10)},
		stavily.Result{Step: "b", Status: "ok", Data: big(35 << 10)},
		stavily.Result{Step: "c", Status: "ok", Data: big(20 << 10)},
	))
	var got record
	if err == nil {
		err = json.Unmarshal([]byte(h.Files["runs.jsonl"]), &got)
	}
	if err != nil {
		t.Fatal(err)
	}
	if !got.Cut || got.Results[0].Data == nil || got.Results[1].Data != nil || got.Results[2].Data == nil {
		t.Errorf("cut %v, data left: %d %d %d bytes", got.Cut,
			len(got.Results[0].Data), len(got.Results[1].Data), len(got.Results[2].Data))
	}
}

func TestLongEvent(t *testing.T) {
	h := stavilytest.Start(t, plugin, nil)
	d := delivery(h, "k")
	d.Event.Data = json.RawMessage(`"` + strings.Repeat("x", lineMax) + `"`)
	if err := h.Deliver(d); err == nil || !strings.HasPrefix(err.Error(), "line: 61") {
		t.Errorf("got %v", err)
	}
}

// M-24: a path that leads out is refused before a run can meet it.
func TestConfig(t *testing.T) {
	for _, name := range []string{
		"/etc/passwd", "../x", "a/../../x", "a/..", "..", ".", "", "./x", "a//b", "a/", "a\\..\\x", "C:x",
		"a\x00", "a\n", strings.Repeat("a", fileMax+1),
	} {
		_, err := stavilytest.TryStart(t, plugin, m{"file": name})
		if err == nil || !strings.HasPrefix(err.Error(), "config: file") {
			t.Errorf("file %q: got %v", name, err)
		}
	}
	if _, err := stavilytest.TryStart(t, plugin, m{"path": "x"}); err == nil {
		t.Error("unknown key: not refused")
	}
}

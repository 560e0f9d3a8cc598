package stavily

import (
	"encoding/json"
	"reflect"
	"testing"
)

// requests are as a host writes them.
var requests = []string{
	`{"id":1,"run":{"event":{"run":"00112233445566778899aabbccddeeff","workflow":"w","time_ms":1790000000000,` +
		`"data":{"metric":"temperature.cpu","value":83.5,"deep":[1,-2.5e3,true,false,null,{"ü":"ö"}]}},` +
		`"results":[],"key":"k","deadline_ms":30000,"now_ms":1790000000001}}`,
	`{"id":2,"deliver":{"event":{"run":"","workflow":"w","time_ms":-1,"data":null},"results":[{"step":"s",` +
		`"status":"ok","data":{"a":1}},{"step":"t","status":"error","error":{"code":"plugin","text":"no"}}],` +
		`"key":"","deadline_ms":0,"now_ms":0}}`,
	`{"id":3,"wake":{"why":"timer","now_ms":5,"state":{"n":1}}}`,
	`{"id":4,"batch":{"kind":"run","deadline_ms":9,"now_ms":8,"items":[{"event":{"data":1},"results":[],"key":"a"},` +
		`{"event":{"data":"x"},"results":[],"key":"b"}]}}`,
	`{"reply":{"n":1,"ok":{"value":[]}}}`,
}

// TestQuickly: the requests that come all the time are read without encoding/json.
func TestQuickly(t *testing.T) {
	for _, text := range requests {
		if !new(message).quickly([]byte(text)) {
			t.Errorf("not read: %s", text)
		}
	}
}

// FuzzQuickly: what is read without encoding/json is what that reads.
func FuzzQuickly(f *testing.F) {
	for _, text := range requests {
		f.Add([]byte(text))
	}
	for _, text := range []string{
		`{"id":1,"run":{},"run":{"key":"a"}}`, `{"id":01}`, `{"id":-1,"check":{}}`, `{"Id":1}`, `{}`, `{"id":1,}`,
		`{"id":1,"wake":{"state":"\u00e4"}}`, `{"id":1,"run":{"event":{"data":[[[[]]]]}}} `, `{"id":1,"run":null}`,
		`{"id":1,"init":{"config":{}}}`, `{"id":1,"run":{"event":{"data":-}}}`, `{"id":1,"run":{"event":{"data":1.}}}`,
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		var got, want message
		if !got.quickly(line) {
			if got != (message{}) {
				t.Fatalf("left behind: %+v", got)
			}
			return
		}
		if err := json.Unmarshal(line, &want); err != nil {
			t.Fatalf("read %q as %+v: %v", line, got, err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%q: got %+v, want %+v", line, got, want)
		}
	})
}

// flat is a struct of all that is read without encoding/json.
type flat struct {
	Metric string  `json:"metric"`
	Value  float64 `json:"value"`
	Count  int8    `json:"count,omitempty"`
	Size   uint16  `json:"size"`
	On     bool
	Raw    json.RawMessage `json:"raw"`
	Left   string          `json:"-"`
}

// TestDecodeQuickly: a plain struct is read without encoding/json, another is not.
func TestDecodeQuickly(t *testing.T) {
	c := cursor{b: []byte(`{"metric":"cpu","value":83.5,"On":true,"other":[{"a":"b"}],"raw":{"n":1}}`)}
	var p flat
	if !c.decode(&p) || p.Metric != "cpu" || p.Value != 83.5 || !p.On || string(p.Raw) != `{"n":1}` {
		t.Errorf("got %+v", p)
	}
	for _, into := range []any{
		nil, p, new(int), new(struct{ T Duration }), new(struct{ flat }), new(struct{ P *int }),
		new(struct {
			N int `json:",string"`
		}),
	} {
		c := cursor{b: []byte(`{}`)}
		if c.decode(into) {
			t.Errorf("%T was taken for plain", into)
		}
	}
}

// FuzzDecode: what is read without encoding/json is what that reads.
func FuzzDecode(f *testing.F) {
	for _, text := range []string{
		`{"metric":"cpu","value":1e3,"count":-128,"size":65535,"On":false,"raw":null,"x":1}`, `{"Metric":"a"}`,
		`{"count":128}`, `{"size":-1}`, `{"metric":null,"value":null,"on":true}`, `{"value":1e999}`, `{"value":-0.0}`,
		`{"-":"x","Left":"y"}`, `{"ſize":1}`, `{"metric":"a","metric":"b"}`, `[]`, `null`, `{} `,
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var got, want flat
		c := cursor{b: data}
		if !c.decode(&got) {
			return
		}
		if err := json.Unmarshal(data, &want); err != nil {
			t.Fatalf("read %q as %+v: %v", data, got, err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%q: got %+v, want %+v", data, got, want)
		}
	})
}

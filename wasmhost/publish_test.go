package wasmhost

import (
	"strings"
	"testing"

	"github.com/stavily/stavily/protocol"
)

// A plugin publishes within its scopes, and what it says is what is heard. S-04.
func TestPublish(t *testing.T) {
	var heard []Message
	s := asking(t, "mqtt.publish:line/+/temperature", "mqtt.publish:alarm/#")
	s.Publish = func(m Message) error {
		if m.Topic == "alarm/full" {
			return protocol.Errorf(protocol.CodeLimit, "too many")
		}
		heard = append(heard, m)
		return nil
	}
	p := load(t, newHost(t, Config{}), s)
	for _, c := range []struct{ args, code string }{
		{`{"topic":"line/1/temperature","data":{"value":21.5}}`, "ok"},
		{`{"topic":"alarm/a/b/c"}`, "ok"},
		{`{"topic":"alarm/full"}`, "limit"},
		{`{"topic":"line/1/pressure"}`, "denied"},
		{`{"topic":"line/1/2/temperature"}`, "denied"},
		{`{"topic":"line/+/temperature"}`, "bad-input"},
		{`{"topic":"#"}`, "bad-input"},
		{`{"topic":"$SYS/x"}`, "bad-input"},
		{`{"topic":""}`, "bad-input"},
		{`{"topic":7}`, "bad-input"},
		{`{"topic":"alarm/big","data":"` + strings.Repeat("x", protocol.PublishMax) + `"}`, "limit"},
	} {
		got, _ := calls(t, p, "mqtt.publish "+c.args)
		if got[0].code() != c.code {
			t.Errorf("%.60s: %s %+v, want %s", c.args, got[0].code(), got[0].Error, c.code)
		}
	}
	if len(heard) != 2 || heard[0].Topic != "line/1/temperature" || jsonOf(heard[0].Data) != `{"value":21.5}` || heard[1].Data != nil {
		t.Errorf("heard %+v", heard)
	}
	if c := counterOf(p, protocol.CapMQTT); c.Denied != 2 || c.Subject != "line/1/2/temperature" {
		t.Errorf("counted %+v", c)
	}
	p.SetGrants(nil)
	if got, _ := calls(t, p, `mqtt.publish {"topic":"alarm/a"}`); got[0].code() != "denied" {
		t.Errorf("a grant that was taken back: %+v", got)
	}
	none := load(t, newHost(t, Config{}), asking(t, "mqtt.publish"))
	if got, _ := calls(t, none, `mqtt.publish {"topic":"alarm/a"}`); got[0].code() != "unavailable" {
		t.Errorf("a host without a bus: %+v", got)
	}
}

// What a trigger wants to hear comes back from its answer and from its recording, and a
// message reaches it whole.
func TestTopicsTravel(t *testing.T) {
	for text, want := range map[string]string{
		`{"after_ms":5,"mqtt":["a/+","b"]}`: "", `{"mqtt":null}`: "", `{"mqtt":["a//b"]}`: "empty level",
		`{"mqtt":[7]}`: "no text", `{"mqtt":"a"}`: "want an array", `{"mqtt":["` + strings.Repeat(`a","`, 16) + `a"]}`: "at most 16",
	} {
		n, err := readNext(rawOf(t, text))
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %+v, %v, want %q", text, n, err, want)
		}
	}
	r := Request{Kind: Wake, Why: WhyMessage, Message: &Message{Topic: "a/b", Data: rawOf(t, `{"x":1}`)}}
	var w writer
	writeRequest(&w, 1, r)
	if got := jsonOf(w.b); w.err != nil || !strings.Contains(got, `"message":{"topic":"a/b","data":{"x":1}}`) || !strings.Contains(got, `"why":"message"`) {
		t.Errorf("%s, %v", got, w.err)
	}
	b, err := encodeRequest(r)
	must(t, err)
	again, err := decodeRequest(b)
	if err != nil || again.Message == nil || again.Message.Topic != "a/b" || jsonOf(again.Message.Data) != `{"x":1}` {
		t.Errorf("%+v, %v", again.Message, err)
	}
	b, err = encodeAnswer(Answer{Next: Next{AfterMS: 5, Topics: []string{"a", "b"}}})
	must(t, err)
	if a, err := decodeAnswer(b); err != nil || len(a.Next.Topics) != 2 || a.Next.AfterMS != 5 {
		t.Errorf("%+v, %v", a, err)
	}
}

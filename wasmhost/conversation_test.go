package wasmhost

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stavily/stavily/protocol"
)

// scripted is a guest whose words are fixed.
type scripted struct {
	io.Reader
	heard bytes.Buffer
}

func (s *scripted) Write(p []byte) (int, error) { return s.heard.Write(p) }

// callTable answers host calls by name.
type callTable map[string][]string

func (c callTable) call(name string, _ protocol.Raw) (protocol.Raw, error) {
	if len(c[name]) == 0 {
		return nil, protocol.Errorf(protocol.CodeDenied, "call %s: not here", name)
	}
	var w writer
	err := fromJSON(&w, []byte(c[name][0]), messageDepthMax)
	c[name] = c[name][1:]
	return w.b, err
}

const (
	goodHello = `{"hello":{"abi":1,"type":"action","plugin":"p","sdk":""}}` + "\n"
	goodStart = goodHello + `{"ready":{}}` + "\n"
)

// open meets a guest and sets it up.
func (c *conversation) open(want expect, s start) error {
	if err := c.meet(want); err != nil {
		return err
	}
	return c.setUp(s)
}

// TestConversation puts one run request to guests that say this.
func TestConversation(t *testing.T) {
	for _, c := range []struct {
		name, said string
		code       protocol.Code
		text       string
	}{
		{"good", goodStart + `{"answer":{"data":[1]},"id":1}`, protocol.CodeOK, "[1]"},
		{"unknown keys within", goodStart + `{"id":1,"answer":{"data":2,"mood":"good"}}`, protocol.CodeOK, "2"},
		{"no data", goodStart + `{"id":1,"answer":{}}`, protocol.CodeOK, "null"},
		{"spaces", goodStart + " { \"id\" : 1 ,\t\"answer\" : { \"data\" : [ ] } } \r", protocol.CodeOK, "[]"},
		{"a call", goodStart + `{"call":{"n":1,"name":"x"}}` + "\n" + `{"id":1,"answer":{}}`, protocol.CodeOK, "null"},
		{"retryable", goodStart + `{"id":1,"error":{"code":"retryable","text":"later"}}`, protocol.CodeRetryable, "later"},
		{"nothing", "", protocol.CodeInternal, "EOF"},
		{"half a hello", `{"hel`, protocol.CodeInternal, "EOF"},
		{"noise", "hi\n", protocol.CodeContract, `first byte 0x68`},
		{"version 2", `{"hello":{"abi":2,"type":"action","plugin":"p"}}`, protocol.CodeIncompatible, "version 2"},
		{"other type", `{"hello":{"abi":1,"type":"output","plugin":"p"}}`, protocol.CodeContract, `output`},
		{"other plugin", `{"hello":{"abi":1,"type":"action","plugin":"q"}}`, protocol.CodeContract, `"q"`},
		{"hello that is a list", `{"hello":[1]}`, protocol.CodeContract, "hello"},
		{"ready first", `{"ready":{}}`, protocol.CodeContract, "want hello"},
		{"no ready", goodHello + `{"id":1,"answer":{}}`, protocol.CodeContract, "want ready"},
		{"bad config", goodHello + `{"error":{"code":"plugin","text":"no"}}`, protocol.CodePlugin, "no"},
		{"answer before", goodStart + `{"id":2,"answer":{}}`, protocol.CodeContract, "id 2"},
		{"no id", goodStart + `{"answer":{}}`, protocol.CodeContract, "id 0"},
		{"text id", goodStart + `{"id":"1","answer":{}}`, protocol.CodeContract, "id above 0"},
		{"id twice", goodStart + `{"id":1,"id":1,"answer":{}}`, protocol.CodeContract, `"id" stands twice`},
		{"only id", goodStart + `{"id":1}`, protocol.CodeContract, "says nothing"},
		{"a list", goodStart + `[1]`, protocol.CodeContract, "not a map"},
		{"empty line", goodStart + "\n", protocol.CodeContract, "want a value"},
		{"list answer", goodStart + `{"id":1,"answer":[]}`, protocol.CodeContract, "not a map"},
		{"error with a host's code", goodStart + `{"id":1,"error":{"code":"denied","text":""}}`, protocol.CodeContract, "denied"},
		{"call out of order", goodStart + `{"call":{"n":2,"name":"x"}}`, protocol.CodeContract, "want 1"},
		{"call with id", goodStart + `{"id":1,"call":{"n":1,"name":"x"}}`, protocol.CodeContract, "want call, answer"},
		{
			"long", goodStart + `{"id":1,"answer":{"data":"` + strings.Repeat("x", protocol.MessageMax) + `"}}`,
			protocol.CodeContract, "131072",
		},
		{
			"long data", goodStart + `{"id":1,"answer":{"data":"` + strings.Repeat("x", protocol.DataMax) + `"}}`,
			protocol.CodeLimit, "24576",
		},
		{
			"deep", goodStart + `{"id":1,"answer":{"data":` + strings.Repeat("[", 99) + strings.Repeat("]", 99) + `}}`,
			protocol.CodeContract, "too deep",
		},
		{"cbor that lies in a length", "\xa1\x65hello\x7a\x7f\xff\xff\xff", protocol.CodeContract, "limit 131072"},
		{"cbor list", "\xa1\x65hello\x9b\x7f\xff\xff\xff\xff\xff\xff\xff", protocol.CodeContract, "limit 131072"},
		{"cbor indefinite", "\xbf\xff", protocol.CodeContract, "indefinite"},
		{"cbor tag", "\xa1\x65hello\xc1\x00", protocol.CodeContract, "tag"},
	} {
		for _, slow := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/slow=%v", c.name, slow), func(t *testing.T) {
				said := c.said
				if !strings.HasPrefix(said, "\xa1") && !strings.HasPrefix(said, "\xbf") && c.code != protocol.CodeInternal {
					said += "\n"
				}
				var r io.Reader = strings.NewReader(said)
				if slow {
					r = iotest.OneByteReader(r)
				}
				got, err := converse(&scripted{Reader: r}, callTable{})
				text := jsonOf(got.Data)
				if err != nil {
					text = err.Error()
				}
				if protocol.CodeOf(err) != c.code || !strings.Contains(text, c.text) {
					t.Errorf("got %v %q, want %v with %q", protocol.CodeOf(err), text, c.code, c.text)
				}
			})
		}
	}
}

func converse(rw io.ReadWriter, host callee) (Answer, error) {
	c := conversation{rw: rw}
	if err := c.open(expect{protocol.Action, "p"}, start{}); err != nil {
		return Answer{}, err
	}
	return c.ask(Request{Kind: Run, Event: &protocol.Event{}}, host)
}

// TestABISession plays the trigger's session of ABI.md: what the page says, the host
// says to the byte.
func TestABISession(t *testing.T) {
	page, err := os.ReadFile("ABI.md")
	must(t, err)
	_, session, _ := strings.Cut(string(page), "## A whole session of a trigger, JSON")
	session, _, _ = strings.Cut(session, "\n## ")
	var plugin, host strings.Builder
	for line := range strings.Lines(session) {
		if said, ok := strings.CutPrefix(line, "    > "); ok {
			plugin.WriteString(said)
		}
		if said, ok := strings.CutPrefix(line, "    < {"); ok {
			host.WriteString("{" + said)
		}
	}
	s := &scripted{Reader: strings.NewReader(plugin.String())}
	c := conversation{rw: s}
	err = c.open(expect{protocol.Trigger, "system-health"}, start{
		Config: rawOf(t, `{"above":80.5}`), Limits: protocol.DefaultLimits(), Workflow: "overheat", Step: "watch",
		Grants: []protocol.Grant{{Capability: protocol.CapMetrics}},
	})
	must(t, err)
	calls := callTable{"metrics.read": {`{"values":{"temperature.cpu":71.0}}`, `{"values":{"temperature.cpu":83.5}}`}}
	const now = 1_790_000_000_000
	at := protocol.Stamp{UnixMS: now, Quality: protocol.QualityClock}
	a, err := c.ask(Request{Kind: Wake, Why: WhyStart, Now: at, SteadyMS: 60_000}, calls)
	must(t, err)
	at.UnixMS += a.Next.AfterMS
	a, err = c.ask(Request{Kind: Wake, Why: WhyTimer, Now: at, SteadyMS: 65_000, State: a.State}, calls)
	must(t, err)
	if len(a.Events) != 1 || jsonOf(a.Events[0]) != `{"value":83.5}` || a.Next.AfterMS != 5000 {
		t.Errorf("last answer: %+v", a)
	}
	if got, want := sortedLines(t, s.heard.String()), sortedLines(t, host.String()); got != want {
		t.Errorf("the host said\n%swant\n%s", got, want)
	}
}

// sortedLines puts the keys of each line in one order.
func sortedLines(t *testing.T, lines string) string {
	var out strings.Builder
	for line := range strings.Lines(lines) {
		out.WriteString(jsonOf(rawOfMessage(t, line)) + "\n")
	}
	return out.String()
}

func rawOfMessage(t *testing.T, line string) protocol.Raw {
	t.Helper()
	var w writer
	must(t, fromJSON(&w, []byte(line), messageDepthMax))
	return w.b
}

// TestABIHex holds the page's hexadecimal to its notation.
func TestABIHex(t *testing.T) {
	page, err := os.ReadFile("ABI.md")
	must(t, err)
	_, part, _ := strings.Cut(string(page), "## The same beginning in CBOR")
	part, _, _ = strings.Cut(part, "\n## ")
	blocks := strings.Split(part, "    > ")[1:]
	for _, b := range blocks {
		digits, notation, _ := strings.Cut(b, "{")
		notation, _, _ = strings.Cut("{"+notation, "\n")
		item, err := hex.DecodeString(strings.Join(strings.Fields(digits), ""))
		must(t, err)
		var w writer
		must(t, w.canonical(item, messageDepthMax))
		if got, want := jsonOf(w.b), jsonOf(rawOfMessage(t, notation)); got != want {
			t.Errorf("%s is %s, the page says %s", digits, got, want)
		}
	}
	if len(blocks) != 3 {
		t.Errorf("found %d items, want 3", len(blocks))
	}
}

// FuzzConversation gives the host any bytes: no panic, no answer beyond its bounds.
func FuzzConversation(f *testing.F) {
	f.Add([]byte(goodStart + `{"call":{"n":1,"name":"x","args":{"a":[1,2.5]}}}` + "\n" + `{"id":1,"answer":{"data":"ü"}}` + "\n"))
	f.Add([]byte("\xa1\x65hello\xa4\x63abi\x01\x63sdk\x60\x64type\x66action\x66plugin\x61p\xa1\x65ready\xa0" +
		"\xa2\x62id\x01\x66answer\xa1\x64data\x18\x2a"))
	f.Add([]byte("\xbf"))
	f.Fuzz(func(t *testing.T, b []byte) {
		s := &scripted{Reader: bytes.NewReader(b)}
		a, err := converse(s, callTable{"x": {`{"y":1}`}})
		slow := &scripted{Reader: iotest.OneByteReader(bytes.NewReader(b))}
		again, errAgain := converse(slow, callTable{"x": {`{"y":1}`}})
		if (err == nil) != (errAgain == nil) || !bytes.Equal(a.Data, again.Data) {
			t.Fatalf("byte by byte it is another conversation: %v %v", err, errAgain)
		}
		if len(a.Data) > protocol.DataMax || depthOf(a.Data) > dataDepthMax {
			t.Fatalf("data of %d bytes, %d levels", len(a.Data), depthOf(a.Data))
		}
		var v any
		if a.Data != nil && protocol.Unmarshal(a.Data, &v) != nil {
			t.Fatalf("data %x is no value", a.Data)
		}
	})
}

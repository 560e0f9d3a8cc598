package stavily_test

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/stavily/stavily/plugins/sdk/go"
	"github.com/stavily/stavily/plugins/sdk/go/stavilytest"
)

func TestSecret(t *testing.T) {
	var seen stavily.HTTPRequest
	_, h, err := once(t, func(c *stavily.Context) (any, error) {
		for name, want := range map[string]string{"text": "hunter2", "binary": "\xff\x00"} {
			if got, err := c.Secret(name); err != nil || string(got) != want {
				return nil, fmt.Errorf("%s: %q %w", name, got, err)
			}
		}
		if _, err := c.Secret("gone"); stavily.Code(err) != stavily.CodeUnavailable {
			return nil, fmt.Errorf("a secret that is not there: %w", err)
		}
		_, err := c.HTTP(stavily.HTTPRequest{
			URL: "https://a.example/" + stavily.Handle("text"), Secrets: []string{"text"},
		})
		return nil, err
	}, func(h *stavilytest.Host) {
		h.Secrets = map[string]string{"text": "hunter2", "binary": "\xff\x00"}
		h.Network.HTTP = func(r stavily.HTTPRequest) (stavily.HTTPResponse, error) {
			seen = r
			return stavily.HTTPResponse{Status: 200}, nil
		}
	})
	if err != nil || seen.URL != "https://a.example/${text}" || len(seen.Secrets) != 1 {
		t.Errorf("%v, asked %+v, %d calls", err, seen, len(h.Calls))
	}
}

// A trigger says what it listens to, and is told what came; anybody may publish.
func TestMessages(t *testing.T) {
	h := stavilytest.Start(t, func() *stavily.Plugin {
		return stavily.Trigger("ear", func(c *stavily.Context, w stavily.Wake) (stavily.Fired, error) {
			f := stavily.Fired{Topics: []string{"line/+"}}
			if w.Message != nil {
				f.Events = []any{w.Message}
				return f, c.Publish("heard/"+w.Message.Topic, w.Why)
			}
			return f, nil
		})
	}, nil)
	h.Answer("mqtt.publish", func(json.RawMessage) (any, error) { return map[string]any{}, nil })
	first, err := h.Wake()
	if err != nil || len(first.Topics) != 1 || first.Topics[0] != "line/+" || len(first.Events) != 0 {
		t.Fatalf("%+v, %v", first, err)
	}
	f, err := h.Hear("line/1", 21.5)
	if err != nil || len(f.Events) != 1 || string(f.Events[0]) != `{"topic":"line/1","data":21.5}` {
		t.Errorf("%s, %v", f.Events, err)
	}
	if last := h.Calls[len(h.Calls)-1]; last.Name != "mqtt.publish" || string(last.Args) != `{"topic":"heard/line/1","data":"message"}` {
		t.Errorf("said %s %s", last.Name, last.Args)
	}
}

package stavily_test

import (
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

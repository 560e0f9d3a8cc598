package cli_test

import (
	"bytes"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/stavily/stavily/hub/api"
	"github.com/stavily/stavily/hub/cli"
)

// What is wrong with a wish about versions is said, with its exit code, and changes nothing.
func TestVersionMistakes(t *testing.T) {
	ranged := func(of string) string {
		return write(t, "w.yaml", "workflow: w\ntrigger: { plugin: tick@"+of+", at: { group: {} } }\nactions: [{ plugin: work }]\noutputs: [{ plugin: note }]\n")
	}
	for _, c := range []struct {
		name string
		args []string
		code int
		want string
	}{
		{"yank without a version", []string{"plugin", "yank", "none", "--reason", "x"}, cli.ExitUsage, `"none": want NAME@VERSION`},
		{"yank without a reason", []string{"plugin", "yank", "none@1.0.0"}, cli.ExitUsage, `required flag(s) "reason" not set`},
		{"yank for no reason", []string{"plugin", "yank", "none@1.0.0", "--reason", " "}, cli.ExitFailed, "yank: no reason"},
		{"yank what is not there", []string{"plugin", "yank", "none@1.0.0", "--reason", "x"}, cli.ExitFailed, "none@1.0.0"},
		{"revoke what is not there", []string{"plugin", "revoke", "none@1.0.0", "--reason", "x"}, cli.ExitFailed, "none@1.0.0"},
		{"a reason too long", []string{"plugin", "revoke", "none@1.0.0", "--reason", strings.Repeat("x", 5000)}, cli.ExitFailed, "reason of 5000 bytes, limit"},
		{"restore what is not there", []string{"plugin", "restore", "none@1.0.0"}, cli.ExitFailed, "none@1.0.0"},
		{"update what is not deployed", []string{"workflow", "update", "none"}, cli.ExitFailed, `workflow "none": not deployed`},
		{"follow what is not there", []string{"plugin", "follow", "none"}, cli.ExitFailed, "none"},
		{"a channel that is none", []string{"deploy", ranged("@night")}, cli.ExitFailed, "w.yaml:2:20: trigger.plugin: "},
		{"a range that is none", []string{"deploy", ranged("^one")}, cli.ExitFailed, "w.yaml:2:20: trigger.plugin: "},
		{"a range that nothing is in", []string{"deploy", ranged("^99"), "--downgrade"}, cli.ExitFailed, "w.yaml:2:20: trigger.plugin: "},
		{"lower, of nothing", []string{"deploy", ranged("1"), "--dry-run", "--downgrade", "yes"}, cli.ExitUsage, "accepts 1 arg(s)"},
	} {
		t.Run(c.name, func(t *testing.T) {
			code, out, errs := run(t, c.args...)
			if code != c.code || out != "" || !strings.Contains(errs, c.want) {
				t.Errorf("exit %d, want %d with %q; stdout %q\n%s", code, c.code, c.want, out, errs)
			}
		})
	}
	if text := runs(t, "notices"); strings.Contains(text, "none") {
		t.Errorf("a notice of what was refused:\n%s", text)
	}
}

// The same over HTTP, where bodies may be anything.
func TestVersionMistakesOverHTTP(t *testing.T) {
	token, err := os.ReadFile(api.TokenPath(home))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, method, path, body string
		status                   int
		want                     string
	}{
		{"no body", "POST", "/v1/plugins/none/withdraw", "", http.StatusUnprocessableEntity, "body"},
		{"no JSON", "POST", "/v1/plugins/none/withdraw", "{", http.StatusUnprocessableEntity, "body"},
		{"an unknown key", "POST", "/v1/plugins/none/withdraw", `{"do":"yank","version":"1.0.0","reason":"x","force":true}`, http.StatusUnprocessableEntity, "force"},
		{"no such withdrawal", "POST", "/v1/plugins/none/withdraw", `{"do":"burn","version":"1.0.0","reason":"x"}`, http.StatusUnprocessableEntity, "burn"},
		{"no reason", "POST", "/v1/plugins/none/withdraw", `{"do":"revoke","version":"1.0.0"}`, http.StatusUnprocessableEntity, "no reason"},
		{"no such release", "POST", "/v1/plugins/none/withdraw", `{"do":"revoke","version":"1.0.0","reason":"x"}`, http.StatusNotFound, "none@1.0.0"},
		{"update of nothing", "POST", "/v1/workflows/none/update", `{}`, http.StatusNotFound, "not deployed"},
		{"update that is none", "POST", "/v1/workflows/none/update", `{"downgrade":"yes"}`, http.StatusUnprocessableEntity, "body"},
		{"follow of nothing", "POST", "/v1/plugins/none/follow", `{"channel":"stable"}`, http.StatusNotFound, "none"},
		{"a channel that is none", "POST", "/v1/plugins/none/follow", `{"channel":"night"}`, http.StatusUnprocessableEntity, "want one of"},
		{"an end to following nothing", "DELETE", "/v1/plugins/none/follow", "", http.StatusNotFound, "none"},
	} {
		t.Run(c.name, func(t *testing.T) {
			req, err := http.NewRequestWithContext(t.Context(), c.method, "http://"+address+c.path, bytes.NewReader([]byte(c.body)))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(token)))
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			text, err := io.ReadAll(resp.Body)
			if err != nil || resp.StatusCode != c.status || !strings.Contains(string(text), c.want) {
				t.Errorf("%d, want %d with %q: %s %v", resp.StatusCode, c.status, c.want, text, err)
			}
		})
	}
}

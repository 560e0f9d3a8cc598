package cli

import (
	"bytes"
	"os"
	"strings"
	"testing"
)

func TestPluginNew(t *testing.T) {
	t.Chdir(t.TempDir())
	try := func(args ...string) (string, int) {
		var out, errs bytes.Buffer
		code := Execute(Root("test"), append([]string{"plugin"}, args...), &out, &errs)
		return out.String() + errs.String(), code
	}
	if said, code := try("new", "overheat", "--lang", "rust", "--type", "trigger"); code != ExitOK || !strings.Contains(said, "trigger in rust") {
		t.Fatalf("exit code %d: %s", code, said)
	}
	if text, err := os.ReadFile("overheat/src/main.rs"); err != nil || !strings.Contains(string(text), `Plugin::trigger("overheat"`) {
		t.Errorf("%s, %v", text, err)
	}
	if said, code := try("new", "overheat"); code != ExitFailed || !strings.Contains(said, "exists") {
		t.Errorf("again: exit code %d: %s", code, said)
	}
	if said, code := try("new", "x", "--lang", "cobol"); code != ExitUsage || !strings.Contains(said, "want one of") {
		t.Errorf("exit code %d: %s", code, said)
	}
	if said, code := try("build", "nowhere"); code != ExitFailed || !strings.Contains(said, "nowhere") {
		t.Errorf("exit code %d: %s", code, said)
	}
}

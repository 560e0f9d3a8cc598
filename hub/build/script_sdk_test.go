package build

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The tests of the JavaScript SDK and of its samples hold in the engine, as a plugin's own
// do at the hub.
func TestJavaScriptSDK(t *testing.T) {
	needEngine(t, "quickjs")
	source, digest, err := Folder("../../plugins/sdk/js")
	if err != nil {
		t.Fatal(err)
	}
	said, err := scriptBuilder(t, nil).Test(t.Context(), Request{
		Tree: source, TreeDigest: digest, Manifest: scriptRequest("typescript", nil).Manifest,
	})
	if err != nil || !strings.Contains(said, "passed, 7 files") {
		t.Errorf("tests said %q, %v", said, err)
	}
}

// The tests of the Python SDK and of its samples hold in the Python of this machine.
func TestPythonSDK(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("no python3 here")
	}
	if exec.CommandContext(t.Context(), python, "-c", "import sys; sys.exit(sys.version_info < (3, 10))").Run() != nil {
		t.Skip("python3 is older than 3.10")
	}
	sdk, err := filepath.Abs("../../plugins/sdk/python")
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{"tests", "samples/hello", "samples/threshold", "samples/counter"} {
		cmd := exec.CommandContext(t.Context(), python, "-B", "-m", "unittest", "discover")
		cmd.Dir = filepath.Join(sdk, dir)
		cmd.Env = append(os.Environ(), "PYTHONPATH="+sdk)
		if said, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(said), "\nOK") {
			t.Errorf("%s: %v\n%s", dir, err, said)
		}
	}
}

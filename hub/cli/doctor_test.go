package cli

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/stavily/stavily/hub/build"
)

func TestDoctor(t *testing.T) {
	if _, err := exec.LookPath("go"); err != nil {
		t.Skip(err)
	}
	var out, errs bytes.Buffer
	if code := Execute(Root("test"), []string{"doctor", "-o", "json"}, &out, &errs); code != ExitOK {
		t.Fatalf("exit code %d: %s", code, errs.String())
	}
	var found diagnosis
	if err := json.Unmarshal(out.Bytes(), &found); err != nil || len(found.Languages) < 2 {
		t.Fatalf("got %+v, %v", found, err)
	}
	if l := found.Languages[0]; l.Language != "go" || !l.Ready || !strings.HasPrefix(l.Tools[0].Found, "go1.") {
		t.Errorf("got %+v", l)
	}
}

// What is missing is named, with the way to install it.
func TestDoctorWithoutToolchains(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	var out, errs bytes.Buffer
	code := Execute(Root("test"), []string{"doctor"}, &out, &errs)
	all := []string{"missing go: install Go", "builds cannot be confined: confine: no sh: install util-linux"}
	if _, err := os.Stat("/usr/bin/rustc"); err != nil { // which is found without PATH
		all = append(all, "missing wasm32-wasip1: run `rustup target add wasm32-wasip1`, or on Debian `apt-get")
	}
	for _, want := range all {
		if !strings.Contains(out.String(), want) {
			t.Errorf("exit code %d, got\n%s\nwant %q", code, out.String(), want)
		}
	}
}

func TestDoctorErr(t *testing.T) {
	if err := (diagnosis{Languages: []build.Support{{Ready: false}}}).err(); err == nil {
		t.Error("nothing is ready, and no error")
	}
}

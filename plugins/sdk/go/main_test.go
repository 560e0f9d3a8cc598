package stavily

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// asPlugin in the environment makes this test binary a plugin.
const asPlugin = "STAVILY_SDK_TEST_PLUGIN"

func TestMain(m *testing.M) {
	if os.Getenv(asPlugin) == "" {
		os.Exit(m.Run())
	}
	action(func(*Context, Run) (any, error) {
		fmt.Println("printed")
		if _, err := os.Stdin.Read(make([]byte, 1)); err == nil {
			return nil, errors.New("stdin is not the SDK's alone")
		}
		return "done", nil
	}).Main()
}

// In a process of its own, what a plugin prints is on stderr, and stdout holds nothing
// but the conversation.
func TestMainTakesTheStreams(t *testing.T) {
	run := func(lines string) (string, string, error) {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), asPlugin+"=1")
		cmd.Stdin = strings.NewReader(lines)
		var stdout, stderr bytes.Buffer
		cmd.Stdout, cmd.Stderr = &stdout, &stderr
		err := cmd.Run()
		return stdout.String(), stderr.String(), err
	}
	stdout, stderr, err := run(start + `{"id":1,"run":{}}` + "\n")
	want := `{"hello":{"abi":1,"type":"action","plugin":"a","sdk":"go/0.1.0","batch":256,"reinit":true}}` + "\n" +
		`{"ready":{}}` + "\n" + `{"id":1,"answer":{"data":"done"}}` + "\n"
	if err != nil || stdout != want || !strings.Contains(stderr, "printed\n") {
		t.Errorf("got %v, stdout\n%sstderr %q", err, stdout, stderr)
	}
	_, stderr, err = run("nonsense\n")
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 1 || !strings.Contains(stderr, "a: read: message: ") {
		t.Errorf("broken contract: got %v, stderr %q", err, stderr)
	}
}

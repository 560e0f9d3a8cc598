package build

import (
	"bytes"
	"strings"
	"testing"

	"github.com/stavily/stavily/protocol"
)

const greetPython = "import stavily\nfrom lib.text import text\n\n\n@stavily.action(\"greet\")\ndef plugin(ctx, request):\n" +
	"    return {\"text\": text(request.event.data)}\n"

// The same source gives the same bytes, its tests run in the engine, and what is wrong
// with it is said with its place.
func TestPython(t *testing.T) {
	needEngine(t, "cpython")
	if testing.Short() {
		t.Skip("compiles CPython")
	}
	files := map[string]string{
		"main.py": greetPython, "lib/text.py": "def text(who):\n    return f\"hello, {who}\"\n",
		"test_main.py": "import unittest\nfrom main import plugin\nfrom stavily import testing\n\n\n" +
			"class Test(unittest.TestCase):\n    def test_greets(self):\n" +
			"        self.assertEqual(testing.start(plugin).run(\"Ada\"), {\"text\": \"hello, Ada\"})\n",
	}
	b := scriptBuilder(t, nil)
	first, err := b.Build(t.Context(), scriptRequest("python", files))
	if err != nil {
		t.Fatal(err)
	}
	again, err := scriptBuilder(t, nil).Build(t.Context(), scriptRequest("python", files))
	if err != nil || !bytes.Equal(first.Module, again.Module) {
		t.Fatalf("built again: %v, same bytes %v", err, err == nil && bytes.Equal(first.Module, again.Module))
	}
	if unzip(t, first.Module, "lib/text.pyc") == "" || strings.Contains(string(first.Module), "test_main") {
		t.Error("the archive lacks lib, or has tests")
	}
	said, err := b.Test(t.Context(), scriptRequest("python", files))
	if err != nil || !strings.Contains(said, "passed, 1 files, by the engine, coverage 100.0 % of 0.0 %") {
		t.Errorf("test said %q, %v", said, err)
	}
	files["main.py"] += "\ndef broken(:\n    pass\n"
	if _, err := b.Build(t.Context(), scriptRequest("python", files)); err == nil ||
		!strings.Contains(err.Error(), "main.py:9:12: invalid syntax") || protocol.CodeOf(err) != protocol.CodeBadInput {
		t.Errorf("syntax error: %v", err)
	}
}

// What cannot be built is refused before the engine is asked.
func TestPythonRefused(t *testing.T) {
	needEngine(t, "cpython")
	for name, c := range map[string]struct {
		files map[string]string
		want  string
	}{
		"no main":  {map[string]string{"other.py": "x = 1\n"}, "no main.py"},
		"packages": {map[string]string{"main.py": greetPython, "requirements.txt": "psutil\n"}, "in the folder vendor"},
		"the SDK":  {map[string]string{"main.py": greetPython, "stavily/__init__.py": "\n"}, "comes from the hub"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := scriptBuilder(t, nil).Build(t.Context(), scriptRequest("python", c.files))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

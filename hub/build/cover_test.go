package build

import (
	"fmt"
	"testing"

	"github.com/stavily/stavily/protocol"
)

// M-31: what is just below a threshold is blocked and never looks like the threshold.
func TestCoveredJustBelow(t *testing.T) {
	m := &protocol.Manifest{Plugin: protocol.PluginInfo{Name: "p", Version: "1.0.0"}}
	m.Testing.Coverage = 80
	_, err := new(Builder).covered(m, tested{measured: true, coverage: 79.99})
	wantError(t, err, protocol.CodeRefused, "coverage 79.9 %, the manifest wants 80.0 %")
	if said, err := new(Builder).covered(m, tested{measured: true, coverage: 80}); err != nil || said != "coverage 80.0 % of 80.0 %" {
		t.Errorf("got %q, %v", said, err)
	}
}

// M-31: lines of a Python plugin that ran are counted by the engine itself: those with code,
// in its own files, imported or not.
func TestPythonCoverage(t *testing.T) {
	needEngine(t, "cpython")
	if testing.Short() {
		t.Skip("compiles CPython")
	}
	lines := "\"\"\"Docs.\"\"\"\n\n\ndef text(n):\n    # a comment\n"
	for i := range 7 {
		lines += fmt.Sprintf("    if n == %d:\n        return %d\n", i, i)
	}
	files := map[string]string{
		// 6 lines with code: all run.
		"main.py": "import stavily\n\nimport lib\n\n\n@stavily.action(\"p\")\ndef plugin(ctx, request):\n    return lib.text(0)\n",
		// 1 for the docs, 1 for the function, 14 within: 2 of them run.
		"lib.py": lines,
		"tests/test_main.py": "import unittest\nfrom main import plugin\nfrom stavily import testing\n\n\n" +
			"class Test(unittest.TestCase):\n    def test_it(self):\n        self.assertEqual(testing.start(plugin).run(), 0)\n",
		"vendor/other.py": "x = 1\ny = 2\n",
	}
	req := scriptRequest("python", files)
	req.Manifest.Testing = protocol.Testing{Suite: "tests", Coverage: 42.9}
	// main.py has lines 1, 3, 6, 7, 8; lib.py 1, 4 and 6 to 19: 9 of 21 ran.
	const want = "coverage 42.8 %" // 42.857, cut
	_, err := scriptBuilder(t, nil).Test(t.Context(), req)
	wantError(t, err, protocol.CodeRefused, want+", the manifest wants 42.9 %")
}

// A report that cannot be is no coverage.
func TestPythonCoverageReport(t *testing.T) {
	for text, want := range map[string]float64{
		`{"a.py": {"lines": 4, "missed": [2]}, "b.py": {"lines": 4, "missed": []}}`: 87.5,
		`{"a.py": {"lines": 5, "missed": [1, 2, 3, 4, 5]}}`:                         0,
		`{}`: -1, `{"a.py": {"lines": 1, "missed": [1, 2]}}`: -1, `[`: -1, ``: -1,
	} {
		got, err := pythonCoverage([]byte(text))
		if (err != nil) != (want < 0) || err == nil && got != want {
			t.Errorf("%s: %v, %v", text, got, err)
		}
	}
}

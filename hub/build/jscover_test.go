package build

import (
	"strings"
	"testing"
	"testing/fstest"

	"github.com/evanw/esbuild/pkg/api"
)

// Marks stand where the source has statements, however they are written, and what they
// change of a program is nothing but the marks.
func TestCoverJS(t *testing.T) {
	const source = `let seen = []
class Counter {
  #n = 0
  static { seen.push("static") }
  up(by = 1) { this.#n += by; return this.#n }
}
const twice = (n) => n * 2, pair = (a) => ({ a }), either = (a, b) => a ?? b
function sign(n) {
  if (n < 0) return -1
  else if (n === 0)
    return
  for (const x of [1, 2]) seen.push(x)
  if (n > 99) throw new Error("never")
  switch (n) {
    case 1: seen.push("one"); break
    default: { seen.push("more") }
  }
  ;(() => { seen.push("iife") })()
  return /\bx\/{2}/.test("ax") ? 0 : 1
}
const c = new Counter()
c.up(); c.up(3)
sign(1); sign(0)
seen.push(twice(4), pair(1)?.a, either(null, 5), ` + "`${c.up()}\n;`" + `)
export async function unused() { for await (const x of []) { await x } }
console.log(JSON.stringify(seen))
`
	tree := fstest.MapFS{"main.js": &fstest.MapFile{Data: []byte(source)}}
	built := api.Build(api.BuildOptions{
		Stdin:         &api.StdinOptions{Contents: strings.ReplaceAll(source, "for await", "for"), Sourcefile: "main.js"},
		AbsWorkingDir: "/", Outfile: "bundle.js", Format: api.FormatESModule, Bundle: true, Sourcemap: api.SourceMapExternal,
	})
	if len(built.Errors) > 0 {
		t.Fatal(built.Errors)
	}
	var script, mapped []byte
	for _, f := range built.OutputFiles {
		if strings.HasSuffix(f.Path, ".map") {
			mapped = f.Contents
		} else {
			script = f.Contents
		}
	}
	script = []byte(strings.Replace(string(script), "export {\n  unused\n};\n", "", 1))
	c, err := coverJS(script, mapped, tree)
	if err != nil {
		t.Fatal(err)
	}
	lines := map[int]bool{}
	for _, p := range c.places {
		lines[p.line] = true
	}
	for _, n := range []int{1, 4, 5, 7, 9, 11, 12, 13, 14, 15, 16, 18, 19, 21, 22, 23, 24, 26, 27} {
		if !lines[n] {
			t.Errorf("line %d has no mark", n)
		}
	}
	engine, err := FindEngine("quickjs")
	if err != nil {
		t.Skip(err)
	}
	run := func(text string) string {
		text = "const console = { log: globalThis.logLine };\n" + text + "\nglobalThis.exit(0);\n"
		out, err := engine.check(t.Context(), map[string][]byte{"x.js": []byte(text)}, appPath+"/x.js")
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return string(out)
	}
	plain, marked := run(string(script)), run(string(c.script))
	if !strings.HasPrefix(marked, plain) || !strings.Contains(plain, `"static",1,2,"one","iife",8,1,5,"5\n;"`) {
		t.Errorf("plain %s\nmarked %s", plain, marked)
	}
	if percent, err := c.percent([]byte(marked)); err != nil || percent <= 70 || percent >= 90 {
		t.Errorf("got %v, %v", percent, err)
	}
}

// What the parser cannot read is not measured, and a count that is no count is no coverage.
func TestCoverJSRefuses(t *testing.T) {
	if _, err := coverJS([]byte("import x from 'y';\n"), []byte("{}"), fstest.MapFS{}); err == nil {
		t.Error("a script with an import was read")
	}
	c := &jsCover{nonce: "covered X", places: []place{{"main.js", 1}}}
	for said, want := range map[string]string{
		"tests: 1 passed\n": "no coverage in the output", "covered X 1\n": `mark "1"`, "covered X -1\n": `mark "-1"`,
	} {
		if _, err := c.percent([]byte(said)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v", said, err)
		}
	}
	if got, err := c.percent([]byte("covered X \n")); err != nil || got != 0 {
		t.Errorf("nothing ran: %v, %v", got, err)
	}
}

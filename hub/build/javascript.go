package build

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/evanw/esbuild/pkg/api"

	"github.com/stavily/stavily/hub/build/sdk"
	"github.com/stavily/stavily/protocol"
)

// esbuildVersion is that of go.mod: what a script becomes follows from it.
const esbuildVersion = "0.28.2"

// javascript is the row for JavaScript: one bundle, run by QuickJS. Nothing of the source
// runs on the hub but in the engine, and no npm script at all.
func javascript() *language {
	return scriptRow("javascript", "JavaScript", "ECMAScript 2023.0")
}

// typescript is the row for TypeScript. Types are stripped, not checked: that is for the
// author's own tools.
func typescript() *language {
	return scriptRow("typescript", "TypeScript", "TypeScript 5.9, its types stripped, as ECMAScript 2023")
}

func scriptRow(name, title, says string) *language {
	return &language{
		name: name, title: title,
		needs: []need{{name: "quickjs", hint: engineHint, probe: func(context.Context) (string, error) {
			e, err := FindEngine("quickjs")
			if err != nil {
				return "", err
			}
			return says + ", esbuild " + esbuildVersion + ", quickjs " + e.Sum(), nil
		}}},
		locked:    "package-lock.json by integrity, or the folder vendor; the SDK comes from this hub",
		artifacts: "a script and its engine as wasm, for every platform",
		flags:     func() string { return "esm es2023 cover 1 sdk " + sdk.JSSum() },
		coverage:  "lines that ran of lines with statements, by marks in the tests' bundle",
		fetch:     npmFetch,
		build:     jsBuild,
		test:      jsTest,
	}
}

// jsBuild bundles the source and has the engine compile what came out: what the bundler
// lets pass and the engine does not is found here and not on the device.
func jsBuild(ctx context.Context, w *workspace) ([]Output, error) {
	main, err := jsMain(w.tree)
	if err != nil {
		return nil, err
	}
	script, err := w.bundle(fmt.Sprintf("import plugin from %s;\nawait plugin.main();\n", quoted("./"+main)))
	if err != nil {
		return nil, err
	}
	engine, err := FindEngine("quickjs")
	if err != nil {
		return nil, err
	}
	files := map[string][]byte{"main.js": script}
	if out, err := engine.check(ctx, files, "-c", appPath+"/main.js"); err != nil {
		return nil, overtime(ctx, "compile", protocol.Errorf(protocol.CodeBadInput,
			"compile %s: %w\n%s", main, err, tail(out)))
	}
	packed, err := zipped(files)
	return []Output{{Platform: protocol.PlatformWASM, Bytes: packed, Engine: engine.Name}}, err
}

// jsMains are the files that a plugin may begin with, the first that is there.
var jsMains = []string{"main.ts", "main.js", "src/main.ts", "src/main.js"}

// jsMain returns the file that exports the plugin: what package.json calls main, or one of
// jsMains.
func jsMain(tree fs.FS) (string, error) {
	p, err := readPackage(tree)
	if err != nil {
		return "", err
	}
	choices := jsMains
	if p.Main != "" {
		choices = []string{path.Clean(p.Main)}
	}
	for _, name := range choices {
		if info, err := fs.Stat(tree, name); err == nil && info.Mode().IsRegular() {
			return name, nil
		}
	}
	return "", protocol.Errorf(protocol.CodeBadInput, "build: no %s in the source",
		strings.Join(choices, ", nor "))
}

// packageJSON is what is read of package.json. Scripts are not: none is ever run.
type packageJSON struct {
	Main         string            `json:"main"`
	Dependencies map[string]string `json:"dependencies"`
}

func readPackage(tree fs.FS) (packageJSON, error) {
	var p packageJSON
	b, err := fs.ReadFile(tree, "package.json")
	if errors.Is(err, fs.ErrNotExist) {
		return p, nil
	}
	if err == nil {
		err = json.Unmarshal(b, &p)
	}
	if err != nil {
		return p, protocol.Errorf(protocol.CodeBadInput, "package.json: %w", err)
	}
	return p, nil
}

// jsTest runs the files *.test.js and *.test.ts of the suite in the engine.
func jsTest(ctx context.Context, w *workspace, suite string) (tested, error) {
	dir := path.Clean(filepath.ToSlash(suite))
	var entry strings.Builder
	count := 0
	err := fs.WalkDir(w.tree, dir, func(name string, d fs.DirEntry, err error) error {
		test := strings.HasSuffix(name, ".test.js") || strings.HasSuffix(name, ".test.ts")
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == "node_modules" || d.Name() == "vendor"):
			return fs.SkipDir
		case test && d.Type().IsRegular():
			count++
			fmt.Fprintf(&entry, "import %s;\n", quoted("./"+name))
		}
		return nil
	})
	if err != nil || count == 0 {
		return tested{}, fmt.Errorf("no *.test.js or *.test.ts in %s: %w", dir, ErrNoTests)
	}
	entry.WriteString("import { finish } from \"@stavily/sdk/testing\";\nawait finish();\n")
	script, mapped, err := w.bundled(entry.String(), api.SourceMapExternal)
	if err != nil {
		return tested{}, err
	}
	why := ""
	cover, err := coverJS(script, mapped, w.tree)
	if err == nil {
		script = cover.script
	} else {
		why = "the bundle of the tests cannot be read for it: " + err.Error()
	}
	engine, err := FindEngine("quickjs")
	if err != nil {
		return tested{}, err
	}
	out, err := engine.run(ctx, map[string][]byte{"test.js": script}, appPath+"/test.js")
	if err != nil {
		return tested{}, overtime(ctx, "test",
			protocol.Errorf(protocol.CodeRefused, "test: %w\n%s", err, tail(out)))
	}
	got := tested{said: fmt.Sprintf("passed, %d files", count), measured: why == "", why: why}
	if got.measured {
		got.coverage, err = cover.percent(out)
	}
	return got, err
}

// bundle makes one script of an entry and all that it imports: files of the source, of its
// locked dependencies, and of the SDK. Anything else is refused.
func (w *workspace) bundle(entry string) ([]byte, error) {
	script, _, err := w.bundled(entry, api.SourceMapNone)
	return script, err
}

// bundled is bundle with or without a source map. With one, branches keep their shape.
func (w *workspace) bundled(entry string, maps api.SourceMap) (script, mapped []byte, err error) {
	modules := filepath.Join(w.dir, "node_modules")
	result := api.Build(api.BuildOptions{
		Stdin:         &api.StdinOptions{Contents: entry, ResolveDir: w.src, Sourcefile: "stavily-entry.js"},
		AbsWorkingDir: w.src, NodePaths: []string{filepath.Join(w.src, "vendor"), modules},
		Bundle: true, Format: api.FormatESModule, Platform: api.PlatformNeutral, Target: api.ES2023,
		MainFields: []string{"module", "main"}, TsconfigRaw: "{}", Charset: api.CharsetUTF8,
		LegalComments: api.LegalCommentsNone, LogLevel: api.LogLevelSilent,
		MinifySyntax: maps == api.SourceMapNone, Sourcemap: maps, Outfile: "bundle.js",
		Plugins: []api.Plugin{sdkPlugin(), fencePlugin([]string{w.src, modules})},
	})
	if len(result.Errors) > 0 {
		return nil, nil, protocol.Errorf(protocol.CodeBadInput, "bundle: %s", w.told(result.Errors))
	}
	for _, f := range result.OutputFiles {
		if path.Ext(f.Path) == ".map" {
			mapped = f.Contents
		} else {
			script = f.Contents
		}
	}
	if script == nil || (mapped == nil) != (maps == api.SourceMapNone) {
		return nil, nil, protocol.Errorf(protocol.CodeInternal, "bundle: %d files", len(result.OutputFiles))
	}
	return script, mapped, nil
}

// told says the bundler's errors with file, line and column, cut to a bound.
func (w *workspace) told(errs []api.Message) string {
	var out []string
	for _, e := range errs[:min(len(errs), 10)] {
		where := ""
		if l := e.Location; l != nil {
			where = fmt.Sprintf("%s:%d:%d: ", strings.TrimPrefix(l.File, "./"), l.Line, l.Column+1)
		}
		out = append(out, where+e.Text)
	}
	return tail([]byte(strings.ReplaceAll(strings.Join(out, "\n"), w.src+"/", "")))
}

// sdkPlugin serves the SDK from the hub's own program.
func sdkPlugin() api.Plugin {
	const space = "stavily-sdk"
	files := sdk.JS()
	entries := map[string]string{"@stavily/sdk": "src/index.js", "@stavily/sdk/testing": "testing/engine.js"}
	return api.Plugin{Name: space, Setup: func(b api.PluginBuild) {
		b.OnResolve(api.OnResolveOptions{Filter: "^@stavily/sdk(/|$)"},
			func(a api.OnResolveArgs) (api.OnResolveResult, error) {
				if entries[a.Path] == "" {
					return api.OnResolveResult{}, fmt.Errorf("the SDK has no %q", a.Path)
				}
				return api.OnResolveResult{Path: entries[a.Path], Namespace: space}, nil
			})
		b.OnResolve(api.OnResolveOptions{Filter: `^\.`, Namespace: space},
			func(a api.OnResolveArgs) (api.OnResolveResult, error) {
				return api.OnResolveResult{Path: path.Join(path.Dir(a.Importer), a.Path), Namespace: space}, nil
			})
		b.OnLoad(api.OnLoadOptions{Filter: ".*", Namespace: space},
			func(a api.OnLoadArgs) (api.OnLoadResult, error) {
				text, ok := files[a.Path]
				if !ok {
					return api.OnLoadResult{}, fmt.Errorf("the SDK has no %q", a.Path)
				}
				return api.OnLoadResult{Contents: &text, Loader: api.LoaderJS}, nil
			})
	}}
}

// fencePlugin lets only files below roots into a bundle.
func fencePlugin(roots []string) api.Plugin {
	return api.Plugin{Name: "stavily-fence", Setup: func(b api.PluginBuild) {
		b.OnLoad(api.OnLoadOptions{Filter: ".*", Namespace: "file"},
			func(a api.OnLoadArgs) (api.OnLoadResult, error) {
				inside := slices.ContainsFunc(roots, func(root string) bool {
					return strings.HasPrefix(a.Path, root+string(filepath.Separator))
				})
				if !inside {
					return api.OnLoadResult{}, fmt.Errorf("%s lies outside the source", a.Path)
				}
				return api.OnLoadResult{}, nil
			})
	}}
}

func quoted(s string) string { return strconv.QuoteToASCII(s) }

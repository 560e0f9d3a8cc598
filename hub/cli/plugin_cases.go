package cli

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/stavily/stavily/hub/build"
	"github.com/stavily/stavily/hub/cases"
	"github.com/stavily/stavily/protocol"
)

// trying are the flags of plugin test.
type trying struct {
	only             string
	casesOnly        bool
	interpreter      bool
	schema, printAll bool
}

func pluginTest(c *connection) *cobra.Command {
	var f trying
	cmd := &cobra.Command{
		Use:   "test [FOLDER]",
		Short: "Run a plugin's own tests and its cases, as a hub does before it publishes",
		Long: "Build the plugin of a folder (this one unless another is named), run the tests in its own\n" +
			"language as the hub does, and hold it to its cases: the files tests/*.yaml, which say what the\n" +
			"plugin is told, what its host answers and what it must answer (hub/cases/README.md). Nothing of this\n" +
			"machine is read, written or run by a case.",
		Example: "  stavily plugin test\n" +
			"  stavily plugin test overheat --cases --only \"above the limit\"\n" +
			"  stavily plugin test --schema > cases.schema.json",
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: folderArg,
		RunE: func(cmd *cobra.Command, args []string) error {
			if f.schema {
				_, err := cmd.OutOrStdout().Write(cases.Schema())
				return err
			}
			return f.run(cmd, c, here(args))
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&f.only, "only", "", "only the cases whose name has this in it; no other tests")
	flags.BoolVar(&f.casesOnly, "cases", false, "only the cases")
	flags.BoolVarP(&f.printAll, "verbose", "v", false, "name the cases that passed too")
	flags.BoolVar(&f.interpreter, "interpreter", false, "run the cases in the interpreter, as 32-bit agents do")
	flags.BoolVar(&f.schema, "schema", false, "print the JSON Schema of the case files, for an editor")
	return cmd
}

// tried is what "plugin test" tells.
type tried struct {
	Plugin   string         `json:"plugin"`
	Own      string         `json:"own"` // what came of the tests in its own language
	Passed   bool           `json:"passed"`
	Problem  string         `json:"problem,omitempty"` // of its own tests
	Cases    *cases.Report  `json:"cases,omitempty"`   // nil when there are none
	Warnings []string       `json:"warnings,omitempty"`
	TookMS   map[string]int `json:"took_ms"`

	all bool // also show what passed
}

func (f *trying) run(cmd *cobra.Command, c *connection, dir string) error {
	var flags deskFlags
	began := time.Now()
	d, err := flags.open(cmd, dir)
	if err != nil {
		return err
	}
	if d.origin == nil {
		return usage(cmd, fmt.Errorf("%q: want the folder of a plugin", dir))
	}
	out := tried{
		Plugin: d.manifest.String(), Own: "not run", Warnings: d.warnings, all: f.printAll,
		TookMS: map[string]int{"build": int(time.Since(began).Milliseconds())},
	}
	began = time.Now()
	files, err := d.caseFiles()
	if err != nil {
		return err
	}
	uses, err := d.uses()
	if err != nil {
		return err
	}
	out.Warnings = append(out.Warnings, uses.Warnings()...)
	var own error
	if !f.casesOnly && f.only == "" {
		out.Own, own = d.ownTests(cmd, len(files) > 0)
		out.TookMS["own"] = int(time.Since(began).Milliseconds())
	}
	began = time.Now()
	if len(files) > 0 {
		o := cases.Options{Interpreter: f.interpreter, Only: f.only}
		if out.Cases, err = d.hold(cmd, files, o); err != nil {
			return err
		}
		out.TookMS["cases"] = int(time.Since(began).Milliseconds())
		out.Warnings = append(out.Warnings, unusedBy(out.Cases)...)
	}
	return f.tell(cmd, c, out, own)
}

// tell prints what came of it. Tests that failed are the command's error.
func (f *trying) tell(cmd *cobra.Command, c *connection, out tried, own error) error {
	failed := 0
	if out.Cases != nil {
		failed = out.Cases.Failed()
	}
	out.Passed = own == nil && failed == 0
	if own != nil {
		out.Problem = own.Error()
	}
	if c.output == "json" {
		if err := c.print(cmd.OutOrStdout(), out, nil); err != nil {
			return err
		}
	} else {
		out.show(cmd.OutOrStdout())
	}
	switch {
	case own != nil:
		return protocol.Errorf(protocol.CodePlugin, "%s: its own tests failed", out.Plugin)
	case failed > 0:
		return protocol.Errorf(protocol.CodePlugin, "%s: %d of %d cases failed", out.Plugin, failed,
			len(out.Cases.Cases))
	case f.only != "" && (out.Cases == nil || len(out.Cases.Cases) == 0):
		return protocol.Errorf(protocol.CodeNotFound, "%s: no case whose name has %q in it", out.Plugin, f.only)
	}
	return nil
}

// caseFiles reads the cases of a source, none for a plugin that is a file.
func (d *desk) caseFiles() ([]*cases.File, error) {
	if d.origin == nil {
		return nil, nil
	}
	return cases.Find(d.tree(), d.manifest)
}

// uses holds the code to what the manifest asks for; a module that needs more is refused.
func (d *desk) uses() (*cases.Uses, error) {
	u, err := cases.Code{Module: d.module, Script: d.script}.Find(d.manifest)
	if err == nil {
		err = u.Err()
	}
	return u, err
}

// hold holds the plugin to cases.
func (d *desk) hold(cmd *cobra.Command, files []*cases.File, o cases.Options) (*cases.Report, error) {
	spec, err := d.spec()
	if err != nil {
		return nil, err
	}
	if o.CacheDir, err = compiled(); err != nil {
		return nil, err
	}
	return cases.Run(cmd.Context(), spec, files, o)
}

// ownTests runs the tests in the plugin's own language. What there need not be any of may
// be missing.
func (d *desk) ownTests(cmd *cobra.Command, hasCases bool) (string, error) {
	said, err := d.origin.builder.Test(cmd.Context(), d.origin.request)
	switch {
	case errors.Is(err, build.ErrNoTests):
		return "none: the manifest names no test_suite", nil
	case errors.Is(err, build.ErrEmptySuite) && hasCases && d.manifest.Testing.Coverage == 0:
		return "none: the suite has cases only", nil
	case err != nil:
		return "failed", err
	}
	return said, nil
}

// unusedBy warns of what the manifest asks for and no case uses (M-32).
func unusedBy(r *cases.Report) []string {
	var out []string
	for _, capability := range r.Unused {
		out = append(out, fmt.Sprintf("warning: the manifest asks for %s, which no case uses", capability))
	}
	return out
}

func (t *tried) show(w io.Writer) {
	fmt.Fprintf(w, "%s\n", t.Plugin)
	fmt.Fprintf(w, "own tests: %s\n", clean(t.Own))
	if t.Problem != "" {
		fmt.Fprintf(w, "  %s\n", strings.ReplaceAll(clean(t.Problem), "\n", "\n  "))
	}
	t.showCases(w)
	for _, warning := range t.Warnings {
		fmt.Fprintln(w, clean(warning))
	}
}

func (t *tried) showCases(w io.Writer) {
	if t.Cases == nil {
		fmt.Fprintln(w, "cases: none; see \"stavily plugin test --help\"")
		return
	}
	for i := range t.Cases.Cases {
		if v := &t.Cases.Cases[i]; !v.Passed || t.all {
			fmt.Fprintln(w, clean(v.String()))
		}
	}
	failed := t.Cases.Failed()
	fmt.Fprintf(w, "cases: %d passed, %d failed\n", len(t.Cases.Cases)-failed, failed)
}

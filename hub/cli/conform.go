package cli

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/stavily/stavily/hub/build"
	"github.com/stavily/stavily/hub/document"
	"github.com/stavily/stavily/protocol"
	"github.com/stavily/stavily/wasmhost/conform"
)

// conforming are the flags of the command.
type conforming struct {
	manifest, engine, config, event string
	native, cases                   bool
}

func pluginConform(c *connection) *cobra.Command {
	var f conforming
	cmd := &cobra.Command{
		Use:   "conform FILE",
		Short: "Hold a plugin's file to the contract; no hub is asked",
		Long: "Start a plugin again and again, ask it in all the ways that a host may, and say which promises\n" +
			"of the contract it keeps. FILE is a WebAssembly module, or a packed script, which its engine runs.\n" +
			"Its host calls are answered by the suite: nothing is read, written or run on this machine.\n\n" +
			"With --native FILE may be a program for this machine. It is NOT sandboxed: it runs with all your\n" +
			"rights. Do this at your own desk with a program of your own.",
		Example: "  stavily plugin conform plugin.wasm --manifest stavily-plugin.yaml " +
			"--config examples/basic.yaml\n" +
			"  stavily plugin conform overheat.zip --engine dist/engines",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: folderOrFile,
		RunE: func(cmd *cobra.Command, args []string) error {
			if c.output != "table" && c.output != "json" {
				return usage(cmd, fmt.Errorf("--output %q: want table or json", c.output))
			}
			target, err := f.target(args[0])
			if errors.Is(err, errNoModule) {
				return usage(cmd, err)
			}
			if err != nil {
				return err
			}
			return f.run(cmd, c, target)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&f.manifest, "manifest", "",
		"the plugin's stavily-plugin.yaml, to hold it to that too")
	flags.StringVar(&f.engine, "engine", "",
		"folder with the engine of a script (default where make engines and packages put it)")
	flags.StringVar(&f.config, "config", "", "file (YAML or JSON) of the step's configuration")
	flags.StringVar(&f.event, "event", "",
		"file (YAML or JSON) of the event's data, for actions and outputs")
	_ = cmd.MarkFlagDirname("engine")
	_ = cmd.MarkFlagFilename("manifest", "yaml")
	_ = cmd.MarkFlagFilename("config", "yaml", "json")
	_ = cmd.MarkFlagFilename("event", "yaml", "json")
	flags.BoolVar(&f.native, "native", false,
		"FILE may be a program: it runs with your rights, NOT sandboxed")
	flags.BoolVar(&f.cases, "cases", false, "FILE is an SDK's conformance plugin: hold it to every case")
	return cmd
}

var errNoModule = errors.New("neither a WebAssembly module nor a packed script; say --native to run it as " +
	"a program, NOT sandboxed")

// target reads the file and says what it is.
func (f *conforming) target(path string) (t conform.Target, err error) {
	if f.manifest != "" {
		text, err := readDocument(f.manifest)
		if err != nil {
			return t, err
		}
		if t.Manifest, _, err = build.ParseManifest(f.manifest, text); err != nil {
			return t, err
		}
	}
	file, err := os.Open(path)
	if err != nil {
		return t, err
	}
	defer file.Close()
	head := make([]byte, 4)
	if _, err := io.ReadFull(file, head); err != nil {
		return t, fmt.Errorf("%s: %w", path, err)
	}
	if bytes.Equal(head, []byte("\x00asm")) {
		rest, err := io.ReadAll(io.LimitReader(file, protocol.ArtifactMax))
		t.Wasm = slices.Concat(head, rest)
		return t, err
	}
	if bytes.HasPrefix(head, []byte("PK")) && !f.native {
		err := f.script(path, &t)
		return t, err
	}
	if !f.native {
		return t, fmt.Errorf("%s: %w", path, errNoModule)
	}
	program, err := filepath.Abs(path)
	t.Command = []string{program}
	return t, err
}

// script makes the engine of a packed script the target.
func (f *conforming) script(path string, t *conform.Target) error {
	d := desk{path: path}
	var err error
	if d.script, err = readBounded(path, protocol.ArtifactMax); err != nil {
		return err
	}
	name, err := build.EngineOf(d.script)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	flags := deskFlags{engine: f.engine}
	if err := flags.findEngine(&d, name); err != nil {
		return err
	}
	t.Wasm, t.Args = d.engine.Module, d.engine.Args
	t.Mounts, err = d.engine.Mounts(d.script)
	return err
}

// run runs the suite and prints its report. A failed check is an error.
func (f *conforming) run(cmd *cobra.Command, c *connection, target conform.Target) (err error) {
	opts := conform.Options{Clock: time.Now}
	if opts.Config, err = readValue(f.config); err != nil {
		return err
	}
	if opts.Event, err = readValue(f.event); err != nil {
		return err
	}
	if f.cases {
		opts.Cases = conform.Cases()
	}
	if len(target.Command) > 0 {
		fmt.Fprintln(cmd.ErrOrStderr(), "stavily: a native program, NOT sandboxed: it runs with your rights")
	}
	report, err := conform.Run(cmd.Context(), target, opts)
	if err != nil {
		return err
	}
	if err := c.print(cmd.OutOrStdout(), report, func(w io.Writer) { showReport(w, &report) }); err != nil {
		return err
	}
	if !report.Passed() {
		return fmt.Errorf("%d of %d checks failed", report.Failed(), len(report.Checks))
	}
	return nil
}

// readValue reads a file of one value, nil when there is no file.
func readValue(path string) (protocol.Raw, error) {
	if path == "" {
		return nil, nil
	}
	text, err := readDocument(path)
	if err != nil {
		return nil, err
	}
	return readMapping(path, text)
}

// readMapping reads a mapping in YAML. name stands in errors.
func readMapping(name string, text []byte) (protocol.Raw, error) {
	doc, err := document.Parse(name, text)
	if err != nil {
		return nil, err
	}
	var value any
	if err := doc.Decode(&value); err != nil {
		return nil, err
	}
	return protocol.Marshal(value)
}

func showReport(w io.Writer, r *conform.Report) {
	row(w, "CHECK", "VERDICT", "TOOK", "DETAIL")
	for _, check := range r.Checks {
		row(w, check.Name, check.Verdict, took(check.TookUS), check.Detail)
	}
}

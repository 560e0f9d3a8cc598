package cli

import (
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/stavily/stavily/hub/build"
	"github.com/stavily/stavily/hub/cases"
	"github.com/stavily/stavily/protocol"
	"github.com/stavily/stavily/wasmhost"
)

func pluginNew() *cobra.Command {
	var s build.Scaffold
	var kind string
	cmd := &cobra.Command{
		Use:   "new NAME --lang LANGUAGE --type TYPE",
		Short: "Begin a plugin: a complete repository in a new folder",
		Long: "Write a complete repository into a new folder: manifest, program, tests in the language and in\n" +
			"tests/*.yaml, configuration schema, example, README and SDK. It builds, passes its tests and\n" +
			"answers as it is.",
		Example: "  stavily plugin new overheat --lang ts --type trigger\n" +
			"  cd overheat && stavily plugin run",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			s.Name, s.Type = protocol.PluginName(args[0]), protocol.PluginType(kind)
			s.Language = build.ScaffoldLanguage(s.Language)
			files, err := s.Files()
			if err != nil {
				return usage(cmd, err)
			}
			files["tests/cases.schema.json"] = cases.Schema()
			if err := writeNew(args[0], files); err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s: %s in %s; go on with\n\n  cd %s\n  stavily plugin run\n"+
				"  stavily plugin test\n", args[0], kind, s.Language, args[0])
			return err
		},
	}
	cmd.Flags().StringVar(&s.Language, "lang", "go", strings.Join(build.Scaffolds(), ", ")+" (or js, ts, py)")
	cmd.Flags().StringVar(&kind, "type", "action", "trigger, action or output")
	cmd.Flags().StringVar(&s.Author, "author", "Me", "who writes it")
	_ = cmd.RegisterFlagCompletionFunc("lang", cobra.FixedCompletions(build.Scaffolds(),
		cobra.ShellCompDirectiveNoFileComp))
	_ = cmd.RegisterFlagCompletionFunc("type", cobra.FixedCompletions([]string{"trigger", "action", "output"},
		cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func pluginSDK() *cobra.Command {
	return &cobra.Command{
		Use:   "sdk [FOLDER]",
		Short: "Write the SDK for the editor of a plugin in JavaScript, TypeScript or Python",
		Long: "Write the SDK of a plugin's language into the folder .sdk of it, where its editor looks: after a\n" +
			"fresh clone, or for the SDK of this version. Git ignores it and no build reads it.",
		Example:           "  stavily plugin sdk overheat",
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: folderArg,
		RunE: func(cmd *cobra.Command, args []string) error {
			o, _, err := openFolder(cmd, here(args))
			if err != nil {
				return err
			}
			files := build.EditorSDK(o.request.Manifest.Runtime.Language)
			if len(files) == 0 {
				return protocol.Errorf(protocol.CodeBadInput, "%s: the SDK for %s is in the source's folder stavily, "+
					"as \"plugin new\" wrote it", o.request.Manifest, o.request.Manifest.Runtime.Language)
			}
			if err := writeFiles(here(args), files); err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%d files in %s\n", len(files), filepath.Join(here(args), ".sdk"))
			return err
		},
	}
}

// writeNew writes files into a folder that was not there before.
func writeNew(dir string, files map[string][]byte) error {
	if err := os.Mkdir(dir, 0o755); err != nil {
		return hinted(fmt.Errorf("new plugin: %w", err), "name a folder that is not there yet")
	}
	return writeFiles(dir, files)
}

// writeFiles writes files below a folder.
func writeFiles(dir string, files map[string][]byte) error {
	for _, name := range slices.Sorted(maps.Keys(files)) {
		at := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
			return fmt.Errorf("write %s: %w", name, err)
		}
		if err := os.WriteFile(at, files[name], 0o600); err != nil {
			return fmt.Errorf("write %s: %w", name, err)
		}
	}
	return nil
}

// built is what "plugin build" tells of a module.
type built struct {
	File      string          `json:"file"`
	Plugin    string          `json:"plugin"`
	Digest    protocol.Digest `json:"digest"`
	Bytes     int             `json:"bytes"`
	Toolchain string          `json:"toolchain"`
	Tests     string          `json:"tests"`
	Notes     []string        `json:"notes"`
	Warnings  []string        `json:"warnings,omitempty"`
	ext       string          // of the file
}

func pluginBuild(c *connection) *cobra.Command {
	var out string
	var skip bool
	cmd := &cobra.Command{
		Use:   "build [FOLDER]",
		Short: "Build and test the plugin of a folder, as a hub does",
		Long: "Build the plugin of a folder (this one unless another is named): read its manifest, compile it\n" +
			"with what its lock names, verify and meter the module, run its tests, and write the module.\n" +
			"Nothing is published.",
		Example:           "  stavily plugin build overheat --file out/overheat.wasm",
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: folderArg,
		RunE: func(cmd *cobra.Command, args []string) error {
			found, module, err := buildFolder(cmd, here(args), skip)
			if err != nil {
				return err
			}
			if found.File = out; out == "" {
				name, _, _ := strings.Cut(found.Plugin, "@")
				found.File = name + found.ext
			}
			if err := os.WriteFile(found.File, module, 0o600); err != nil {
				return fmt.Errorf("build: %w", err)
			}
			return c.print(cmd.OutOrStdout(), found, found.show)
		},
	}
	cmd.Flags().StringVarP(&out, "file", "f", "", "where the module goes (default NAME.wasm)")
	cmd.Flags().BoolVar(&skip, "no-tests", false, "do not run the plugin's own tests")
	return cmd
}

func (b built) show(w io.Writer) {
	row(w, "plugin", b.Plugin)
	row(w, "module", b.File, fmt.Sprintf("%d bytes", b.Bytes), b.Digest.Short())
	row(w, "toolchain", b.Toolchain)
	row(w, "tests", b.Tests)
	for _, note := range append(b.Notes, b.Warnings...) {
		row(w, " ", note)
	}
}

// buildFolder does for a folder what publishing does for a signed tag.
func buildFolder(cmd *cobra.Command, dir string, skipTests bool) (built, []byte, error) {
	none := built{}
	var flags deskFlags
	d, err := flags.open(cmd, dir)
	if err != nil {
		return none, nil, err
	}
	if d.origin == nil {
		return none, nil, usage(cmd, fmt.Errorf("%q: want the folder of a plugin", dir))
	}
	uses, err := d.uses()
	if err != nil {
		return none, nil, err
	}
	module, ext := d.script, ".zip"
	if d.engine == nil {
		ext = ".wasm"
		if module, err = build.Meter(d.module); err != nil {
			return none, nil, err
		}
		if _, err := wasmhost.Verify(module, d.manifest); err != nil {
			return none, nil, err
		}
	}
	said := "not run"
	if !skipTests {
		if said, err = d.tested(cmd); err != nil {
			return none, nil, err
		}
	}
	who := d.origin.result.Builder
	return built{
		Plugin: d.manifest.String(), Digest: protocol.DigestOf(module), Bytes: len(module),
		Toolchain: who.Toolchain, Tests: said, Notes: who.Notes,
		Warnings: append(d.warnings, uses.Warnings()...), ext: ext,
	}, module, nil
}

// tested runs the plugin's own tests and its cases and says how they went.
func (d *desk) tested(cmd *cobra.Command) (string, error) {
	files, err := d.caseFiles()
	if err != nil {
		return "", err
	}
	said, err := d.ownTests(cmd, len(files) > 0)
	if err != nil || len(files) == 0 {
		return said, err
	}
	r, err := d.hold(cmd, files, cases.Options{})
	if err == nil {
		err = r.Err()
	}
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%s; %d cases passed", said, len(r.Cases)), nil
}

package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/stavily/stavily/hub/document"
	"github.com/stavily/stavily/protocol"
	"github.com/stavily/stavily/wasmhost"
)

// running are the flags of plugin run.
type running struct {
	deskFlags
	config, event, state, why, data string
	out                             string // for the recording; empty for none
	grants                          []string
	interpreter, watch              bool
}

func pluginRun(c *connection) *cobra.Command {
	var f running
	cmd := &cobra.Command{
		Use:   "run [FOLDER|FILE]",
		Short: "Ask a plugin once and show all that it did; no hub is asked",
		Long: "Build the plugin of a folder (this one unless another is named), or take a built file, start it,\n" +
			"wake or call it once, and show its host calls with their replies, its log, its answer, and what\n" +
			"that cost. It runs as on an agent: metered, within the limits of its manifest. Its host calls are\n" +
			"done on this machine: it is granted what its manifest asks for, or only what --grant says. Files\n" +
			"are those of an empty folder, unless --data names one.\n\n" +
			"Without --config the first of the manifest's examples is the configuration. Files are YAML or JSON.",
		Example: "  stavily plugin run --event event.json\n" +
			"  echo '{\"value\": 81}' | stavily plugin run --event - --watch\n" +
			"  stavily plugin run overheat.wasm --config examples/basic.yaml --grant process.execute:uptime",
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: folderOrFile,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := tableOrJSON(cmd, c); err != nil {
				return err
			}
			if f.watch {
				return f.again(cmd, c, here(args))
			}
			return f.once(cmd, c, here(args))
		},
	}
	f.flags(cmd)
	cmd.Flags().BoolVarP(&f.watch, "watch", "w", false, "build and run again whenever a source changes")
	return cmd
}

// tableOrJSON refuses other forms of output than these.
func tableOrJSON(cmd *cobra.Command, c *connection) error {
	if c.output != "table" && c.output != "json" {
		return usage(cmd, fmt.Errorf("--output %q: want table or json", c.output))
	}
	return nil
}

// flags are those of every command that asks a plugin once.
func (f *running) flags(cmd *cobra.Command) {
	f.add(cmd)
	flags := cmd.Flags()
	flags.StringVar(&f.config, "config", "", "file of the step's configuration")
	flags.StringVar(&f.event, "event", "", "file of the event's data, for actions and outputs; - is stdin")
	flags.StringVar(&f.state, "state", "", "file of the state that a trigger answered before")
	flags.StringVar(&f.why, "why", "start", "why a trigger is woken: start or timer")
	flags.StringVar(&f.data, "data", "",
		"folder that has the plugin's own folder of files, by its name (default an empty one)")
	flags.StringArrayVar(&f.grants, "grant", nil,
		"grant only this CAPABILITY or CAPABILITY:SCOPE, may be repeated; none grants nothing")
	flags.BoolVar(&f.interpreter, "interpreter", false, "run in the interpreter, as 32-bit agents do")
	_ = cmd.MarkFlagFilename("config", "yaml", "json")
	_ = cmd.MarkFlagFilename("event", "yaml", "json")
	_ = cmd.MarkFlagFilename("state", "yaml", "json")
	_ = cmd.MarkFlagDirname("data")
	_ = cmd.RegisterFlagCompletionFunc("why", cobra.FixedCompletions([]string{"start", "timer"},
		cobra.ShellCompDirectiveNoFileComp))
	grants := append(strings.Split(protocol.CapabilityList(), ", "), "none")
	_ = cmd.RegisterFlagCompletionFunc("grant", cobra.FixedCompletions(grants,
		cobra.ShellCompDirectiveNoFileComp|cobra.ShellCompDirectiveNoSpace))
}

// once opens, asks and shows. An answer that is an error is the command's error.
func (f *running) once(cmd *cobra.Command, c *connection, at string) error {
	d, err := f.open(cmd, at)
	if err != nil {
		return err
	}
	a, err := f.asking(cmd, d)
	if err != nil {
		return err
	}
	out, err := a.ask(cmd.Context())
	if err != nil {
		return err
	}
	shown := d.ran(out)
	shown.Config = a.configFrom
	if f.out != "" {
		if shown.Recorded, err = record(f.out, out.recording); err != nil {
			return err
		}
	}
	if err := c.print(cmd.OutOrStdout(), shown, shown.show); err != nil {
		return err
	}
	if e := out.answer.Error; e != nil {
		return protocol.Errorf(e.Code, "%s answered: %s: %s", d.manifest, e.Code, e.Text)
	}
	return nil
}

// asking reads what the plugin is asked.
func (f *running) asking(cmd *cobra.Command, d *desk) (a asking, err error) {
	a = asking{why: wasmhost.Why(f.why), interpreter: f.interpreter, data: f.data, configFrom: f.config}
	if a.why != wasmhost.WhyStart && a.why != wasmhost.WhyTimer {
		return a, usage(cmd, fmt.Errorf("--why %q: want start or timer", f.why))
	}
	if a.spec, err = d.spec(); err != nil {
		return a, err
	}
	for _, file := range []struct {
		name string
		to   *protocol.Raw
	}{{f.config, &a.spec.Step.Config}, {f.event, &a.event}, {f.state, &a.state}} {
		if *file.to, err = readInput(cmd, file.name); err != nil {
			return a, err
		}
	}
	if f.config == "" {
		if a.configFrom, a.spec.Step.Config, err = d.example(); err != nil {
			return a, err
		}
	}
	a.spec.Step.Grants, err = f.granted(cmd, d)
	return a, err
}

// granted is what the plugin is granted here.
func (f *running) granted(cmd *cobra.Command, d *desk) ([]protocol.Grant, error) {
	wishes, err := d.manifest.Wishes()
	if err != nil || len(f.grants) == 0 {
		return wishes, err
	}
	m := protocol.Manifest{Network: true, Filesystem: "full"}
	for _, g := range f.grants {
		if g == "none" && len(f.grants) == 1 {
			return nil, nil
		}
		if _, _, err := protocol.ParsePermission(g); err != nil {
			return nil, usage(cmd, fmt.Errorf("--grant: %w", err))
		}
		m.Permissions.System = append(m.Permissions.System, g)
	}
	list, err := m.Wishes()
	if err != nil {
		return nil, err
	}
	for _, g := range list {
		if len(protocol.Intersect(wishes, []protocol.Grant{g})) == 0 {
			fmt.Fprintf(cmd.ErrOrStderr(), "stavily: --grant %s: the manifest does not ask for it, so it is "+
				"not granted\n", clean(g.Capability))
		}
	}
	return list, nil
}

// example is the first configuration that the manifest names as one.
func (d *desk) example() (name string, config protocol.Raw, err error) {
	dir := d.manifest.Configuration.Examples
	if d.origin == nil || dir == "" {
		return "", nil, nil
	}
	dir = path.Clean(dir)
	entries, err := fs.ReadDir(d.tree(), dir)
	if err != nil {
		return "", nil, protocol.Errorf(protocol.CodeBadInput, "configuration.examples: %w", err)
	}
	for _, e := range entries {
		if !slices.Contains([]string{".yaml", ".yml", ".json"}, path.Ext(e.Name())) {
			continue
		}
		name = path.Join(dir, e.Name())
		text, err := fs.ReadFile(d.tree(), name)
		if err != nil {
			return "", nil, protocol.Errorf(protocol.CodeBadInput, "example: %w", err)
		}
		config, err = readText(name, text)
		return name, config, err
	}
	return "", nil, nil
}

// readInput reads a file of one value, nil when there is none. "-" is stdin.
func readInput(cmd *cobra.Command, name string) (protocol.Raw, error) {
	switch name {
	case "":
		return nil, nil
	case "-":
		text, err := io.ReadAll(io.LimitReader(cmd.InOrStdin(), document.SizeMax+1))
		if err != nil {
			return nil, fmt.Errorf("stdin: %w", err)
		}
		return readText("stdin", text)
	}
	text, err := readDocument(name)
	if err != nil {
		return nil, err
	}
	return readText(name, text)
}

// readText reads any JSON, or a mapping in YAML.
func readText(name string, text []byte) (protocol.Raw, error) {
	if len(text) <= document.SizeMax && json.Valid(text) {
		v, err := wasmhost.FromJSON(text)
		if err != nil {
			return nil, protocol.Errorf(protocol.CodeBadInput, "%s: %w", name, err)
		}
		return v, nil
	}
	return readMapping(name, text)
}

// dataDir is the parent of the plugins' folders, and what removes it.
func (a *asking) dataDir() (dir string, drop func(), err error) {
	if a.data != "" {
		info, err := os.Stat(a.data)
		if err == nil && !info.IsDir() {
			err = errors.New("not a folder")
		}
		return a.data, func() {}, err
	}
	dir, err = os.MkdirTemp("", "stavily-data-")
	return dir, func() { _ = os.RemoveAll(dir) }, err
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

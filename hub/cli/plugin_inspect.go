package cli

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/stavily/stavily/hub/cases"
	"github.com/stavily/stavily/protocol"
	"github.com/stavily/stavily/wasmhost"
	"github.com/stavily/stavily/wasmhost/meter"
)

func pluginInspect(c *connection) *cobra.Command {
	var f deskFlags
	cmd := &cobra.Command{
		Use:   "inspect [FOLDER|FILE]",
		Short: "Show what a plugin is, what it asks for and imports, and how its limits are kept",
		Long: "Show of a built file, or of a folder that is built first: what it is, what its manifest asks for\n" +
			"and what its code uses, imports, exports, sections and memory, how each limit is kept where a module\n" +
			"is compiled, interpreted, or the plugin runs natively, and on which platforms it fits. Nothing of\n" +
			"it is run.",
		Example: "  stavily plugin inspect\n" +
			"  stavily plugin inspect overheat.wasm --manifest stavily-plugin.yaml --output json",
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: folderOrFile,
		RunE: func(cmd *cobra.Command, args []string) error {
			if c.output != "table" && c.output != "json" {
				return usage(cmd, fmt.Errorf("--output %q: want table or json", c.output))
			}
			d, err := f.open(cmd, here(args))
			if err != nil {
				return err
			}
			out, err := d.inspect()
			if err != nil {
				return err
			}
			if err := c.print(cmd.OutOrStdout(), out, out.show); err != nil {
				return err
			}
			return out.refused
		},
	}
	f.add(cmd)
	return cmd
}

// inspected is what "plugin inspect" tells.
type inspected struct {
	Plugin      string           `json:"plugin"`
	Type        string           `json:"type"`
	Description string           `json:"description"`
	Author      string           `json:"author"`
	Language    string           `json:"language"`
	Toolchain   string           `json:"toolchain,omitempty"`
	Artifacts   []artifactSeen   `json:"artifacts"`
	Module      moduleSeen       `json:"module"`
	Asks        []protocol.Grant `json:"asks"`
	Uses        *cases.Uses      `json:"uses"`
	Enforced    []enforced       `json:"enforced"`
	Platforms   []fitting        `json:"platforms"`
	Warnings    []string         `json:"warnings,omitempty"`
	Refused     string           `json:"refused,omitempty"` // why no hub would publish it

	refused error
}

// artifactSeen is one file that an agent would fetch.
type artifactSeen struct {
	What   string          `json:"what"`
	Bytes  int             `json:"bytes"`
	Digest protocol.Digest `json:"digest"`
}

// moduleSeen is the WebAssembly that runs: the plugin's own, or its engine's.
type moduleSeen struct {
	Engine      string        `json:"engine,omitempty"`
	WasMetered  bool          `json:"was_metered"` // as the file is
	Bytes       int           `json:"bytes"`
	MeteredB    int           `json:"metered_bytes"`
	MemoryMinMB uint32        `json:"memory_min_mb"`
	MemoryMaxMB uint32        `json:"memory_max_mb"` // 0: none declared
	Functions   int           `json:"functions"`
	Imports     []string      `json:"imports"`
	Exports     []string      `json:"exports"`
	Sections    []wasmSection `json:"sections"`
}

// inspect looks at all that there is.
func (d *desk) inspect() (*inspected, error) {
	m := d.manifest
	out := &inspected{
		Plugin: m.String(), Type: string(m.Plugin.Type), Description: m.Plugin.Description,
		Author:   m.Plugin.Author.Name,
		Language: m.Runtime.Language, Warnings: slices.Clone(d.warnings), Enforced: enforcement(m),
	}
	spec, err := d.spec()
	if err != nil {
		return nil, err
	}
	if err := out.Module.see(d.module, spec.Wasm); err != nil {
		return nil, fmt.Errorf("%s: %w", d.path, err)
	}
	if d.engine != nil {
		out.Module.Engine = d.engine.Name
	}
	out.Platforms = fittings(len(spec.Wasm))
	out.artifacts(d, spec.Wasm)
	if out.Asks, err = m.Wishes(); err != nil {
		return nil, err
	}
	if out.Uses, err = (cases.Code{Module: d.module, Script: d.script}).Find(m); err != nil {
		return nil, err
	}
	out.Warnings = append(out.Warnings, out.Uses.Warnings()...)
	if _, err := wasmhost.Verify(spec.Wasm, m); err != nil {
		out.refused = err
	} else {
		out.refused = out.Uses.Err()
	}
	if out.refused != nil {
		out.Refused = out.refused.Error()
	}
	return out, nil
}

// artifacts lists the files that agents fetch.
func (i *inspected) artifacts(d *desk, metered []byte) {
	seen := func(what string, b []byte) {
		i.Artifacts = append(i.Artifacts, artifactSeen{what, len(b), protocol.DigestOf(b)})
	}
	if d.engine == nil {
		seen("module, metered", metered)
	} else {
		seen("script", d.script)
		seen("engine "+d.engine.Name+", metered, shared by all plugins of the language", metered)
		for _, l := range d.engine.Libraries {
			seen("library of "+d.engine.Name+" at "+l.Path, l.Bytes)
		}
	}
	if d.origin == nil {
		return
	}
	i.Toolchain = d.origin.result.Builder.Toolchain
	for _, o := range d.origin.result.Outputs[1:] {
		seen("native, for "+o.Platform, o.Bytes)
	}
}

// see looks into a module, as the file is and metered.
func (s *moduleSeen) see(module, metered []byte) (err error) {
	info, err := meter.Inspect(module)
	if err != nil {
		return err
	}
	s.Bytes, s.MeteredB, s.Functions = len(module), len(metered), info.Functions
	s.MemoryMinMB = uint32((info.MemoryMin + 15) / 16)
	if info.MemoryMax > 0 {
		s.MemoryMaxMB = uint32((info.MemoryMax + 15) / 16)
	}
	for _, i := range info.Imports {
		s.Imports = append(s.Imports, i.Module+"."+i.Name)
		s.WasMetered = s.WasMetered || i.Module == meter.ImportModule
	}
	for _, e := range info.Exports {
		s.Exports = append(s.Exports, fmt.Sprintf("%s (%s)", e.Name, e.Kind))
	}
	slices.Sort(s.Imports)
	s.Imports = slices.Compact(s.Imports)
	slices.Sort(s.Exports)
	s.Sections, err = wasmSections(module)
	return err
}

func (i *inspected) show(w io.Writer) {
	row(w, "plugin", i.Plugin+", "+i.Type)
	row(w, "says", i.Description)
	row(w, "author", i.Author)
	row(w, "language", strings.TrimSpace(i.Language+"  "+i.Toolchain))
	for _, a := range i.Artifacts {
		row(w, "artifact", fmt.Sprintf("%d bytes, %s, %s", a.Bytes, a.Digest.Short(), a.What))
	}
	i.Module.show(w)
	i.capabilities(w)
	for _, e := range i.Enforced {
		row(w, e.Field, e.Value)
		if e.Interpreted == e.Compiled {
			row(w, "  as a module", e.Compiled)
		} else {
			row(w, "  compiled", e.Compiled)
			row(w, "  interpreted", e.Interpreted)
		}
		row(w, "  native", e.Native)
	}
	for _, p := range i.Platforms {
		row(w, p.Platform, p.Engine+", "+p.Says)
	}
	for _, warning := range i.Warnings {
		row(w, "warning", strings.TrimPrefix(warning, "warning: "))
	}
}

func (s *moduleSeen) show(w io.Writer) {
	what := "the plugin's own"
	if s.Engine != "" {
		what = "the engine's, " + s.Engine
	}
	if s.WasMetered {
		what += ", metered"
	} else {
		what += fmt.Sprintf(", not metered; metered %d bytes", s.MeteredB)
	}
	row(w, "module", fmt.Sprintf("%d bytes, %d functions, %s", s.Bytes, s.Functions, what))
	memory := "no maximum declared: the manifest's holds"
	if s.MemoryMaxMB > 0 {
		memory = fmt.Sprintf("at most %d MB", s.MemoryMaxMB)
	}
	row(w, "memory", fmt.Sprintf("%d MB at the start, %s", s.MemoryMinMB, memory))
	const wasi = "wasi_snapshot_preview1."
	row(w, "imports of wasi", strings.ReplaceAll(strings.Join(s.Imports, " "), wasi, ""))
	row(w, "exports", strings.Join(s.Exports, " "))
	sections := make([]string, 0, len(s.Sections))
	for _, section := range s.Sections {
		sections = append(sections, fmt.Sprintf("%s %d", section.Name, section.Bytes))
	}
	row(w, "sections", strings.Join(sections, ", "))
}

// capabilities shows what the manifest asks for beside what the code uses.
func (i *inspected) capabilities(w io.Writer) {
	for _, g := range i.Asks {
		row(w, "asks for", strings.Join(append([]string{g.Capability}, g.Scopes...), " "))
	}
	if len(i.Asks) == 0 {
		row(w, "asks for", "nothing")
	}
	uses := strings.Join(i.Uses.Calls, " ")
	if uses == "" {
		uses = "no host call but log"
	}
	sure := "by the names in the module"
	if !i.Uses.Sure {
		sure = "as far as the script shows"
	}
	row(w, "uses", uses+" ("+sure+")")
	if len(i.Uses.Missing) > 0 {
		row(w, "not asked for", strings.Join(i.Uses.Missing, " "))
	}
}

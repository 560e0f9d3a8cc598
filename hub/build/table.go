package build

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/stavily/stavily/protocol"
)

// builders is the table of languages, a row each. Nothing else in this repository knows
// which languages there are: a new one is a new row (P-03).
var builders = []*language{goLanguage(), rustLanguage(), javascript(), typescript(), python()}

// planned are names that a manifest may use before there is a row: a manifest is read and
// kept whole before anybody asks whether it can be built here.
var planned = []string{"go", "javascript", "python", "rust", "typescript"}

// language is one row of the table.
type language struct {
	name  string   // what a manifest says under runtime.language
	also  []string // what it may say instead
	title string   // for people, such as "Go"

	// needs are what must be installed on the hub, the one that says the language's
	// version first; empty for a language that needs nothing.
	needs []need
	// locked says how dependencies are locked, for people.
	locked string
	// artifacts says what comes out for which platforms, for people.
	artifacts string
	// coverage says how coverage is measured, for people; empty: it cannot be, and policy
	// decides (Config.AllowUnmeasured).
	coverage string
	// native says that native artifacts are built too, where they are wanted.
	native bool
	// runsSource says that a build runs code of the source on the hub, not only the
	// compiler: where it cannot be confined, there is no build (Config.AllowUnconfined).
	runsSource bool

	// flags is everything but tree and toolchain that the artifacts follow from.
	flags func() string
	// fetch brings the dependencies that the source locks. It alone has the network.
	fetch func(ctx context.Context, w *workspace) error
	// build compiles what fetch left, and returns the artifacts; the first is the module.
	build func(ctx context.Context, w *workspace) ([]Output, error)
	// test runs the source's own tests, in the folder suite of it. The error has ErrNoTests
	// in its chain when there are none.
	test func(ctx context.Context, w *workspace, suite string) (tested, error)
}

// need is one thing that must be installed.
type need struct {
	name string
	// probe returns what is there, as it calls itself, or an error that says what is wrong.
	probe func(ctx context.Context) (string, error)
	hint  string // the exact way to install it
	// optional needs make a build better and are not missed.
	optional bool
	// silent needs change no artifact, and are no part of what the toolchain calls itself.
	silent bool
}

// tested is what came of a source's own tests that passed.
type tested struct {
	said     string
	measured bool
	coverage float64 // percent; counts when measured
	why      string  // the reason that it was not, where the language can be measured
}

// Output is one file that a build gives.
type Output struct {
	Platform string // protocol.PlatformWASM, or the name of one platform
	// Engine is what runs Bytes, a zip archive of scripts; empty when they run by themselves.
	Engine string
	Bytes  []byte
	// Note says of a native artifact what is in it and what it needs, for people.
	Note string
}

// names returns everything that a manifest may say, in ascending order.
func names() []string {
	out := slices.Clone(planned)
	for _, l := range builders {
		out = append(append(out, l.name), l.also...)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func knownLanguage(name string) bool { return slices.Contains(names(), name) }

// row finds the row of m's language.
func row(m *protocol.Manifest) (*language, error) {
	var have []string
	for _, l := range builders {
		if l.name == m.Runtime.Language || slices.Contains(l.also, m.Runtime.Language) {
			return l, nil
		}
		have = append(have, l.name)
	}
	return nil, protocol.Errorf(protocol.CodeIncompatible, "plugin %s: this hub builds no %s; it builds %s",
		m, m.Runtime.Language, strings.Join(have, ", "))
}

// toolchain returns what the installed toolchain calls itself, or an error that says what
// is missing and how to install it.
func (l *language) toolchain(ctx context.Context) (string, error) {
	var said []string
	for _, n := range l.needs {
		if n.silent {
			continue
		}
		found, err := n.look(ctx)
		switch {
		case ctx.Err() != nil:
			return "", overtime(ctx, n.name, err)
		case err == nil:
			said = append(said, found)
		case !n.optional:
			return "", protocol.Errorf(protocol.CodeUnavailable, "build: no %s toolchain: %w; %s", l.title, err,
				n.hint)
		}
	}
	if len(said) == 0 {
		return l.name + " of this hub", nil
	}
	return strings.Join(said, ", "), nil
}

// notes is what a release says of how it was built.
func (l *language) notes(confined string) []string {
	code := "no code of the source is run natively"
	if l.runsSource {
		code = "build scripts of the source may have run"
	}
	return []string{"build " + confined, code, "dependencies locked by " + l.locked}
}

// look probes within toolchainMax.
func (n need) look(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, toolchainMax)
	defer cancel()
	found, err := n.probe(ctx)
	if err != nil {
		err = fmt.Errorf("%s: %w", n.name, err)
	}
	return found, overtime(ctx, n.name, err)
}

// Tool is one thing that a language needs on the hub, and whether it is there.
type Tool struct {
	Language string `json:"language"`
	Name     string `json:"name"`
	Found    string `json:"found,omitempty"` // what it calls itself; empty when it is missing
	Problem  string `json:"problem,omitempty"`
	Hint     string `json:"hint,omitempty"` // how to install it, when it is missing
	Optional bool   `json:"optional,omitempty"`
}

// Support is what a row of the table says of itself, and what of its tools is there.
type Support struct {
	Language  string   `json:"language"`
	Also      []string `json:"also,omitempty"`
	Ready     bool     `json:"ready"` // all that it needs is there
	Tools     []Tool   `json:"tools"`
	Locked    string   `json:"locked"`
	Artifacts string   `json:"artifacts"`
	Coverage  string   `json:"coverage"`
}

// Doctor looks at every row of the table on this machine. ctx bounds the whole; what did
// not answer in time is missing.
func Doctor(ctx context.Context) []Support {
	out := make([]Support, 0, len(builders))
	for _, l := range builders {
		s := Support{
			Language: l.name, Also: l.also, Ready: true,
			Locked: l.locked, Artifacts: l.artifacts, Coverage: l.coverage,
		}
		if s.Coverage == "" {
			s.Coverage = "cannot be measured: policy decides"
		}
		for _, n := range l.needs {
			found, err := n.look(ctx)
			t := Tool{Language: l.name, Name: n.name, Found: found, Optional: n.optional}
			if err != nil {
				t.Found, t.Problem, t.Hint = "", err.Error(), n.hint
				s.Ready = s.Ready && n.optional
			}
			s.Tools = append(s.Tools, t)
		}
		out = append(out, s)
	}
	return out
}

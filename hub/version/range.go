// Package version reads what a workflow says of the versions of a plugin: a range such as
// ^1.2, ~1.4 or 1.x, one version, or a channel such as stable or beta.
package version

import (
	"slices"
	"strings"

	"github.com/stavily/stavily/protocol"

	"github.com/Masterminds/semver/v3"
)

// Channel is a name that stands for versions by how finished they are.
type Channel string

// The channels, the most finished first. A channel takes its own versions and those of the
// channels before it; a version without a pre-release is stable, one such as 1.2.0-rc.1 is
// of the channel that its pre-release begins with, and one that begins otherwise is of none.
const (
	Stable Channel = "stable"
	RC     Channel = "rc"
	Beta   Channel = "beta"
	Alpha  Channel = "alpha"
)

// Channels returns all of them, the most finished first.
func Channels() []Channel { return []Channel{Stable, RC, Beta, Alpha} }

// textMax bounds a range in bytes.
const textMax = 256

// Range is a set of versions. The zero Range takes every version that is no pre-release.
type Range struct {
	text    string
	channel Channel // empty: constraint says it, or nothing does
	within  *semver.Constraints
}

// Parse reads a range, a version or a channel's name; empty is the zero Range. The error has
// CodeBadInput.
func Parse(text string) (Range, error) {
	r := Range{text: text}
	switch c := Channel(text); {
	case text == "":
		return r, nil
	case slices.Contains(Channels(), c):
		r.channel = c
		return r, nil
	case len(text) > textMax:
		return r, protocol.Errorf(protocol.CodeBadInput, "versions of %d bytes, limit %d", len(text), textMax)
	}
	within, err := semver.NewConstraint(text)
	if err != nil {
		return r, protocol.Errorf(protocol.CodeBadInput,
			"%q is no version, range or channel such as 1.2.0, ^1.2, ~1.4, 1.x, stable or beta", text)
	}
	r.within = within
	return r, nil
}

// Cut reads a reference: a plugin's name, and after an @ the versions of it. The error has
// CodeBadInput.
func Cut(ref string) (name string, r Range, err error) {
	name, text, ranged := strings.Cut(ref, "@")
	if ranged && text == "" {
		return name, r, protocol.Errorf(protocol.CodeBadInput, "plugin %q: nothing after the @", name)
	}
	if r, err = Parse(text); err != nil {
		return name, r, protocol.Errorf(protocol.CodeBadInput, "plugin %q: %w", name, err)
	}
	return name, r, nil
}

// Takes reports whether a version is one of them. Anything but a whole version is not.
func (r Range) Takes(v string) bool {
	parsed, err := semver.StrictNewVersion(v)
	switch {
	case err != nil:
		return false
	case r.within != nil:
		return r.within.Check(parsed)
	}
	at := slices.Index(Channels(), channelOf(parsed))
	return at >= 0 && at <= max(0, slices.Index(Channels(), r.channel))
}

// String returns the range as it was written.
func (r Range) String() string { return r.text }

// Of returns the channel of a version, empty for none.
func Of(v string) Channel {
	parsed, err := semver.StrictNewVersion(v)
	if err != nil {
		return ""
	}
	return channelOf(parsed)
}

func channelOf(v *semver.Version) Channel {
	if v.Prerelease() == "" {
		return Stable
	}
	first, _, _ := strings.Cut(v.Prerelease(), ".")
	c := Channel(strings.ToLower(strings.TrimRight(first, "0123456789")))
	if c == Stable || !slices.Contains(Channels(), c) {
		return ""
	}
	return c
}

// Compare orders two versions by their precedence: below 0 when v comes first. What is not a
// whole version comes before all that are.
func Compare(v, w string) int {
	a, errA := semver.StrictNewVersion(v)
	b, errB := semver.StrictNewVersion(w)
	switch {
	case errA != nil && errB != nil:
		return strings.Compare(v, w)
	case errA != nil:
		return -1
	case errB != nil:
		return 1
	}
	return a.Compare(b)
}

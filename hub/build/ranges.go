package build

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/Masterminds/semver/v3"
)

// language holds M-06 to M-11. Where two keys bound the same thing, both hold (G-4).
func (c *checker) language() {
	r, l := &c.m.Runtime, &c.m.Compatibility.Language
	c.want(knownLanguage(r.Language), "runtime.language", "%q: want one of %s", r.Language,
		strings.Join(names(), ", "))
	c.want(l.Name == "" || l.Name == r.Language, "compatibility.programming_language.name",
		"%q, but runtime.language is %q", l.Name, r.Language)
	all := []bound{
		{"runtime.min_version", atLeast(r.MinVersion)},
		{"compatibility.programming_language.min_version", atLeast(l.MinVersion)},
		{"compatibility.programming_language.max_version", atMost(l.MaxVersion)},
	}
	c.compatible(all)
	if r.MinVersion != "" && l.MinVersion != "" && all[0].text != all[1].text {
		c.warn("runtime.min_version %q and compatibility.programming_language.min_version %q: both must hold",
			r.MinVersion, l.MinVersion)
	}
}

// libraries holds M-08 and M-12.
func (c *checker) libraries() {
	narrowed := c.m.Compatibility.Libraries
	names := make([]string, 0, len(narrowed))
	for name := range narrowed {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		c.compatible([]bound{{"compatibility.library_dependencies." + name, equals(narrowed[name])}})
	}
	var twice []string
	for i, dep := range c.m.Runtime.Dependencies {
		name := dependencyName.FindString(dep)
		here := bound{fmt.Sprintf("runtime.dependencies[%d]", i), equals(strings.TrimPrefix(dep, name))}
		c.want(name != "", here.path, "%q: want a name and a range such as psutil>=5.8.0", dep)
		there := bound{"compatibility.library_dependencies." + name, equals(narrowed[name])}
		c.compatible([]bound{here, there})
		if there.text != "" && there.text != here.text {
			twice = append(twice, name)
		}
		if name == "subprocess32" { // G-3
			c.warn("%s: subprocess32 is a backport for Python 2 and does nothing on Python 3", here.path)
		}
	}
	if len(twice) > 0 { // G-4
		c.warn("runtime.dependencies and compatibility.library_dependencies both bound %s: both must hold",
			strings.Join(twice, ", "))
	}
}

var dependencyName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._/-]*`)

// bound is one range of versions and where it is written; an empty text bounds nothing.
type bound struct{ path, text string }

// compatible wants every range to be one, and some version to be in all of them.
func (c *checker) compatible(all []bound) {
	var ranges []*semver.Constraints
	var said []bound
	for _, b := range all {
		if b.text == "" {
			continue
		}
		r, err := semver.NewConstraint(b.text)
		if err != nil {
			c.want(false, b.path, "%q: want a version or a range such as >=1.2.0,<2.0.0", b.text)
			return
		}
		ranges, said = append(ranges, r), append(said, b)
		for _, other := range said[:len(said)-1] {
			c.want(meet([]string{other.text, b.text}), b.path, "%q: no version is also %q, as %s wants", b.text,
				other.text, other.path)
		}
	}
	if len(ranges) > 2 {
		c.want(meet(texts(said)), said[len(said)-1].path, "no version is all of %s", strings.Join(texts(said),
			" and "))
	}
}

func texts(all []bound) []string {
	out := make([]string, len(all))
	for i, b := range all {
		out[i] = b.text
	}
	return out
}

var versionInText = regexp.MustCompile(`\d+(\.\d+){0,2}(-[0-9A-Za-z.-]+)?`)

// meet reports whether some version is in every one of the ranges, which must be
// readable. The lowest such version is 0.0.0, a version that a range names, or the next
// one after it, so that those are all to be tried.
func meet(ranges []string) bool {
	candidates := []semver.Version{*semver.MustParse("0.0.0")}
	var all []*semver.Constraints
	for _, text := range ranges {
		r, err := semver.NewConstraint(text)
		if err != nil {
			return false
		}
		all = append(all, r)
		for _, named := range versionInText.FindAllString(text, -1) {
			if v, err := semver.NewVersion(named); err == nil {
				candidates = append(candidates, *v, v.IncPatch(), v.IncMinor(), v.IncMajor())
			}
		}
	}
	return slices.ContainsFunc(candidates, func(v semver.Version) bool {
		return !slices.ContainsFunc(all, func(r *semver.Constraints) bool { return !r.Check(&v) })
	})
}

// atLeast reads a bare version as "this or newer" (M-10).
func atLeast(v string) string { return bare(v, ">=") }

// atMost reads a bare version as "this or older" (M-11).
func atMost(v string) string { return bare(v, "<=") }

func bare(v, sign string) string {
	if v != "" && v[0] >= '0' && v[0] <= '9' {
		return sign + v
	}
	return v
}

// equals reads "==", as Python's packagers write it.
func equals(text string) string { return strings.ReplaceAll(text, "==", "=") }

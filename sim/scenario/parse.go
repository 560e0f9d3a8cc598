package scenario

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/stavily/stavily/text/strict"
)

// Files are what a scenario refers to. Paths are relative to the scenario's folder.
type Files interface {
	ReadFile(path string) ([]byte, error)
	Stat(path string) (fs.FileInfo, error)
}

// Folder is Files in a folder of the disk. A path may leave the folder.
type Folder string

// ReadFile returns a file's content. More than 64 MiB are an error.
func (f Folder) ReadFile(path string) ([]byte, error) {
	info, err := f.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Size() > fileMax || !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s: %d bytes, want a file of at most %d", path, info.Size(), fileMax)
	}
	return os.ReadFile(f.Path(path))
}

// Stat describes a file.
func (f Folder) Stat(path string) (fs.FileInfo, error) { return os.Stat(f.Path(path)) }

// Path returns where the file is.
func (f Folder) Path(path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(string(f), path)
}

const fileMax = 64 << 20

// Load reads a scenario from the disk. The error is Errors, or that of reading it.
func Load(path string) (*Scenario, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return Parse(path, text, Folder(filepath.Dir(path)))
}

// Parse reads and checks a scenario. file stands in errors, which are Errors.
func Parse(file string, text []byte, files Files) (*Scenario, error) {
	return (&Scenario{File: file, files: files}).again(text)
}

// again reads text as s was read: with its files, and at the level that was asked for.
func (s *Scenario) again(text []byte) (*Scenario, error) {
	file, files := s.File, s.files
	s = &Scenario{
		File: file, forced: s.forced, Start: time.Date(2026, time.January, 1, 0, 0, 0, 0, time.UTC),
		Level: cmp.Or(s.forced, LevelModel), Seed: 1,
		Duration: durationMax, text: text, files: files,
	}
	r := &reader{File: strict.NewFile(file, text), files: files, s: s}
	if root := strict.Parse(r.File, text, strict.Bounds{Size: SizeMax, Depth: depthMax}); root != nil {
		top := value{r: r, node: root}
		s.Pos = top.pos()
		fields(top, topKeys, s)
		s.checkLong(top)
		s.defaults()
	}
	if err := r.failed(); err != nil {
		return nil, err
	}
	return s, nil
}

// topKeys are the keys of a scenario. Those that others are checked against come first.
var topKeys = []key[Scenario]{
	{"stavily", "the language and its version: " + Version, enum(Version), true, readVersion},
	{
		"name",
		"what the scenario is called",
		formName,
		true,
		readName(func(s *Scenario) *string { return &s.Name }),
	},
	{
		"seed",
		"what everything drawn at random follows from",
		formCount,
		false,
		set(parseSeed, func(s *Scenario) *uint64 {
			return &s.Seed
		}),
	},
	{"start", "the moment at which it begins, such as 2026-11-01T06:00:00Z", formText, false, set(parseStart,
		func(s *Scenario) *time.Time { return &s.Start })},
	{
		"duration",
		"how long it lasts in virtual time",
		formDuration,
		true,
		readLasting(func(s *Scenario) *time.Duration {
			return &s.Duration
		}),
	},
	{"level", "how much is real: model, bubble or live", enum("model", "bubble", "live"), false, readLevel},
	{"settle", "how long after the last fault all must have converged", formDuration, false, readLasting(
		func(s *Scenario) *time.Duration { return &s.Settle })},
	{"sample", "how often the fleet's figures are taken", formDuration, false, readLasting(
		func(s *Scenario) *time.Duration { return &s.Sample })},
	{
		"certificates",
		"how long agents' certificates last, at level bubble",
		formDuration,
		false,
		readCertificates,
	},
	{"fleet", "groups of agents", list(object(groupKeys)), true, readFleet},
	{
		"plugins",
		"what answers for a plugin's name in workflows",
		mapOf(object(pluginKeys)),
		false,
		readPlugins,
	},
	{
		"deploy",
		"workflows deployed and removed, in order of time",
		list(object(deployKeys)),
		false,
		readDeploys,
	},
	{"faults", "what goes wrong", list(object(faultKeys)), false, readFaults},
	{"expect", "what must hold besides what always must", list(object(expectKeys)), false, readExpects},
	{
		"report", "files to write, relative to where the command runs", object(reportKeys), false,
		func(v value, s *Scenario) { fields(v, reportKeys, &s.Report) },
	},
}

var reportKeys = []key[Report]{
	{
		"html",
		"a page with pictures",
		formText,
		false,
		set(parsePath, func(r *Report) *string { return &r.HTML }),
	},
	{
		"junit",
		"JUnit XML for CI",
		formText,
		false,
		set(parsePath, func(r *Report) *string { return &r.JUnit }),
	},
	{
		"json",
		"everything, for programs",
		formText,
		false,
		set(parsePath, func(r *Report) *string { return &r.JSON }),
	},
	{
		"trace",
		"what happened, event by event",
		formText,
		false,
		set(parsePath, func(r *Report) *string { return &r.Trace }),
	},
}

func readVersion(v value, _ *Scenario) {
	if text, ok := v.scalar(Version); ok && text != Version {
		v.errorf("%q, want %s", text, Version)
	}
}

func readName[T any](field func(*T) *string) func(value, *T) {
	return set(func(text string) (string, error) {
		if !isName(text) || len(text) > 64 {
			return "", fmt.Errorf("%q is no name; want 1 to 64 of a-z, 0-9, dot and dash", strict.Clip(text))
		}
		return text, nil
	}, field)
}

func isName(text string) bool {
	return text != "" && strings.Trim(text, "abcdefghijklmnopqrstuvwxyz0123456789-.") == "" && text[0] != '-'
}

func parseSeed(text string) (uint64, error) {
	seed, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%q is no seed; want a whole number, 0 or more", strict.Clip(text))
	}
	return seed, nil
}

func parseStart(text string) (time.Time, error) {
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		if t, err := time.Parse(layout, text); err == nil && t.Year() >= 2000 && t.Year() < 2200 {
			return t.UTC(), nil
		}
	}
	return time.Time{}, fmt.Errorf("%q is no moment; want such as 2026-11-01T06:00:00Z", strict.Clip(text))
}

func parsePath(text string) (string, error) {
	if text == "" || len(text) > 1024 || strings.ContainsRune(text, 0) {
		return "", fmt.Errorf("%q is no path", strict.Clip(text))
	}
	return text, nil
}

// parsePositive is parseDuration for what takes time.
func parsePositive(text string) (time.Duration, error) {
	d, err := parseDuration(text)
	if err == nil && d < 0 {
		err = fmt.Errorf("%s is negative", text)
	}
	return d, err
}

// readLasting reads a duration above 0.
func readLasting[T any](field func(*T) *time.Duration) func(value, *T) {
	return set(func(text string) (time.Duration, error) {
		d, err := parsePositive(text)
		if err == nil && d == 0 {
			err = errors.New("0s, want a time above 0")
		}
		return d, err
	}, field)
}

// moment reads when something happens: a time since the start, a time of day (the first
// after the start) or a date.
func (v value) moment() (time.Duration, bool) {
	text, ok := v.scalar("a time such as 2h or 08:00")
	if !ok {
		return 0, false
	}
	s := v.r.s
	at, err := parseDuration(text)
	if clock, clockErr := parseClock(text); clockErr == nil {
		at, err = (clock-s.Start.Sub(s.Start.Truncate(day))+day)%day, nil
	} else if date, dateErr := parseStart(text); dateErr == nil {
		at, err = date.Sub(s.Start), nil
	}
	switch {
	case err != nil:
		v.errorf("%q is no time; want such as 2h (since the start), 08:00 or a date", strict.Clip(text))
	case at < 0:
		v.errorf("%s is before the start", text)
	case at > s.Duration:
		v.errorf("%s is after the end: the scenario lasts %s", text, formatDuration(s.Duration))
	default:
		return at, true
	}
	return 0, false
}

func readMoment[T any](field func(*T) *time.Duration) func(value, *T) {
	return func(v value, into *T) {
		if at, ok := v.moment(); ok {
			*field(into) = at
		}
	}
}

const (
	settleDefault = 30 * time.Minute
	samplesWanted = 240
)

// defaults fills what the file left out.
func (s *Scenario) defaults() {
	s.Settle = s.settle()
	if s.Sample == 0 {
		s.Sample = max(time.Second, (s.Duration / samplesWanted).Truncate(time.Second))
	}
}

func (s *Scenario) settle() time.Duration {
	if s.Settle == 0 {
		return settleDefault
	}
	return s.Settle
}

// Errorf returns an error at a place of the scenario.
func (s *Scenario) Errorf(at Pos, format string, args ...any) error {
	f := strict.NewFile(s.File, s.text)
	return Errors{f.At(&yaml.Node{Line: at.Line, Column: at.Column}, "", format, args...)}
}

var (
	_ Files = Folder("")
	_ error = Errors(nil)
)

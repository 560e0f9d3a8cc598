package scenario

import (
	"bytes"
	"os"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"
)

// The schema is the parser's tables, written out: `go test ./sim/scenario -run Schema
// -update` writes it anew.
func TestSchemaIsTheTables(t *testing.T) {
	want, err := makeSchema()
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile("schema.json", want, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if !bytes.Equal(Schema(), want) {
		t.Error("schema.json is not what the tables say; run with -update")
	}
}

// What the parser takes the schema takes, and unknown keys neither.
func TestSchemaAgreesWithTheParser(t *testing.T) {
	made, err := makeSchema()
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(made))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("schema.json", doc); err != nil {
		t.Fatal(err)
	}
	compiled, err := c.Compile("schema.json")
	if err != nil {
		t.Fatal(err)
	}
	valid := func(text string) error {
		var v any
		if err := yaml.Unmarshal([]byte(text), &v); err != nil {
			t.Fatal(err)
		}
		return compiled.Validate(plainJSON(v))
	}
	if err := valid(sink); err != nil {
		t.Errorf("the sample: %v", err)
	}
	for _, c := range [][2]string{
		{"seed: 42", "sead: 42"},
		{"count: 20", "cuont: 20"},
		{"count: 20", "count: many"},
		{"loss: 1%", "loss: one"},
		{"latency: 80ms±40ms", "latency: slow"},
		{"what: disk-full", "what: disk-ful"},
		{"within: 34h", "within: soon"},
		{"metric: run_ms", "metric: run"},
		{"level: model", "level: boards"},
		{"html: out", "htlm: out"},
		{"poisson: 12/h", "poisson: often"},
		{"model: pass", "model: past"},
		{"count: 20", "count: 20\n    budget: 2MB/30d"},
	} {
		text := strings.Replace(sink, c[0], c[1], 1)
		if text == sink {
			t.Fatalf("the sample lost %q", c[0])
		}
		if valid(text) == nil {
			t.Errorf("the schema takes %q", c[1])
		}
		if _, err := Parse("s.yaml", []byte(text), sinkFiles()); err == nil {
			t.Errorf("the parser takes %q", c[1])
		}
	}
}

// The sample has every key of the tables, so that the tests above speak of all.
func TestSampleHasEveryKey(t *testing.T) {
	names := map[string]bool{}
	collect(names, topKeys, groupKeys, reportKeys)
	collectOf(names, linkKeys)
	collectOf(names, onlineKeys)
	collectOf(names, clockKeys)
	collectOf(names, diskKeys)
	collectOf(names, signalKeys)
	collectOf(names, walkKeys)
	collectOf(names, sineKeys)
	collectOf(names, stepKeys)
	collectOf(names, pluginKeys)
	collectOf(names, deployKeys)
	collectOf(names, faultKeys)
	collectOf(names, expectKeys)
	collectOf(names, withinKeys)
	collectOf(names, sloKeys)
	for name := range names {
		if name == "certificates" { // only at level bubble, where the sample could not be
			continue
		}
		if !strings.Contains(sink, name+":") {
			t.Errorf("the sample has no %q", name)
		}
	}
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	words := strings.FieldsFunc(string(readme), func(r rune) bool { return r != '_' && !unicode.IsLetter(r) && !unicode.IsDigit(r) })
	for name := range names {
		if !slices.Contains(words, name) {
			t.Errorf("sim/README.md does not tell of %q", name)
		}
	}
}

func collect(into map[string]bool, top []key[Scenario], group []key[Group], report []key[Report]) {
	collectOf(into, top)
	collectOf(into, group)
	collectOf(into, report)
}

func collectOf[T any](into map[string]bool, keys []key[T]) {
	for _, k := range keys {
		into[k.name] = true
	}
}

// plainJSON turns YAML's values into those of JSON.
func plainJSON(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for k := range v {
			v[k] = plainJSON(v[k])
		}
	case []any:
		for i := range v {
			v[i] = plainJSON(v[i])
		}
	case int:
		return float64(v)
	case interface{ Format(string) string }:
		return v.Format("2006-01-02T15:04:05Z07:00")
	}
	return v
}

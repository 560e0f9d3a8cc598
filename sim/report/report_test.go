package report

import (
	"bytes"
	"encoding/xml"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write golden files anew")

// sample is a result with something of everything: a day of 60 agents, two of which
// never converge.
func sample() *Result {
	const hour = 3_600_000
	r := &Result{
		Scenario: "freezer-1.4-rollout", File: "freezer.yaml", Seed: 42, Build: "v0.1.0-1a2b3c4d", Level: "model",
		Start: time.Date(2026, 11, 1, 6, 0, 0, 0, time.UTC), LastMS: 24 * hour, Agents: 60, Events: 1_234_567,
		Options: []Option{{"agents", "60"}, {"duration", "1d"}, {"net.loss", "1%"}},
		Totals: Totals{
			Fired: 12406, Ended: 12380, Failed: 31, Delivered: 12380, Duplicated: 0, Dropped: 25, Lost: 1, Refused: 3,
			BytesUp: 48_123_456, BytesDown: 6_400_000, MaxDelayMS: 9*hour + 58*60_000, DelayAgent: "store-5-0",
			PeakOutbox: 1_900_000, PeakAgent: "store-3-4",
		},
		Faults: []Fault{
			{Index: 0, What: "partition", AtMS: 3 * hour, ForMS: hour, Agents: 10, Names: []string{"store-1-0", "store-1-1"}},
			{Index: 1, What: "hub-restart", AtMS: 6 * hour, ForMS: 240_000},
			{Index: 2, What: "power-cut", AtMS: 8 * hour, Agents: 3, Names: []string{"store-2-2"}, Detail: "torn"},
			{Index: 0, What: "partition", AtMS: 14 * hour, ForMS: 2 * hour, Agents: 10},
		},
		Invariants: []Invariant{
			{"unsealed", "no unsealed code runs", 52_100, 0},
			{"ends", "every fired event ends in a result or a counted drop", 12_406, 1},
		},
		Violations: []Violation{{
			"ends", 21 * hour, "store-3-4", "run 5f0c <script> has neither a result nor a drop", "power-cut #2 at +08:00:00",
			"stavily sim run freezer.yaml --seed 42", "stavily sim replay freezer.yaml --seed 42 --to 21h0m0s --agent store-3-4",
		}},
		Expects: []Expect{
			{Line: 61, Kind: "eventually", Text: "fleet.active('freezer') >= 99.5%", Held: true, AtMS: 2 * hour},
			{
				Index: 1, Line: 62, Kind: "never", Text: "alerts.lost > 0", AtMS: 21 * hour, Detail: "alerts.lost = 1",
				Cause: "power-cut #2 at +08:00:00", Repeat: "stavily sim run freezer.yaml --seed 42",
			},
		},
		Deployments: []Deployed{
			{Workflow: "freezer", AtMS: 2 * hour, Agents: 60, Reached: 58, HalfMS: 31_000, MostMS: 2 * hour, AllMS: -1},
			{
				Workflow: "nightly", Wave: 1, AtMS: 12 * hour, Agents: 6, Reached: 6, HalfMS: 800, MostMS: 1500, AllMS: 2100,
				Outcome: WavePassed, EndMS: 13 * hour,
			},
			{
				Workflow: "nightly", Wave: 2, AtMS: 13 * hour, Agents: 20, Reached: 19, HalfMS: 900, MostMS: 2500, AllMS: -1,
				Outcome: WaveReturned, Reason: "12 of 60 runs ended badly", EndMS: 15 * hour,
			},
		},
		Pending: []Pending{{"store-5-0", "offline since +22:00:00"}, {"store-5-1", "offline since +22:00:00"}},
		Notes:   []string{"workflow nightly: not on agent store-9-1: no_memory: <64 MB>"},
		Trace:   strings.Repeat("9f2c", 16),
	}
	stores := Group{
		Name: "stores", Agents: 60, Converged: 58, Fired: 12406, Ended: 12380, Failed: 31, Dropped: 25,
		BytesUp: 48_123_456, BytesDown: 6_400_000, Restarts: 3, P50MS: 180, P95MS: 420, P99MS: 61_000,
	}
	for i := range 12 {
		stores.Sites = append(stores.Sites, Site{fmt.Sprintf("store-%d", i), 5, uint64(4_000_000 - i*200_000), 533_000, 0})
	}
	r.Groups = []Group{stores}
	for i := range 96 {
		at := int64(i+1) * hour / 4
		swing := math.Sin(float64(i) / 8)
		s := Sample{
			AtMS: at, Online: 57 + int(2*swing), Converged: min(58, i*4), Fired: uint64(130 + 30*swing), Ended: uint64(128 + 30*swing),
			BytesUp: uint64(500_000 + 100_000*swing), BytesDown: 66_000, Sites: strings.Repeat("o", 12),
			Delivered: uint64(min(i%20, 1)), P50MS: 180, P95MS: 420 + int64(i), P99MS: 1200,
		}
		if i < 16 {
			s.Sites = strings.Repeat("w", 12)
		}
		if i >= 12 && i < 16 || i >= 56 && i < 64 {
			s.Online -= 10
			s.Ended -= 25
			s.Backlog = uint64(i%8+1) * 240_000
			s.Sites = "o..ooooooooo"
		}
		if i == 32 || i == 33 {
			s.Failed = 15
			s.P99MS = 2 * hour
			s.Sites = "ooxooooooooo"
		}
		r.Samples = append(r.Samples, s)
	}
	r.Samples[95].Sites = "ooooo.oooooo"
	for i := range 4 {
		r.Slowest = append(r.Slowest, Run{
			Run: fmt.Sprintf("%08x", i), Workflow: "freezer", Agent: fmt.Sprintf("store-5-%d", i), FiredMS: 13 * hour, TookMS: int64(10-i) * hour,
			Steps: []Step{{"check", "store-5-0", 13*hour + 400_000, "ok"}, {"sink", "store-5-0", 13*hour + int64(10-i)*hour, []string{"ok", "refused"}[i%2]}},
		})
	}
	return r
}

var forms = []struct {
	file  string
	write func(io.Writer, *Result) error
}{
	{"table.txt", WriteTable},
	{"result.json", WriteJSON},
	{"junit.xml", WriteJUnit},
	{"page.html", WriteHTML},
}

// Each form of the same result is the same bytes, for ever.
func TestGolden(t *testing.T) {
	for _, f := range forms {
		t.Run(f.file, func(t *testing.T) {
			var got bytes.Buffer
			if err := f.write(&got, sample()); err != nil {
				t.Fatal(err)
			}
			path := filepath.Join("testdata", f.file)
			if *update {
				if err := os.WriteFile(path, got.Bytes(), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got.Bytes(), want) {
				t.Errorf("%s is not as it was; look at it and run with -update\n%s", f.file, firstDifference(got.String(), string(want)))
			}
		})
	}
}

func firstDifference(got, want string) string {
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range min(len(g), len(w)) {
		if g[i] != w[i] {
			return fmt.Sprintf("line %d\ngot  %.300s\nwant %.300s", i+1, g[i], w[i])
		}
	}
	return fmt.Sprintf("%d lines, want %d", len(g), len(w))
}

// The time that a run took in reality is told to people and is in no file for machines.
func TestWallTimeIsForPeopleOnly(t *testing.T) {
	for _, f := range forms[1:3] {
		var without, with bytes.Buffer
		r := sample()
		if err := f.write(&without, r); err != nil {
			t.Fatal(err)
		}
		r.Wall = 41 * time.Second
		if err := f.write(&with, r); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(with.Bytes(), without.Bytes()) {
			t.Errorf("%s tells the wall time", f.file)
		}
	}
	r := sample()
	r.Wall = 41 * time.Second
	var table bytes.Buffer
	if err := WriteTable(&table, r); err != nil || !strings.Contains(table.String(), "1d simulated in 41s (2,107x)") &&
		!strings.Contains(table.String(), "24h simulated in 41s (2,107x)") {
		t.Errorf("%v in\n%s", err, table.String())
	}
}

func TestJSONRoundTrip(t *testing.T) {
	var b bytes.Buffer
	if err := WriteJSON(&b, sample()); err != nil {
		t.Fatal(err)
	}
	got, err := ReadJSON(b.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	want := sample()
	want.Stavily, want.Fleet = Version, []Agent{}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	if _, err := ReadJSON([]byte(`{"stavily": "other"}`)); err == nil {
		t.Error("another form is taken")
	}
}

// JUnit has a case for every invariant, every expectation and convergence.
func TestJUnitCounts(t *testing.T) {
	var b bytes.Buffer
	if err := WriteJUnit(&b, sample()); err != nil {
		t.Fatal(err)
	}
	var got suites
	if err := xml.Unmarshal(b.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if got.Tests != 5 || got.Failures != 3 || len(got.Suite.Cases) != 5 {
		t.Errorf("%d tests, %d failures, %d cases", got.Tests, got.Failures, len(got.Suite.Cases))
	}
}

// The page is well formed, asks no network and lets nobody write markup.
func TestPageIsSelfContained(t *testing.T) {
	for name, r := range map[string]*Result{"full": sample(), "empty": {Scenario: "<b>&", Build: `"'`}} {
		var b bytes.Buffer
		if err := WriteHTML(&b, r); err != nil {
			t.Fatal(err)
		}
		text := b.String()
		for _, bad := range []string{"http:", "https:", "src=", "@import", "url(", "<b>&", "NaN", "Inf", "<script> has"} {
			if strings.Contains(text, bad) {
				t.Errorf("%s: the page holds %q", name, bad)
			}
		}
		if opened, closed := strings.Count(text, "<svg"), strings.Count(text, "</svg>"); opened != closed || opened == 0 {
			t.Errorf("%s: %d pictures begin and %d end", name, opened, closed)
		}
		for _, part := range strings.Split(text, "<svg")[1:] {
			picture, _, _ := strings.Cut(part, "</svg>")
			dec := xml.NewDecoder(strings.NewReader("<svg" + picture + "</svg>"))
			for {
				if _, err := dec.Token(); errors.Is(err, io.EOF) {
					break
				} else if err != nil {
					t.Errorf("%s: %v in <svg%.200s", name, err, picture)
					break
				}
			}
		}
	}
}

func TestWords(t *testing.T) {
	for _, c := range []struct{ got, want string }{
		{count(0), "0"},
		{count(999), "999"},
		{count(1234567), "1,234,567"},
		{size(999), "999 B"},
		{size(1000), "1 kB"},
		{size(1_900_000), "1.9 MB"},
		{size(999_600), "1 MB"},
		{took(-1), "never"},
		{took(0), "0s"},
		{took(250), "250ms"},
		{took(3400), "3.4s"},
		{took(220_000), "3m40s"},
		{took(97_920_000), "27h12m"},
		{took(34_560_000_000), "400d"},
		{moment(33_247_000), "+09:14:07"},
		{moment(86_400_000 * 3), "+3d 00:00:00"},
		{percent(99_999, 100_000), "99.9%"},
		{percent(1, 100_000), "0.1%"},
		{percent(0, 3), "0%"},
		{percent(3, 3), "100%"},
		{percent(0, 0), "-"},
		{plural(1, "agent", "agents"), "1 agent"},
	} {
		if c.got != c.want {
			t.Errorf("got %q, want %q", c.got, c.want)
		}
	}
}

func TestBroken(t *testing.T) {
	if (&Result{Expects: []Expect{{Held: true}}}).Broken() {
		t.Error("broken though all held")
	}
	for _, r := range []*Result{
		{Expects: []Expect{{Held: false}}}, {Violations: []Violation{{}}}, {Pending: []Pending{{}}},
	} {
		if !r.Broken() {
			t.Errorf("held: %+v", r)
		}
	}
}

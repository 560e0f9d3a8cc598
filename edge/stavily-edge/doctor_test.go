package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stavily/stavily/edge"
	"github.com/stavily/stavily/edge/disk"
	"github.com/stavily/stavily/protocol"
)

// doctored runs the doctor on a state directory and returns its findings by what they are about.
func doctored(t *testing.T, state string) (all map[string]finding, code int) {
	t.Helper()
	var out, log bytes.Buffer
	code = run(t.Context(), []string{"doctor", "--state", state, "--output", "json"}, &out, &log)
	var got struct {
		Findings []struct{ About, Is, Text, Do string } `json:"findings"`
	}
	if err := json.Unmarshal(out.Bytes(), &got); err != nil {
		t.Fatalf("%v: %s", err, out.String())
	}
	all = map[string]finding{}
	for _, f := range got.Findings {
		all[f.About] = finding{f.About, verdict(f.Is), f.Text, f.Do}
		if (f.Is == string(well)) != (f.Do == "") {
			t.Errorf("%s is %s with the advice %q", f.About, f.Is, f.Do)
		}
	}
	return all, code
}

func TestDoctor(t *testing.T) {
	state := filepath.Join(t.TempDir(), "state")
	got, code := doctored(t, state)
	if code != exitOther || got["state"].is != bad || got["identity"].is != bad {
		t.Errorf("no folder: exit %d, %+v", code, got)
	}
	if _, err := os.Stat(state); err == nil {
		t.Error("the doctor made the folder that it was to look at")
	}
	hub := newJoinHub(t)
	var out, log bytes.Buffer
	args := []string{"join", "--state", state, "--hub", hub.addr, "--join", hub.token.String(), "--name", "pump"}
	if code := run(t.Context(), args, &out, &log); code != exitOK {
		t.Fatalf("join: exit %d, %s", code, log.String())
	}
	got, code = doctored(t, state)
	for about, want := range map[string]verdict{
		"state": well, "journal": well, "identity": well, "certificate": well, "agent": bad, "clock": well,
		"hub name": well, "hub line": well,
	} {
		if got[about].is != want {
			t.Errorf("joined: %s is %+v, want %s", about, got[about], want)
		}
	}
	if code != exitOther || !strings.Contains(got["agent"].do, "systemctl start") {
		t.Errorf("no agent: exit %d, %+v", code, got["agent"])
	}
	store, err := disk.Open(state, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	if !disk.Held(state) {
		t.Error("the state is held, and Held says no")
	}
	if err := os.MkdirAll(filepath.Join(state, dirIn), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{filepath.Join(dirIn, "x"+suffixBundle), filepath.Join("files", "y.bad")} {
		if err := os.WriteFile(filepath.Join(state, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	got, _ = doctored(t, state)
	if got["agent"].is == bad || got["carried"].is != warn || got["journal"].is != warn {
		t.Errorf("with an agent, a bundle and a broken part: %+v", got)
	}
}

// The doctor says of each lane that is nearly full, has let go of records or holds its triggers back.
func TestDoctorLanes(t *testing.T) {
	d := &doctor{o: &options{state: t.TempDir()}}
	for _, c := range []struct {
		of   edge.LaneStatus
		is   verdict
		text string
	}{
		{edge.LaneStatus{Lane: protocol.LaneMetric, Records: 9, Bytes: 900 << 10, Most: 1 << 20}, warn, "metric: 9 records wait, 900 of 1024 kB; nearly full"},
		{edge.LaneStatus{Lane: protocol.LaneLog, Most: 1 << 20, Dropped: 3}, warn, "log: 0 records wait, 0 of 1024 kB; 3 were dropped ever"},
		{
			edge.LaneStatus{Lane: protocol.LaneAlarm, Records: 9, Bytes: 900 << 10, Most: 1 << 20, Blocks: true},
			bad,
			"alarm: 9 records wait, 900 of 1024 kB; full: the triggers",
		},
	} {
		status := protocol.MustMarshal(edge.Status{Lanes: []edge.LaneStatus{c.of}})
		if err := os.WriteFile(filepath.Join(d.o.state, nameStatus), status, 0o600); err != nil {
			t.Fatal(err)
		}
		d.found = nil
		d.agent()
		at := slices.IndexFunc(d.found, func(f finding) bool { return f.about == "lane" })
		if at < 0 || d.found[at].is != c.is || !strings.HasPrefix(d.found[at].text, c.text) || d.found[at].do == "" {
			t.Errorf("%+v: %+v", c.of, d.found)
		}
	}
}

// A file that is no bundle for this device is refused before it takes any room.
func TestImportRefusesEarly(t *testing.T) {
	state := filepath.Join(t.TempDir(), "state")
	var out, log bytes.Buffer
	if code := run(t.Context(), []string{"import", "x", "--state", state}, &out, &log); code != exitOther {
		t.Errorf("no state: exit %d, %s", code, log.String())
	}
	if code := run(t.Context(), []string{"import", "--state", state}, &out, &log); code != exitUsage {
		t.Errorf("no file: exit %d, %s", code, log.String())
	}
	hub := newJoinHub(t)
	args := []string{"join", "--state", state, "--hub", hub.addr, "--join", hub.token.String(), "--name", "pump"}
	if code := run(t.Context(), args, &out, &log); code != exitOK {
		t.Fatalf("join: exit %d, %s", code, log.String())
	}
	none := filepath.Join(t.TempDir(), "none.bundle")
	if err := os.WriteFile(none, []byte("PK\x03\x04../../etc/passwd"), 0o600); err != nil {
		t.Fatal(err)
	}
	own := filepath.Join(t.TempDir(), "own.bundle")
	if code := run(t.Context(), []string{"export", own, "--state", state}, &out, &log); code != exitOK {
		t.Fatalf("export: exit %d, %s", code, log.String())
	}
	for file, want := range map[string]string{none: "no bundle", own: "for its hub", state: "want a file"} {
		log.Reset()
		code := run(t.Context(), []string{"import", "--state", state, file}, &out, &log)
		if code != exitRefused || !strings.Contains(log.String(), want) {
			t.Errorf("%s: exit %d, %s; want %q", file, code, log.String(), want)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(state, dirIn, "*")); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

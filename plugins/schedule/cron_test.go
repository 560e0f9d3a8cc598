package main

import (
	"strings"
	"testing"
	"time"
	_ "time/tzdata" // to compare with, where there is none
)

// An expression names the times that it says, in its zone, over both changes of the clock.
func TestCronNext(t *testing.T) {
	for _, c := range []struct{ cron, zone, after, want string }{
		{"30 6 * * 1-5", "", "2026-11-20T06:30:00Z", "2026-11-23T06:30:00Z"}, // Friday to Monday
		{"*/15 * * * *", "", "2026-11-23T23:50:01Z", "2026-11-24T00:00:00Z"},
		{"5-10/2,50 8,20 * * *", "", "2026-11-23T08:09:00Z", "2026-11-23T08:50:00Z"},
		{"0 12 29 feb *", "", "2096-03-01T00:00:00Z", "2104-02-29T12:00:00Z"},
		{"0 0 13 * fri", "", "2026-11-14T00:00:00Z", "2026-11-20T00:00:00Z"}, // either day
		{"0 0 * * 7", "", "2026-11-23T00:00:00Z", "2026-11-29T00:00:00Z"},
		{"@monthly", "", "2026-12-01T00:00:00Z", "2027-01-01T00:00:00Z"},
		{"0 9 * * *", "Europe/Oslo", "2026-07-01T07:00:00Z", "2026-07-02T07:00:00Z"},
		{"0 9 * * *", "Asia/Kolkata", "2026-07-01T00:00:00Z", "2026-07-01T03:30:00Z"},
		{"0 9 * * *", "Australia/Lord_Howe", "2026-01-01T00:00:00Z", "2026-01-01T22:00:00Z"},
		{"30 2 * * *", "Europe/Oslo", "2026-03-28T12:00:00Z", "2026-03-29T01:30:00Z"}, // leapt over: an hour later
		{"30 2 * * *", "Europe/Oslo", "2026-10-24T12:00:00Z", "2026-10-25T00:30:00Z"}, // twice: the first
		{"30 2 * * *", "Europe/Oslo", "2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"},
		{"30 * * * *", "Europe/Oslo", "2026-10-25T00:30:00Z", "2026-10-25T01:30:00Z"}, // every hour: both
		{"30 2 * * *", "America/New_York", "2026-11-01T05:00:00Z", "2026-11-01T07:30:00Z"},
	} {
		parsed, err := parseCron(c.cron)
		zone, zoneErr := zoneOf(c.zone)
		if err != nil || zoneErr != nil {
			t.Fatal(err, zoneErr)
		}
		after, _ := time.Parse(time.RFC3339, c.after)
		if got := parsed.next(after, zone).UTC().Format(time.RFC3339); got != c.want {
			t.Errorf("%q in %q after %s: got %s, want %s", c.cron, c.zone, c.after, got, c.want)
		}
	}
}

// What is no expression or zone is refused with its place.
func TestCronRefused(t *testing.T) {
	for text, want := range map[string]string{
		"": "five fields", "* * * *": "five fields", "60 * * * *": "minute", "* 24 * * *": "hour", "* * 0 * *": "day of the month",
		"* * * 13 *": "month", "* * * * 8": "day of the week", "*/0 * * * *": "step", "5-3 * * * *": "ends before",
		"* * * foo *": "want 1 to 12", "0 0 30 2 *": "no day", "1,,2 * * * *": "minute", "+1 * * * *": "",
	} {
		if _, err := parseCron(text); want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%q: got %v, want %q", text, err, want)
		}
	}
	if _, err := zoneOf("Europe/Atlantis"); err == nil {
		t.Error("a zone that is none")
	}
}

// Every zone's rule can be read, and says what the zone data of Go says of this year and the next.
func TestZones(t *testing.T) {
	n := 0
	for _, line := range strings.Split(strings.TrimSpace(zones), "\n") {
		for _, name := range strings.Fields(line)[1:] {
			ours, err := zoneOf(name)
			if err != nil {
				t.Fatal(err)
			}
			theirs, err := time.LoadLocation(name)
			if err != nil || name == "Africa/Casablanca" || name == "Africa/El_Aaiun" { // theirs follow the moon
				continue
			}
			n++
			for at := time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC); at.Year() < 2029; at = at.Add(29 * time.Hour) {
				_, got := at.In(ours).Zone()
				if _, want := at.In(theirs).Zone(); got != want {
					t.Fatalf("%s at %s: offset %d, want %d", name, at, got, want)
				}
			}
		}
	}
	if n < 400 {
		t.Fatalf("%d zones compared", n)
	}
}

func FuzzCron(f *testing.F) {
	for _, s := range []string{"30 6 * * 1-5", "@daily", "*/7 1,2 1-9/3 jan sun"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if c, err := parseCron(s); err == nil {
			from := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
			if at := c.next(from, time.UTC); !at.After(from) {
				t.Errorf("%q: next after %s is %s", s, from, at)
			}
		}
	})
}

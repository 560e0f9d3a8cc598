package rollout

import (
	"slices"
	"time"
	_ "time/tzdata" // a hub may run on a system without time zones

	"github.com/stavily/stavily/hub/workflow"
)

// open reports whether an agent with these labels may change now. No windows are always
// open.
func open(windows []workflow.Window, labels map[string]string, now time.Time) bool {
	if len(windows) == 0 {
		return true
	}
	return slices.ContainsFunc(windows, func(w workflow.Window) bool { return within(&w, labels, now) })
}

// within reports whether now is in the window, by the clock on the wall there: a window
// that lies in the hour that summer time skips does not open on that day, and one in the
// hour that comes twice opens twice.
func within(w *workflow.Window, labels map[string]string, now time.Time) bool {
	zone := w.Zone
	if zone == nil {
		zone = siteZone(labels)
	}
	t := now.In(zone)
	minute, day := t.Hour()*60+t.Minute(), t.Weekday()
	begins := func(d time.Weekday) bool { return len(w.Days) == 0 || slices.Contains(w.Days, d) }
	if w.From < w.To {
		return begins(day) && minute >= w.From && minute < w.To
	}
	yesterday := (day + 6) % 7
	return begins(day) && minute >= w.From || begins(yesterday) && minute < w.To
}

// siteZone returns the zone of an agent's label, UTC where it has none or an unknown one.
func siteZone(labels map[string]string) *time.Location {
	zone, err := time.LoadLocation(labels[workflow.ZoneLabel])
	if err != nil {
		return time.UTC
	}
	return zone
}

package main

import (
	"fmt"
	"math/bits"
	"strconv"
	"strings"
	"time"
)

// cron is an expression of five fields, as bits: minute, hour, day of the month, month, day of
// the week.
type cron struct {
	minute, hour, day, month, weekday uint64
	anyDay, anyWeekday                bool // not restricted: the other one decides
}

// field is one of the five, with its bounds and the names of its values from the lowest on.
type field struct {
	name      string
	low, high int
	names     string
}

var fields = [5]field{
	{"minute", 0, 59, ""},
	{"hour", 0, 23, ""},
	{"day of the month", 1, 31, ""},
	{"month", 1, 12, "jan feb mar apr may jun jul aug sep oct nov dec"},
	{"day of the week", 0, 7, "sun mon tue wed thu fri sat"},
}

var shortcuts = map[string]string{
	"@hourly": "0 * * * *", "@daily": "0 0 * * *", "@midnight": "0 0 * * *", "@weekly": "0 0 * * 0",
	"@monthly": "0 0 1 * *", "@yearly": "0 0 1 1 *", "@annually": "0 0 1 1 *",
}

const allHours = 1<<24 - 1

// parseCron reads an expression; its error names the field at fault.
func parseCron(s string) (c cron, err error) {
	if whole, ok := shortcuts[strings.TrimSpace(s)]; ok {
		s = whole
	}
	parts := strings.Fields(s)
	if len(parts) != len(fields) {
		return c, fmt.Errorf("cron %q: want five fields (minute, hour, day, month, day of the week), got %d",
			s, len(parts))
	}
	for i, to := range []*uint64{&c.minute, &c.hour, &c.day, &c.month, &c.weekday} {
		if *to, err = fields[i].parse(parts[i]); err != nil {
			return c, fmt.Errorf("cron %q: %s: %w", s, fields[i].name, err)
		}
	}
	c.anyDay, c.anyWeekday = strings.HasPrefix(parts[2], "*"), strings.HasPrefix(parts[4], "*")
	c.weekday |= c.weekday >> 7 & 1 // 7 is Sunday too
	if c.next(time.Unix(0, 0), time.UTC).IsZero() {
		return c, fmt.Errorf("cron %q: no day is that one", s)
	}
	return c, nil
}

// parse reads a list of values, ranges and steps.
func (f *field) parse(s string) (set uint64, err error) {
	for _, part := range strings.Split(strings.ToLower(s), ",") {
		from, to, step, err := f.part(part)
		if err != nil {
			return 0, err
		}
		for v := from; v <= to; v += step {
			set |= 1 << v
		}
	}
	return set, nil
}

// part reads "*", "a", "a-b", each perhaps with "/step".
func (f *field) part(s string) (from, to, step int, err error) {
	span, every, stepped := strings.Cut(s, "/")
	step = 1
	if stepped {
		if step, err = strconv.Atoi(every); err != nil || step < 1 || step > f.high {
			return 0, 0, 0, fmt.Errorf("%q: want a step of 1 to %d after /", s, f.high)
		}
	}
	if span == "*" {
		return f.low, f.high, step, nil
	}
	first, last, ranged := strings.Cut(span, "-")
	if from, err = f.value(first); err != nil {
		return 0, 0, 0, err
	}
	switch {
	case ranged:
		to, err = f.value(last)
	case stepped:
		to = f.high
	default:
		to = from
	}
	if err == nil && to < from {
		err = fmt.Errorf("%q: ends before it begins", s)
	}
	return from, to, step, err
}

func (f *field) value(s string) (int, error) {
	for i, name := range strings.Fields(f.names) {
		if s == name {
			return f.low + i, nil
		}
	}
	v, err := strconv.Atoi(s)
	if err != nil || v < f.low || v > f.high || len(s) > 2 {
		return 0, fmt.Errorf("%q: want %d to %d", s, f.low, f.high)
	}
	return v, nil
}

// daysMax is how many days next looks at: the 29th of February is eight years apart at most.
const daysMax = 8*366 + 31

// next returns the first time after t that c names in a zone; zero when there is none. What the
// clock leaps over comes as much later as it leaps; what it shows twice counts at the first time,
// unless c names every hour.
func (c *cron) next(t time.Time, zone *time.Location) time.Time {
	year, month, day := t.In(zone).Date()
	for n := range daysMax {
		noon := time.Date(year, month, day+n, 12, 0, 0, 0, time.UTC)
		if !c.on(noon) {
			continue
		}
		if at := c.within(noon, t, zone); !at.IsZero() {
			return at
		}
	}
	return time.Time{}
}

// on reports whether c names a day. Where both fields restrict it, either is enough.
func (c *cron) on(day time.Time) bool {
	if c.month>>day.Month()&1 == 0 {
		return false
	}
	inMonth, inWeek := c.day>>day.Day()&1 == 1, c.weekday>>day.Weekday()&1 == 1
	if c.anyDay || c.anyWeekday {
		return inMonth && inWeek
	}
	return inMonth || inWeek
}

// within returns the first time of a day after t, zero for none.
func (c *cron) within(day, t time.Time, zone *time.Location) (first time.Time) {
	for hours := c.hour; hours != 0; hours &= hours - 1 {
		hour := bits.TrailingZeros64(hours)
		for minutes := c.minute; minutes != 0; minutes &= minutes - 1 {
			wall := time.Date(day.Year(), day.Month(), day.Day(), hour, bits.TrailingZeros64(minutes), 0, 0, time.UTC)
			for _, at := range moments(wall, zone, c.hour == allHours) {
				if at.After(t) && (first.IsZero() || at.Before(first)) {
					first = at
				}
			}
		}
	}
	return first
}

// moments returns when a zone's clock shows what wall shows: once, or with both each time.
func moments(wall time.Time, zone *time.Location, both bool) []time.Time {
	_, before := wall.Add(-24 * time.Hour).In(zone).Zone()
	_, after := wall.Add(24 * time.Hour).In(zone).Zone()
	early := wall.Add(-time.Duration(before) * time.Second)
	late := wall.Add(-time.Duration(after) * time.Second)
	shows := func(t time.Time) bool {
		_, offset := t.In(zone).Zone()
		return t.Add(time.Duration(offset) * time.Second).Equal(wall)
	}
	switch {
	case before == after, shows(early) && (!both || !shows(late)), !shows(early) && !shows(late):
		return []time.Time{early.In(zone)}
	case !shows(early):
		return []time.Time{late.In(zone)}
	}
	return []time.Time{early.In(zone), late.In(zone)}
}

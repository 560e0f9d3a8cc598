package scenario

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/stavily/stavily/text/strict"
)

const day = 24 * time.Hour

// durationMax bounds every duration: ten years.
const durationMax = 3660 * day

var durationUnits = []struct {
	name string
	of   time.Duration
}{
	{"us", time.Microsecond},
	{"µs", time.Microsecond},
	{"ms", time.Millisecond},
	{"s", time.Second},
	{"m", time.Minute},
	{"h", time.Hour},
	{"d", day},
}

// parseDuration reads 90s, 1h30m, 400d, -2h.
func parseDuration(text string) (time.Duration, error) {
	rest, negative := strings.CutPrefix(text, "-")
	if rest == "0" {
		return 0, nil
	}
	total := 0.0
	for first := true; rest != "" || first; first = false {
		n := len(rest) - len(strings.TrimLeft(rest, "0123456789."))
		num, err := strconv.ParseFloat(rest[:n], 64)
		rest = rest[n:]
		u := len(rest) - len(strings.TrimLeft(rest, "abcdefghijklmnopqrstuvwxyzµ"))
		of := unitOf(rest[:u])
		if err != nil || of == 0 {
			return 0, fmt.Errorf("%q is no duration; want such as 250ms, 30s, 1h30m, 400d", strict.Clip(text))
		}
		total += num * float64(of)
		rest = rest[u:]
	}
	if total > float64(durationMax) {
		return 0, fmt.Errorf("%s is longer than %dd", strict.Clip(text), durationMax/day)
	}
	d := time.Duration(math.Round(total))
	if negative {
		d = -d
	}
	return d, nil
}

func unitOf(name string) time.Duration {
	for _, u := range durationUnits {
		if u.name == name {
			return u.of
		}
	}
	return 0
}

// formatDuration writes what parseDuration reads.
func formatDuration(d time.Duration) string {
	if d == 0 {
		return "0s"
	}
	sign := ""
	if d < 0 {
		sign, d = "-", -d
	}
	var b strings.Builder
	if days := int64(d / day); days > 0 {
		fmt.Fprintf(&b, "%dd", days)
		d %= day
	}
	text := d.String()
	if d >= time.Minute && strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	if d > 0 {
		b.WriteString(text)
	}
	return sign + b.String()
}

// Duration writes a duration as scenarios do: 1d2h.
func Duration(d time.Duration) string { return formatDuration(d) }

// ParseDuration reads what Duration writes: 90s, 1h30m, 400d.
func ParseDuration(text string) (time.Duration, error) { return parseDuration(text) }

// parseSpread reads 80ms or 80ms±40ms, also 80ms+-40ms.
func parseSpread(text string) (Spread, error) {
	mean, by, spread := strings.Cut(strings.ReplaceAll(text, "+-", "±"), "±")
	var s Spread
	var err error
	if s.Mean, err = parseDuration(strings.TrimSpace(mean)); err != nil {
		return s, err
	}
	if spread {
		if s.By, err = parseDuration(strings.TrimSpace(by)); err != nil {
			return s, err
		}
	}
	if s.Mean < 0 || s.By < 0 || s.By > s.Mean {
		return s, fmt.Errorf("%q goes below 0", strict.Clip(text))
	}
	return s, nil
}

// parseShare reads 1% and 0.
func parseShare(text string) (float64, error) {
	if text == "0" {
		return 0, nil
	}
	bare, percent := strings.CutSuffix(text, "%")
	num, err := parseNumber(bare)
	if err != nil || !percent {
		return 0, fmt.Errorf("%q is no share; want such as 1%% or 0.5%%", strict.Clip(text))
	}
	if num < 0 || num > 100 {
		return 0, fmt.Errorf("%s, want 0%% to 100%%", strict.Clip(text))
	}
	return num / 100, nil
}

var sizeUnits = []struct {
	name string
	of   float64
}{
	{"KiB", 1 << 10},
	{"MiB", 1 << 20},
	{"GiB", 1 << 30},
	{"kB", 1e3},
	{"KB", 1e3},
	{"MB", 1e6},
	{"GB", 1e9},
	{"B", 1},
}

// sizeMax bounds every size: a tebibyte.
const sizeMax = 1 << 40

// parseSize reads 200B, 64KiB, 4MB.
func parseSize(text string) (int64, error) {
	for _, u := range sizeUnits {
		bare, ok := strings.CutSuffix(text, u.name)
		if !ok {
			continue
		}
		num, err := parseNumber(strings.TrimSpace(bare))
		if err != nil {
			break
		}
		if bytes := num * u.of; bytes >= 0 && bytes <= sizeMax {
			return int64(bytes), nil
		}
		return 0, fmt.Errorf("%s, want 0B to 1024GiB", strict.Clip(text))
	}
	return 0, fmt.Errorf("%q is no size; want such as 200B, 64KiB, 4MB", strict.Clip(text))
}

// parseBandwidth reads 64kbit/s, 1Mbit/s, 100KB/s, and returns bytes a second.
func parseBandwidth(text string) (float64, error) {
	amount, ok := strings.CutSuffix(text, "/s")
	if ok {
		for _, u := range []struct {
			name string
			of   float64
		}{{"kbit", 125}, {"Mbit", 125e3}, {"Gbit", 125e6}, {"bit", 0.125}} {
			if bare, bits := strings.CutSuffix(amount, u.name); bits {
				num, err := parseNumber(strings.TrimSpace(bare))
				if err == nil && num > 0 && num*u.of >= 1 && num*u.of <= sizeMax {
					return num * u.of, nil
				}
			}
		}
		if bytes, err := parseSize(amount); err == nil && bytes > 0 {
			return float64(bytes), nil
		}
	}
	return 0, fmt.Errorf("%q is no bandwidth; want such as 64kbit/s, 1Mbit/s, 100KB/s", strict.Clip(text))
}

// parseCap reads 50MB/30d.
func parseCap(text string) (Cap, error) {
	amount, per, ok := strings.Cut(text, "/")
	bytes, err := parseSize(amount)
	if err != nil || !ok || bytes == 0 {
		return Cap{}, fmt.Errorf("%q is no data cap; want such as 50MB/30d", strict.Clip(text))
	}
	span, err := parsePer(per)
	return Cap{Bytes: bytes, Per: span}, err
}

// parseBudget reads 2MB/d, and returns bytes a day.
func parseBudget(text string) (int64, error) {
	c, err := parseCap(text)
	if err != nil || c.Per != day {
		return 0, fmt.Errorf("%q is no data budget; want so much a day, such as 2MB/d", strict.Clip(text))
	}
	return c.Bytes, nil
}

// parseRate reads 12/h, 0.1/d, 3/30d, and returns how often a second.
func parseRate(text string) (float64, error) {
	count, per, ok := strings.Cut(text, "/")
	num, err := parseNumber(count)
	if err != nil || !ok || num <= 0 {
		return 0, fmt.Errorf("%q is no rate; want such as 12/h, 0.1/d, 3/30d", strict.Clip(text))
	}
	span, err := parsePer(per)
	if err != nil {
		return 0, err
	}
	if rate := num / span.Seconds(); rate <= 1000 {
		return rate, nil
	}
	return 0, fmt.Errorf("%s is more often than 1000/s", strict.Clip(text))
}

// parsePer reads what stands after a slash: h, d, 30d.
func parsePer(text string) (time.Duration, error) {
	if of := unitOf(text); of > 0 {
		return of, nil
	}
	d, err := parseDuration(text)
	if err == nil && d <= 0 {
		err = fmt.Errorf("/%s, want a time above 0", text)
	}
	return d, err
}

// parsePPM reads 50ppm.
func parsePPM(text string) (float64, error) {
	bare, ok := strings.CutSuffix(text, "ppm")
	num, err := parseNumber(bare)
	if err != nil || !ok || math.Abs(num) > 250_000 {
		return 0, fmt.Errorf("%q is no drift; want such as 50ppm, at most 250000ppm either way", strict.Clip(text))
	}
	return num / 1e6, nil
}

// parseTimes reads 25x.
func parseTimes(text string) (float64, error) {
	bare, ok := strings.CutSuffix(text, "x")
	num, err := parseNumber(bare)
	if err != nil || !ok || num <= 0 || num > 1e6 {
		return 0, fmt.Errorf("%q, want how many times, such as 25x", strict.Clip(text))
	}
	return num, nil
}

func errRange(text string, low, high int) error {
	return fmt.Errorf("%q, want a whole number from %d to %d", strict.Clip(text), low, high)
}

var errNumber = errors.New("no number")

// parseNumber reads a finite number in decimals.
func parseNumber(text string) (float64, error) {
	if text == "" || strings.Trim(text, "+-.0123456789eE") != "" {
		return 0, errNumber
	}
	num, err := strconv.ParseFloat(text, 64)
	if err != nil || math.IsInf(num, 0) || math.IsNaN(num) {
		return 0, errNumber
	}
	return num, nil
}

// parseWindow reads 06:00-22:00.
func parseWindow(text string) (Window, error) {
	from, to, ok := strings.Cut(text, "-")
	var w Window
	var err1, err2 error
	w.From, err1 = parseClock(strings.TrimSpace(from))
	w.To, err2 = parseClock(strings.TrimSpace(to))
	if !ok || err1 != nil || err2 != nil || w.From == w.To || w.From >= day {
		return w, fmt.Errorf("%q is no part of a day; want such as 06:00-22:00 (in UTC)", strict.Clip(text))
	}
	return w, nil
}

// parseClock reads 06:00, 06:00:30, and 24:00 for the end of the day.
func parseClock(text string) (time.Duration, error) {
	if text == "24:00" {
		return day, nil
	}
	for _, layout := range []string{"15:04", "15:04:05"} {
		if t, err := time.Parse(layout, text); err == nil && len(text) == len(layout) {
			return t.Sub(t.Truncate(day)), nil
		}
	}
	return 0, fmt.Errorf("%q is no time of day; want such as 06:00", strict.Clip(text))
}

package report

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// count writes a number with a comma before every third digit.
func count(n uint64) string {
	digits := strconv.FormatUint(n, 10)
	var b strings.Builder
	for i, d := range digits {
		if i > 0 && (len(digits)-i)%3 == 0 {
			b.WriteByte(',')
		}
		b.WriteRune(d)
	}
	return b.String()
}

// size writes bytes with the unit that people would choose.
func size(n uint64) string {
	if n < 1000 {
		return strconv.FormatUint(n, 10) + " B"
	}
	v, units := float64(n), []string{"kB", "MB", "GB", "TB", "PB", "EB"}
	for i, unit := range units {
		if v /= 1000; v < 999.5 || i == len(units)-1 {
			return three(v) + " " + unit
		}
	}
	return ""
}

// three writes a number with three digits that count.
func three(v float64) string {
	decimals := 0
	if v < 9.995 {
		decimals = 2
	} else if v < 99.95 {
		decimals = 1
	}
	text := strconv.FormatFloat(v, 'f', decimals, 64)
	if strings.Contains(text, ".") {
		text = strings.TrimRight(strings.TrimRight(text, "0"), ".")
	}
	return text
}

// took writes a time in milliseconds: 250ms, 3.4s, 3m40s, 27h12m, 400d.
func took(ms int64) string {
	d := time.Duration(ms) * time.Millisecond
	switch {
	case ms < 0:
		return "never"
	case ms == 0:
		return "0s"
	case ms < 1000:
		return fmt.Sprintf("%dms", ms)
	case d < time.Minute:
		return three(d.Seconds()) + "s"
	case d < time.Hour:
		return trimZero(fmt.Sprintf("%dm%02ds", d/time.Minute, d%time.Minute/time.Second), "m00s", "m")
	case d < 48*time.Hour:
		return trimZero(fmt.Sprintf("%dh%02dm", d/time.Hour, d%time.Hour/time.Minute), "h00m", "h")
	default:
		return trimZero(fmt.Sprintf("%dd%02dh", d/(24*time.Hour), d%(24*time.Hour)/time.Hour), "d00h", "d")
	}
}

func trimZero(text, zero, bare string) string {
	if short, ok := strings.CutSuffix(text, zero); ok {
		return short + bare
	}
	return text
}

// moment writes a time since the start to the second: +09:14:07, +3d 09:14:07.
func moment(ms int64) string {
	s := ms / 1000
	clock := fmt.Sprintf("%02d:%02d:%02d", s/3600%24, s/60%60, s%60)
	if days := s / 86400; days > 0 {
		return fmt.Sprintf("+%dd %s", days, clock)
	}
	return "+" + clock
}

// percent writes part of whole. What is not all is never written as 100%, nor what is
// some as 0%.
func percent(part, whole int) string {
	if whole == 0 {
		return "-"
	}
	p := 100 * float64(part) / float64(whole)
	switch {
	case part < whole && p > 99.9:
		p = math.Floor(p*10) / 10
	case part > 0 && p < 0.1:
		p = 0.1
	}
	return strings.TrimSuffix(strconv.FormatFloat(p, 'f', 1, 64), ".0") + "%"
}

func plural(n uint64, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return count(n) + " " + many
}

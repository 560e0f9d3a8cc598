package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/stavily/stavily/edge"
	"github.com/stavily/stavily/protocol"
)

// laneFlags is the flag --lane: what lanes keep beyond the default.
type laneFlags []func(*edge.Config)

func (l *laneFlags) String() string { return "" }

// Set reads NAME=BYTES[:AGE[:DROP]], such as metric=8M:90d:newest.
func (l *laneFlags) Set(s string) error {
	name, rest, ok := strings.Cut(s, "=")
	of := laneNamed(name)
	parts := strings.Split(rest, ":")
	if !ok || of == 0 || len(parts) > 3 {
		return fmt.Errorf("%q: want LANE=BYTES[:AGE[:DROP]] such as metric=8M:90d:oldest; lanes are %s", s,
			laneList())
	}
	bytes, err := bytesOf(parts[0])
	if err != nil {
		return fmt.Errorf("%s: %q: want a number of bytes such as 8M", name, parts[0])
	}
	*l = append(*l, func(c *edge.Config) { c.LaneBytes[of] = bytes })
	if len(parts) > 1 {
		age, err := ageOf(parts[1])
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		*l = append(*l, func(c *edge.Config) { c.LaneAge[of] = age })
	}
	if len(parts) > 2 {
		drop, err := edge.ParseDrop(parts[2])
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		*l = append(*l, func(c *edge.Config) { c.LaneDrop[of] = drop })
	}
	return nil
}

func (l laneFlags) apply(c *edge.Config) {
	for _, f := range l {
		f(c)
	}
}

// laneNamed returns the lane of a name, 0 for none.
func laneNamed(name string) protocol.Lane {
	for of := protocol.LaneEvent; of < protocol.LaneEnd; of++ {
		if of.String() == name {
			return of
		}
	}
	return 0
}

// laneList names the lanes, the most important first.
func laneList() string {
	var names []string
	for _, of := range protocol.Lanes() {
		names = append(names, of.String())
	}
	return strings.Join(names, ", ")
}

// ageMaxDays is a hundred years.
const ageMaxDays = 36_500

// ageOf reads a duration, in days too; 0 for no bound.
func ageOf(s string) (time.Duration, error) {
	if digits, ok := strings.CutSuffix(s, "d"); ok {
		if n, err := strconv.ParseUint(digits, 10, 16); err == nil && n <= ageMaxDays {
			return time.Duration(n) * 24 * time.Hour, nil
		}
	}
	age, err := time.ParseDuration(s)
	if err != nil {
		return 0, fmt.Errorf("age %q: want a duration such as 90d or 12h, 0 for none", s)
	}
	return age, nil
}

package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/stavily/stavily/plugins/sdk/go"
)

// What a schedule does when its time comes by what is left of the time without a clock.
const (
	clockWait   = "wait"   // for a clock: then it fires once
	clockSteady = "steady" // as if it were the time
	clockSkip   = "skip"   // nothing
)

const (
	everyMin         = stavily.Duration(100 * time.Millisecond)
	jitterMax        = stavily.Duration(24 * time.Hour)
	missedMaxDefault = 100
	missedMaxMax     = 10_000
)

type config struct {
	Cron         string           `json:"cron"`
	Every        stavily.Duration `json:"every"`
	At           string           `json:"at"`
	Zone         string           `json:"zone"`
	Jitter       stavily.Duration `json:"jitter"`
	WithoutClock string           `json:"without-clock"`
	MissedMax    int              `json:"missed-max"`

	cron cron
	at   time.Time
	zone *time.Location
	id   string // state that was saved for another schedule is no use
}

// Validate fills in the defaults and names the first key at fault.
func (c *config) Validate() (err error) {
	if c.zone, err = zoneOf(c.Zone); err != nil {
		return err
	}
	if c.WithoutClock == "" {
		c.WithoutClock = clockWait
	}
	if c.MissedMax == 0 {
		c.MissedMax = missedMaxDefault
	}
	given := 0
	for _, is := range []bool{c.Cron != "", c.Every != 0, c.At != ""} {
		if is {
			given++
		}
	}
	switch {
	case given != 1:
		return errors.New("cron, every, at: want exactly one of them")
	case c.WithoutClock != clockWait && c.WithoutClock != clockSteady && c.WithoutClock != clockSkip:
		return fmt.Errorf("without-clock %q: want wait, steady or skip", c.WithoutClock)
	case c.Jitter < 0 || c.Jitter > jitterMax:
		return fmt.Errorf("jitter %s: want 0s to %s", c.Jitter, jitterMax)
	case c.MissedMax < 1 || c.MissedMax > missedMaxMax:
		return fmt.Errorf("missed-max %d: want 1 to %d", c.MissedMax, missedMaxMax)
	}
	return c.when()
}

// when reads the one of cron, every and at that is given.
func (c *config) when() (err error) {
	switch {
	case c.Cron != "":
		c.id = c.Cron + " " + c.zone.String()
		c.cron, err = parseCron(c.Cron)
	case c.At != "":
		if c.at, err = time.Parse(time.RFC3339, c.At); err != nil {
			c.at, err = time.ParseInLocation("2006-01-02T15:04", c.At, c.zone)
		}
		if err != nil {
			err = fmt.Errorf("at %q: want a time such as 2026-12-24T18:00, or with an offset "+
				"2026-12-24T18:00:00+01:00", c.At)
		}
		c.id = c.at.UTC().Format(time.RFC3339)
	case c.Every < everyMin:
		err = fmt.Errorf("every %s: want %s or more", c.Every, everyMin)
	default:
		c.id = "every " + c.Every.String()
	}
	return err
}

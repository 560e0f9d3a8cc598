package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/stavily/stavily/plugins/sdk/go"
)

// metrics are the names that the host measures.
var metrics = []string{
	"cpu.percent", "memory.percent", "memory.available", "disk.percent", "disk.free",
	"load.1", "load.5", "load.15", "temperature.cpu", "uptime.seconds",
}

const (
	everyDefault = stavily.Duration(10 * time.Second)
	everyMin     = stavily.Duration(100 * time.Millisecond)
)

type config struct {
	Metric     string            `json:"metric"`
	Above      *float64          `json:"above"`
	Below      *float64          `json:"below"`
	For        stavily.Duration  `json:"for"`
	Hysteresis float64           `json:"hysteresis"`
	Every      *stavily.Duration `json:"every"`
	Repeat     *stavily.Duration `json:"repeat"`

	every stavily.Duration // Every, or its default
}

// Validate fills in the defaults and names the first key at fault.
func (c *config) Validate() error {
	c.every = everyDefault
	if c.Every != nil {
		c.every = *c.Every
	}
	switch {
	case !slices.Contains(metrics, c.Metric):
		return fmt.Errorf("metric %q: want one of %s", c.Metric, strings.Join(metrics, ", "))
	case (c.Above == nil) == (c.Below == nil):
		return errors.New("above, below: want exactly one of them")
	case c.Hysteresis < 0:
		return fmt.Errorf("hysteresis %v: want 0 or more", c.Hysteresis)
	case c.every < everyMin:
		return fmt.Errorf("every %s: want %s or more", c.every, everyMin)
	case c.Repeat != nil && *c.Repeat < everyMin:
		return fmt.Errorf("repeat %s: want %s or more", *c.Repeat, everyMin)
	}
	return nil
}

// beyond reports whether a value is on the far side of the threshold.
func (c *config) beyond(value float64) bool {
	if c.Above != nil {
		return value > *c.Above
	}
	return value < *c.Below
}

// back reports whether a value has come back so far that the next time counts anew.
func (c *config) back(value float64) bool {
	if c.Above != nil {
		return value <= *c.Above-c.Hysteresis
	}
	return value >= *c.Below+c.Hysteresis
}

// threshold says what is watched. State that was saved for something else is no use.
func (c *config) threshold() string {
	if c.Above != nil {
		return fmt.Sprintf("%s > %v", c.Metric, *c.Above)
	}
	return fmt.Sprintf("%s < %v", c.Metric, *c.Below)
}

// event is the data of an event.
type event struct {
	Metric  string   `json:"metric"`
	Value   float64  `json:"value"`
	Above   *float64 `json:"above,omitempty"`
	Below   *float64 `json:"below,omitempty"`
	ForMS   int64    `json:"for_ms"`   // how long it has been so
	SinceMS int64    `json:"since_ms"` // since when, unix milliseconds
}

func (c *config) event(s saved, at sample) event {
	return event{
		Metric: c.Metric, Value: at.value, Above: c.Above, Below: c.Below,
		ForMS: at.nowMS - *s.SinceMS, SinceMS: *s.SinceMS,
	}
}

package stavily

import (
	"encoding/json"
	"fmt"
	"time"
)

// Duration is a length of time as people write it in a configuration: "30s", "1h30m",
// "250ms". It is never negative.
type Duration time.Duration

// UnmarshalJSON reads a string as time.ParseDuration does.
func (d *Duration) UnmarshalJSON(b []byte) error {
	var text string
	if err := json.Unmarshal(b, &text); err != nil {
		return fmt.Errorf("duration %s: want a string such as \"30s\"", b)
	}
	v, err := time.ParseDuration(text)
	if err != nil || v < 0 {
		return fmt.Errorf("duration %q: want a number with a unit, such as 30s, 5m or 250ms", text)
	}
	*d = Duration(v)
	return nil
}

// MarshalJSON writes what UnmarshalJSON reads.
func (d Duration) MarshalJSON() ([]byte, error) { return json.Marshal(d.String()) }

// String returns the duration as time.Duration does.
func (d Duration) String() string { return time.Duration(d).String() }

// MS returns whole milliseconds, rounded up, so that a wait is never too short.
func (d Duration) MS() int64 {
	return int64((time.Duration(d) + time.Millisecond - 1) / time.Millisecond)
}

var (
	_ json.Unmarshaler = (*Duration)(nil)
	_ json.Marshaler   = Duration(0)
)

// Command guests is a trigger, an action or an output that does as little as the SDK
// allows: what is measured with it is what stands around it.
package main

import (
	"time"

	"github.com/stavily/stavily/plugins/sdk/go"
)

// kind is set when it is linked: trigger, action or output.
var kind string

// config of the trigger: how many events each wake gives, and how long it then waits.
type config struct {
	Events  int   `json:"events"`
	EveryMS int64 `json:"every_ms"`
}

type reading struct {
	Metric string  `json:"metric"`
	Value  float64 `json:"value"`
}

func main() {
	var c config
	switch kind {
	case "trigger":
		stavily.Trigger("bench-trigger", c.wake).Config(&c).Main()
	case "action":
		stavily.Action("bench-action", func(_ *stavily.Context, r stavily.Run) (any, error) {
			var in reading
			err := r.Event.Decode(&in)
			return map[string]bool{"above": in.Value > 80}, err
		}).Main()
	case "output":
		stavily.Output("bench-output", func(*stavily.Context, stavily.Delivery) error { return nil }).Main()
	}
}

func (c *config) wake(*stavily.Context, stavily.Wake) (stavily.Fired, error) {
	f := stavily.Fired{After: time.Duration(c.EveryMS) * time.Millisecond}
	for range c.Events {
		f.Events = append(f.Events, reading{"temperature.cpu", 81.5})
	}
	return f, nil
}

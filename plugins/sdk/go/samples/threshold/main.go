// Threshold is an action that judges an event's value and remembers the highest one:
// decoding, an error for a bad event, and the plugin's own key-value store.
package main

import (
	"errors"

	"github.com/stavily/stavily/plugins/sdk/go"
)

func main() { plugin().Main() }

type config struct {
	Max float64 `json:"max"`
}

type event struct {
	Value *float64 `json:"value"`
}

type verdict struct {
	Over    bool    `json:"over"`
	Highest float64 `json:"highest"`
}

func plugin() *stavily.Plugin {
	var c config
	return stavily.Action("threshold", func(ctx *stavily.Context, r stavily.Run) (any, error) {
		var e event
		if err := r.Event.Decode(&e); err != nil {
			return nil, err
		}
		if e.Value == nil {
			return nil, errors.New("event data: value: want a number")
		}
		highest := *e.Value
		if _, err := ctx.KVGet("highest", &highest); err != nil {
			return nil, err
		}
		highest = max(highest, *e.Value)
		if err := ctx.KVPut("highest", highest); err != nil {
			return nil, err
		}
		return verdict{Over: *e.Value > c.Max, Highest: highest}, nil
	}).Config(&c)
}

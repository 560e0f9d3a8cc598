// Hello is the smallest action: it greets whom the configuration names, or the event.
package main

import (
	"errors"

	"github.com/stavily/stavily/plugins/sdk/go"
)

func main() { plugin().Main() }

type config struct {
	Name string `json:"name"`
}

// Validate fills in the default.
func (c *config) Validate() error {
	if len(c.Name) > 80 {
		return errors.New("name: want at most 80 bytes")
	}
	if c.Name == "" {
		c.Name = "world"
	}
	return nil
}

func plugin() *stavily.Plugin {
	var c config
	return stavily.Action("hello", func(ctx *stavily.Context, r stavily.Run) (any, error) {
		ctx.Log(stavily.LevelInfo, "greeting "+c.Name)
		return map[string]string{"text": "hello, " + c.Name, "run": r.Event.Run}, nil
	}).Config(&c)
}

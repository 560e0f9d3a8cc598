package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/stavily/stavily/plugins/sdk/go"
)

const (
	outputDefault = 8 << 10
	outputMax     = 16 << 10
	argvMax       = 64
)

type config struct {
	Run       []string         `json:"run"`
	Stdin     string           `json:"stdin"`
	OutputMax *int             `json:"output_max"` // bytes
	Timeout   stavily.Duration `json:"timeout"`
	OKExit    []int            `json:"ok_exit"`

	outputMax int // OutputMax, or its default
}

// Validate fills in the defaults and names the first key at fault.
func (c *config) Validate() error {
	c.outputMax = outputDefault
	if c.OutputMax != nil {
		c.outputMax = *c.OutputMax
	}
	if c.OKExit == nil {
		c.OKExit = []int{0}
	}
	switch {
	case len(c.Run) == 0 || c.Run[0] == "":
		return errors.New("run: want the program and its arguments")
	case len(c.Run) > argvMax:
		return fmt.Errorf("run: %d arguments, limit %d", len(c.Run), argvMax)
	case slices.ContainsFunc(c.Run, func(a string) bool { return strings.ContainsRune(a, 0) }):
		return errors.New("run: a zero byte in an argument")
	case c.outputMax < 1 || c.outputMax > outputMax:
		return fmt.Errorf("output_max %d: want 1 to %d", c.outputMax, outputMax)
	case len(c.OKExit) == 0:
		return errors.New("ok_exit: want at least one exit code")
	}
	return checkExits(c.OKExit)
}

func checkExits(codes []int) error {
	for _, code := range codes {
		if code < 0 || code > 255 {
			return fmt.Errorf("ok_exit %d: want 0 to 255", code)
		}
	}
	return nil
}

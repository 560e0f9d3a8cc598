package cli

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/stavily/stavily/hub/build"
	"github.com/stavily/stavily/protocol"
)

func doctorCommand(c *connection) *cobra.Command {
	return &cobra.Command{
		Use:   "doctor",
		Short: "Say for which languages this machine can build plugins, and what is missing",
		Long: "Look for every toolchain that the table of languages needs and say, for each that is\n" +
			"missing, how to install it; and whether this machine can confine builds. Nothing is changed.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			found := diagnosis{Languages: build.Doctor(cmd.Context()), Confined: true}
			if err := build.CanConfine(cmd.Context()); err != nil {
				found.Confined, found.Unconfined = false, err.Error()
			}
			if err := c.print(cmd.OutOrStdout(), found, found.show); err != nil {
				return err
			}
			return found.err()
		},
	}
}

// diagnosis is what doctor found out.
type diagnosis struct {
	Languages  []build.Support `json:"languages"`
	Confined   bool            `json:"confined"` // builds can be
	Unconfined string          `json:"unconfined,omitempty"`
}

func (d diagnosis) show(w io.Writer) {
	row(w, "LANGUAGE", "READY", "TOOL", "FOUND")
	var hints []string
	for _, l := range d.Languages {
		name := strings.Join(append([]string{l.Language}, l.Also...), ", ")
		ready := "yes"
		if !l.Ready {
			ready = "no"
		}
		if len(l.Tools) == 0 {
			row(w, name, ready, "-", "needs nothing")
		}
		for _, t := range l.Tools {
			said := t.Found
			if t.Hint != "" {
				said = t.Problem
				hints = append(hints, fmt.Sprintf("%s: %s", t.Name, t.Hint))
			}
			row(w, name, ready, t.Name, said)
			name, ready = " ", " "
		}
	}
	row(w, " ")
	if d.Confined {
		row(w, "builds are confined: own namespaces, no network after the fetch, bounded")
	} else {
		row(w, "builds cannot be confined: "+d.Unconfined)
	}
	for _, hint := range hints {
		row(w, "missing "+hint)
	}
}

// err is what the exit code says: without any language there is nothing to build with.
func (d diagnosis) err() error {
	for _, l := range d.Languages {
		if l.Ready {
			return nil
		}
	}
	return protocol.Errorf(protocol.CodeUnavailable, "doctor: no language can be built here")
}

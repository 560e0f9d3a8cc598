package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"github.com/spf13/cobra"

	"github.com/stavily/stavily/protocol"
)

// ask asks the hub and prints the answer: as JSON, or by table.
func ask[T any](cmd *cobra.Command, c *connection, q question, table func(io.Writer, T)) error {
	if c.output != "table" && c.output != "json" {
		return usage(cmd, fmt.Errorf("--output %q: want table or json", c.output))
	}
	client, err := c.client()
	if err != nil {
		return err
	}
	var out T
	if err := client.Do(cmd.Context(), q.method, q.path, q.in, &out); err != nil {
		return err
	}
	return c.print(cmd.OutOrStdout(), out, func(w io.Writer) { table(w, out) })
}

// question is one call of the API.
type question struct {
	method, path string
	in           any
}

func (c *connection) print(w io.Writer, out any, table func(io.Writer)) error {
	if c.output == "json" {
		enc := json.NewEncoder(w)
		enc.SetIndent("", "  ")
		return enc.Encode(out)
	}
	tw := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	table(tw)
	return tw.Flush()
}

// row writes the cells of one line. Cells are one line each, whatever they hold.
func row(w io.Writer, cells ...any) {
	texts := make([]string, len(cells))
	for i, c := range cells {
		texts[i] = strings.Map(printable, fmt.Sprint(c))
		if texts[i] == "" {
			texts[i] = "-"
		}
	}
	fmt.Fprintln(w, strings.Join(texts, "\t"))
}

// printable keeps what strangers wrote from moving the cursor of a terminal.
func printable(r rune) rune {
	if r < 0x20 || r == 0x7f || r >= 0x80 && r < 0xa0 || unicode.Is(unicode.Bidi_Control, r) {
		return ' '
	}
	return r
}

// clean is printable for a text of several lines.
func clean(text string) string {
	return strings.Map(func(r rune) rune {
		if r == '\n' || r == '\t' {
			return r
		}
		return printable(r)
	}, text)
}

func when(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.Local().Format(time.DateTime)
}

func stamp(s protocol.Stamp) string {
	text := when(time.UnixMilli(s.UnixMS))
	if s.Quality != protocol.QualityClock {
		text += "?"
	}
	return text
}

func took(us int64) string {
	return (time.Duration(us) * time.Microsecond).Round(10 * time.Microsecond).String()
}

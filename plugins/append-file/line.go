package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/stavily/stavily/plugins/sdk/go"
)

// lineMax bounds a line in bytes. It travels to the host as a JSON string, in which
// every quote takes two bytes, and must fit the 128 KiB of a message.
const lineMax = 60 << 10

// record is what a line of the file says.
type record struct {
	Run      string           `json:"run"`
	Workflow string           `json:"workflow"`
	TimeMS   int64            `json:"time_ms"`
	Event    json.RawMessage  `json:"event"`
	Results  []stavily.Result `json:"results"`
	Key      string           `json:"key"`
	Cut      bool             `json:"cut,omitempty"` // some results lack their data
}

// line makes the line of a run. When it would be too long the results lose their data,
// the largest first, and the line says so.
func line(d stavily.Delivery) (string, error) {
	r := record{
		Run: d.Event.Run, Workflow: d.Event.Workflow, TimeMS: d.Event.TimeMS,
		Event: d.Event.Data, Results: slices.Clone(d.Results), Key: d.Key,
	}
	if r.Results == nil {
		r.Results = []stavily.Result{}
	}
	text, err := r.text()
	for err == nil && len(text) > lineMax {
		if !r.drop() {
			return "", fmt.Errorf("line: %d bytes, limit %d", len(text), lineMax)
		}
		text, err = r.text()
	}
	return text, err
}

// text writes the record as one line. Marshalling a raw message takes its line ends out.
func (r *record) text() (string, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(r); err != nil {
		return "", fmt.Errorf("line: %w", err)
	}
	return b.String(), nil
}

// drop takes the largest data out of the results; false when there is none left.
func (r *record) drop() bool {
	largest := -1
	for i, result := range r.Results {
		if len(result.Data) > 0 && (largest < 0 || len(result.Data) > len(r.Results[largest].Data)) {
			largest = i
		}
	}
	if largest < 0 {
		return false
	}
	r.Results[largest].Data, r.Cut = nil, true
	return true
}

package workflow

import (
	"slices"
	"strings"
	"time"

	"github.com/stavily/stavily/hub/document"
	"github.com/stavily/stavily/protocol"
)

type writtenLimit struct {
	Runs  int64          `json:"runs"`
	Per   *time.Duration `json:"per"`
	Burst *int64         `json:"burst"`
	Over  string         `json:"over"`
}

type writtenOnce struct {
	Key    *eventFields  `json:"key"`
	Within time.Duration `json:"within"`
}

// overs are the ways to deal with what is over a limit, by their names.
var overs = []string{"drop", "latest", "queue"}

// storm reads what keeps the workflow from running too often, and in a circle.
func (w *Workflow) storm(in *written, wrong *document.Found) {
	var err error
	w.Limit, err = w.limit(in.Limit)
	wrong.Add(err)
	w.Once, err = w.once(in.Once)
	wrong.Add(err)
	w.Circle = in.Circle
	if w.Circle && in.Limit == nil {
		wrong.Add(w.Errorf("allow-circle", "a circle is allowed only at a pace: say it with limit"))
	}
}

func (w *Workflow) limit(in *writtenLimit) (*protocol.RunLimit, error) {
	if in == nil {
		return nil, nil
	}
	if in.Per == nil {
		return nil, w.Errorf("limit.per", "missing: in how long a time, such as 1m")
	}
	burst := in.Runs
	if in.Burst != nil {
		burst = *in.Burst
	}
	over := 0
	if in.Over != "" {
		over = slices.Index(overs, in.Over)
	}
	longest := protocol.LimitPerMaxMS * time.Millisecond
	switch {
	case in.Runs < 1 || in.Runs > protocol.LimitRunsMax:
		return nil, w.Errorf("limit.runs", "%d, want 1 to %d", in.Runs, protocol.LimitRunsMax)
	case burst < 1 || burst > protocol.LimitRunsMax:
		return nil, w.Errorf("limit.burst", "%d, want 1 to %d", burst, protocol.LimitRunsMax)
	case *in.Per < time.Millisecond || *in.Per > longest:
		return nil, w.Errorf("limit.per", "%v, want 1ms to %v", *in.Per, longest)
	case over < 0:
		return nil, w.Errorf("limit.over", "%q: want %s", in.Over, strings.Join(overs, ", "))
	}
	out := &protocol.RunLimit{
		Runs: uint32(in.Runs), PerMS: in.Per.Milliseconds(), Burst: uint32(burst), Over: protocol.Over(over),
	}
	if err := out.Check(); err != nil {
		return nil, w.Errorf("limit", "%v", err)
	}
	return out, nil
}

func (w *Workflow) once(in *writtenOnce) (*protocol.Once, error) {
	if in == nil {
		return nil, nil
	}
	longest := protocol.LimitPerMaxMS * time.Millisecond
	if in.Within < time.Millisecond || in.Within > longest {
		return nil, w.Errorf("once.within", "%v, want 1ms to %v", in.Within, longest)
	}
	out := &protocol.Once{WithinMS: in.Within.Milliseconds()}
	if in.Key != nil {
		out.Fields = *in.Key
	}
	return out, nil
}

// eventFields are the names of fields of an event, as conditions name them.
type eventFields []string

// FromDocument reads "event.sensor" or a list of such.
func (f *eventFields) FromDocument(v document.Value) error {
	texts := []string{}
	if one, ok := v.Text(); ok {
		texts = append(texts, one)
	} else if err := v.Decode(&texts); err != nil {
		return err
	}
	if n := len(texts); n == 0 || n > protocol.OnceFieldsMax {
		return v.Errorf("%d fields, want 1 to %d; leave key out where all events mean the same", n,
			protocol.OnceFieldsMax)
	}
	for _, text := range texts {
		name, found := strings.CutPrefix(text, "event.")
		if !found || len(name) > protocol.OnceFieldMax || slices.Contains(strings.Split(name, "."), "") {
			return v.Errorf("%q: want a field of the event, such as event.sensor", text)
		}
		*f = append(*f, name)
	}
	return nil
}

var _ document.FromDocument = (*eventFields)(nil)

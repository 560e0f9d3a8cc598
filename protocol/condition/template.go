package condition

import (
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/stavily/stavily/protocol"
)

// HolesMax bounds the places that one configuration has filled.
const HolesMax = 64

// Template is what a step's configuration is filled with for each run, as it travels. The
// places stand in the configuration as null.
type Template struct {
	Holes []Hole `cbor:"1,keyasint"`
}

// Hole is one place of a configuration and the expression whose value goes there.
type Hole struct {
	Path []string `cbor:"1,keyasint"` // keys of maps, and places in lists as decimal numbers
	Tree Tree     `cbor:"2,keyasint"` // over event and results; its Text is as it was written
}

// Filling is a configuration with its template, checked. It may be used by many goroutines.
type Filling struct {
	config any
	holes  []hole
}

type hole struct {
	path []string
	of   *Condition
}

// NewFilling reads an encoded Template and the configuration that it fills. The error has
// CodeBadMessage, or CodeLimit for what is beyond the bounds.
func NewFilling(config protocol.Raw, template []byte) (*Filling, error) {
	var t Template
	if err := protocol.Unmarshal(template, &t); err != nil {
		return nil, err
	}
	if n := len(t.Holes); n == 0 || n > HolesMax {
		return nil, protocol.Errorf(protocol.CodeLimit, "template: %d places, want 1 to %d", n, HolesMax)
	}
	f := &Filling{}
	if len(config) > 0 {
		if err := protocol.Unmarshal(config, &f.config); err != nil {
			return nil, err
		}
	}
	for _, h := range t.Holes {
		of, err := New(h.Tree)
		if err != nil {
			return nil, err
		}
		if _, ok := put(f.config, h.Path, nil); !ok {
			return nil, protocol.Errorf(protocol.CodeBadMessage, "template: the configuration has no place %s",
				Place(h.Path))
		}
		f.holes = append(f.holes, hole{h.Path, of})
	}
	return f, nil
}

// Fill returns the configuration for one run. The error, with CodeBadInput, names the first
// place whose value there is not, or is none that a configuration can have. All places
// together have the steps of one condition.
func (f *Filling) Fill(vars Vars) (protocol.Raw, error) {
	e := evaluation{vars: vars, steps: StepsMax}
	config := f.config
	for i := range f.holes {
		h := &f.holes[i]
		v, err := e.plain(h.of)
		if err != nil {
			return nil, protocol.Errorf(protocol.CodeBadInput, "%s: %s: %w", Place(h.path), h.of, err)
		}
		config, _ = put(config, h.path, v)
	}
	out := protocol.MustMarshal(config)
	if len(out) > protocol.ConfigMax {
		return nil, protocol.Errorf(protocol.CodeBadInput, "with: %d bytes when filled, limit ConfigMax %d",
			len(out), protocol.ConfigMax)
	}
	return out, nil
}

// Value returns what an expression gives, as one CBOR item that a configuration can hold.
// The error has CodeBadInput.
func (c *Condition) Value(vars Vars) (protocol.Raw, error) {
	e := evaluation{vars: vars, steps: StepsMax}
	v, err := e.plain(c)
	if err != nil {
		return nil, protocol.Errorf(protocol.CodeBadInput, "%w", err)
	}
	return protocol.MustMarshal(v), nil
}

// plain evaluates c within the steps that are left, to what the codec writes.
func (e *evaluation) plain(c *Condition) (any, error) {
	e.of = c
	left := protocol.ConfigMax
	return plain(e.node(len(c.tree.Nodes)-1), &left)
}

// plain makes of a value what the codec writes: JSON's data model, with at most left bytes of
// texts and values.
func plain(v value, left *int) (any, error) {
	if *left--; *left < 0 {
		return nil, tooLarge()
	}
	switch v := v.(type) {
	case nil, bool, int64, uint64:
		return v, nil
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return nil, unfit("gives a number that is not finite")
		}
		return v, nil
	case string:
		if *left -= len(v); *left < 0 {
			return nil, tooLarge()
		}
		return v, nil
	case []value:
		out := make([]any, len(v))
		for i, x := range v {
			var err error
			if out[i], err = plain(x, left); err != nil {
				return nil, err
			}
		}
		return out, nil
	case *record:
		return plainRecord(v, left)
	case failure:
		return nil, unfit("%s", string(v))
	default:
		return nil, unfit("gives %s, which no configuration can hold", kind(v))
	}
}

func plainRecord(r *record, left *int) (any, error) {
	out := make(map[any]any, len(r.keys))
	for i, k := range r.keys {
		key, ok := k.(string)
		if !ok {
			return nil, unfit("gives a map with a key of type %s, want text", kind(k))
		}
		if *left -= len(key); *left < 0 {
			return nil, tooLarge()
		}
		v, err := plain(r.values[i], left)
		if err != nil {
			return nil, err
		}
		out[key] = v
	}
	return out, nil
}

func tooLarge() error {
	return unfit("gives more than ConfigMax %d bytes", protocol.ConfigMax)
}

func unfit(format string, args ...any) error {
	return protocol.Errorf(protocol.CodeBadInput, format, args...)
}

// put returns of with v at path, and leaves of as it is. Not ok when there is no such place.
func put(of any, path []string, v any) (out any, ok bool) {
	if len(path) == 0 {
		return v, true
	}
	switch of := of.(type) {
	case map[any]any:
		below, found := of[path[0]]
		if !found {
			return nil, false
		}
		changed := maps.Clone(of)
		changed[path[0]], ok = put(below, path[1:], v)
		return changed, ok
	case []any:
		i, err := strconv.Atoi(path[0])
		if err != nil || i < 0 || i >= len(of) {
			return nil, false
		}
		changed := slices.Clone(of)
		changed[i], ok = put(of[i], path[1:], v)
		return changed, ok
	default:
		return nil, false
	}
}

// Place writes a path within a configuration as errors name it: with.headers.x, with.list[2].
func Place(path []string) string {
	var b strings.Builder
	b.WriteString("with")
	for _, part := range path {
		if strings.Trim(part, "0123456789") == "" && part != "" {
			b.WriteString("[" + part + "]")
		} else {
			b.WriteString("." + part)
		}
	}
	return b.String()
}

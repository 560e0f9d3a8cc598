package stavily

import (
	"encoding/json"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
)

// Event data is read into plain structs without encoding/json, for the same reason as
// requests are: see read.go. What is not plain, or not as a host writes it, is left to
// encoding/json, which begins again.

// plans are those of the types that were met, as encoding/json keeps its own.
var plans atlas

// atlas keeps plans by type.
type atlas struct {
	last atomic.Pointer[entry] // nearly always the one that is wanted
	all  sync.Map              // of reflect.Type to plan
}

type entry struct {
	of   reflect.Type
	plan plan
}

// of returns the plan of a type, which draw makes when nobody has asked for it.
func (a *atlas) of(t reflect.Type, draw func(reflect.Type) plan) plan {
	if e := a.last.Load(); e != nil && e.of == t {
		return e.plan
	}
	known, met := a.all.Load(t)
	if !met {
		known = draw(t)
		a.all.Store(t, known)
	}
	p, _ := known.(plan)
	a.last.Store(&entry{t, p})
	return p
}

// plan says where the keys of an object go in a struct; nil for one that is not plain.
type plan []target

type target struct {
	key   string
	index int
	omit  bool // when it is zero, in writing
}

// decode reads a value, and reports whether it did.
func (c *cursor) decode(into any) bool {
	v := reflect.ValueOf(into)
	if v.Kind() != reflect.Pointer || v.IsNil() || v.Elem().Kind() != reflect.Struct {
		return false
	}
	v = v.Elem()
	p := plans.of(v.Type(), planOf)
	if p == nil {
		return false
	}
	c.object(func(key []byte) bool {
		i := p.find(key)
		if i < 0 {
			c.value()
			return i == unknown
		}
		c.set(v.Field(p[i].index))
		return true
	})
	return !c.bad && c.i == len(c.b)
}

// What find says of a key that no field has.
const (
	unknown = -1
	perhaps = -2 // encoding/json may know a field by it
)

func (p plan) find(key []byte) int {
	for i := range p {
		if p[i].key == string(key) {
			return i
		}
	}
	for _, b := range key {
		if b >= 0x80 {
			return perhaps
		}
	}
	for i := range p {
		if len(p[i].key) == len(key) && strings.EqualFold(p[i].key, string(key)) {
			return perhaps
		}
	}
	return unknown
}

// planOf returns the plan of a struct of plain fields, with nothing in their tags but names.
func planOf(t reflect.Type) plan {
	if reflect.PointerTo(t).Implements(reflect.TypeFor[json.Unmarshaler]()) {
		return nil
	}
	p := plan{}
	for i := range t.NumField() {
		f := t.Field(i)
		tag := f.Tag.Get("json")
		name, options, _ := strings.Cut(tag, ",")
		switch {
		case tag == "-" || !f.IsExported() && !f.Anonymous:
			continue
		case f.Anonymous || options != "" && options != "omitempty" || !plainType(f.Type):
			return nil
		case name == "":
			name = f.Name
		}
		if !plainName(name) || p.find([]byte(name)) != unknown {
			return nil
		}
		p = append(p, target{name, i, options != ""})
	}
	return p
}

// plainName reports whether encoding/json takes a tag's name as it stands.
func plainName(name string) bool {
	return !strings.ContainsFunc(name, func(r rune) bool {
		letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
		return !letter && (r < '0' || r > '9') && !strings.ContainsRune("_-.", r)
	})
}

// plainType reports whether set knows what to do: the types without methods of their own.
func plainType(t reflect.Type) bool {
	if t == reflect.TypeFor[json.RawMessage]() {
		return true
	}
	switch t.Kind() {
	case reflect.Bool, reflect.String, reflect.Float64,
		reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return t.PkgPath() == ""
	default:
		return false
	}
}

// set reads a value into a field. null leaves it as it is, as encoding/json does.
func (c *cursor) set(v reflect.Value) {
	if v.Kind() == reflect.Slice {
		v.SetBytes(append([]byte(nil), c.raw()...))
		return
	}
	switch b := c.peek(); {
	case b == 'n':
		c.literal("null")
	case v.Kind() == reflect.String:
		v.SetString(c.text())
	case v.Kind() == reflect.Bool:
		c.literal(strconv.FormatBool(b == 't'))
		v.SetBool(b == 't')
	case v.Kind() == reflect.Float64:
		at := c.i
		c.figure()
		if c.bad {
			return
		}
		n, err := parseFloat(c.b[at:c.i])
		c.bad = err != nil
		v.SetFloat(n)
	case v.CanInt():
		n := c.number()
		c.bad = c.bad || v.OverflowInt(n)
		v.SetInt(n)
	default:
		n := c.natural()
		c.bad = c.bad || v.OverflowUint(n)
		v.SetUint(n)
	}
}

// tens are the powers of ten that a float holds exactly.
var tens = [...]float64{1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15}

// parseFloat reads a number by the grammar of JSON. One of few digits without an exponent is
// one whole number over a power of ten, both exact, so that their quotient is the nearest.
func parseFloat(b []byte) (float64, error) {
	digits, behind, point := 0.0, 0, false
	if len(b) == 0 || len(b) >= len(tens) || b[0] == '-' {
		return strconv.ParseFloat(string(b), 64)
	}
	for _, c := range b {
		switch {
		case c == '.':
			point = true
			continue
		case c < '0' || c > '9':
			return strconv.ParseFloat(string(b), 64)
		case point:
			behind++
		}
		digits = 10*digits + float64(c-'0')
	}
	return digits / tens[behind], nil
}

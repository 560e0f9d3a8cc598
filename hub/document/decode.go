package document

import (
	"cmp"
	"math"
	"reflect"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/stavily/stavily/text/nearest"
	"github.com/stavily/stavily/text/strict"
)

// errorsMax bounds the errors that one document is told of.
const errorsMax = 50

// Value is a place in a document, for types that have a form of their own.
type Value struct {
	doc  *Document
	node *yaml.Node
	path string
}

// FromDocument is implemented by types that read themselves.
type FromDocument interface{ FromDocument(Value) error }

// Decode fills v, a pointer to a struct whose json tags name the keys. Unknown keys
// and values of another kind are errors, and all come at once. Durations are written as "30s"; a value of
// type any becomes nil, bool, int64, float64, string, []any or map[string]any.
func (d *Document) Decode(v any) error {
	return Value{doc: d, node: d.root}.Decode(v)
}

// Found gathers what is wrong with the parts of a document.
type Found struct {
	all Errors
	end error // one without a place: nothing more is looked at
}

// Add takes in what a part says, and reports whether to go on. Of what is wrong with one
// place, and with what it holds, only the first is kept: the rest follows from it.
func (f *Found) Add(err error) bool {
	switch e := err.(type) { //nolint:errorlint // what is wrapped has more to say than its place
	case nil:
	case *Error:
		f.add(e)
	case Errors:
		for _, one := range e {
			f.add(one)
		}
	default:
		if f.end == nil {
			f.end = err
		}
	}
	return f.end == nil && len(f.all) < errorsMax
}

func (f *Found) add(e *Error) {
	follows := func(known *Error) bool {
		return holds(known.Path, e.Path) || holds(e.Path, known.Path) || holds(known.Meant, e.Path)
	}
	if !slices.ContainsFunc(f.all, follows) && len(f.all) < errorsMax {
		f.all = append(f.all, e)
	}
}

// holds reports whether a place is another one or holds it. The whole holds none.
func holds(path, other string) bool {
	rest, within := strings.CutPrefix(other, path)
	return within && path != "" && (rest == "" || rest[0] == '.' || rest[0] == '[')
}

// Err returns what was found: nil, an *Error, Errors in the order of the document, or the
// one without a place.
func (f *Found) Err() error {
	slices.SortStableFunc(f.all, func(a, b *Error) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	switch {
	case f.end != nil:
		return f.end
	case len(f.all) == 0:
		return nil
	case len(f.all) == 1:
		return f.all[0]
	default:
		return f.all
	}
}

// Text returns the scalar as written and whether it is one that can be text.
func (v Value) Text() (string, bool) {
	return v.node.Value, v.node.Kind == yaml.ScalarNode && v.node.Tag == "!!str"
}

// Errorf returns an error at this place.
func (v Value) Errorf(format string, args ...any) error {
	return v.doc.at(v.node, v.path, format, args...)
}

// Decode fills the pointer to from this place on.
func (v Value) Decode(to any) error {
	if own, ok := to.(FromDocument); ok {
		return own.FromDocument(v)
	}
	return v.into(reflect.ValueOf(to).Elem())
}

var durationType = reflect.TypeFor[time.Duration]()

func (v Value) into(to reflect.Value) error {
	if to.CanAddr() {
		if own, ok := to.Addr().Interface().(FromDocument); ok {
			return own.FromDocument(v)
		}
	}
	if v.node.Kind == yaml.ScalarNode && v.node.Tag == "!!null" && to.Kind() != reflect.Interface {
		return v.Errorf("nothing after the colon, want %s", wanted(to.Type()))
	}
	switch to.Kind() {
	case reflect.Pointer:
		to.Set(reflect.New(to.Type().Elem()))
		return v.Decode(to.Interface())
	case reflect.Struct:
		return v.intoStruct(to)
	case reflect.Slice:
		return v.intoSlice(to)
	case reflect.Map:
		return v.intoMap(to)
	case reflect.Interface:
		free, err := v.free()
		if err == nil && free != nil {
			to.Set(reflect.ValueOf(free))
		}
		return err
	default:
		return v.intoScalar(to)
	}
}

func (v Value) intoStruct(to reflect.Value) error {
	if v.node.Kind != yaml.MappingNode {
		return v.Errorf("want a mapping of keys, got %s", strict.KindOf(v.node))
	}
	fields := map[string]int{}
	var known []string
	for i := range to.NumField() {
		if name, _, _ := strings.Cut(to.Type().Field(i).Tag.Get("json"), ","); name != "" && name != "-" {
			fields[name] = i
			known = append(known, name)
		}
	}
	return v.each(func(key *yaml.Node, value Value) error {
		i, ok := fields[key.Value]
		if !ok {
			wrong := v.doc.at(key, value.path, "unknown key %q%s", key.Value, nearest.Suggest(key.Value, known))
			if meant := nearest.Word(key.Value, known); meant != "" {
				wrong.Meant = strict.Join(v.path, meant)
			}
			return wrong
		}
		return value.into(to.Field(i))
	})
}

func (v Value) intoSlice(to reflect.Value) error {
	if v.node.Kind != yaml.SequenceNode {
		return v.Errorf("want a list, got %s", strict.KindOf(v.node))
	}
	var wrong Found
	list := reflect.MakeSlice(to.Type(), len(v.node.Content), len(v.node.Content))
	for i, n := range v.node.Content {
		child := Value{doc: v.doc, node: n, path: strict.Item(v.path, i)}
		if !wrong.Add(child.into(list.Index(i))) {
			break
		}
	}
	to.Set(list)
	return wrong.Err()
}

func (v Value) intoMap(to reflect.Value) error {
	if v.node.Kind != yaml.MappingNode {
		return v.Errorf("want a mapping of keys, got %s", strict.KindOf(v.node))
	}
	to.Set(reflect.MakeMap(to.Type()))
	return v.each(func(key *yaml.Node, value Value) error {
		item := reflect.New(to.Type().Elem()).Elem()
		if err := value.into(item); err != nil {
			return err
		}
		to.SetMapIndex(reflect.ValueOf(key.Value).Convert(to.Type().Key()), item)
		return nil
	})
}

func (v Value) intoScalar(to reflect.Value) error {
	if v.node.Kind != yaml.ScalarNode {
		return v.Errorf("want %s, got %s", wanted(to.Type()), strict.KindOf(v.node))
	}
	if to.Type() == durationType {
		d, err := time.ParseDuration(v.node.Value)
		if err != nil || d < 0 {
			return v.Errorf("want a duration such as 30s or 5m, got %s", strict.KindOf(v.node))
		}
		to.SetInt(int64(d))
		return nil
	}
	wantTag := map[reflect.Kind]string{reflect.String: "!!str", reflect.Bool: "!!bool"}[to.Kind()]
	if wantTag != "" && v.node.Tag != wantTag {
		return v.Errorf("want %s, got %s", wanted(to.Type()), strict.KindOf(v.node))
	}
	if err := v.node.Decode(to.Addr().Interface()); err != nil {
		return v.Errorf("want %s, got %s", wanted(to.Type()), strict.KindOf(v.node))
	}
	if to.CanFloat() && (math.IsNaN(to.Float()) || math.IsInf(to.Float(), 0)) {
		return v.Errorf("want a finite number, got %s", strict.KindOf(v.node))
	}
	return nil
}

// each calls f for every key of a mapping, in the order written.
func (v Value) each(f func(key *yaml.Node, value Value) error) error {
	var wrong Found
	for i := 0; i+1 < len(v.node.Content); i += 2 {
		key := v.node.Content[i]
		child := Value{doc: v.doc, node: v.node.Content[i+1], path: strict.Join(v.path, key.Value)}
		if !wrong.Add(f(key, child)) {
			break
		}
	}
	return wrong.Err()
}

// free reads a value whose shape is not ours to know.
func (v Value) free() (any, error) {
	switch v.node.Kind {
	case yaml.MappingNode:
		m := map[string]any{}
		err := v.each(func(key *yaml.Node, value Value) error {
			item, err := value.free()
			m[key.Value] = item
			return err
		})
		return m, err
	case yaml.SequenceNode:
		list := make([]any, len(v.node.Content))
		for i, n := range v.node.Content {
			item, err := Value{doc: v.doc, node: n, path: strict.Item(v.path, i)}.free()
			if err != nil {
				return nil, err
			}
			list[i] = item
		}
		return list, nil
	default:
		return v.freeScalar()
	}
}

func (v Value) freeScalar() (any, error) {
	var err error
	switch v.node.Tag {
	case "!!null":
		return nil, nil
	case "!!bool":
		var b bool
		err = v.node.Decode(&b)
		return b, err
	case "!!int":
		var i int64
		if err = v.node.Decode(&i); err != nil {
			return nil, v.Errorf("want a number between %d and %d, got %s", math.MinInt64, math.MaxInt64, v.node.Value)
		}
		return i, nil
	case "!!float":
		var f float64
		if err = v.node.Decode(&f); err != nil || math.IsNaN(f) || math.IsInf(f, 0) {
			return nil, v.Errorf("want a finite number, got %s", strict.KindOf(v.node))
		}
		return f, nil
	default:
		return v.node.Value, nil
	}
}

func wanted(t reflect.Type) string {
	switch {
	case t == durationType:
		return "a duration such as 30s"
	case t.Kind() == reflect.String:
		return "text"
	case t.Kind() == reflect.Bool:
		return "true or false"
	case t.Kind() == reflect.Slice:
		return "a list"
	case t.Kind() == reflect.Map, t.Kind() == reflect.Struct:
		return "a mapping of keys"
	case t.Kind() >= reflect.Uint && t.Kind() <= reflect.Uint64:
		return "a whole number, 0 or more"
	case t.Kind() >= reflect.Int && t.Kind() <= reflect.Int64:
		return "a whole number"
	default:
		return "a number"
	}
}

package cases

import (
	"errors"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/stavily/stavily/hub/document"
	"github.com/stavily/stavily/protocol"
	"github.com/stavily/stavily/wasmhost"
)

// Folder is where a source keeps its cases: the files *.yaml directly in it.
const Folder = "tests"

// The bounds of a plugin's cases.
const (
	FilesMax = 64
	CasesMax = 256 // of one file
)

// File is one file of cases, as it was read.
type File struct {
	Name   string `json:"-"`      // slash-separated, within the source
	Config Value  `json:"config"` // of the cases that have none of their own
	Cases  []Case `json:"cases"`

	doc *document.Document
}

// Case is one thing that a plugin is asked, and what must come of it.
type Case struct {
	Name   string   `json:"name"`
	Config Value    `json:"config"`
	Ask    string   `json:"ask"`   // check, or empty for what the plugin's type is asked
	Event  Value    `json:"event"` // the event's data, for actions and outputs
	Result []Result `json:"results"`
	Key    string   `json:"key"`
	Why    string   `json:"why"`     // start, timer or message, for triggers
	Said   *Message `json:"message"` // that wakes a trigger
	State  Value    `json:"state"`   // that the trigger answered before

	Now    string           `json:"now"`  // RFC 3339
	Seed   uint64           `json:"seed"` // of the randomness
	Grants []string         `json:"grants"`
	KV     map[string]Value `json:"kv"`    // what is kept before
	Calls  []Reply          `json:"calls"` // what the host answers
	Order  bool             `json:"in-order"`
	Want   Want             `json:"want"`

	line int
	now  time.Time
}

// Message is what another plugin of the device published.
type Message struct {
	Topic string `json:"topic"`
	Data  Value  `json:"data"`
}

// Result is the result of an action that ran before.
type Result struct {
	Step  string   `json:"step"`
	Data  Value    `json:"data"`
	Error *Failure `json:"error"`
}

// Reply is what the host answers to one host call, or to several that are alike.
type Reply struct {
	Call   string   `json:"call"`
	Args   Value    `json:"args"` // that the call must have, others besides; none: any
	Answer Value    `json:"answer"`
	Error  *Failure `json:"error"`
	Times  Times    `json:"times"` // 1 unless said
}

// Want is what must come of a case. What is not named is not looked at; an error that is
// not wanted is a failure.
type Want struct {
	Answer     Value            `json:"answer"`
	AnswerHas  Value            `json:"answer-has"`
	Events     Value            `json:"events"`
	EventsHave Value            `json:"events-have"`
	State      Value            `json:"state"`
	StateHas   Value            `json:"state-has"`
	Next       *Span            `json:"next"`
	Topics     *[]string        `json:"topics"`
	Error      *Failure         `json:"error"`
	Calls      *[]Call          `json:"calls"`
	KV         map[string]Value `json:"kv"`
	Log        []string         `json:"log"`
}

// Call is a host call that must be made.
type Call struct {
	Call string `json:"call"`
	Args Value  `json:"args"`
}

// Failure is an error, given or wanted.
type Failure struct {
	Code string `json:"code"`
	Text string `json:"text"`

	code protocol.Code
}

// Value is a value of the document, in CBOR; unset when there is none.
type Value struct {
	Set bool
	Raw protocol.Raw
}

// FromDocument reads whatever stands there.
func (v *Value) FromDocument(in document.Value) error {
	var plain any
	if err := in.Decode(&plain); err != nil {
		return err
	}
	raw, err := protocol.Marshal(plain)
	v.Set, v.Raw = true, raw
	return err
}

// Times is how often a reply serves; anyTimes is as often as it is asked for.
type Times int

const anyTimes Times = -1

// FromDocument reads a number or the word any.
func (t *Times) FromDocument(in document.Value) error {
	if text, ok := in.Text(); ok && text == "any" {
		*t = anyTimes
		return nil
	}
	var n int
	if err := in.Decode(&n); err != nil || n < 1 || n > 1024 {
		return in.Errorf("want 1 to 1024, or any")
	}
	*t = Times(n)
	return nil
}

// Span is a duration; "never" is 0.
type Span time.Duration

// FromDocument reads a duration or the word never.
func (s *Span) FromDocument(in document.Value) error {
	if text, ok := in.Text(); ok && text == "never" {
		return nil
	}
	var d time.Duration
	err := in.Decode(&d)
	*s = Span(d)
	return err
}

// FromDocument reads a code alone, or a code and a text.
func (f *Failure) FromDocument(in document.Value) error {
	if text, ok := in.Text(); ok {
		f.Code = text
	} else {
		type plain Failure
		if err := in.Decode((*plain)(f)); err != nil {
			return err
		}
	}
	if err := f.code.UnmarshalText([]byte(f.Code)); err != nil || f.code == protocol.CodeOK {
		return in.Errorf("code %q: want the code of an error, such as plugin, retryable or denied", f.Code)
	}
	return nil
}

// Read reads a file of cases for a plugin of that type. Errors are *document.Error with
// line and column.
func Read(name string, text []byte, of protocol.PluginType) (*File, error) {
	doc, err := document.Parse(name, text)
	if err != nil {
		return nil, err
	}
	f := &File{Name: name, doc: doc}
	if err := doc.Decode(f); err != nil {
		return nil, err
	}
	if n := len(f.Cases); n == 0 || n > CasesMax {
		return nil, doc.Errorf("cases", "%d of them, want 1 to %d", n, CasesMax)
	}
	seen := map[string]int{}
	for i := range f.Cases {
		c := checker{f: f, c: &f.Cases[i], at: place("cases", i), of: of}
		if err := c.check(seen); err != nil {
			return nil, err
		}
	}
	return f, nil
}

// Find reads the cases of a source, in ascending order of their files: those in the folder
// tests, and in suite where that is another folder than the top. A source may have none.
func Find(tree fs.FS, m *protocol.Manifest) ([]*File, error) {
	dirs := []string{Folder}
	if suite := path.Clean(strings.TrimSuffix(m.Testing.Suite, "/")); suite != "." && suite != Folder {
		dirs = append(dirs, suite)
	}
	var out []*File
	for _, dir := range dirs {
		entries, err := fs.ReadDir(tree, dir)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, protocol.Errorf(protocol.CodeBadInput, "cases: %w", err)
		}
		for _, e := range entries {
			if e.IsDir() || path.Ext(e.Name()) != ".yaml" {
				continue
			}
			text, err := fs.ReadFile(tree, path.Join(dir, e.Name()))
			if err != nil {
				return nil, protocol.Errorf(protocol.CodeBadInput, "cases: %w", err)
			}
			f, err := Read(path.Join(dir, e.Name()), text, m.Plugin.Type)
			if err != nil {
				return nil, err
			}
			if out = append(out, f); len(out) > FilesMax {
				return nil, protocol.Errorf(protocol.CodeLimit, "cases: more than %d files", FilesMax)
			}
		}
	}
	return out, nil
}

// requestOf is what a case asks of a plugin of that type.
func (c *Case) requestOf(of protocol.PluginType) wasmhost.RequestKind {
	switch {
	case c.Ask != "":
		return wasmhost.Check
	case of == protocol.Action:
		return wasmhost.Run
	case of == protocol.Output:
		return wasmhost.Deliver
	}
	return wasmhost.Wake
}

// known reports whether a host call is in the vocabulary and can be scripted.
func known(call string) bool {
	return slices.Contains(wasmhost.HostCalls(), call) && call != callLog
}

const callLog = "log"

var (
	_ document.FromDocument = (*Value)(nil)
	_ document.FromDocument = (*Times)(nil)
	_ document.FromDocument = (*Span)(nil)
	_ document.FromDocument = (*Failure)(nil)
)

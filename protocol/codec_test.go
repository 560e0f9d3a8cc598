package protocol

import (
	"bytes"
	"encoding/hex"
	"reflect"
	"strings"
	"testing"
)

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// S-13: what the library would take by default and this project does not.
func TestUnmarshalRefuses(t *testing.T) {
	for _, c := range []struct {
		name, hex string
		code      Code
		want      string
	}{
		{"nothing", "", CodeBadMessage, "EOF"},
		{"truncated", "a2 01 05 02", CodeBadMessage, "unexpected EOF"},
		{"key twice", "a2 01 05 01 05", CodeBadMessage, "duplicate"},
		{"indefinite map", "bf 01 05 ff", CodeBadMessage, "indefinite"},
		{"indefinite bytes", "a1 03 5f 41 00 ff", CodeBadMessage, "indefinite"},
		{"a tag", "c1 a1 01 05", CodeBadMessage, "tag"},
		{"trailing bytes", "a1 01 05 00", CodeBadMessage, "extraneous"},
		{"bad text", "a1 02 61 ff", CodeBadMessage, "UTF-8"},
		{"text for a number", "a1 01 61 35", CodeBadMessage, "cannot unmarshal"},
		{"negative for unsigned", "a1 01 20", CodeBadMessage, "cannot unmarshal"},
		{"an array", "81 01", CodeBadMessage, "array"},
		{"too deep", "a1 01 " + strings.Repeat("81", 40) + "00", CodeBadMessage, "nested"},
		{"array too long", "a1 01 9a 00 10 00 00", CodeBadMessage, "max number of elements"},
		{"map too long", "ba 00 10 00 00", CodeBadMessage, "max number of key-value pairs"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var v struct {
				A uint64 `cbor:"1,keyasint"`
				B string `cbor:"2,keyasint"`
				C []byte `cbor:"3,keyasint"`
			}
			err := Unmarshal(unhex(t, c.hex), &v)
			if CodeOf(err) != c.code || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v (%v), want %v with %q", err, CodeOf(err), c.code, c.want)
			}
		})
	}
}

func TestUnmarshalHoldsMessageMax(t *testing.T) {
	b := MustMarshal(bytes.Repeat([]byte{7}, MessageMax))
	var v []byte
	err := Unmarshal(b, &v)
	if CodeOf(err) != CodeLimit || !strings.Contains(err.Error(), "limit 131072") {
		t.Errorf("got %v", err)
	}
}

// A newer sender's keys are passed over in messages, and refused in what was signed:
// there nothing may go unread.
func TestUnknownKeys(t *testing.T) {
	type newer struct {
		Nonce uint64 `cbor:"1,keyasint"`
		More  string `cbor:"99,keyasint"`
	}
	b := MustMarshal(newer{Nonce: 5, More: "x"})
	var p Probe
	if err := Unmarshal(b, &p); err != nil || p.Nonce != 5 {
		t.Errorf("message: %+v, %v", p, err)
	}
	if err := UnmarshalExact(b, &p); CodeOf(err) != CodeBadMessage {
		t.Errorf("document: got %v, want a refusal", err)
	}
}

func TestUnmarshalExactRefusesASecondEncoding(t *testing.T) {
	for name, text := range map[string]string{
		"long integer": "a1 01 18 05", "keys out of order": "a2 02 00 01 05", "long length": "b8 01 01 05",
	} {
		var v struct {
			A uint64 `cbor:"1,keyasint"`
			B uint64 `cbor:"2,keyasint,omitempty"`
		}
		if err := UnmarshalExact(unhex(t, text), &v); CodeOf(err) != CodeBadMessage {
			t.Errorf("%s: got %v, want a refusal", name, err)
		}
	}
}

func TestErrorTravels(t *testing.T) {
	long := Errorf(CodeStorage, "disk: %s", strings.Repeat("x", 2*TextMax))
	sent := AsError(long)
	if len(sent.Text) != TextMax || sent.Code != CodeStorage {
		t.Errorf("%d bytes, code %v", len(sent.Text), sent.Code)
	}
	var got Error
	if err := Unmarshal(MustMarshal(sent), &got); err != nil || got.Text != sent.Text ||
		got.Code != CodeStorage {
		t.Errorf("got %+v, %v", got, err)
	}
	if CodeOf(nil) != CodeOK || AsError(nil) != nil {
		t.Error("nil is not OK")
	}
}

func TestCodesHaveNames(t *testing.T) {
	seen := map[string]bool{}
	for c := range codeEnd {
		name := c.String()
		if name == "" || seen[name] || strings.HasPrefix(name, "code-") {
			t.Errorf("code %d: name %q", c, name)
		}
		seen[name] = true
		var back Code
		if err := back.UnmarshalText([]byte(name)); err != nil || back != c {
			t.Errorf("%q: got %v, %v", name, back, err)
		}
	}
	var newer Code
	if err := newer.UnmarshalText([]byte("code-77")); err != nil || newer != 77 {
		t.Errorf("got %v, %v", newer, err)
	}
}

// A manifest's lists may be there and empty; what says nothing has one encoding all the same.
func TestEmptyListsHaveOneEncoding(t *testing.T) {
	m := Manifest{Sandbox: true, Filesystem: "none"}
	empty(reflect.ValueOf(&m).Elem())
	if m.Permissions.System == nil || m.Compatibility.Libraries == nil || m.OS.Supported == nil {
		t.Fatalf("no empty lists in %+v", m)
	}
	var got Manifest
	if err := UnmarshalExact(MustMarshal(m), &got); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, Manifest{Sandbox: true, Filesystem: "none"}) {
		t.Errorf("decoded as %+v", got)
	}
}

// empty makes every list and map in v one that is there and empty.
func empty(v reflect.Value) {
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			empty(v.Field(i))
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 0, 0))
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
	}
}

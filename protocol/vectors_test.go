package protocol

import (
	"bytes"
	"encoding/hex"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/fxamacker/cbor/v2"
)

var update = flag.Bool("update", false, "write the vectors anew: a change of the protocol")

// decoders is every message and document of SPEC.md by name. A vector and a fuzz target
// exist for each.
var decoders = map[string]func([]byte) (any, error){
	"Presence": message1[Presence], "Reported": message1[Reported], "Batch": message1[Batch],
	"Event": message1[Event], "Result": message1[Result], "LogLine": message1[LogLine], "Audit": message1[Audit],
	"Metrics": message1[Metrics], "LaneAck": message1[LaneAck], "LaneAcks": message1[LaneAcks], "Hint": message1[Hint],
	"ReplayOrder": message1[ReplayOrder], "ReplayAnswer": message1[ReplayAnswer],
	"RecordOrder": message1[RecordOrder], "RecordPart": message1[RecordPart],
	"SecretsWish": message1[SecretsWish], "SecretsReply": message1[SecretsReply],
	"SecretSet": document[SecretSet], "SecretList": document[SecretList],
	"FetchRequest": message1[FetchRequest], "Chunk": message1[Chunk], "Hop": message1[Hop], "Local": message1[Local],
	"Probe":   message1[Probe],
	"Carried": message1[Carried], "Uplink": message1[Uplink],
	"JoinRequest": message1[JoinRequest], "JoinReply": message1[JoinReply],
	"Release": document[Release], "Desired": document[Desired], "Keyring": document[Keyring], "Moment": document[Moment],
	"sealed Desired": func(b []byte) (any, error) {
		payload, err := Open(ContextDesired, testRing, b)
		if err != nil {
			return nil, err
		}
		return document[Desired](payload)
	},
}

func message1[T any](b []byte) (any, error) {
	var v T
	err := Unmarshal(b, &v)
	return v, err
}

func document[T any](b []byte) (any, error) {
	var v T
	err := UnmarshalExact(b, &v)
	return v, err
}

// vector is one case: a type, bytes, and what a receiver makes of them.
type vector struct {
	name, kind, expect, why string
	bytes                   []byte
}

// expectOf names the class of an outcome as the vectors do.
func expectOf(err error) string {
	switch CodeOf(err) {
	case CodeOK:
		return "ok"
	case CodeLimit:
		return "limit"
	case CodeBadSeal:
		return "seal"
	default:
		return "decode"
	}
}

func (v vector) text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "type: %s\nexpect: %s\nwhy: %s\n\n", v.kind, v.expect, v.why)
	for line := range slices.Chunk([]byte(hex.EncodeToString(v.bytes)), 80) {
		fmt.Fprintf(&b, "%s\n", line)
	}
	if diagnostic, err := cbor.Diagnose(v.bytes); err == nil {
		fmt.Fprintf(&b, "\n%s\n", diagnostic)
	}
	return b.String()
}

func parseVector(text string) (v vector, err error) {
	head, rest, _ := strings.Cut(text, "\n\n")
	for line := range strings.Lines(head) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
		switch key {
		case "type":
			v.kind = value
		case "expect":
			v.expect = value
		}
	}
	body, _, _ := strings.Cut(rest, "\n\n")
	v.bytes, err = hex.DecodeString(strings.ReplaceAll(strings.TrimSpace(body), "\n", ""))
	return v, err
}

// TestVectors reads every vector as any implementation would, from its file.
func TestVectors(t *testing.T) {
	if *update {
		writeVectors(t)
	}
	files, err := filepath.Glob("testdata/vectors/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no vectors: %v", err)
	}
	seen := map[string]bool{}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			v, err := parseVector(string(text))
			if err != nil {
				t.Fatal(err)
			}
			seen[v.kind] = true
			decode := decoders[v.kind]
			if decode == nil {
				t.Fatalf("type %q is not known", v.kind)
			}
			got, err := decode(v.bytes)
			if expectOf(err) != v.expect {
				t.Fatalf("got %s (%v), want %s", expectOf(err), err, v.expect)
			}
			if err == nil && !strings.HasPrefix(v.kind, "sealed") && !bytes.Equal(MustMarshal(got), v.bytes) {
				t.Errorf("encodes again to %x", MustMarshal(got))
			}
		})
	}
	for kind := range decoders {
		if !seen[kind] {
			t.Errorf("no vector for %s", kind)
		}
	}
}

// TestVectorsAreWritten holds the files to the values that they were made of.
func TestVectorsAreWritten(t *testing.T) {
	for _, v := range vectors(t) {
		text, err := os.ReadFile(filepath.Join("testdata/vectors", v.name+".txt"))
		if err != nil || string(text) != v.text() {
			t.Errorf("%s: differs from what -update writes (%v)", v.name, err)
		}
	}
}

func writeVectors(t *testing.T) {
	t.Helper()
	if err := os.RemoveAll("testdata/vectors"); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll("testdata/vectors", 0o755); err != nil {
		t.Fatal(err)
	}
	for _, v := range vectors(t) {
		if err := os.WriteFile(filepath.Join("testdata/vectors", v.name+".txt"), []byte(v.text()),
			0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func vectors(t *testing.T) []vector {
	t.Helper()
	var out []vector
	ok := func(name, why string, value any) {
		kind := strings.TrimPrefix(fmt.Sprintf("%T", value), "protocol.")
		out = append(out, vector{name, kind, "ok", why, MustMarshal(value)})
	}
	for _, s := range samples() {
		ok(s.name, s.why, s.value)
	}
	bad := func(name, kind, expect, why, text string) {
		out = append(out, vector{name, kind, expect, why, unhex(t, text)})
	}
	bad("hint-truncated", "Hint", "decode", "the map has five pairs and ends after two", "a5 01 01 02 05")
	bad("hint-key-twice", "Hint", "decode", "revision twice", "a2 02 05 02 06")
	bad("hint-indefinite", "Hint", "decode", "a map of indefinite length", "bf 01 01 ff")
	bad("hint-tagged", "Hint", "decode", "a tag where none is allowed", "d8 2a a1 01 01")
	bad("hint-trailing", "Hint", "decode", "a byte after the item", "a1 01 01 00")
	bad("hint-digest-as-text", "Hint", "decode", "a digest is a byte string", "a1 03 61 78")
	bad("desired-long-integer", "Desired", "decode", "a signed document has one encoding: 5 is 05, not 1805",
		"a1 02 18 05")
	bad("desired-unknown-key", "Desired", "decode", "a signed document leaves nothing unread", "a1 18 63 00")
	sealed, err := Seal(ContextDesired, testDesired, MustMarshal(sampleDesired()))
	if err != nil {
		t.Fatal(err)
	}
	out = append(out,
		vector{"sealed-desired", "sealed Desired", "ok", "by the key of 32 bytes 03", sealed},
		vector{
			"sealed-desired-flipped", "sealed Desired", "seal", "the last byte of the signature changed",
			flipLast(sealed),
		},
		vector{
			"sealed-desired-forged", "sealed Desired", "seal", "signed by a key that is not the one it names",
			forged(t),
		},
		vector{"sealed-desired-unprotected", "sealed Desired", "seal", "an unprotected header", unprotected(t)},
	)
	other, err := Seal(ContextRelease, testRelease, MustMarshal(sampleDesired()))
	if err != nil {
		t.Fatal(err)
	}
	return append(out, vector{
		"sealed-desired-as-release", "sealed Desired", "seal",
		"sealed for another purpose", other,
	})
}

func flipLast(b []byte) []byte {
	b = slices.Clone(b)
	b[len(b)-1] ^= 1
	return b
}

package protocol

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/fxamacker/cbor/v2"
)

// Raw is one CBOR item that this package passes on without looking into it: an
// event's data, a step's configuration, a trigger's state.
type Raw = cbor.RawMessage

// batchDepth is how deep a record stands in a Batch: in its map, in the array of records.
const batchDepth = 2

var (
	encMode, decMode = modes(DepthMax)
	_, inBatchMode   = modes(DepthMax - batchDepth)
)

// modes returns the one way in which the project writes CBOR (core deterministic,
// RFC 8949 section 4.2.1) and the one way in which it reads it, so deep. The library's
// own defaults accept duplicate keys, indefinite lengths and tags.
func modes(depth int) (cbor.EncMode, cbor.DecMode) {
	enc, err := cbor.CoreDetEncOptions().EncMode()
	if err != nil {
		panic(err) // the options are constants: a defect of this file
	}
	dec, err := cbor.DecOptions{
		DupMapKey:         cbor.DupMapKeyEnforcedAPF,
		IndefLength:       cbor.IndefLengthForbidden,
		TagsMd:            cbor.TagsForbidden,
		MaxNestedLevels:   depth,
		MaxArrayElements:  ArrayMax,
		MaxMapPairs:       MapMax,
		UTF8:              cbor.UTF8RejectInvalid,
		FieldNameMatching: cbor.FieldNameMatchingCaseSensitive,
	}.DecMode()
	if err != nil {
		panic(err)
	}
	return enc, dec
}

// Marshal returns v in core deterministic CBOR. It fails only for types that CBOR
// cannot hold, which is a defect of the caller.
func Marshal(v any) ([]byte, error) { return encMode.Marshal(v) }

// MustMarshal is Marshal for the types of this package, which always encode.
func MustMarshal(v any) []byte {
	b, err := encMode.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("protocol: encode %T: %v", v, err))
	}
	return b
}

// Unmarshal decodes one message of at most MessageMax bytes into v. Keys that v does
// not know are passed over, so that a newer sender is understood (SPEC.md, section
// 3). The error has CodeBadMessage or CodeLimit and names v's type.
func Unmarshal(b []byte, v any) error { return unmarshal(b, v, MessageMax) }

// UnmarshalExact decodes a document that was signed: besides what Unmarshal demands,
// encoding v again must give the same bytes, so that one document has one encoding
// and no part of it went unread.
func UnmarshalExact(b []byte, v any) error {
	if err := unmarshal(b, v, DocumentMax); err != nil {
		return err
	}
	again, err := encMode.Marshal(v)
	if err != nil {
		return Errorf(CodeBadMessage, "decode %T: %w", v, err)
	}
	if !bytes.Equal(b, again) {
		return Errorf(CodeBadMessage, "decode %T: not in deterministic encoding, or with keys unknown here", v)
	}
	return nil
}

// ReadItem reads the first item of a sequence of CBOR items (RFC 8742) into v, by the rules of
// Unmarshal but for its bound, which is r's. It may take more from r than the item. The error
// has CodeBadMessage.
func ReadItem(r io.Reader, v any) error {
	if err := decMode.NewDecoder(r).Decode(v); err != nil {
		return Errorf(CodeBadMessage, "decode %T: %w", v, err)
	}
	return nil
}

// Items returns what reads the items of such a sequence one by one. Its error is io.EOF behind
// the last, and else has CodeBadMessage.
func Items(r io.Reader) func(v any) error {
	d := decMode.NewDecoder(r)
	return func(v any) error {
		if err := d.Decode(v); err != nil && !errors.Is(err, io.EOF) {
			return Errorf(CodeBadMessage, "decode %T: %w", v, err)
		} else if err != nil {
			return io.EOF
		}
		return nil
	}
}

func unmarshal(b []byte, v any, longest int) error {
	if len(b) > longest {
		return Errorf(CodeLimit, "decode %T: %d bytes, limit %d", v, len(b), longest)
	}
	if err := decMode.Unmarshal(b, v); err != nil {
		return Errorf(CodeBadMessage, "decode %T: %w", v, err)
	}
	return nil
}

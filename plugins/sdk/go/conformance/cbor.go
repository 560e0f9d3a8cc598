package main

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
)

// The SDK speaks JSON lines. So that the host's other encoding is held to all cases too,
// this file stands between: the host hears and says CBOR, the SDK lines.

// cborReader reads CBOR items and gives them as JSON lines.
type cborReader struct {
	in   *bufio.Reader
	line bytes.Buffer
}

func newCBORReader(in io.Reader) *cborReader { return &cborReader{in: bufio.NewReader(in)} }

// Read gives what is left of a line, or waits for the next item.
func (r *cborReader) Read(p []byte) (int, error) {
	if r.line.Len() == 0 {
		if _, err := r.in.Peek(1); err != nil {
			return 0, err
		}
		if err := r.item(); err != nil {
			return 0, err
		}
		r.line.WriteByte('\n')
	}
	return r.line.Read(p)
}

// item reads one item into the line.
func (r *cborReader) item() error {
	head, err := r.in.ReadByte()
	if err != nil {
		return err
	}
	n := uint64(head & 31)
	if n >= 24 {
		var b [8]byte
		if n > 27 {
			return fmt.Errorf("cbor: head %#x", head)
		}
		size := 1 << (n - 24)
		if _, err := io.ReadFull(r.in, b[8-size:]); err != nil {
			return err
		}
		n = binary.BigEndian.Uint64(b[:])
	}
	switch head >> 5 {
	case 0:
		fmt.Fprint(&r.line, n)
	case 1:
		fmt.Fprint(&r.line, -1-int64(n))
	case 3:
		return r.text(n)
	case 4:
		return r.items('[', n)
	case 5:
		return r.items('{', n)
	case 7:
		return r.simple(head, n)
	default:
		return fmt.Errorf("cbor: head %#x", head)
	}
	return nil
}

func (r *cborReader) text(n uint64) error {
	b := make([]byte, n)
	if _, err := io.ReadFull(r.in, b); err != nil {
		return err
	}
	quoted, err := json.Marshal(string(b))
	r.line.Write(quoted)
	return err
}

func (r *cborReader) items(open byte, n uint64) error {
	r.line.WriteByte(open)
	for i := uint64(0); i < n; i++ {
		if i > 0 {
			r.line.WriteByte(',')
		}
		if err := r.item(); err != nil {
			return err
		}
		if open == '[' {
			continue
		}
		r.line.WriteByte(':')
		if err := r.item(); err != nil {
			return err
		}
	}
	return r.line.WriteByte(open + 2)
}

func (r *cborReader) simple(head byte, n uint64) error {
	var f float64
	switch head {
	case 0xf4, 0xf5:
		fmt.Fprint(&r.line, head == 0xf5)
		return nil
	case 0xf6:
		r.line.WriteString("null")
		return nil
	case 0xf9:
		f = half(uint16(n))
	case 0xfa:
		f = float64(math.Float32frombits(uint32(n)))
	case 0xfb:
		f = math.Float64frombits(n)
	default:
		return fmt.Errorf("cbor: head %#x", head)
	}
	text := strconv.FormatFloat(f, 'g', -1, 64)
	if !strings.ContainsAny(text, ".e") {
		text += ".0"
	}
	r.line.WriteString(text)
	return nil
}

// half returns the value of a finite float of 16 bits.
func half(h uint16) float64 {
	exp, f := int(h>>10&31), float64(h&1023)
	if exp == 0 {
		f = math.Ldexp(f, -24)
	} else {
		f = math.Ldexp(f+1024, exp-25)
	}
	if h>>15 == 1 {
		return -f
	}
	return f
}

// cborWriter takes JSON lines, one in each Write, and writes them as CBOR items.
type cborWriter struct{ out io.Writer }

// Write writes one line.
func (w cborWriter) Write(line []byte) (int, error) {
	d := json.NewDecoder(bytes.NewReader(line))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return 0, err
	}
	b, err := appendCBOR(nil, v)
	if err != nil {
		return 0, err
	}
	if _, err := w.out.Write(b); err != nil {
		return 0, err
	}
	return len(line), nil
}

func head(b []byte, major byte, n uint64) []byte {
	major <<= 5
	switch {
	case n < 24:
		return append(b, major|byte(n))
	case n <= math.MaxUint16:
		return binary.BigEndian.AppendUint16(append(b, major|25), uint16(n))
	}
	return binary.BigEndian.AppendUint64(append(b, major|27), n)
}

func appendCBOR(b []byte, v any) ([]byte, error) {
	switch v := v.(type) {
	case nil:
		return append(b, 0xf6), nil
	case bool:
		if v {
			return append(b, 0xf5), nil
		}
		return append(b, 0xf4), nil
	case string:
		return append(head(b, 3, uint64(len(v))), v...), nil
	case json.Number:
		return appendNumber(b, v.String())
	case []any:
		b = head(b, 4, uint64(len(v)))
		var err error
		for i := 0; i < len(v) && err == nil; i++ {
			b, err = appendCBOR(b, v[i])
		}
		return b, err
	case map[string]any:
		return appendMap(b, v)
	}
	return nil, errors.New("cbor: no value of JSON")
}

func appendMap(b []byte, m map[string]any) ([]byte, error) {
	keys := make([]string, 0, len(m))
	for key := range m {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	b = head(b, 5, uint64(len(m)))
	for _, key := range keys {
		var err error
		if b, err = appendCBOR(append(head(b, 3, uint64(len(key))), key...), m[key]); err != nil {
			return nil, err
		}
	}
	return b, nil
}

func appendNumber(b []byte, text string) ([]byte, error) {
	if !strings.ContainsAny(text, ".eE") {
		if n, err := strconv.ParseUint(text, 10, 64); err == nil {
			return head(b, 0, n), nil
		}
		if n, err := strconv.ParseInt(text, 10, 64); err == nil {
			return head(b, 1, uint64(-1-n)), nil
		}
	}
	f, err := strconv.ParseFloat(text, 64)
	return binary.BigEndian.AppendUint64(append(b, 0xfb), math.Float64bits(f)), err
}

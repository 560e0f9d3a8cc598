// Command cborprobe is an action that speaks CBOR, with indefinite patience for the
// order of keys: it answers the data that it got.
package main

import (
	"bufio"
	"encoding/binary"
	"io"
	"os"
)

var in = bufio.NewReader(os.Stdin)

func main() {
	os.Stdout.Write(cat(mapOf(1), text("hello"), mapOf(4),
		text("type"), text("action"), text("plugin"), text("cborprobe"), text("abi"), []byte{1}, text("sdk"), text("t")))
	for {
		m := fields(item())
		switch {
		case m == nil:
			return
		case m["init"] != nil:
			os.Stdout.Write(cat(mapOf(1), text("ready"), mapOf(0)))
		case m["run"] != nil:
			data := fields(fields(m["run"])["event"])["data"]
			os.Stdout.Write(cat(mapOf(2), text("answer"), mapOf(1), text("data"), data, text("id"), m["id"]))
		default:
			os.Stdout.Write(cat(mapOf(2), text("id"), m["id"], text("answer"), mapOf(0)))
		}
	}
}

func cat(parts ...[]byte) (out []byte) {
	for _, p := range parts {
		out = append(out, p...)
	}
	return out
}

func mapOf(n byte) []byte { return []byte{0xa0 | n} }

func text(s string) []byte { return append([]byte{0x60 | byte(len(s))}, s...) }

// item reads one item from stdin, nil at its end.
func item() []byte {
	var out []byte
	for todo := 1; todo > 0; todo-- {
		head := take(1)
		if head == nil {
			return nil
		}
		extra := []byte(nil)
		n := uint64(head[0] & 31)
		if n >= 24 {
			extra = take(1 << (n - 24))
			var b [8]byte
			copy(b[8-len(extra):], extra)
			n = binary.BigEndian.Uint64(b[:])
		}
		out = append(append(out, head...), extra...)
		switch head[0] >> 5 {
		case 3:
			out = append(out, take(int(n))...)
		case 4:
			todo += int(n)
		case 5:
			todo += 2 * int(n)
		}
	}
	return out
}

func take(n int) []byte {
	b := make([]byte, n)
	if _, err := io.ReadFull(in, b); err != nil {
		return nil
	}
	return b
}

// fields takes a map apart.
func fields(b []byte) map[string][]byte {
	if b == nil {
		return nil
	}
	old := in
	defer func() { in = old }()
	in = bufio.NewReader(&cursor{b[1:]})
	out := map[string][]byte{}
	for range b[0] & 31 {
		key := item()
		skip := 1
		if key[0]&31 == 24 {
			skip = 2
		}
		out[string(key[skip:])] = item()
	}
	return out
}

type cursor struct{ b []byte }

func (c *cursor) Read(p []byte) (int, error) {
	if len(c.b) == 0 {
		return 0, io.EOF
	}
	n := copy(p, c.b)
	c.b = c.b[n:]
	return n, nil
}

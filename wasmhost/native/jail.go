//go:build linux && (amd64 || arm64 || riscv64)

package native

import (
	"encoding/binary"
	"fmt"
	"io"

	"github.com/stavily/stavily/protocol"
)

// Where things are in a jail.
const (
	pluginDir = "/plugin"
	tmpDir    = "/tmp"
	entryName = "main" // of an artifact that is not for an interpreter
)

// The descriptors of a jail's first process besides its three streams.
const (
	orderFD  = 3
	statusFD = 4
)

// insideID is the user and group that a plugin sees itself as when the agent is root.
const insideID = 1000

// orderMax bounds the bytes of an order and of a status.
const orderMax = 64 << 10

// order is what the agent tells the first process of a jail, when that process is
// in its cgroups.
type order struct {
	Jail     bool     `cbor:"1,keyasint"` // it is in namespaces of its own
	Root     string   `cbor:"2,keyasint"` // an empty folder
	Program  string   `cbor:"3,keyasint"` // the folder of the unpacked artifact; empty: try the set-up only
	Binds    []bind   `cbor:"4,keyasint"`
	Proc     bool     `cbor:"5,keyasint"` // wants /proc
	TmpBytes int64    `cbor:"6,keyasint"`
	ID       int      `cbor:"7,keyasint"` // user and group to become; 0: stay who it is
	Exec     string   `cbor:"8,keyasint"`
	Args     []string `cbor:"9,keyasint"`
	Env      []string `cbor:"10,keyasint"`
	Rlimits  []rlimit `cbor:"11,keyasint"`
	Landlock bool     `cbor:"12,keyasint"`
	Seccomp  bool     `cbor:"13,keyasint"`
	Calls    callSet  `cbor:"14,keyasint"`
	Data     uint64   `cbor:"15,keyasint,omitempty"` // RLIMIT_DATA of the plugin alone; 0: none
}

// bind is a file or folder of the machine that is seen in the jail, read-only, at the
// same path. With Link it is a symbolic link to that instead.
type bind struct {
	Path string `cbor:"1,keyasint"`
	Link string `cbor:"2,keyasint,omitempty"`
}

// rlimit is one resource limit, soft and hard.
type rlimit struct {
	Resource int    `cbor:"1,keyasint"`
	Value    uint64 `cbor:"2,keyasint"`
}

// status is what the first process of a jail answers: once, before it becomes the plugin
// or ends.
type status struct {
	Error    string   `cbor:"1,keyasint,omitempty"` // empty: all that was ordered is done
	Landlock int      `cbor:"2,keyasint,omitempty"` // the ABI that is enforced
	Proc     bool     `cbor:"3,keyasint,omitempty"`
	Notes    []string `cbor:"4,keyasint,omitempty"` // what could not be done and was not needed
}

// framed encodes an order or a status: four bytes of its length, big-endian, and CBOR.
func framed(v any) []byte {
	b := protocol.MustMarshal(v)
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(b))), b...)
}

// readFramed reads what framed made. The error is io.EOF when there is no more.
func readFramed(r io.Reader, v any) error {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return err
	}
	n := binary.BigEndian.Uint32(head[:])
	if n > orderMax {
		return fmt.Errorf("%d bytes, limit %d", n, orderMax)
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(r, b); err != nil {
		return fmt.Errorf("cut short: %w", err)
	}
	return protocol.Unmarshal(b, v)
}

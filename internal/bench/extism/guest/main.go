//go:build wasip1

// Command guest is the action of internal/bench/testdata/guests as a plugin of Extism: the
// same event in, the same answer out. It speaks to the host as Extism's own kit for Go does,
// eight bytes with each call.
package main

import (
	"encoding/binary"
	"encoding/json"
)

//go:wasmimport extism:host/env input_length
func inputLength() uint64

//go:wasmimport extism:host/env input_load_u8
func inputLoadU8(at uint64) uint32

//go:wasmimport extism:host/env input_load_u64
func inputLoadU64(at uint64) uint64

//go:wasmimport extism:host/env alloc
func alloc(size uint64) uint64

//go:wasmimport extism:host/env store_u8
func storeU8(at uint64, v uint32)

//go:wasmimport extism:host/env store_u64
func storeU64(at, v uint64)

//go:wasmimport extism:host/env output_set
func outputSet(at, size uint64)

type reading struct {
	Metric string  `json:"metric"`
	Value  float64 `json:"value"`
}

//go:wasmexport run
func run() int32 {
	var in reading
	if err := json.Unmarshal(load(), &in); err != nil {
		return 1
	}
	out, err := json.Marshal(map[string]bool{"above": in.Value > 80})
	if err != nil {
		return 1
	}
	store(out)
	return 0
}

func load() []byte {
	size := inputLength()
	in := make([]byte, size)
	i := uint64(0)
	for ; i+8 <= size; i += 8 {
		binary.LittleEndian.PutUint64(in[i:], inputLoadU64(i))
	}
	for ; i < size; i++ {
		in[i] = byte(inputLoadU8(i))
	}
	return in
}

func store(out []byte) {
	size := uint64(len(out))
	at := alloc(size)
	i := uint64(0)
	for ; i+8 <= size; i += 8 {
		storeU64(at+i, binary.LittleEndian.Uint64(out[i:]))
	}
	for ; i < size; i++ {
		storeU8(at+i, uint32(out[i]))
	}
	outputSet(at, size)
}

func main() {}

package meter

import (
	"bytes"
	"context"
	"math/rand/v2"
	"testing"

	"github.com/tetratelabs/wazero"
)

// withData adds a data section, and a data count if it is wanted, to a module with a memory.
func withData(segments [][]byte, count bool) []byte {
	a := asm{pages: 2, fns: []fn{{export: "run"}}}
	wasm := a.build()
	if count {
		m, _ := parseSections(wasm)
		code := m.sections[len(m.sections)-1]
		before := wasm[:code.at-1-len(putU32(nil, uint32(len(code.b))))]
		wasm = putSection(bytes.Clone(before), secDataCount, putU32(nil, uint32(len(segments))))
		wasm = putSection(wasm, secCode, code.b)
	}
	return putSection(wasm, secData, vec(segments...))
}

func segment(at int32, text ...byte) []byte {
	o := append(putS64([]byte{0, opI32Const}, int64(at)), opEnd)
	return append(putU32(o, uint32(len(text))), text...)
}

// segmentsOf makes more segments than are left alone: runs with gaps of all lengths, and jumps between
// them, some of them backwards into what is there already.
func segmentsOf(r *rand.Rand) (out [][]byte) {
	at := r.IntN(1 << 10)
	for len(out) < mergeFrom+100 {
		text := make([]byte, r.IntN(9))
		for i := range text {
			text[i] = byte(1 + r.IntN(255))
		}
		out = append(out, segment(int32(at), text...))
		at += len(text) + r.IntN(mergeGap+8)
		if r.IntN(200) == 0 || at > 2*pageSize-64 {
			at = r.IntN(2*pageSize - 64)
		}
	}
	return out
}

// Memory begins the same, byte for byte, with segments merged and not, in both engines.
func TestMergedDataIsTheSame(t *testing.T) {
	for seed := range uint64(12) {
		plain := withData(segmentsOf(rand.New(rand.NewPCG(seed, 7))), false)
		metered := mustInstrument(t, plain)
		if err := Check(metered); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		was, is := dataOf(t, plain), dataOf(t, metered)
		if is > was/2 {
			t.Errorf("seed %d: %d segments are %d now: want half at most", seed, was, is)
		}
		for name, config := range engines() {
			if !bytes.Equal(memoryOf(t, config, plain), memoryOf(t, config, metered)) {
				t.Errorf("seed %d: %s: memory differs", seed, name)
			}
		}
	}
}

// Where merging could be seen nothing is merged.
func TestDataLeftAlone(t *testing.T) {
	many := func(last ...byte) [][]byte {
		var out [][]byte
		for i := range int32(mergeFrom + 1) {
			out = append(out, segment(20*i, 1))
		}
		return append(out, last)
	}
	for name, c := range map[string]struct {
		wasm []byte
		want int
	}{
		"merged":            {withData(many(segment(20*(mergeFrom+1), 1)...), false), 1},
		"few":               {withData(many(segment(1, 1)...)[:mergeFrom-1], false), mergeFrom - 1},
		"beyond the memory": {withData(many(segment(2*pageSize, 1)...), false), mergeFrom + 2},
		"below zero":        {withData(many(segment(-1, 1)...), false), mergeFrom + 2},
		"passive":           {withData(many(1, 1, 7), false), mergeFrom + 2},
		"memory named":      {withData(many(2, 0, opI32Const, 9, opEnd, 1, 7), false), mergeFrom + 2},
		"data count":        {withData(many(segment(20*(mergeFrom+1), 1)...), true), mergeFrom + 2},
		"arithmetic":        {withData(many(0, opI32Const, 1, opI32Const, 1, 0x6a, opEnd, 1, 7), false), mergeFrom + 2},
		"behind itself":     {withData(many(segment(0, 9)...), false), 2},
		"into a gap":        {withData(append(many(segment(5, 9)...), segment(26, 9)), false), 3},
	} {
		metered := mustInstrument(t, c.wasm)
		if got := dataOf(t, metered); got != c.want {
			t.Errorf("%s: %d segments, want %d", name, got, c.want)
		}
		if err := Check(metered); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func dataOf(t *testing.T, wasm []byte) int {
	t.Helper()
	m, err := parseSections(wasm)
	if err != nil {
		t.Fatal(err)
	}
	return m.datas
}

func memoryOf(t *testing.T, config wazero.RuntimeConfig, wasm []byte) []byte {
	t.Helper()
	m := newWorld(t, config, 0, 0).load(wasm)
	b, _ := m.Memory().Read(0, m.Memory().Size())
	b = bytes.Clone(b)
	if err := m.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	return b
}

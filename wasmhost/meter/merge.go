package meter

import (
	"slices"
	"sort"
)

const (
	// mergeFrom is the number of data segments from which on neighbours are merged. Go's linker makes one of
	// every run without zeros, some 40,000 in a program, and an engine keeps a record of each: 4 MB.
	mergeFrom = 1000
	// mergeGap is the longest gap, in bytes, that is filled with zeros to merge two segments.
	mergeGap = 32
	// runsMax is the number of times that segments may begin again below the one before; Go does it once.
	runsMax = 64

	pageSize = 1 << 16
)

// dataSegment is an active segment at a constant place in the only memory.
type dataSegment struct {
	at   uint64
	init []byte
}

func (d *dataSegment) end() uint64 { return d.at + uint64(len(d.init)) }

// mergedData gives the data section with neighbours merged, or the section as it is where that could be
// seen: where an instruction may name a segment, where the memory is another module's and may hold
// anything, where a segment may trap. What it gives it gives back unchanged.
func (m *Module) mergedData(s section) []byte {
	if m.datas < mergeFrom || m.dataCount >= 0 || m.memories != 1 || m.importsMemory() {
		return s.b
	}
	all, ok := m.constantSegments(s)
	if !ok {
		return s.b
	}
	runs, ok := merge(all)
	if !ok {
		return s.b
	}
	out := slices.Concat(runs...)
	o := putU32(make([]byte, 0, len(s.b)), uint32(len(out)))
	for _, d := range out {
		o = putS64(append(o, 0, opI32Const), int64(int32(d.at)))
		o = putU32(append(o, opEnd), uint32(len(d.init)))
		o = append(o, d.init...)
	}
	return o
}

func (m *Module) importsMemory() bool {
	for _, i := range m.imports {
		if i.Kind == KindMemory {
			return true
		}
	}
	return false
}

// constantSegments reads the segments, and reports whether each is active, at a constant, and within the
// memory as it is at the start.
func (m *Module) constantSegments(s section) ([]dataSegment, bool) {
	r := reader{b: s.b}
	size := uint64(m.info.MemoryMin) * pageSize
	all := make([]dataSegment, 0, m.datas)
	for n := r.count(); n > 0; n-- {
		if r.u32() != 0 || r.byte() != opI32Const {
			return nil, false
		}
		d := dataSegment{at: uint64(uint32(r.signed(32)))}
		if r.byte() != opEnd {
			return nil, false
		}
		d.init = r.bytes(r.u32())
		if r.err != nil || d.end() > size {
			return nil, false
		}
		all = append(all, d)
	}
	return all, r.done()
}

// run is a row of segments in ascending order, apart from each other.
type run []dataSegment

// merge gives the segments as ascending runs with neighbours merged. It gives up when there are many runs.
func merge(all []dataSegment) (runs []run, ok bool) {
	for _, d := range all {
		n := len(runs)
		if n == 0 || d.at < runs[n-1].end() {
			if n == runsMax {
				return nil, false
			}
			runs, n = append(runs, nil), n+1
		}
		now := &runs[n-1]
		if now.reach(d, runs[:n-1]) {
			last := &(*now)[len(*now)-1]
			last.init = append(append(last.init, make([]byte, d.at-last.end())...), d.init...)
			continue
		}
		d.init = append([]byte(nil), d.init...)
		*now = append(*now, d)
	}
	return runs, true
}

// end is the first byte behind the run; it has segments.
func (r run) end() uint64 { return r[len(r)-1].end() }

// reach reports whether next may become a part of the last segment: it begins soon behind it, and what is
// between was not written by an earlier run, so that it is zero.
func (r run) reach(next dataSegment, earlier []run) bool {
	if len(r) == 0 || next.at-r.end() > mergeGap {
		return false
	}
	return !slices.ContainsFunc(earlier, func(e run) bool { return e.meets(r.end(), next.at) })
}

// meets reports whether a segment of the run has a byte in the range.
func (r run) meets(from, to uint64) bool {
	i := sort.Search(len(r), func(i int) bool { return r[i].end() > from })
	return i < len(r) && r[i].at < to
}

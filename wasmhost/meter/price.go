package meter

import "slices"

// price is who pays for a function and who counts its frame.
type price struct {
	free  int64 // what its callers pay for it; 0 where it pays itself
	frame int64 // what it takes of the stack; 0 where its callers count it
	under int64 // what its callers count for it; 0 where it counts its frame itself
}

// facts is what a first look at a body finds.
type facts struct {
	cost, frame     int64
	callees         []uint32
	indirect, tails bool
	pays            bool // has something in it that pays
	round           bool // a way of calls leads from it to itself, and this is where it is cut
}

// price finds the functions that need no meter of their own. What a short function without a way back
// costs is paid by its callers, and so is what it calls in its turn; the frame of a function that cannot
// come back to itself is counted by its callers. In each round of calls there is one function that pays
// and one that counts: the callee of a call that closes the round, when the calls are followed from the
// first function on; and one that does not know whom it calls does both. So each loop and each
// recursion pays, and what is not paid or counted where it happens is in what was paid or counted before.
func (m *Module) price() error {
	all := make([]facts, len(m.bodies))
	seen := make([]int, len(m.bodies))
	var s scan
	for i := range m.bodies {
		if err := s.body(m, i); err != nil {
			return err
		}
		all[i] = facts{
			cost: s.dearest, frame: s.frame(), callees: s.distinct(seen, i+1), indirect: s.indirects > 0,
			tails: s.tails, pays: s.dynamic || len(s.backs) > 0 || slices.ContainsFunc(s.rounds, round.lands),
		}
	}
	m.prices = make([]price, len(m.bodies))
	var err error
	calleesFirst(all, func(i int) {
		if e := m.priceOf(&s, all, i); err == nil {
			err = e
		}
	})
	return err
}

// priceOf prices a function all of whose callees are priced, but for those that close a round.
func (m *Module) priceOf(s *scan, all []facts, i int) error {
	f, p := &all[i], &m.prices[i]
	under := int64(0)
	if f.indirect {
		under = frameLeaf
	}
	freed := false
	for _, c := range f.callees {
		under = max(under, m.prices[c].under)
		if all[c].tails {
			under = frameLeaf // what comes in its place may count nothing
		}
		freed = freed || m.prices[c].free > 0
	}
	p.frame = f.frame + under
	if !f.round && !f.indirect && p.frame <= frameLeaf {
		p.frame, p.under = 0, p.frame
	}
	if f.round || f.indirect || f.pays || f.cost > costLeaf {
		return nil
	}
	if freed {
		if err := s.body(m, i); err != nil {
			return err
		}
		f.cost = s.dearest
	}
	if f.cost <= costLeaf {
		p.free = f.cost
	}
	return nil
}

// distinct gives the callees in the order in which they are first called, each once. It marks them, each
// time with another mark.
func (s *scan) distinct(seen []int, mark int) []uint32 {
	unseen := s.callees[:0]
	for _, c := range s.callees {
		if seen[c] != mark {
			seen[c] = mark
			unseen = append(unseen, c)
		}
	}
	return slices.Clone(unseen)
}

// calleesFirst visits each function behind all that it calls. Where that cannot be, a call leads to a
// function that is being visited: it is marked as the one that closes the round.
func calleesFirst(all []facts, visit func(i int)) {
	const (
		fresh = iota
		open
		done
	)
	state := make([]byte, len(all))
	type step struct {
		f    uint32
		next int // callee
	}
	var way []step
	for i := range all {
		if state[i] != fresh {
			continue
		}
		way, state[i] = append(way, step{f: uint32(i)}), open
		for len(way) > 0 {
			at := &way[len(way)-1]
			if at.next == len(all[at.f].callees) {
				visit(int(at.f))
				state[at.f] = done
				way = way[:len(way)-1]
				continue
			}
			c := all[at.f].callees[at.next]
			at.next++
			switch state[c] {
			case open:
				all[c].round = true
			case fresh:
				way, state[c] = append(way, step{f: c}), open
			}
		}
	}
}

// paidByCaller is what a direct call pays for the function beyond the call itself; 0 for one that pays.
func (m *Module) paidByCaller(f uint32) int64 {
	if i := int(f) - m.importedFuncs; i >= 0 && i < len(m.prices) {
		return m.prices[i].free
	}
	return 0
}

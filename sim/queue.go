package sim

// kind is what an item of the queue is for.
type kind uint8

// The kinds of items. The trace names them by these numbers: they never change.
const (
	kindTick    kind = 1  // an agent's own time has come
	kindArrive  kind = 2  // a message of a line is due at its other end
	kindAnswer  kind = 3  // a plugin has answered
	kindConnect kind = 4  // a line tries to come up
	kindFlush   kind = 5  // the hub commits
	kindHubTick kind = 6  // the hub's own time has come
	kindWill    kind = 7  // the broker tells what a lost line left
	kindDo      kind = 8  // something of the scenario: a fault, a deployment, a sample
	kindTimeout kind = 9  // a line that says nothing is given up
	kindPower   kind = 10 // a device is switched on
)

// item is one thing that happens at a moment.
type item struct {
	at   int64 // ns since the start
	seq  uint64
	kind kind
	n    uint64 // which of its kind is meant: one that was replaced is passed over
	d    *device
	arg  any
}

// node is an item's place in the order: by time, then by who came first.
type node struct {
	at   int64
	seq  uint64
	slot int32 // of the item
}

func (a *node) before(b *node) bool { return a.at < b.at || a.at == b.at && a.seq < b.seq }

// queue is a heap of nodes with four children each. What they stand for lies still beside them: a
// fleet has thousands of items, and what is moved is small so.
type queue struct {
	nodes []node
	items []item
	free  []int32 // slots of items that are nobody's
	seq   uint64
}

func (q *queue) push(it item) {
	q.seq++
	it.seq = q.seq
	n := node{at: it.at, seq: it.seq, slot: int32(len(q.items))}
	if last := len(q.free) - 1; last >= 0 {
		n.slot, q.free = q.free[last], q.free[:last]
		q.items[n.slot] = it
	} else {
		q.items = append(q.items, it)
	}
	q.nodes = append(q.nodes, n)
	i := len(q.nodes) - 1
	for i > 0 {
		parent := (i - 1) / 4
		if !n.before(&q.nodes[parent]) {
			break
		}
		q.nodes[i] = q.nodes[parent]
		i = parent
	}
	q.nodes[i] = n
}

// next returns when the first item is due, and whether there is one.
func (q *queue) next() (int64, bool) {
	if len(q.nodes) == 0 {
		return 0, false
	}
	return q.nodes[0].at, true
}

// pop takes the first item; there must be one.
func (q *queue) pop() item {
	slot, last := q.nodes[0].slot, q.nodes[len(q.nodes)-1]
	if q.nodes = q.nodes[:len(q.nodes)-1]; len(q.nodes) > 0 {
		q.sink(last)
	}
	it := q.items[slot]
	q.items[slot] = item{}
	q.free = append(q.free, slot)
	return it
}

// sink puts n at the root and lets it down to its place.
func (q *queue) sink(n node) {
	i := 0
	for {
		least := 4*i + 1
		if least >= len(q.nodes) {
			break
		}
		for c := least + 1; c <= 4*i+4 && c < len(q.nodes); c++ {
			if q.nodes[c].before(&q.nodes[least]) {
				least = c
			}
		}
		if !q.nodes[least].before(&n) {
			break
		}
		q.nodes[i] = q.nodes[least]
		i = least
	}
	q.nodes[i] = n
}

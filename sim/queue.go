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

// before orders items by time, then by who came first.
func (a *item) before(b *item) bool { return a.at < b.at || a.at == b.at && a.seq < b.seq }

// queue is a heap of items with four children each.
type queue struct {
	items []item
	seq   uint64
}

func (q *queue) push(it item) {
	q.seq++
	it.seq = q.seq
	q.items = append(q.items, it)
	i := len(q.items) - 1
	for i > 0 {
		parent := (i - 1) / 4
		if !it.before(&q.items[parent]) {
			break
		}
		q.items[i] = q.items[parent]
		i = parent
	}
	q.items[i] = it
}

// next returns when the first item is due, and whether there is one.
func (q *queue) next() (int64, bool) {
	if len(q.items) == 0 {
		return 0, false
	}
	return q.items[0].at, true
}

// pop takes the first item; there must be one.
func (q *queue) pop() item {
	first, last := q.items[0], q.items[len(q.items)-1]
	q.items[len(q.items)-1] = item{}
	q.items = q.items[:len(q.items)-1]
	if len(q.items) > 0 {
		q.sink(last)
	}
	return first
}

// sink puts it at the root and lets it down to its place.
func (q *queue) sink(it item) {
	i := 0
	for {
		least := -1
		for c := 4*i + 1; c <= 4*i+4 && c < len(q.items); c++ {
			if least < 0 || q.items[c].before(&q.items[least]) {
				least = c
			}
		}
		if least < 0 || !q.items[least].before(&it) {
			break
		}
		q.items[i] = q.items[least]
		i = least
	}
	q.items[i] = it
}

package edge

import "github.com/stavily/stavily/protocol"

// recentMax is how many bytes of a lane's newest records stay in memory until the hub has
// them, while it hears: what goes out at once is not read back from the disk. It is what a
// queue that is worked off makes in Config.Gather. Those that are not on the disk yet stay in
// any case.
const recentMax = 384 << 10

// recentKept is how many records of a lane there is room for while the agent has work: as many as
// wait for the disk at most, and those of an input.
const recentKept = 2 * waitMax

// recent are the newest records of a lane, oldest first.
type recent struct {
	all   []kept
	room  []kept // that all stands in
	bytes int
}

type kept struct {
	mark  protocol.Mark
	value []byte
}

// add adds the lane's newest record.
func (r *recent) add(m protocol.Mark, value []byte) {
	r.bytes += len(value)
	if len(r.all) == cap(r.all) && len(r.all) < cap(r.room)/2 { // the room is behind it
		r.all = append(r.room[:0], r.all...)
	}
	if len(r.all) == cap(r.all) {
		r.all = append(r.all, kept{m, value})
		r.room = r.all[:0]
	} else {
		r.all = append(r.all, kept{m, value})
	}
}

// shrink has the oldest give way, which are on the disk up to onDisk, until there are no more
// than most bytes. It reports whether there were any.
func (r *recent) shrink(most int, onDisk protocol.Mark) (gave bool) {
	for r.bytes > most && !r.all[0].mark.After(onDisk) {
		r.first()
		gave = true
	}
	return gave
}

// drop forgets the records up to and with m.
func (r *recent) drop(m protocol.Mark) {
	for len(r.all) > 0 && !r.all[0].mark.After(m) {
		r.first()
	}
}

func (r *recent) first() {
	r.bytes -= len(r.all[0].value)
	r.all[0] = kept{}
	if r.all = r.all[1:]; len(r.all) > 0 {
		return
	}
	if r.all = r.room[:0]; cap(r.room) > recentKept {
		r.all, r.room = nil, nil
	}
}

package edge

import (
	"log/slog"
	"time"

	"github.com/stavily/stavily/protocol"
)

// keyData keeps what of the data budget is used up.
const keyData = "data"

// The lanes that stop before the budget's end, in hundredths of it: artifacts and what is
// for looking at later first, then records, and alarms with the last of it. What controls the
// agent always goes.
const (
	bulkShare   = 80
	recordShare = 90
	wholeShare  = 100
)

const (
	day = 24 * time.Hour
	// messageCost is what a message costs besides topic and payload, where nobody counts the
	// bytes of the line: framing, TLS, TCP and IP, and the answer.
	messageCost = 150
	// dataStep is how many bytes may be used before it is written down, where no budget says
	// less. What was not written down when the power went counts as used.
	dataStep = 256 << 10
	dataMin  = 4 << 10
)

// spent is what the disk has of a day. A day is one by the device's clock, and where that
// cannot be believed 24 hours of the agent's running.
type spent struct {
	Day     int64  `cbor:"1,keyasint"` // since 1970, 0 for no clock
	Bytes   uint64 `cbor:"2,keyasint"`
	Seconds int64  `cbor:"3,keyasint"` // of the day that the agent has run
}

// budget counts the bytes on the line, both ways, and says what may go.
type budget struct {
	spent
	began   time.Time // when Seconds was counted last
	counted uint64    // of Deps.Traffic
	early   uint64    // of Bytes: sent, and not yet of Deps.Traffic
	saved   uint64    // bytes that the disk has
	held    bool      // something waits for the next day
}

// readBudget takes up the day that the last boot left.
func (a *Agent) readBudget() {
	b := &a.budget
	b.began = a.now
	if a.traffic != nil {
		b.counted = a.traffic()
	}
	if a.readKey(keyData, &b.spent) {
		b.Bytes += a.dataStep()
	}
	b.saved = b.Bytes
}

// dataLimit returns the bytes a day, 0 for no bound.
func (a *Agent) dataLimit() uint64 {
	if a.held == nil {
		return 0
	}
	return a.held.desired.Settings.DataBytesPerDay
}

func (a *Agent) dataStep() uint64 {
	if limit := a.dataLimit(); limit > 0 {
		return min(dataStep, max(dataMin, limit/100))
	}
	return dataStep
}

// countData takes in what went over the line since the last input.
func (a *Agent) countData() {
	b := &a.budget
	if a.traffic != nil {
		now := a.traffic()
		fresh := now - b.counted
		known := min(fresh, b.early)
		b.Bytes += fresh - known
		b.early -= known
		b.counted = now
	}
	if b.Day == 0 || a.now.Sub(b.began) >= time.Second { // days are looked at once a second
		a.countDay()
	}
	if b.Bytes >= b.saved+a.dataStep() {
		b.saved = b.Bytes
		a.put(keyData, b.spent)
	}
}

// countDay takes in what time it is, and begins a new day when that has come.
func (a *Agent) countDay() {
	b, today := &a.budget, int64(0)
	if at := a.stamp(); at.Quality == protocol.QualityClock {
		today = at.UnixMS / day.Milliseconds()
	}
	if run := a.now.Sub(b.began).Truncate(time.Second); run > 0 {
		b.Seconds += int64(run / time.Second)
		b.began = b.began.Add(run)
	}
	if b.Day == 0 && b.Bytes == 0 || today > 0 && b.Day == 0 {
		b.Day = today // the clock was set: the same day goes on
	}
	if today > b.Day || b.Seconds >= int64(day/time.Second) {
		b.spent, b.saved, b.early = spent{Day: today}, 0, 0
		a.put(keyData, b.spent)
		a.nextBudget()
	}
}

// carry counts a message where nobody counts the bytes of the line.
func (a *Agent) carry(m *protocol.Message) {
	if a.traffic == nil {
		a.budget.Bytes += uint64(len(m.Topic) + len(m.Payload) + messageCost)
	}
}

// pledge counts a message that goes before the line has carried it: others may go at the
// same moment, and they share what is left.
func (a *Agent) pledge(m *protocol.Message) {
	if a.traffic == nil {
		a.carry(m)
		return
	}
	n := uint64(len(m.Topic) + len(m.Payload))
	a.budget.Bytes += n
	a.budget.early += n
}

// nextBudget lets go what waited for the one before.
func (a *Agent) nextBudget() {
	if !a.budget.held {
		return
	}
	a.budget.held = false
	a.out.resend()
	a.refetch()
	a.report.touch(a.now)
}

// allows reports whether n bytes more may go within a share of the budget. On a budget that
// is small beside them they go once, at the beginning of the day. What may not go waits.
func (a *Agent) allows(share, n uint64) bool {
	limit := a.dataLimit()
	part := limit / 100 * share
	if limit == 0 || a.budget.Bytes+n <= part || a.budget.Bytes <= part/4 {
		return true
	}
	if !a.budget.held {
		a.budget.held = true
		a.report.touch(a.now)
		a.log.Warn("data budget of the day used up: artifacts and records wait",
			slog.Uint64("used", a.budget.Bytes), slog.Uint64("limit", limit))
	}
	return false
}

// allowsLane is allows for a batch of records.
func (a *Agent) allowsLane(of protocol.Lane) bool { return a.allows(shareOf(of), dataMin) }

// shareOf is a lane's share. The reserve is for alarms, and for what is to be acted on.
func shareOf(of protocol.Lane) uint64 {
	switch of {
	case protocol.LaneMetric, protocol.LaneLog:
		return bulkShare
	case protocol.LaneResult, protocol.LaneAudit, protocol.LaneEvent:
		return recordShare
	default:
		return wholeShare
	}
}

// resent bounds a batch to so many parts of a day's budget: a line that is lost in its middle
// carries it again.
const resent = 16

// batchRoom bounds the next batch of a lane: by what is left of its share.
func (a *Agent) batchRoom(of protocol.Lane) int {
	limit := a.dataLimit()
	if limit == 0 {
		return a.cfg.BatchBytes
	}
	left := max(limit/100*shareOf(of), a.budget.Bytes) - a.budget.Bytes
	return int(min(max(min(left, limit/resent), dataMin), uint64(a.cfg.BatchBytes)))
}

// nextDay returns when the budget is looked at again: at the end of the day, and before as
// clocks are not to be relied on.
func (a *Agent) nextDay() time.Time {
	left := day - time.Duration(a.budget.Seconds)*time.Second
	if at := a.stamp(); at.Quality == protocol.QualityClock {
		left = min(left, day-time.Duration(at.UnixMS%day.Milliseconds())*time.Millisecond)
	}
	return a.now.Add(max(time.Second, min(left, time.Hour)))
}

// dataUse is what the report says.
func (a *Agent) dataUse() *protocol.DataUse {
	limit := a.dataLimit()
	if limit == 0 {
		return nil
	}
	return &protocol.DataUse{Bytes: a.budget.Bytes, Limit: limit, Waiting: a.budget.held}
}

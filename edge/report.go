package edge

import (
	"strings"
	"time"

	"github.com/stavily/stavily/protocol"
)

// reportSettle is how long a report waits for assignments that are still loading, so
// that a deployment makes one report and not one for each step.
const reportSettle = time.Second

// report is what is owed of presence and the reported document.
type report struct {
	sequence uint64
	presence bool      // presence is owed
	owed     bool      // something changed that the hub wants to know now
	since    time.Time // when it changed
	hold     time.Time // not before: the line took nothing
	beat     time.Time // the next report without a change
	sent     time.Time // the last one
	refused  *protocol.Refusal
	again    time.Time // refused for what may pass: not tried again before
	tries    int       // of the refused revision
}

func (r *report) connected() {
	r.presence, r.owed, r.since, r.hold = true, true, time.Time{}, time.Time{}
}

// touch says that the report changed.
func (r *report) touch(now time.Time) {
	if !r.owed {
		r.owed, r.since = true, now
	}
}

// askedEvery is how often the hub gets a report that it asks for, by a hint that says nothing new.
const askedEvery = 30 * time.Second

// asked reports soon when the hub wants to know how the revision that is held fares: it waits with
// a wave for that.
func (a *Agent) asked() {
	if r := &a.report; !a.now.Before(r.sent.Add(askedEvery)) && !a.budget.held {
		r.touch(a.now)
	}
}

func (r *report) due() time.Time {
	t := r.beat
	if r.owed || r.presence {
		t = r.since.Add(reportSettle) // a heartbeat that is due meanwhile waits with it
	}
	if t.Before(r.hold) {
		return r.hold
	}
	return t
}

// sayReport sends presence and report when they are owed, and the report at each
// heartbeat. A change that is still under way is waited for a moment.
func (a *Agent) sayReport() {
	r := &a.report
	if a.now.Before(r.hold) {
		return
	}
	if r.presence {
		if !a.send(protocol.UpPresence, protocol.MustMarshal(a.Presence(true))) {
			r.hold = a.now.Add(a.cfg.PauseMin)
			return
		}
		r.presence = false
	}
	waits := r.owed && a.unsettled() && a.now.Before(r.since.Add(reportSettle))
	if waits || !r.owed && a.now.Before(r.beat) {
		return
	}
	r.sequence++
	if !a.send(protocol.UpReported, protocol.MustMarshal(a.reported())) {
		r.owed, r.hold = true, a.now.Add(a.cfg.PauseMin)
		return
	}
	r.owed, r.sent, r.beat = false, a.now, a.now.Add(a.heartbeat())
}

// Presence returns what a connection of this boot says of itself on going up, and
// what it leaves as its Will.
func (a *Agent) Presence(online bool) protocol.Presence {
	return protocol.Presence{Online: online, Boot: a.boot, Session: a.session}
}

// frugal is how many times longer heartbeats are apart while the data budget of the day is used
// up: each is a report and often the hub's answer, which together may be half of a small one.
const frugal = 12

func (a *Agent) heartbeat() time.Duration {
	every := a.cfg.Heartbeat
	if a.held != nil && a.held.desired.Settings.HeartbeatSeconds > 0 {
		every = time.Duration(a.held.desired.Settings.HeartbeatSeconds) * time.Second
	}
	if a.budget.held {
		every *= frugal
	}
	return every
}

func (a *Agent) unsettled() bool {
	for _, w := range a.works {
		if w.phase == protocol.PhaseLoading {
			return true
		}
	}
	return false
}

// reported returns the whole of what the agent says of itself.
func (a *Agent) reported() protocol.Reported {
	r := protocol.Reported{
		Epoch: a.cfg.Epoch, Boot: a.boot, Sequence: a.report.sequence, Time: a.stamp(), Device: a.cfg.Device,
		Assignments: a.statuses(), Refused: a.report.refused,
		Pending: a.out.pending(), Dropped: a.out.dropped(), Secrets: a.secrets.Digest,
		Data: a.dataUse(),
	}
	if a.held != nil {
		r.Revision, r.Digest = a.held.desired.Revision, a.held.digest
	}
	return r
}

// statuses returns how each assignment fares: those at work, and those of the next
// revision that are not here yet.
func (a *Agent) statuses() []protocol.AssignmentStatus {
	var out []protocol.AssignmentStatus
	for _, w := range a.works {
		s := protocol.AssignmentStatus{
			Workflow: w.of.Workflow, Phase: w.phase, Error: brief(w.err), Fired: w.fired, Failed: w.failed,
			Filtered: w.filtered, Trial: w.trial.told(a.now), Limited: w.storm.Limited, Repeated: w.storm.Repeated,
			Ending: a.endingRuns(w.of.Workflow),
		}
		if s.Error == nil && len(w.cut) > 0 {
			s.Error = brief(protocol.Errorf(protocol.CodeRefused, "%s", withLess(w.cut)))
		}
		out = append(out, s)
	}
	out = append(out, a.hostStatuses()...)
	if a.next == nil || a.next.gen == nil {
		return out
	}
	for _, of := range a.next.gen.desired.Assignments {
		if a.work(of.Workflow) == nil {
			out = append(out, protocol.AssignmentStatus{Workflow: of.Workflow, Phase: protocol.PhaseFetching})
		}
	}
	return out
}

func withLess(cut []string) string {
	return "running with less: this device's policy does not allow " + strings.Join(cut, ", ")
}

// statusTextMax bounds an assignment's error text, so that a report of AssignmentsMax
// failed assignments still is one message.
const statusTextMax = 256

func brief(err *protocol.Error) *protocol.Error {
	if err == nil || len(err.Text) <= statusTextMax {
		return err
	}
	return &protocol.Error{Code: err.Code, Text: strings.ToValidUTF8(err.Text[:statusTextMax-3], "") + "..."}
}

// refuse notes a revision that was not taken, and why. An older one never hides a
// newer one.
func (a *Agent) refuse(revision uint64, err error) {
	r := a.report.refused
	if r != nil && r.Revision > revision {
		return
	}
	if a.report.tries++; r == nil || r.Revision != revision {
		a.report.tries = 0
	}
	a.report.again = a.now.Add(a.pause(a.report.tries))
	code := protocol.CodeOf(err)
	if r != nil && r.Revision == revision && r.Error.Code == code && !passing(code) {
		return // the hub knows
	}
	a.report.refused = &protocol.Refusal{Revision: revision, Error: *protocol.AsError(err)}
	a.report.touch(a.now)
}

// Status is what an agent knows of itself, for the people at the device.
type Status struct {
	Address     protocol.Address            `json:"address"`
	Device      protocol.Device             `json:"device"`
	Boot        uint64                      `json:"boot"`
	Online      bool                        `json:"online"`
	LastContact time.Time                   `json:"last_contact"` // zero: none in this boot
	Floor       time.Time                   `json:"time_floor"`
	Revision    uint64                      `json:"revision"`
	Digest      protocol.Digest             `json:"digest"`
	Assignments []protocol.AssignmentStatus `json:"assignments"`
	Refused     *protocol.Refusal           `json:"refused,omitempty"`
	Pending     uint64                      `json:"pending"` // records that wait for the hub
	Dropped     uint64                      `json:"dropped"` // records let go, ever
	DiskRefuses bool                        `json:"disk_refuses"`
	Data        *protocol.DataUse           `json:"data,omitempty"`
	// Sums are what all that runs here asks of the device, beside what it has; empty: nothing.
	Sums string `json:"sums,omitempty"`
	// Lanes are those of which there is something to say, the most important first.
	Lanes []LaneStatus `json:"lanes,omitempty"`
	// Policy is what the device allows plugins.
	Policy Policy `json:"policy"`
	// Epoch, Sequence (of the last report of this boot) and Time are as in protocol.Reported: by
	// them State makes a report of an agent that does not run. Epoch 0: an older program's status.
	Epoch    uint64         `json:"epoch"`
	Sequence uint64         `json:"sequence"`
	Time     protocol.Stamp `json:"time"`
	Secrets  HeldSecrets    `json:"secrets"`
	// Urgent are the workflows at work whose events and results go before others.
	Urgent []protocol.WorkflowName `json:"urgent,omitempty"`
}

// LaneStatus is what waits in a lane that is nearly full, or has let go of records.
type LaneStatus struct {
	Lane    protocol.Lane `json:"lane"`
	Records uint64        `json:"records"`
	Bytes   int64         `json:"bytes"`
	Most    int64         `json:"most"`    // bytes that it holds; Config.LaneBytes
	Dropped uint64        `json:"dropped"` // records let go, ever
	Blocks  bool          `json:"blocks"`  // the triggers of its workflows wait until there is room
}

// Near reports whether more than three quarters of what the lane holds are taken.
func (s *LaneStatus) Near() bool { return s.Bytes > s.Most-s.Most/4 }

func (a *Agent) urgent() (all []protocol.WorkflowName) {
	for _, w := range a.works {
		if w.of.Urgent {
			all = append(all, w.of.Workflow)
		}
	}
	return all
}

func (a *Agent) laneStatuses() (all []LaneStatus) {
	for _, of := range protocol.Lanes() {
		l := &a.out.lanes[of]
		s := LaneStatus{of, l.Count, l.Bytes, a.cfg.LaneBytes[of], l.Dropped, a.full(of)}
		if s.Near() || s.Dropped > 0 {
			all = append(all, s)
		}
	}
	return all
}

// Status returns the agent's state as of the last input.
func (a *Agent) Status() Status {
	r, sums := a.reported(), ""
	if a.held != nil {
		sums = a.held.demands().Text(&a.cfg.Device, a.held.overcommit())
	}
	return Status{
		Sums: sums, Policy: a.cfg.Policy, Lanes: a.laneStatuses(),
		Address: a.cfg.Address, Device: a.cfg.Device, Boot: a.boot, Online: a.up, LastContact: a.contact,
		Floor: a.clock.floor, Revision: r.Revision, Digest: r.Digest, Assignments: r.Assignments,
		Refused: r.Refused, Pending: r.Pending, Dropped: r.Dropped, DiskRefuses: a.pen.stuck, Data: r.Data,
		Epoch: r.Epoch, Sequence: r.Sequence, Time: r.Time, Secrets: a.secrets.HeldSecrets, Urgent: a.urgent(),
	}
}

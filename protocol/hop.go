package protocol

import "slices"

// Place says who runs a step that its workflow's agent does not run itself.
type Place struct {
	// Members are those who may, ascending.
	Members []Address `cbor:"1,keyasint" json:"members"`
	Pick    Pick      `cbor:"2,keyasint" json:"pick"`
	// WithinMS is how long the step may wait for one of them to begin it; after that it is
	// not run any more.
	WithinMS int64 `cbor:"3,keyasint" json:"within_ms"`
	// Edition is that of the Hosts which are asked.
	Edition Edition `cbor:"4,keyasint,omitempty" json:"edition,omitempty"`
}

// Edition tells the versions of one step apart that agents run for others side by side, while
// a change of its workflow goes through the fleet. It follows from what the step is, so that
// versions in which it is the same share its hosts. 0 is a step of its own agent.
type Edition uint32

// Pick says which of a place's members run a step.
type Pick uint8

// The ways to pick.
const (
	PickRendezvous  Pick = 1 // one, by a hash of run and member: the same for a repeated step
	PickRoundRobin  Pick = 2 // one, in turns
	PickLeastLoaded Pick = 3 // one, who has the fewest steps waiting
	PickAll         Pick = 4 // each of them
	PickEnd         Pick = 5
)

// Host is a step of another agent's runs that this agent runs for it.
type Host struct {
	Workflow WorkflowName `cbor:"1,keyasint" json:"workflow"`
	Type     PluginType   `cbor:"2,keyasint" json:"type"` // action or output
	Step     Step         `cbor:"3,keyasint" json:"step"`
	// Once has the runs of several agents that mean the same take the step once; nil does not.
	Once *Once `cbor:"4,keyasint,omitempty" json:"once,omitempty"`
	// Edition is the one of the step that this is; see Place.
	Edition Edition `cbor:"6,keyasint,omitempty" json:"edition,omitempty"`
	// Origins are the agents of the member's own site whose runs the step may be of, ascending,
	// at most OriginsMax: a gateway between them knows no workflows, so the member itself turns
	// others away. Words from other sites come by the hub, which does know.
	Origins []AgentName `cbor:"5,keyasint,omitempty" json:"origins,omitempty"`
	// Open says that there are more of them in the site than could be named: any may.
	Open bool `cbor:"7,keyasint,omitempty" json:"open,omitempty"`
}

// AuditHop is the capability of an Audit that counts words of an agent, its subject, to whom no
// hosted step is open.
const AuditHop = "hop"

// Takes reports whether h lets the agent at from have the step run on the agent at own.
func (h *Host) Takes(from, own Address) bool {
	return h.Open || from.Site != own.Site || slices.Contains(h.Origins, from.Agent)
}

// CheckOrigins holds who may ask for the step against what each receiver relies on. The error
// has CodeLimit, CodeBadName or CodeBadMessage.
func (h *Host) CheckOrigins() error {
	if len(h.Origins) > OriginsMax {
		return Errorf(CodeLimit, "host: step %q: %d origins, limit OriginsMax %d", h.Step.Name, len(h.Origins),
			OriginsMax)
	}
	for i, o := range h.Origins {
		if err := o.Check(); err != nil {
			return err
		}
		if i > 0 && h.Origins[i-1] >= o {
			return Errorf(CodeBadMessage, "host: step %q: origins not in ascending order", h.Step.Name)
		}
	}
	return nil
}

// Hop is one word between two agents about one step of one run. It goes up to whoever
// relays, the hub or a gateway, and down to the other agent with From as the relay knows
// it. Any word may be lost, come twice or late:
//
//	origin  -> member   Offer   there is a step; may come to many, and again
//	member  -> origin   Take    I could begin now
//	origin  -> member   Go      begin: to one member at a time, unless all are to
//	member  -> origin   Busy    I am at it
//	member  -> origin   Done    how it ended; again until it is kept
//	origin  -> member   Kept    the result is on my disk, or nobody wants it: forget it
//
// A member begins only on a Go that answers its own Take of a moment ago, so that a word
// that lay somewhere for hours begins nothing, whatever the clocks say.
type Hop struct {
	To       Address      `cbor:"1,keyasint"`
	From     Address      `cbor:"2,keyasint"`
	Word     HopWord      `cbor:"3,keyasint"`
	Run      RunID        `cbor:"4,keyasint"`
	Workflow WorkflowName `cbor:"5,keyasint"`
	Step     StepName     `cbor:"6,keyasint"`
	Nonce    uint64       `cbor:"7,keyasint,omitempty"` // of a Take, and of the Go that answers it
	Load     uint32       `cbor:"8,keyasint,omitempty"` // of a Take: steps that wait at the member
	// Event and Results are those of a Go, Result that of a Done.
	Event   *Event   `cbor:"9,keyasint,omitempty"`
	Results []Result `cbor:"10,keyasint,omitempty"`
	Result  *Result  `cbor:"11,keyasint,omitempty"`
	// Edition of an Offer says which of the member's hosts is meant.
	Edition Edition `cbor:"12,keyasint,omitempty"`
}

// HopWord is what a Hop says.
type HopWord uint8

// The words.
const (
	HopOffer HopWord = 1
	HopTake  HopWord = 2
	HopGo    HopWord = 3
	HopBusy  HopWord = 4
	HopDone  HopWord = 5
	HopKept  HopWord = 6
	hopEnd   HopWord = 7
)

var hopWords = [hopEnd]string{"unknown", "offer", "take", "go", "busy", "done", "kept"}

// String returns the word.
func (w HopWord) String() string {
	if w < hopEnd {
		return hopWords[w]
	}
	return hopWords[0]
}

// FromOrigin reports whether the run's own agent says the word.
func (w HopWord) FromOrigin() bool { return w == HopOffer || w == HopGo || w == HopKept }

// Check holds a hop against what each receiver relies on. The error has CodeBadMessage or
// CodeBadName.
func (h *Hop) Check() error {
	for _, err := range []error{h.To.Check(), h.From.Check(), h.Workflow.Check(), h.Step.Check()} {
		if err != nil {
			return err
		}
	}
	switch {
	case h.Word == 0 || h.Word >= hopEnd:
		return Errorf(CodeBadMessage, "hop: word %d is not known", h.Word)
	case h.Word == HopGo && (h.Event == nil || h.Event.Run != h.Run || h.Event.Workflow != h.Workflow):
		return Errorf(CodeBadMessage, "hop: go without the event of its run")
	case h.Word == HopDone && (h.Result == nil || h.Result.Run != h.Run || h.Result.Step != h.Step):
		return Errorf(CodeBadMessage, "hop: done without the result of its step")
	case len(h.Results) > StepsMax:
		return Errorf(CodeLimit, "hop: %d results, limit StepsMax %d", len(h.Results), StepsMax)
	}
	return nil
}

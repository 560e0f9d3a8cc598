package edge

import (
	"cmp"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/stavily/stavily/protocol"
	"github.com/stavily/stavily/wasmhost"
)

const (
	// hopPatience is how long a member is waited for before the next one is asked too.
	hopPatience = 5 * time.Second
	// hopAgain bounds how long a word waits before it is said again.
	hopAgain = time.Minute
	// hopGather is how long members are listened to before the least loaded gets a step.
	hopGather = 300 * time.Millisecond
	// hopGrace is how much longer than its step may take a member is waited for: its word
	// may have to come over a slow line, or by a relay that was away.
	hopGrace = 30 * time.Second
)

// away is a step of a run on its way at other agents. It is not on the disk: after a restart
// the step is offered again, and a member that has run it meanwhile answers with its result.
type away struct {
	work  *work
	run   *run
	step  protocol.Step
	parts []part
	begun time.Time
	until time.Time // no member begins after it
	grant time.Time // when the least loaded gets it; zero: not yet, or not so
}

// part is one member's part in a step.
type part struct {
	at      protocol.Address
	next    time.Time // when to say something again
	tries   int
	took    uint64 // the nonce of its Take, 0 for none
	load    uint32
	granted time.Time // zero: it was not told to begin
	limit   time.Time // when it is given up after that
	done    *protocol.Result
}

// sendAway begins a step at other agents.
func (a *Agent) sendAway(w *work, r *run) {
	s := w.steps[r.Next+1]
	h := &away{work: w, run: r, step: s, begun: a.now}
	h.until = a.now.Add(time.Duration(s.Place.WithinMS) * time.Millisecond)
	for _, m := range a.order(w, r, &s) {
		h.parts = append(h.parts, part{at: m})
	}
	w.asked++
	a.aways = append(a.aways, h)
	word := h.word(protocol.HopGo, h.parts[0].at)
	word.From, word.Event, word.Results = a.cfg.Address, &r.Event, r.Results
	if n := len(protocol.MustMarshal(word)) + hopRoom; n > protocol.MessageMax {
		a.over(h, wasmhost.Answer{Error: protocol.Errorf(protocol.CodeLimit,
			"the event and the results so far are %d bytes, limit MessageMax %d", n, protocol.MessageMax)},
			protocol.Address{})
	}
}

// hopRoom is what addresses and numbers may add to a word, in bytes.
const hopRoom = 256

// order returns the members of a step's place in the order in which they are asked.
func (a *Agent) order(w *work, r *run, s *protocol.Step) []protocol.Address {
	members := slices.Clone(s.Place.Members)
	switch s.Place.Pick {
	case protocol.PickRoundRobin:
		first := int(w.turns % uint64(len(members)))
		w.turns++
		return append(members[first:], members[:first]...)
	case protocol.PickRendezvous:
		seed := r.Event.Run.String()
		if key, err := keyOf(w.of.Once, r.Event.Data); err == nil && w.of.Once != nil {
			seed = string(key[:]) // runs that mean the same go to the same member
		}
		weight := func(m protocol.Address) string {
			sum := sha256.Sum256([]byte(seed + "/" + m.String()))
			return string(sum[:])
		}
		sort.Slice(members, func(i, j int) bool { return weight(members[i]) > weight(members[j]) })
	default:
	}
	return members
}

// dropAways forgets the steps of w that are away. Members that are at them end them, and
// keep the results until they are offered the steps again or forgotten.
func (a *Agent) dropAways(w *work) {
	a.aways = slices.DeleteFunc(a.aways, func(h *away) bool { return h.work == w })
}

// hop lets every step that is away go on as far as it can.
func (a *Agent) hop() {
	for _, h := range slices.Clone(a.aways) {
		a.goOn(h)
	}
}

// goOn says what is due for one step, and ends it when its time is over.
func (a *Agent) goOn(h *away) {
	granted := false
	for i := range h.parts {
		p := &h.parts[i]
		if !p.granted.IsZero() && p.done == nil && !a.now.Before(p.limit) {
			a.log.Warn("member silent: step offered again", slog.String("member", p.at.String()),
				slog.String("run", h.run.Event.Run.String()), slog.String("step", string(h.step.Name)))
			p.granted, p.took, p.next = time.Time{}, 0, time.Time{}
		}
		granted = granted || !p.granted.IsZero() && p.done == nil
	}
	if !granted && !a.now.Before(h.until) {
		a.expired(h)
		return
	}
	if !granted && !h.grant.IsZero() && !a.now.Before(h.grant) {
		a.grantLeast(h)
	}
	for i := range h.parts {
		if a.asks(h, i, granted) && !a.now.Before(h.parts[i].next) {
			a.offer(h, &h.parts[i])
		}
	}
}

// asks reports whether the i-th member is spoken to now: the one that has the step, or else
// one after the other as those before stay silent.
func (a *Agent) asks(h *away, i int, granted bool) bool {
	p := &h.parts[i]
	switch {
	case p.done != nil:
		return false
	case h.step.Place.Pick == protocol.PickAll:
		return true
	case granted:
		return !p.granted.IsZero()
	case h.step.Place.Pick == protocol.PickLeastLoaded:
		return true
	default:
		return !a.now.Before(h.opens(i))
	}
}

// opens returns when the i-th member is asked first.
func (h *away) opens(i int) time.Time { return h.begun.Add(time.Duration(i) * hopPatience) }

func (a *Agent) offer(h *away, p *part) {
	p.next = a.now.Add(hopPatience)
	if p.granted.IsZero() {
		p.next = a.now.Add(doubled(hopPatience, p.tries, hopAgain))
		p.tries++
	}
	word := h.word(protocol.HopOffer, p.at)
	word.Edition = h.step.Place.Edition
	a.say(word)
}

func (h *away) word(w protocol.HopWord, to protocol.Address) protocol.Hop {
	return protocol.Hop{
		To: to, Word: w, Run: h.run.Event.Run, Workflow: h.run.Event.Workflow, Step: h.step.Name,
	}
}

// due returns when goOn has something to do.
func (h *away) due() time.Time {
	t := h.grant
	granted := slices.ContainsFunc(h.parts, func(p part) bool { return !p.granted.IsZero() && p.done == nil })
	if !granted {
		t = sooner(t, h.until)
	}
	for i := range h.parts {
		p := &h.parts[i]
		switch {
		case p.done != nil:
			continue
		case !p.granted.IsZero():
			t = sooner(sooner(t, p.limit), p.next)
		case !granted || h.step.Place.Pick == protocol.PickAll:
			next := p.next
			if opens := h.opens(i); oneByOne(h.step.Place.Pick) && next.Before(opens) {
				next = opens
			}
			t = sooner(t, next)
		}
	}
	return t
}

func oneByOne(p protocol.Pick) bool {
	return p == protocol.PickRendezvous || p == protocol.PickRoundRobin
}

// member returns the step that is away of which a member speaks, and its part in it.
func (a *Agent) member(in *protocol.Hop) (*away, *part) {
	for _, h := range a.aways {
		if h.run.Event.Run != in.Run || h.step.Name != in.Step || h.run.Event.Workflow != in.Workflow {
			continue
		}
		for i := range h.parts {
			if h.parts[i].at == in.From {
				return h, &h.parts[i]
			}
		}
	}
	return nil, nil
}

// took takes a member's word that it could begin. Only one may, unless all are to.
func (a *Agent) took(h *away, p *part, in *protocol.Hop) {
	other := slices.ContainsFunc(h.parts, func(q part) bool {
		return q.at != p.at && !q.granted.IsZero() && q.done == nil
	})
	all := h.step.Place.Pick == protocol.PickAll
	switch {
	case p.done != nil, other && !all:
		return
	case !a.now.Before(h.until): // whatever it was told, it has not begun, and must not any more
		p.granted = time.Time{}
		return
	}
	p.took, p.load = in.Nonce, in.Load
	if p.granted.IsZero() && h.step.Place.Pick == protocol.PickLeastLoaded {
		if h.grant.IsZero() {
			h.grant = a.now.Add(hopGather)
		}
		return
	}
	a.grant(h, p) // also when it was told before: it has lost the word, or itself
}

func (a *Agent) grant(h *away, p *part) {
	queue := int64(min(p.load, 1000)) + 1
	p.granted, p.next = a.now, a.now.Add(hopPatience)
	p.limit = a.now.Add(time.Duration(queue*h.step.Timeout)*time.Millisecond + hopGrace)
	word := h.word(protocol.HopGo, p.at)
	word.Nonce, word.Event, word.Results = p.took, &h.run.Event, slices.Clone(h.run.Results)
	a.say(word)
}

// grantLeast tells the member with the fewest steps waiting to begin.
func (a *Agent) grantLeast(h *away) {
	h.grant = time.Time{}
	var least *part
	for i := range h.parts {
		if p := &h.parts[i]; p.took != 0 && (least == nil || p.load < least.load) {
			least = p
		}
	}
	if least != nil {
		a.grant(h, least)
	}
}

// isBusy takes a member's word that it is at the step, which this agent may have forgotten
// that it asked for: nobody else begins meanwhile.
func (a *Agent) isBusy(h *away, p *part) {
	if p.granted.IsZero() && p.done == nil {
		p.granted, p.next = a.now, a.now.Add(hopPatience)
		p.limit = a.now.Add(time.Duration(h.step.Timeout)*time.Millisecond + hopGrace)
	}
}

// came takes a member's result. The step ends with the first one, or with that of the last
// member when all are to run it.
func (a *Agent) came(h *away, p *part, res *protocol.Result) {
	p.done = res
	others := func(q part) bool { return q.done == nil || q.done.Status != protocol.StatusSkipped }
	all := h.step.Place.Pick == protocol.PickAll
	if res.Status == protocol.StatusSkipped && (!all || !slices.ContainsFunc(h.parts, others)) {
		a.repeated(h, p)
		return
	}
	if !all {
		usage := wasmhost.Usage{TookUS: res.TookUS}
		a.over(h, wasmhost.Answer{Data: res.Data, Error: errorOf(res), Usage: usage}, p.at)
		return
	}
	if !slices.ContainsFunc(h.parts, func(q part) bool { return q.done == nil }) {
		a.over(h, h.together(), protocol.Address{})
	}
}

// errorOf returns why a step did not end well, nil when it did.
func errorOf(res *protocol.Result) *protocol.Error {
	if res.Status == protocol.StatusOK {
		return nil
	}
	if res.Error != nil {
		return res.Error
	}
	return protocol.Errorf(protocol.CodePlugin, "the step ended as %s", res.Status)
}

// together makes one answer of what all members said: their data by name, and an error when
// one of them failed.
func (h *away) together() (out wasmhost.Answer) {
	data := map[string]protocol.Raw{}
	var failed []string
	for i := range h.parts {
		p := &h.parts[i]
		switch {
		case p.done == nil:
			failed = append(failed, p.at.String()+": did not begin it in time")
		case p.done.Status == protocol.StatusSkipped:
		case p.done.Status != protocol.StatusOK:
			failed = append(failed, p.at.String()+": "+errorOf(p.done).Text)
		case len(p.done.Data) > 0:
			data[p.at.String()] = p.done.Data
		}
		if p.done != nil {
			out.Usage.TookUS = max(out.Usage.TookUS, p.done.TookUS)
		}
	}
	if out.Data = protocol.MustMarshal(data); len(data) == 0 || len(out.Data) > protocol.DataMax {
		out.Data = nil
	}
	if len(failed) > 0 {
		out.Error = protocol.Errorf(protocol.CodePlugin, "%d of %d agents: %s", len(failed), len(h.parts),
			strings.Join(failed, "; "))
	}
	return out
}

// expired ends a step that nobody began in its time.
func (a *Agent) expired(h *away) {
	if slices.ContainsFunc(h.parts, func(p part) bool { return p.done != nil }) { // of all, some
		a.over(h, h.together(), protocol.Address{})
		return
	}
	a.over(h, wasmhost.Answer{Error: protocol.Errorf(protocol.CodeDeadline,
		"expired: none of %d agents began it within %v", len(h.parts),
		time.Duration(h.step.Place.WithinMS)*time.Millisecond)}, protocol.Address{})
}

// over ends a step that was away. Members let their results go when its end is on the disk.
func (a *Agent) over(h *away, ans wasmhost.Answer, by protocol.Address) {
	h.run.by = by
	a.ended(h.work, h.run, ans)
	a.release(h)
}

// release forgets a step that was away, and lets its members do the same.
func (a *Agent) release(h *away) {
	a.aways = slices.DeleteFunc(a.aways, func(o *away) bool { return o == h })
	a.atOnce()
	for i := range h.parts {
		if p := &h.parts[i]; p.done != nil || p.took != 0 {
			a.say(h.word(protocol.HopKept, p.at))
		}
	}
}

// say sends a word to another agent when what it stands on is on the disk, or hears it next
// when the other is this one. A word that the line does not take is said again later.
func (a *Agent) say(h protocol.Hop) {
	h.From = a.cfg.Address
	a.after(func() {
		switch {
		case h.To == h.From:
			a.murmur = append(a.murmur, h)
		case a.heard():
			a.send(protocol.UpHop, protocol.MustMarshal(h))
		}
	})
}

// hearSelf takes what this agent said to itself.
func (a *Agent) hearSelf() {
	said := a.murmur
	a.murmur = nil
	for i := range said {
		a.hear(&said[i])
	}
}

// hopCame takes a word of another agent.
func (a *Agent) hopCame(payload []byte) error {
	var in protocol.Hop
	if err := protocol.Unmarshal(payload, &in); err != nil {
		return err
	}
	if err := in.Check(); err != nil {
		return err
	}
	if in.To != a.cfg.Address {
		return protocol.Errorf(protocol.CodeNotMine, "hop: for %s", in.To)
	}
	a.hear(&in)
	return nil
}

func (a *Agent) hear(in *protocol.Hop) {
	if in.Word.FromOrigin() {
		a.hearOrigin(in)
		return
	}
	h, p := a.member(in)
	if h == nil {
		if in.Word == protocol.HopDone { // nobody waits for it
			a.say(protocol.Hop{To: in.From, Word: protocol.HopKept, Run: in.Run, Workflow: in.Workflow, Step: in.Step})
		}
		return
	}
	switch in.Word {
	case protocol.HopTake:
		a.took(h, p, in)
	case protocol.HopBusy:
		a.isBusy(h, p)
	case protocol.HopDone:
		a.came(h, p, in.Result)
	default:
	}
}

// checkPlace holds a step's place against what this agent relies on.
func checkPlace(s *protocol.Step) error {
	p := s.Place
	if p == nil {
		return nil
	}
	switch {
	case len(p.Members) == 0 || len(p.Members) > protocol.MembersMax:
		return protocol.Errorf(protocol.CodeLimit, "step %q: %d members, want 1 to MembersMax %d", s.Name,
			len(p.Members), protocol.MembersMax)
	case p.Pick == 0 || p.Pick >= protocol.PickEnd:
		return protocol.Errorf(protocol.CodeIncompatible, "step %q: pick %d is not known here", s.Name, p.Pick)
	case p.WithinMS <= 0 || s.Timeout <= 0:
		return protocol.Errorf(protocol.CodeBadMessage,
			"step %q: elsewhere within %d ms for %d ms: want both above 0", s.Name, p.WithinMS, s.Timeout)
	}
	for i, m := range p.Members {
		if err := m.Check(); err != nil {
			return fmt.Errorf("step %q: %w", s.Name, err)
		}
		if i > 0 && cmp.Compare(p.Members[i-1].String(), m.String()) >= 0 {
			return protocol.Errorf(protocol.CodeBadMessage, "step %q: members not in ascending order", s.Name)
		}
	}
	return nil
}

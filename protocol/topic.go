package protocol

import (
	"fmt"
	"strings"
)

// The topic tree, all of it:
//
//	m/<site>/<agent>/u/<kind>    what one agent says; it alone may send there
//	m/<site>/<agent>/d/<kind>    what one agent hears; the hub alone may send there
//
// Kinds up: presence (retained, also the Will), reported, records, fetch, secrets, hop, record,
// replay, carried, probe. Kinds down: hint (retained), ack, chunk, secrets, hop, record, replay, carried,
// uplink,
// probe.
//
// May is the whole access list. The broker asks it for every publish, Will and
// subscription; nothing else grants anything.
const topicRoot = "m"

// Kind is the last level of a topic: what a message is.
type Kind string

// The kinds, and which type of this package each carries.
const (
	UpPresence  Kind = "u/presence" // Presence, retained; also the Will
	UpReported  Kind = "u/reported" // Reported
	UpRecords   Kind = "u/records"  // Batch
	UpFetch     Kind = "u/fetch"    // FetchRequest
	UpSecrets   Kind = "u/secrets"  // SecretsWish
	UpHop       Kind = "u/hop"      // Hop, to another agent
	UpRecord    Kind = "u/record"   // RecordPart
	UpReplay    Kind = "u/replay"   // ReplayAnswer
	UpCarried   Kind = "u/carried"  // Carried, by a gateway
	UpProbe     Kind = "u/probe"    // Probe
	UpLocal     Kind = "u/local"    // Local, to the neighbours
	DownHint    Kind = "d/hint"     // Hint, retained
	DownAck     Kind = "d/ack"      // LaneAck, or LaneAcks
	DownChunk   Kind = "d/chunk"    // Chunk
	DownSecrets Kind = "d/secrets"  // SecretsReply
	DownHop     Kind = "d/hop"      // Hop, from another agent
	DownRecord  Kind = "d/record"   // RecordOrder
	DownReplay  Kind = "d/replay"   // ReplayOrder
	DownCarried Kind = "d/carried"  // Carried, to a gateway
	DownUplink  Kind = "d/uplink"   // Uplink, by a gateway
	DownProbe   Kind = "d/probe"    // Probe, as the agent sent it
	DownLocal   Kind = "d/local"    // Local, of a neighbour
)

var kinds = [...]Kind{
	UpPresence, UpReported, UpRecords, UpFetch, UpSecrets, UpHop, UpRecord, UpReplay, UpCarried, UpProbe,
	UpLocal,
	DownHint, DownAck, DownChunk, DownSecrets, DownHop, DownRecord, DownReplay, DownCarried, DownUplink,
	DownProbe, DownLocal,
}

// Up reports whether agents send this kind.
func (k Kind) Up() bool { return strings.HasPrefix(string(k), "u/") }

// Address is an agent with its place: what its topics are built of and what its
// certificate says it is.
type Address struct {
	Site  Site      `cbor:"1,keyasint" json:"site"`
	Agent AgentName `cbor:"2,keyasint" json:"agent"`
}

// String returns site/agent.
func (a Address) String() string { return string(a.Site) + "/" + string(a.Agent) }

// Check returns an error for a bad site or agent name.
func (a Address) Check() error {
	if err := a.Site.Check(); err != nil {
		return err
	}
	return a.Agent.Check()
}

// Topic returns the topic of kind k for the agent at a.
func Topic(a Address, k Kind) string {
	return topicRoot + "/" + string(a.Site) + "/" + string(a.Agent) + "/" + string(k)
}

// DownFilter returns the one filter that the agent at a listens to.
func DownFilter(a Address) string { return Topic(a, "d/+") }

// UpFilter returns the filter by which the hub hears kind k of every agent.
func UpFilter(k Kind) string { return topicRoot + "/+/+/" + string(k) }

// ParseTopic takes a topic apart. The error has CodeBadMessage, or CodeBadName for
// a site or agent outside its character set.
func ParseTopic(topic string) (Address, Kind, error) {
	if len(topic) > TopicMax {
		return Address{}, "", Errorf(CodeLimit, "topic of %d bytes, limit %d", len(topic), TopicMax)
	}
	root, rest, _ := strings.Cut(topic, "/") // it is done several times for each message: nothing is copied
	site, rest, _ := strings.Cut(rest, "/")
	agent, kind, found := strings.Cut(rest, "/")
	if !found || root != topicRoot || strings.Count(kind, "/") != 1 {
		return Address{}, "", Errorf(CodeBadMessage, "topic %q: want %s/<site>/<agent>/<u or d>/<kind>",
			topic, topicRoot)
	}
	a := Address{Site: Site(site), Agent: AgentName(agent)}
	if err := a.Check(); err != nil {
		return Address{}, "", fmt.Errorf("topic %q: %w", topic, err)
	}
	k := Kind(kind)
	for _, known := range kinds {
		if k == known {
			return a, k, nil
		}
	}
	return Address{}, "", Errorf(CodeBadMessage, "topic %q: kind %q is not known", topic, k)
}

// Access is what a party wants to do with a topic.
type Access uint8

// The accesses.
const (
	Sends  Access = 1 // publish, or leave as a Will
	Listen Access = 2 // subscribe
)

// May reports whether the agent at a may do that with topic, which for Listen may be
// a filter. Agents may send their own kinds up and listen to their own kinds down
// and nothing else: no wildcard reaches over an agent's own level, no shared
// subscription, no $SYS.
func May(a Address, do Access, topic string) bool {
	if a.Check() != nil {
		return false
	}
	if do == Listen {
		if topic == DownFilter(a) {
			return true
		}
		of, k, err := ParseTopic(topic)
		return err == nil && of == a && !k.Up()
	}
	of, k, err := ParseTopic(topic)
	return do == Sends && err == nil && of == a && k.Up()
}

// MayRetain reports whether a message of kind k may be kept by the broker.
func MayRetain(k Kind) bool { return k == UpPresence || k == DownHint }

package protocol

import "slices"

// GatewayDomain is what the server names of gateways end in; see GatewayServerName.
const GatewayDomain = ".gateway.stavily.internal"

// CarryRoom is how much smaller than MessageMax a payload must be, in bytes, to be carried.
const CarryRoom = 256

// GatewayServerName returns the DNS name in the certificate of each gateway of a site, beside
// its identity. Only the hub's CA gives it, and only to agents that an operator has made a
// gateway: who shows it may carry for its site and for no other.
func GatewayServerName(s Site) string { return string(s) + GatewayDomain }

// Carried is a message of, or for, an agent of the gateway's own site. It travels on the
// gateway's own topics, so that a broker's access list knows no gateways. The hub passes over
// one from an agent that is no gateway.
type Carried struct {
	Agent   AgentName `cbor:"1,keyasint"` // of the gateway's site, another than the gateway
	Kind    Kind      `cbor:"2,keyasint"` // one that MayCarry
	Payload []byte    `cbor:"3,keyasint"` // as the agent sent it, or is to get it
}

// Check holds c against what each receiver relies on; up says which way it goes. The error
// has CodeBadName, CodeBadMessage or CodeLimit.
func (c *Carried) Check(up bool) error {
	if err := c.Agent.Check(); err != nil {
		return err
	}
	switch {
	case c.Kind.Up() != up || !MayCarry(c.Kind):
		return Errorf(CodeBadMessage, "carried for %s: kind %q is not carried this way", c.Agent,
			clip(string(c.Kind)))
	case len(c.Payload) > MessageMax-CarryRoom:
		return Errorf(CodeLimit, "carried for %s: %d bytes, limit %d", c.Agent, len(c.Payload),
			MessageMax-CarryRoom)
	}
	return nil
}

// MayCarry reports whether messages of kind k travel in a Carried: all that an agent and the
// hub say to each other, but no probe, which tests one line, and nothing that is carried or
// stays in the site.
func MayCarry(k Kind) bool {
	own := []Kind{UpProbe, DownProbe, UpCarried, DownCarried, DownUplink, UpLocal, DownLocal}
	return slices.Contains(kinds[:], k) && !slices.Contains(own, k)
}

// Uplink tells a neighbour whether its gateway reaches the hub. While it does not, what is
// for the hub stays with the neighbour; words to other neighbours are passed on all the same,
// and files that the gateway holds are handed out.
type Uplink struct {
	Up bool `cbor:"1,keyasint"`
	// Same says that nothing changed: a neighbour came by a gateway that reaches the hub, and
	// learns thereby that neighbours are reached too.
	Same bool `cbor:"2,keyasint,omitempty"`
}

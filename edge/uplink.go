package edge

import "github.com/stavily/stavily/protocol"

// heard reports whether anybody hears this agent: the hub, or a gateway without it. A gateway
// passes on words to neighbours and hands out the files that it holds; what is for the hub
// stays here until the hub hears again.
func (a *Agent) heard() bool { return a.up || a.near }

// uplink takes a gateway's word whether it reaches the hub. That it does so again is to the
// agent as a new connection.
func (a *Agent) uplink(payload []byte) error {
	var in protocol.Uplink
	if err := protocol.Unmarshal(payload, &in); err != nil {
		return err
	}
	if in.Same {
		a.beside = true
		return nil
	}
	a.reach(in.Up, a.session+1)
	a.near, a.beside = !in.Up, true
	return nil
}

// movesUplink takes a gateway's word while the disk refuses: it is about the line alone, and
// does not come again.
func (a *Agent) movesUplink(m protocol.Message) bool {
	if m.Topic != protocol.Topic(a.cfg.Address, protocol.DownUplink) {
		return false
	}
	a.take(m)
	m.Done()
	return true
}

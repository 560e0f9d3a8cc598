package edge

import "github.com/stavily/stavily/protocol"

// sessionBits is the room, within one connection's number, for the times that a gateway comes
// to reach the hub again, each of which is a session to the agent. The Will ends them all.
const sessionBits = 16

// SessionOf returns the number of connection n of a link, counted from 1, for Inbox.Online.
func SessionOf(n uint64) uint64 { return n << sessionBits }

// WillOf returns what the hub is to say of an agent when its connection n is cut.
func WillOf(boot, n uint64) protocol.Presence {
	return protocol.Presence{Boot: boot, Session: SessionOf(n+1) - 1}
}

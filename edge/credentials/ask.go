package credentials

import (
	"context"
	"fmt"
	"net"

	"github.com/stavily/stavily/protocol"
)

// Ask puts one request to a hub's join port over conn, which stays the caller's, and returns the
// reply: that of a hub that says no is a reply too, with its Error set. ctx bounds it by its
// deadline.
func Ask(ctx context.Context, conn net.Conn, req protocol.JoinRequest) (reply protocol.JoinReply, err error) {
	if deadline, ok := ctx.Deadline(); ok {
		_ = conn.SetDeadline(deadline)
	}
	if err = protocol.WriteFrame(conn, req); err != nil {
		return reply, err
	}
	if err = protocol.ReadFrame(conn, protocol.JoinReplyMax, &reply); err != nil {
		err = fmt.Errorf("no reply: %w", err)
	}
	return reply, err
}

// Keyring opens a keyring that is sealed with the root key of a hub.
func Keyring(root, sealed []byte) (ring protocol.Keyring, err error) {
	keys := protocol.Keyring{Keys: []protocol.PublicKey{{Role: protocol.RoleRoot, Key: root}}}
	payload, err := protocol.Open(protocol.ContextKeyring, keys, sealed)
	if err != nil {
		return ring, err
	}
	return ring, protocol.UnmarshalExact(payload, &ring)
}

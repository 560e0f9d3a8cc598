package wasmhost

import (
	"net/netip"

	"github.com/stavily/stavily/protocol"
)

// block is a range of addresses that are not simply hosts of the internet.
type block struct {
	netip.Prefix
	never bool // no scope opens it
}

// special returns the narrowest block that an unmapped address lies in, if any.
func special(a netip.Addr) (narrowest block, ok bool) {
	p, never, ok := protocol.Special(a)
	return block{Prefix: p, never: never}, ok
}

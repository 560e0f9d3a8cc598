//go:build gateway

package main

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"path/filepath"
	"sync"

	"github.com/stavily/stavily/edge/gateway"
	"github.com/stavily/stavily/edge/gateway/door"
	"github.com/stavily/stavily/edge/mqtt"
	"github.com/stavily/stavily/protocol"
)

// siteGateway is a door for this device's neighbours, where they find it.
type siteGateway struct {
	*door.Door
	h      *house
	listen net.Listener
}

// openGateway listens at addr for neighbours.
func openGateway(h *house, c *identity, addr string) (carrier, error) {
	shelf, err := gateway.OpenFolder(filepath.Join(h.state, "site"), gateway.ShelfMax)
	if err != nil {
		return nil, err
	}
	d, err := door.Open(door.Config{
		Address: h.enrolment.Address, CA: c.ca, Own: c.shown.Load, Hurry: c.keeper.Hurry, Now: h.clock.now,
		Dial:  func(ctx context.Context) (net.Conn, error) { return mqtt.DialPlain(ctx, h.enrolment.Hub) },
		Send:  func(m protocol.Message) error { return h.link.Send(m) }, // there is none yet
		Agent: h.inbox, Shelf: shelf, Log: h.log,
	})
	if err != nil {
		return nil, err
	}
	g := &siteGateway{Door: d, h: h}
	if g.listen, err = net.Listen("tcp", addr); err != nil {
		return nil, errors.Join(&failure{err, "give --gateway an address of this device, such as :8883", exitUsage},
			d.Close())
	}
	h.log.Info("gateway listens", slog.String("site", string(h.enrolment.Address.Site)),
		slog.String("address", g.listen.Addr().String()))
	return g, nil
}

// Run serves, and is found, until ctx ends.
func (g *siteGateway) Run(ctx context.Context) {
	var all sync.WaitGroup
	all.Go(func() { g.Door.Run(ctx, g.listen) })
	all.Go(func() { g.beFound(ctx) })
	all.Wait()
}

var _ carrier = (*siteGateway)(nil)

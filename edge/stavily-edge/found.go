//go:build gateway

package main

import (
	"context"
	"log/slog"
	"net"
	"reflect"
	"sync"
	"time"

	"github.com/stavily/stavily/edge/discover"
)

// netsEvery is how often a gateway looks whether the nets that it is in have changed.
const netsEvery = 30 * time.Second

// beFound has the gateway be found by multicast DNS in each net that the device is in, until ctx
// ends; not before it is a gateway by its certificate, for nobody would believe it.
func (g *siteGateway) beFound(ctx context.Context) {
	if g.h.mdnsPort == 0 {
		return
	}
	var in []discover.Place
	end := func() {}
	defer func() { end() }()
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for {
		if g.IsGateway() {
			ticker.Reset(netsEvery)
			if now := discover.Places(); !reflect.DeepEqual(in, now) {
				end()
				in, end = now, g.answerIn(ctx, now)
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// answerIn answers in each place until end is called, which waits for the last goodbye.
func (g *siteGateway) answerIn(ctx context.Context, places []discover.Place) (end func()) {
	ctx, cancel := context.WithCancel(ctx)
	var all sync.WaitGroup
	at, _ := g.listen.Addr().(*net.TCPAddr) // it is one
	for _, p := range places {
		s, err := discover.Listen(p, uint16(g.h.mdnsPort), g.h.enrolment.Address, at.AddrPort())
		if err != nil {
			g.h.log.Warn("gateway is not found by mdns", slog.String("error", err.Error()))
			continue
		}
		g.h.log.Info("gateway is found by mdns", slog.String("interface", p.Interface.Name))
		all.Go(func() {
			if err := s.Serve(ctx, time.Now); err != nil {
				g.h.log.Warn("gateway is not found any more", slog.String("error", err.Error()))
			}
		})
	}
	return func() {
		cancel()
		all.Wait()
	}
}

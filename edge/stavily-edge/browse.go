package main

import (
	"context"
	"log/slog"
	"time"

	"github.com/stavily/stavily/edge/discover"
	"github.com/stavily/stavily/edge/mqtt"
	"github.com/stavily/stavily/protocol"
)

// browseFor is how long answers are waited for: most come within 120 ms.
const browseFor = time.Second

// browser looks for the gateways of a site, of any while the agent has none.
type browser struct {
	port uint16
	site protocol.Site
	log  *slog.Logger
}

// browse returns who looks at port; nil where that is 0.
func browse(port uint, site protocol.Site, log *slog.Logger) mqtt.Browse {
	if port == 0 {
		return nil
	}
	return (&browser{uint16(port), site, log}).look
}

func (b *browser) look(ctx context.Context) (out []string) {
	now := time.Now()
	s := discover.Search{Site: b.site, Port: b.port, Places: discover.Places(), Until: now.Add(browseFor)}
	for _, g := range discover.Browse(ctx, now, s) {
		out = append(out, g.Address.String())
		b.log.Debug("gateway found by mdns", slog.String("name", g.Name), slog.String("site", string(g.Site)),
			slog.String("address", g.Address.String()))
	}
	return out
}

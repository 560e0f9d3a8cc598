package main

import (
	"context"
	"crypto/rand"
	"math"
	"sync"
	"time"

	"github.com/stavily/stavily/edge"
	"github.com/stavily/stavily/edge/mqtt"
	"github.com/stavily/stavily/edge/storetest"
	"github.com/stavily/stavily/protocol"
)

const (
	idleSettle = 3 * time.Second  // for what connecting costs
	idleBeat   = time.Second      // in place of the defaults, which are five minutes
	idleWatch  = 20 * time.Second // beats that are counted
	// pingBytes is a PINGREQ and its PINGRESP, each in a TLS record of its own.
	pingBytes = 2 * (2 + 5 + 1 + 16)
)

// idleBytes is N15: what an agent with nothing to do carries in a day on its TLS line to a hub:
// a heartbeat, its figures with their acknowledgement, and a probe, each beating every second in
// place of every five minutes, counted under TLS for 20 s, and the pings of a silent line
// besides. Headers of TCP and IP are not in it.
func idleBytes(b *bench) ([]line, error) {
	w, err := b.startHub()
	if err != nil {
		return nil, err
	}
	one, err := w.enrol(1) // joins; its own line is not used
	if err != nil {
		return nil, err
	}
	_ = one[0].conn.Close()
	perBeat, connect, err := w.idle(one[0])
	if err != nil {
		return nil, err
	}
	defaults, link := edge.DefaultConfig(), mqtt.DefaultConfig()
	beats := float64(24*time.Hour) / float64(defaults.Heartbeat)
	pings := float64(24*time.Hour) / float64(link.Keepalive) * pingBytes
	day := perBeat*beats + pings
	const what = "bytes a day of an idle agent, TLS, default heartbeat, from 20 s at 300 times the pace"
	return []line{
		{what, day / 1000, "kB", "pings of it", pings / 1000, atMost(500)},
		{"bytes of connecting once", connect / 1000, "kB", "a heartbeat with all", perBeat / 1000, atMost(20)},
	}, nil
}

// idle has an agent beat every second, and returns the bytes of a beat and of connecting.
func (w *world) idle(as *sender) (perBeat, connect float64, err error) {
	traffic, inbox := new(mqtt.Traffic), edge.NewInbox()
	var agent *edge.Agent
	var l *mqtt.Link
	l, err = mqtt.New(mqtt.Config{
		Address: as.address, ProbeEvery: idleBeat, Dial: traffic.DialTLS(w.listen, as.config),
		OnState: func(up bool) { inbox.Online(up, l.Session()) },
		Will:    func(uint64) []byte { return protocol.MustMarshal(protocol.Presence{Boot: 1, Session: 1}) },
	})
	if err != nil {
		return 0, 0, err
	}
	c := edge.DefaultConfig()
	c.Address, c.Epoch, c.Heartbeat, c.Metrics = as.address, as.epoch, idleBeat, idleBeat
	c.Device = protocol.Device{Platform: "linux-arm64", Engine: "compiler", Version: "0.1.0", Kernel: "6.1.0"}
	agent, err = edge.New(c, edge.Deps{
		Link: l, Store: storetest.NewMemory(), Random: rand.Reader, Traffic: traffic.Bytes,
		Measure: func() { inbox.Measured(idleFigures()) },
	})
	if err == nil {
		err = agent.Boot(time.Now())
	}
	if err == nil {
		err = l.Listen(protocol.DownFilter(as.address), inbox.Message)
	}
	if err != nil {
		return 0, 0, err
	}
	ctx, stop := context.WithCancel(w.ctx)
	var all sync.WaitGroup
	all.Go(func() { _ = l.Run(ctx) }) // ends with ctx
	all.Go(func() { (&edge.Runner{Agent: agent, Inbox: inbox}).Run(ctx) })
	time.Sleep(idleSettle)
	before := float64(traffic.Bytes())
	time.Sleep(idleWatch)
	perBeat = (float64(traffic.Bytes()) - before) / (float64(idleWatch) / float64(idleBeat))
	stop()
	all.Wait()
	return perBeat, before - perBeat*float64(idleSettle)/float64(idleBeat), nil
}

// idleFigures are as many as a machine has, and change from one time to the next.
func idleFigures() map[string]float64 {
	values := map[string]float64{}
	for i, name := range protocol.MetricNames()[:reportedMetrics] {
		values[name] = math.Round(1000*math.Sin(float64(time.Now().UnixMilli()+int64(i)))) / 10
	}
	return values
}

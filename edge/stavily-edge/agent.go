package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"io"
	"log/slog"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"

	"github.com/stavily/stavily/edge"
	"github.com/stavily/stavily/edge/disk"
	"github.com/stavily/stavily/edge/mqtt"
	"github.com/stavily/stavily/edge/sysinfo"
	"github.com/stavily/stavily/protocol"
	"github.com/stavily/stavily/wasmhost"
)

// restAfter is how long a plugin keeps its memory without being asked: a Go plugin has
// 20 MB, and comes back from the cache in a tenth of a second.
const restAfter = 20 * time.Second

// loadsMax bounds the loads at once: more cores would not make up for the memory.
const loadsMax = 2

// runAgent is the command run.
func runAgent(ctx context.Context, o *options, _, logTo io.Writer) error {
	saveMemory()
	log := o.logger(logTo)
	id, err := disk.OpenIdentity(o.state)
	if err != nil {
		return err
	}
	store, err := disk.Open(o.state, log)
	if err != nil {
		return err
	}
	defer store.Close()
	e, err := enrolment(ctx, o, id)
	if err != nil {
		return err
	}
	if len(o.labels) > 0 {
		e.Labels = o.labels
	}
	if len(o.allow) > 0 {
		e.Allow = o.allow
	}
	network, err := o.pluginNetwork()
	if err != nil {
		return err
	}
	h := &house{
		gatewayAt: o.gateway, mdnsPort: o.mdnsPort,
		state: o.state, log: log, store: store, enrolment: e, inbox: edge.NewInbox(), clock: &clock{},
		network:     network,
		noRecord:    o.noRecord,
		lines:       o.lines,
		drain:       o.drain,
		wantsNative: o.native, nativeNeed: strings.Split(o.nativeNeed, ","), compileHere: o.compileHere,
	}
	tellDamage(h.inbox.Line, store.Damage())
	return h.live(ctx, id)
}

// house is all that a running agent stands in.
type house struct {
	state     string
	log       *slog.Logger
	store     *disk.Store
	enrolment disk.Enrolment
	inbox     *edge.Inbox
	clock     *clock
	meter     *sysinfo.Meter
	engine    *wasmhost.Host
	plugins   *edge.Host
	native    *nativeHost // nil without --native
	tidier    *tidier
	measure   chan struct{} // holds one: read the machine's figures
	link      *mqtt.Link
	gatewayAt string  // where neighbours connect; empty: this is no gateway
	mdnsPort  uint    // where gateways are found; 0: they are not
	carrier   carrier // of a gateway, else nil
	agent     *edge.Agent
	// wantsNative says that native artifacts may run here.
	wantsNative bool
	nativeNeed  []string // what must be enforced of them
	// compileHere says that this device has no room for a second process that compiles.
	compileHere bool
	cacheKey    []byte
	vault       *edge.DeviceVault
	network     wasmhost.NetworkConfig // of plugins
	noRecord    bool
	lines       func(*edge.Config) // what the flags say of the outbox
	drain       time.Duration
	// boot is the agent's, once it booted; the link asks from another goroutine.
	boot uint64
}

// live builds the agent, boots it from its own disk and runs it until ctx ends.
func (h *house) live(ctx context.Context, id *disk.Identity) (err error) {
	h.clock.raise(buildTime())
	h.clock.raise(time.UnixMilli(h.enrolment.Time))
	own, err := newIdentity(id, h.enrolment, h.clock, h.log)
	if err != nil {
		return err
	}
	own.inbox, own.look = h.inbox, browse(h.mdnsPort, h.enrolment.Address.Site, h.log)
	// Plugins and link outlive ctx: the runner first waits for what is being asked.
	inner, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	if h.cacheKey, err = cacheKey(id); err != nil {
		return err
	}
	if h.vault, err = openVault(id); err != nil {
		return err
	}
	if err := h.furnish(inner, own); err != nil {
		return err
	}
	defer h.engine.Close(context.WithoutCancel(ctx))
	defer h.native.close(context.WithoutCancel(ctx))
	if err := h.agent.Boot(time.Now()); err != nil {
		return err
	}
	h.boot = h.agent.Presence(true).Boot
	hear := h.inbox.Message
	if h.carrier != nil {
		hear = h.carrier.Hear
	}
	if err := h.link.Listen(protocol.DownFilter(h.enrolment.Address), hear); err != nil {
		return err
	}
	var all sync.WaitGroup
	if h.carrier != nil {
		all.Go(func() { h.carrier.Run(inner) })
	}
	all.Go(func() { _ = h.link.Run(inner) })
	all.Go(func() { own.keeper.Run(inner, own.rings) })
	all.Go(func() { h.tidier.run(inner) })
	all.Go(func() { h.readFigures(inner) })
	all.Go(func() { h.porter(own).run(inner) })
	h.notify(daemon.SdNotifyReady)
	w := h.watch(own)
	runner := &edge.Runner{Agent: h.agent, Inbox: h.inbox, Every: w.every(), After: w.after, Drain: h.drain}
	runner.Run(ctx)
	w.end(h.agent)
	h.notify(daemon.SdNotifyStopping)
	end()
	h.plugins.Wait()
	all.Wait()
	h.log.Info("agent ended", slog.String("agent", h.enrolment.Address.String()))
	return nil
}

// porter returns who takes and gives what is carried by hand.
func (h *house) porter(c *identity) *porter {
	return &porter{
		state: h.state, enrolment: h.enrolment, key: c.key, store: h.store, inbox: h.inbox, log: h.log,
		keyring: c.bring,
	}
}

// furnish makes engine, plugins, link and agent.
func (h *house) furnish(ctx context.Context, c *identity) (err error) {
	h.meter, h.measure = sysinfo.NewMeter(h.state, nil), make(chan struct{}, 1)
	h.engine, err = wasmhost.New(ctx, wasmhost.Config{
		Log: h.log, Lines: h.inbox.Line, Verdicts: h.store.Verdicts(buildID()),
		Compile:  compileBounds(h.compileHere),
		Pool:     wasmhost.Pool{MemoryMB: warmMB()},
		CacheDir: filepath.Join(h.state, "cache"), CacheKey: h.cacheKey, DataDir: filepath.Join(h.state, "data"),
		Secrets: h.vault, Network: h.network,
		Calls: map[string]wasmhost.HostCall{
			protocol.CapMetrics: func(ctx context.Context, _ wasmhost.Grants, args protocol.Raw) (any, error) {
				return h.meter.Read(ctx, args)
			},
		},
	})
	if err != nil {
		return err
	}
	h.tidier = newTidier()
	if h.wantsNative {
		if h.native, err = newNative(ctx, h); err != nil {
			return err
		}
	}
	h.plugins = edge.NewHost(ctx, edge.HostConfig{
		Engine: h.engine, Native: h.native.loader(), Store: h.store, Log: h.log,
		Rest: restAfter, Loads: min(loadsMax, runtime.NumCPU()), Freed: h.tidier.freed,
		Together: h.inbox.Together, Audit: h.inbox.Audit, Publish: h.inbox.Publish, Recorded: h.inbox.Recorded,
		KV: func(i edge.Instance) wasmhost.KV { return h.store.KV(i) },
	})
	traffic := new(mqtt.Traffic)
	online, trusted := h.inbox.Online, c.trust(protocol.ALPNLink)
	if h.gatewayAt != "" { // its own link goes to the hub alone: a gateway carries for no gateway
		if h.carrier, err = openGateway(h, c, h.gatewayAt); err != nil {
			return err
		}
		online, trusted.look = h.carrier.OnState, nil
	} else {
		trusted.Site = h.enrolment.Address.Site
	}
	h.link, err = mqtt.New(mqtt.Config{
		Address: h.enrolment.Address, Log: h.log, Will: h.will,
		Dial:    traffic.DialBrowsing(h.enrolment.Hub, trusted.Config(), trusted.look),
		OnState: func(up bool) { online(up, edge.SessionOf(h.link.Session())) },
	})
	if err != nil {
		return err
	}
	var link protocol.Link = h.link
	if h.carrier != nil {
		link = h.carrier
	}
	config, err := h.config()
	if err != nil {
		return err
	}
	h.agent, err = edge.New(config, edge.Deps{
		Link: link, Store: h.store, Plugins: h.plugins, Random: bufio.NewReader(rand.Reader), Log: h.log,
		Vault: h.vault, Gone: h.gone(),
		Traffic: traffic.Bytes,
		Measure: func() {
			select {
			case h.measure <- struct{}{}:
			default:
			}
		},
	})
	return err
}

// gone returns who hears, in a gateway, whom it is to turn away.
func (h *house) gone() func([]protocol.Gone) {
	if h.carrier == nil {
		return nil
	}
	return h.carrier.Gone
}

// openVault returns the device's vault, with keys that never leave this device.
func openVault(id *disk.Identity) (*edge.DeviceVault, error) {
	identity, err := id.Key()
	if err != nil {
		return nil, err
	}
	key, err := id.SecretsKey()
	if err != nil {
		return nil, err
	}
	return edge.NewDeviceVault(key, identity), nil
}

// readFigures measures the machine when it is asked to, until ctx ends: a sensor may
// be slow, and the agent must not wait for it.
func (h *house) readFigures(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-h.measure:
		}
		h.inbox.Measured(h.meter.All(ctx))
	}
}

func (h *house) config() (edge.Config, error) {
	c := edge.DefaultConfig()
	ring, err := openKeyring(h.enrolment)
	if err != nil {
		return c, err
	}
	c.Address, c.Epoch, c.Keyring = h.enrolment.Address, h.enrolment.Epoch, ring
	c.Device = sysinfo.Device(version, h.enrolment.Labels)
	c.Device.StorageMB = storageMB(h.state, &c)
	c.Build = time.UnixMilli(h.clock.floor.Load())
	c.Native, c.Device.Native = h.native != nil, h.native.machine()
	c.Policy, err = policy(h.enrolment.Allow)
	h.lines(&c)
	c.Policy.NoRecord = h.noRecord
	return c, err
}

// will is what the hub says of this agent when connection session is cut.
func (h *house) will(session uint64) []byte {
	return protocol.MustMarshal(edge.WillOf(h.boot, session))
}

// carrier is what stands between agent and link in a gateway: the agent's link, which carries
// for neighbours too.
type carrier interface {
	protocol.Link
	OnState(up bool, session uint64)
	Hear(m protocol.Message)
	Gone(all []protocol.Gone)
	Run(ctx context.Context)
}

// notify tells the service manager, if there is one.
func (h *house) notify(state string) {
	if _, err := daemon.SdNotify(false, state); err != nil {
		h.log.Debug("service manager not told", slog.String("error", err.Error()))
	}
}

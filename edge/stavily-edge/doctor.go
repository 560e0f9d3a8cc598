package main

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/stavily/stavily/edge"
	"github.com/stavily/stavily/edge/disk"
	"github.com/stavily/stavily/edge/mqtt"
	"github.com/stavily/stavily/edge/sysinfo"
	"github.com/stavily/stavily/protocol"
	"github.com/stavily/stavily/wasmhost"
)

// verdict is how a finding of the doctor is.
type verdict string

const (
	well verdict = "ok"
	warn verdict = "warn"
	bad  verdict = "fail"
)

// finding is one line of the doctor's.
type finding struct {
	about string
	is    verdict
	text  string
	do    string // what to do about it; empty when it is well
}

// The bounds below which the doctor warns.
const (
	spaceMin   = 64 << 20 // bytes free for the state
	memoryMin  = 64       // MB
	dialMax    = 10 * time.Second
	clockSlack = 24 * time.Hour
)

// doctor looks at this box, without changing anything on it.
type doctor struct {
	o     *options
	e     disk.Enrolment
	knows bool // e is there
	found []finding
}

// runDoctor is the command doctor.
func runDoctor(ctx context.Context, o *options, out, _ io.Writer) error {
	d := &doctor{o: o}
	d.folder()
	d.identity()
	d.agent()
	d.carried()
	d.clock()
	d.machine()
	if d.knows {
		d.hub(ctx)
	}
	if err := d.print(out); err != nil {
		return err
	}
	for _, f := range d.found {
		if f.is == bad {
			return &failure{errors.New("doctor: something is wrong with this box"), "", exitOther}
		}
	}
	return nil
}

// say notes a finding; do is left out of one that is well.
func (d *doctor) say(about string, is verdict, do, text string) {
	if is == well {
		do = ""
	}
	d.found = append(d.found, finding{about, is, text, do})
}

func (d *doctor) print(out io.Writer) error {
	if d.o.output == "json" {
		all := make([]any, 0, len(d.found))
		for _, f := range d.found {
			all = append(all, map[string]any{"about": f.about, "is": string(f.is), "text": f.text, "do": f.do})
		}
		_, err := out.Write(append(wasmhost.ToJSON(protocol.MustMarshal(map[string]any{"findings": all})), '\n'))
		return err
	}
	for _, f := range d.found {
		if _, err := fmt.Fprintf(out, "%-4s  %-11s  %s\n", f.is, f.about, f.text); err != nil {
			return err
		}
		if f.do != "" {
			if _, err := fmt.Fprintf(out, "                   do: %s\n", f.do); err != nil {
				return err
			}
		}
	}
	return nil
}

// folder looks at the state directory: there, its owner's, writable, with room.
func (d *doctor) folder() {
	const about = "state"
	info, err := os.Stat(d.o.state)
	if err != nil || !info.IsDir() {
		d.say(about, bad, "give the --state that the agent is started with",
			fmt.Sprintf("%s: no such folder", d.o.state))
		return
	}
	if info.Mode().Perm()&0o077 != 0 {
		d.say(about, warn, "chmod 700 "+d.o.state,
			fmt.Sprintf("%s: others may read it: mode %04o", d.o.state, info.Mode().Perm()))
	}
	if of, ok := info.Sys().(*syscall.Stat_t); ok && int(of.Uid) != os.Geteuid() {
		d.say(about, warn, "run the doctor as that user",
			fmt.Sprintf("%s: belongs to user %d, this is %d", d.o.state, of.Uid, os.Geteuid()))
	}
	probe, err := os.CreateTemp(d.o.state, ".doctor-*")
	if err == nil {
		_, err = probe.WriteString("can this disk be written?")
		err = errors.Join(err, probe.Sync(), probe.Close(), os.Remove(probe.Name()))
	}
	if err != nil {
		d.say(about, bad, "is the disk full, read-only or broken? See dmesg and df",
			fmt.Sprintf("not writable: %v", err))
		return
	}
	var fs syscall.Statfs_t
	if err := syscall.Statfs(d.o.state, &fs); err != nil {
		d.say(about, warn, "see df", fmt.Sprintf("free room not known: %v", err))
		return
	}
	is, free := well, uint64(fs.Bavail)*uint64(fs.Bsize) //nolint:unconvert // as wide as the platform says
	if free < spaceMin {
		is = warn
	}
	d.say(about, is, "make room: records are dropped, lane by lane, when there is none",
		fmt.Sprintf("%s: writable, %d MB free", d.o.state, free>>20))
	lost, _ := filepath.Glob(filepath.Join(d.o.state, "*", "*.bad"))
	if len(lost) > 0 {
		d.say("journal", warn, "back up and replace the flash: it loses data",
			fmt.Sprintf("%d broken parts were set aside, such as %s", len(lost), lost[0]))
	} else {
		d.say("journal", well, "", "no part of it was set aside as broken")
	}
}

// identity looks at who this agent is, and at its certificate.
func (d *doctor) identity() {
	const about, again = "identity", "join: stavily-edge --hub mqtts://HOST:PORT --join TOKEN"
	if _, err := os.Stat(filepath.Join(d.o.state, "identity")); err != nil {
		d.say(about, bad, again, "this device has not joined a hub")
		return
	}
	id, err := disk.OpenIdentity(d.o.state)
	if err == nil {
		d.e, err = id.Enrolment()
	}
	if err != nil {
		d.say(about, bad, again, fmt.Sprintf("%v", err))
		return
	}
	d.knows = true
	d.say(about, well, "", fmt.Sprintf("agent %s of %s, enrolment %d", d.e.Address, d.e.Hub, d.e.Epoch))
	if _, err := openKeyring(d.e); err != nil {
		d.say("keys", bad, again, fmt.Sprintf("%v", err))
	}
	leaf, err := x509.ParseCertificate(d.e.Certificate)
	if err != nil {
		d.say("certificate", bad, again, fmt.Sprintf("%v", err))
		return
	}
	is, now := well, time.Now()
	if now.After(leaf.NotAfter) {
		is = warn
	}
	d.say("certificate", is,
		"bring the line up: it is renewed by itself, and what runs here goes on without",
		fmt.Sprintf("valid until %s", leaf.NotAfter.UTC().Format(time.DateOnly)))
}

// status reads what the agent wrote last.
func (d *doctor) status() (s edge.Status, age time.Duration, err error) {
	path := filepath.Join(d.o.state, nameStatus)
	b, err := os.ReadFile(path)
	if err != nil {
		return s, 0, err
	}
	if info, err := os.Stat(path); err == nil {
		age = time.Since(info.ModTime())
	}
	return s, age, protocol.Unmarshal(b, &s)
}

// agent looks whether one runs, and at what it says of itself.
func (d *doctor) agent() {
	const about = "agent"
	running := disk.Held(d.o.state)
	s, age, err := d.status()
	switch {
	case !running:
		d.say(about, bad, "start it: systemctl start stavily-edge; see journalctl -u stavily-edge",
			"none runs here")
	case err != nil:
		d.say(about, warn, "wait a moment and look again",
			fmt.Sprintf("runs, and has not said anything yet: %v", err))
	case age > 3*statusEvery:
		d.say(about, warn, "systemctl restart stavily-edge",
			fmt.Sprintf("runs, and last said something %s ago", age.Round(time.Second)))
	default:
		d.say(about, well, "", fmt.Sprintf("runs, boot %d", s.Boot))
	}
	if err != nil {
		return
	}
	if s.DiskRefuses {
		d.say("disk", bad, "make room or replace the flash: nothing moves until it takes changes",
			"refuses the agent's changes")
	}
	if s.Refused != nil {
		d.say("revision", bad,
			"mend the deployment at the hub: stavily agent show "+string(s.Address.Agent),
			fmt.Sprintf("%d was refused: %s", s.Refused.Revision, text(&s.Refused.Error)))
	}
	for _, a := range s.Assignments {
		if a.Error != nil {
			d.say("workflow", bad, "mend it at the hub: stavily explain "+string(a.Workflow),
				fmt.Sprintf("%s is %s: %s", a.Workflow, a.Phase, text(a.Error)))
		}
	}
	is := well
	if s.Dropped > 0 {
		is = warn
	}
	d.say("records", is, "bring the line up, or carry them: stavily-edge export FILE",
		fmt.Sprintf("%d wait for the hub, %d were "+"dropped ever", s.Pending, s.Dropped))
	for i := range s.Lanes {
		d.lane(&s.Lanes[i])
	}
}

// lane says of a lane how full it is, and what comes of that.
func (d *doctor) lane(s *edge.LaneStatus) {
	has := fmt.Sprintf("%s: %d records wait, %d of %d kB", s.Lane, s.Records, s.Bytes>>10, s.Most>>10)
	more := "bring the line up, or give it more: --lane " + s.Lane.String() + "=BYTES"
	if s.Dropped > 0 {
		has += fmt.Sprintf("; %d were dropped ever", s.Dropped)
	}
	switch {
	case s.Blocks:
		d.say("lane", bad, more, has+"; full: the triggers of its workflows wait")
	case s.Near():
		d.say("lane", warn, more, has+"; nearly full: then the policy of the lane says which go")
	default:
		d.say("lane", warn, "see why at the hub: stavily agent show "+string(d.e.Address.Agent), has)
	}
}

// carried looks at what was brought by hand and not taken.
func (d *doctor) carried() {
	waiting, _ := filepath.Glob(filepath.Join(d.o.state, dirIn, "*"+suffixBundle))
	if len(waiting) > 0 {
		d.say("carried", warn, "start the agent",
			fmt.Sprintf("%d bundles wait to be taken", len(waiting)))
	}
}

// clock holds the machine's clock against the newest time that a seal proved.
func (d *doctor) clock() {
	floor := buildTime()
	if s, _, err := d.status(); err == nil && s.Floor.After(floor) {
		floor = s.Floor
	}
	now := time.Now()
	if now.Before(floor.Add(-clockSlack)) {
		d.say("clock", warn,
			"set it, or give it a battery: schedules wait for a clock, all else goes by the order of events",
			fmt.Sprintf("shows %s, and it is %s at least",
				now.UTC().Format(time.DateTime), floor.UTC().Format(time.DateTime)))
		return
	}
	d.say("clock", well, "",
		fmt.Sprintf("%s, not before what is proven: %s",
			now.UTC().Format(time.DateTime), floor.UTC().Format(time.DateTime)))
}

// machine looks at memory, and at what confines native plugins when they are wanted.
func (d *doctor) machine() {
	m := sysinfo.Device(version, nil)
	is := well
	if m.MemoryMB < memoryMin {
		is = warn
	}
	d.say("memory", is, "deploy fewer or smaller plugins here",
		fmt.Sprintf("%d MB, %d cores, %s with the %s", m.MemoryMB, m.Cores, m.Platform, m.Engine))
	if !d.o.native {
		return
	}
	for _, need := range []struct{ what, path string }{
		{"user namespaces", "/proc/self/ns/user"},
		{"cgroups", "/sys/fs/cgroup/cgroup.controllers"},
	} {
		if _, err := os.Stat(need.path); err != nil {
			d.say("native", warn, "native plugins are refused that need them: see --native-need",
				fmt.Sprintf("no %s here", need.what))
		} else {
			d.say("native", well, "", fmt.Sprintf("%s are there", need.what))
		}
	}
}

// hub tries the way to the hub, each step by itself.
func (d *doctor) hub(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, dialMax)
	defer cancel()
	if !strings.Contains(d.e.Hub, ",") && d.e.Hub != mqtt.MDNS && !d.line(ctx) {
		return
	}
	id, err := disk.OpenIdentity(d.o.state)
	if err != nil {
		return
	}
	time := &clock{}
	time.raise(buildTime())
	c, err := newIdentity(id, d.e, time, d.o.logger(io.Discard))
	if err != nil {
		d.say("hub trust", bad, "join again", fmt.Sprintf("%v", err))
		return
	}
	c.look = browse(d.o.mdnsPort, d.e.Address.Site, c.log)
	trusted := c.trust(protocol.ALPNLink)
	trusted.Site = d.e.Address.Site
	secure, err := new(mqtt.Traffic).DialBrowsing(d.e.Hub, trusted.Config(), trusted.look)(ctx)
	if protocol.CodeOf(err) == protocol.CodeUnavailable {
		d.say("hub line", warn, "is a gateway of this site running, in this net? What runs here goes on",
			fmt.Sprintf("%v", err))
		return
	}
	if err != nil {
		d.say("hub trust", bad,
			"is this the hub that this device joined? If it was made anew, join again with --again",
			fmt.Sprintf("%v", err))
		return
	}
	_ = secure.Close()
	d.say("hub trust", well, "", "it is the hub that this device joined")
}

// line tries the name and the port of the only address, and reports whether they answer.
func (d *doctor) line(ctx context.Context) bool {
	host, port, err := net.SplitHostPort(strings.TrimPrefix(d.e.Hub, "mqtts://"))
	if err != nil {
		host, port = strings.TrimPrefix(d.e.Hub, "mqtts://"), "8883"
	}
	if _, err := net.DefaultResolver.LookupHost(ctx, host); err != nil {
		d.say("hub name", warn, "has this device a name server? See /etc/resolv.conf",
			fmt.Sprintf("%s: %v", host, err))
		return false
	}
	d.say("hub name", well, "", fmt.Sprintf("%s is known", host))
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", net.JoinHostPort(host, port))
	if err != nil {
		d.say("hub line", warn,
			"is the network up, the hub running, and port "+port+" open? What runs here goes on",
			fmt.Sprintf("%v", err))
		return false
	}
	_ = conn.Close()
	d.say("hub line", well, "", fmt.Sprintf("%s port %s answers", host, port))
	return true
}

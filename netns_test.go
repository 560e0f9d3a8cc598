package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// nets are the network namespaces of one test: that of the hub, a switch, and one for each
// device. Nothing of them is seen from outside, and they are gone after the test.
type nets struct {
	t      *testing.T
	prefix string // of the names, since the machine has but one list of them
	hosts  int    // devices at the switch
}

const (
	hubNet    = "wan" // where the hub is
	switchNet = "lan" // the switch of the site
	hubAt     = "10.77.0.1:8883"
)

// newNets skips the test where this machine gives no namespaces.
func newNets(t *testing.T) *nets {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("network namespaces want root")
	}
	if _, err := exec.LookPath("ip"); err != nil {
		t.Skip("network namespaces want ip, of iproute2")
	}
	n := &nets{t: t, prefix: fmt.Sprintf("stavily-%d-", os.Getpid())}
	for _, try := range [][]string{
		{"netns", "add", n.name(hubNet)},
		{"netns", "add", n.name(switchNet)},
		{"-n", n.name(switchNet), "link", "add", "br0", "type", "bridge"},
		{"-n", n.name(switchNet), "link", "set", "br0", "up"},
		{"-n", n.name(hubNet), "link", "set", "lo", "up"},
		{"-n", n.name(hubNet), "address", "add", "10.77.0.1/32", "dev", "lo"},
		{"-n", n.name(hubNet), "link", "add", "v0", "type", "veth", "peer", "name", "v1"},
	} {
		if out, err := exec.Command("ip", try...).CombinedOutput(); err != nil {
			n.end(hubNet, switchNet)
			t.Skipf("no network namespaces here: ip %s: %s", strings.Join(try, " "), out)
		}
	}
	t.Cleanup(func() { n.end(hubNet, switchNet) })
	if err := n.in(hubNet, func() error { return nil }); err != nil {
		t.Skipf("no network namespaces here: %v", err)
	}
	return n
}

func (n *nets) name(net string) string { return n.prefix + net }

func (n *nets) ip(args ...string) {
	n.t.Helper()
	if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		n.t.Fatalf("ip %s: %v: %s", strings.Join(args, " "), err, out)
	}
}

func (n *nets) end(names ...string) {
	for _, name := range names {
		_ = exec.Command("ip", "netns", "delete", n.name(name)).Run()
	}
}

// around returns what a program's arguments begin with that runs in a net.
func (n *nets) around(net string) []string { return []string{"ip", "netns", "exec", n.name(net)} }

// device makes the net of a device at the switch.
func (n *nets) device(name string) {
	n.t.Helper()
	n.hosts++
	own, lan := n.name(name), n.name(switchNet)
	n.ip("netns", "add", own)
	n.t.Cleanup(func() { n.end(name) })
	n.ip("-n", own, "link", "set", "lo", "up")
	n.ip("-n", own, "link", "add", "eth0", "type", "veth", "peer", "name", "p-"+name, "netns", lan)
	n.ip("-n", own, "address", "add", fmt.Sprintf("10.78.0.%d/24", n.hosts), "dev", "eth0")
	n.ip("-n", lan, "link", "set", "p-"+name, "master", "br0")
	n.ip("-n", own, "link", "set", "eth0", "up")
	n.plug(name, true)
}

// plug puts a device's cable into the switch, or pulls it.
func (n *nets) plug(name string, in bool) {
	n.t.Helper()
	state := "down"
	if in {
		state = "up"
	}
	n.ip("-n", n.name(switchNet), "link", "set", "p-"+name, state)
}

// uplink gives a device a line to the hub's net and returns what stands in it, and the hub's
// address for the device.
func (n *nets) uplink(name string) (*uplink, string) {
	n.t.Helper()
	own, wan, to := n.name(name), n.name(hubNet), fmt.Sprintf("10.77.%d.1", n.hosts)
	n.ip("-n", own, "link", "add", "wan0", "type", "veth", "peer", "name", "w-"+name, "netns", wan)
	n.ip("-n", own, "address", "add", fmt.Sprintf("10.77.%d.2/24", n.hosts), "dev", "wan0")
	n.ip("-n", wan, "address", "add", to+"/24", "dev", "w-"+name)
	n.ip("-n", own, "link", "set", "wan0", "up")
	n.ip("-n", wan, "link", "set", "w-"+name, "up")
	var ln net.Listener
	err := n.in(hubNet, func() (err error) {
		ln, err = net.Listen("tcp", to+":8883")
		return err
	})
	if err != nil {
		n.t.Fatal(err)
	}
	return uplinkAt(n.t, ln, func() (conn net.Conn, err error) {
		err = n.in(hubNet, func() (err error) {
			conn, err = net.Dial("tcp", hubAt)
			return err
		})
		return conn, err
	}), "mqtts://" + to + ":8883"
}

// in runs do, which may open sockets but start no process, in a net.
func (n *nets) in(name string, do func() error) (err error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	own, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return err
	}
	defer own.Close()
	there, err := os.Open(filepath.Join("/var/run/netns", n.name(name)))
	if err != nil {
		return err
	}
	defer there.Close()
	if err := unix.Setns(int(there.Fd()), unix.CLONE_NEWNET); err != nil {
		return os.NewSyscallError("setns", err)
	}
	defer func() { // not by the thread's end, which would end the processes that it started
		if back := unix.Setns(int(own.Fd()), unix.CLONE_NEWNET); back != nil {
			panic(back)
		}
	}()
	return do()
}

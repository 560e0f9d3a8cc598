package main

import (
	"net"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// Under a supervisor the agent says when it is ready, that it is alive, again and again,
// and that it ends: over a real socket, as systemd would listen.
func TestNotify(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes")
	}
	w := newWorld(t, buildEdge(t))
	w.startHub()
	w.join("served")
	agent := w.agents["served"]
	agent.end(syscall.SIGTERM)
	path := filepath.Join(t.TempDir(), "notify")
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	agent.env = append(agent.env, "NOTIFY_SOCKET="+path, "WATCHDOG_USEC=300000")
	_ = agent.start(t)
	hear := func(want string) {
		t.Helper()
		if err := socket.SetReadDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		for b := make([]byte, 256); ; {
			n, _, err := socket.ReadFromUnix(b)
			if err != nil {
				t.Fatalf("waited for %s: %v\n%s", want, err, agent.tail())
			}
			if string(b[:n]) == want {
				return
			}
		}
	}
	hear("READY=1")
	for range 3 {
		hear("WATCHDOG=1")
	}
	if err := agent.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	hear("STOPPING=1")
	<-agent.done
	if code := agent.cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("exit %d\n%s", code, agent.tail())
	}
}

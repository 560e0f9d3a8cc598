package runs

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stavily/stavily/hub/store"
	"github.com/stavily/stavily/protocol"
)

// killHome names the store for the child of TestKilledAtAnyMoment.
const killHome = "STAVILY_TEST_KILL_HOME"

func TestMain(m *testing.M) {
	if path := os.Getenv(killHome); path != "" {
		if err := acceptForEver(path); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

// acceptForEver is a hub that goes on where its store is, and prints each
// acknowledgement after its commit, until it is killed.
func acceptForEver(path string) error {
	s, err := store.Open(context.Background(), path)
	if err != nil {
		return err
	}
	for {
		var ack protocol.LaneAck
		err := s.Update(context.Background(), func(tx *store.Tx) error {
			held, err := Mark(tx, gate.Agent, 1, protocol.LaneEvent)
			if err != nil {
				return err
			}
			var events, results []protocol.Record
			for i := held.Sequence + 1; i <= held.Sequence+20; i++ {
				events = append(events, record(1, i, eventOf(i)))
				results = append(results, record(1, i, resultOf(i, "cool", protocol.StatusOK, true)))
			}
			if _, _, err = Accept(tx, gate, batchOf(protocol.LaneResult, results...), epochTime); err != nil {
				return err
			}
			ack, _, err = Accept(tx, gate, batchOf(protocol.LaneEvent, events...), epochTime)
			return err
		})
		if err != nil {
			return err
		}
		fmt.Println(ack.Mark.Sequence)
	}
}

// However a hub ends, what it acknowledged is in its store, whole, and nothing twice.
func TestKilledAtAnyMoment(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes")
	}
	path := filepath.Join(t.TempDir(), "hub.db")
	var acked uint64
	for round := range 10 {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), killHome+"="+path)
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		for range 1 + round*3 {
			if lines.Scan() {
				fmt.Sscan(lines.Text(), &acked)
			}
		}
		if err := cmd.Process.Kill(); err != nil { // in the midst of the next transaction
			t.Fatal(err)
		}
		for lines.Scan() { // what it printed meanwhile was acknowledged too
			fmt.Sscan(lines.Text(), &acked)
		}
		if err := cmd.Wait(); err == nil {
			t.Fatal("the child ended by itself")
		}
		checkSurvivor(t, path, acked)
	}
	if acked < 20*100 {
		t.Errorf("only %d were acknowledged: the test shows little", acked)
	}
}

func checkSurvivor(t *testing.T, path string, acked uint64) {
	t.Helper()
	s, err := store.Open(context.Background(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.Check(context.Background()); err != nil {
		t.Fatal(err)
	}
	update(t, s, func(tx *store.Tx) error {
		var whole, steps int64
		err := tx.QueryRow(`SELECT count(*), count(steps) FROM run WHERE ended = 1 AND agent = 'gate-1'`).
			Scan(&whole, &steps)
		if err != nil {
			return err
		}
		mark, err := Mark(tx, gate.Agent, 1, protocol.LaneEvent)
		if mark.Sequence < acked || uint64(whole) != mark.Sequence || whole != steps {
			t.Errorf("acknowledged up to %d; mark %d, %d whole runs, %d steps", acked, mark.Sequence, whole, steps)
		}
		return err
	})
}

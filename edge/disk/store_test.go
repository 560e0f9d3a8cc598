package disk_test

import (
	"bytes"
	"crypto/elliptic"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stavily/stavily/edge"
	"github.com/stavily/stavily/edge/disk"
	"github.com/stavily/stavily/edge/storetest"
	"github.com/stavily/stavily/protocol"
)

// writerDir tells the test binary to be the child of TestKill.
const writerDir = "STAVILY_TEST_WRITER"

func TestMain(m *testing.M) {
	if dir := os.Getenv(writerDir); dir != "" {
		write(dir)
	}
	os.Exit(m.Run())
}

func open(t *testing.T, dir string) *disk.Store {
	t.Helper()
	s, err := disk.Open(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func TestPromises(t *testing.T) {
	storetest.Run(t, func(t *testing.T) func() edge.Store {
		dir := t.TempDir()
		var last *disk.Store
		return func() edge.Store {
			if last != nil {
				if err := last.Close(); err != nil {
					t.Fatal(err)
				}
			}
			last = open(t, dir)
			return last
		}
	})
}

// A second agent on the same state directory is told so.
func TestTwo(t *testing.T) {
	dir := t.TempDir()
	open(t, dir)
	_, err := disk.Open(dir, nil)
	if protocol.CodeOf(err) != protocol.CodeUnavailable || !strings.Contains(err.Error(), dir+" is in use by another") {
		t.Fatalf("second open: %v", err)
	}
}

func TestRottenFile(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	b := []byte("an artifact")
	d := protocol.DigestOf(b)
	if err := s.AddChunk(d, 0, int64(len(b)), b); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "files", strings.TrimPrefix(d.String(), "sha256:"))
	if err := os.WriteFile(path, []byte("an artefact"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := s.ReadFile(d); protocol.CodeOf(err) != protocol.CodeDigest {
		t.Fatalf("read of a rotten file: %v", err)
	}
	if _, whole, _ := s.Chunks(d, int64(len(b))); whole {
		t.Fatal("a rotten file still counts as here")
	}
	if err := s.AddChunk(d, 0, int64(len(b)), b); err != nil {
		t.Fatalf("fetching it again: %v", err)
	}
	if got, err := s.ReadFile(d); err != nil || !bytes.Equal(got, b) {
		t.Fatalf("read: %q, %v", got, err)
	}
}

// A part that the power left complete but without its name gets it at the next start; one
// that nobody can read makes room.
func TestMend(t *testing.T) {
	b := bytes.Repeat([]byte("x"), 2*protocol.ChunkSize)
	d := protocol.DigestOf(b)
	for _, c := range []struct {
		name  string
		part  []byte
		whole bool
	}{
		{"complete", b, true},
		{"of an agent of before", b[:protocol.ChunkSize], false},
		{"empty", nil, false},
		{"foot with no sense", append(bytes.Clone(b), "stvpart1\xff\xff\xff\xff\xff\xff\xff\xff"...), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			_ = open(t, dir).Close()
			part := filepath.Join(dir, "files", strings.TrimPrefix(d.String(), "sha256:")+".part")
			if err := os.WriteFile(part, c.part, 0o600); err != nil {
				t.Fatal(err)
			}
			have, whole, err := open(t, dir).Chunks(d, int64(len(b)))
			if whole != c.whole || have != nil || err != nil {
				t.Fatalf("whole %v, have %b, %v; want whole %v", whole, have, err, c.whole)
			}
			if _, err := os.Stat(part); err == nil {
				t.Fatal("the part is there still")
			}
		})
	}
}

// write is the child of TestKill: it writes as an agent does, and says on stdout what
// has returned, for ever.
func write(dir string) {
	s, err := disk.Open(dir, nil)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	value, _ := s.Get("n")
	n := number(value)
	n -= min(n, 1) // its file may not be whole
	for {
		n++
		b := binary.BigEndian.AppendUint64(nil, n)
		changes := []edge.Change{{Key: "n", Value: b}, {Key: fmt.Sprintf("r/%016x", n), Value: bytes.Repeat(b, 40)}}
		if n > 200 {
			changes = append(changes, edge.Change{Key: fmt.Sprintf("r/%016x", n-200)})
		}
		if err := s.Apply(changes); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		content, d := content(n)
		for i := 0; i*protocol.ChunkSize < len(content); i++ {
			chunk := content[i*protocol.ChunkSize : min((i+1)*protocol.ChunkSize, len(content))]
			if err := s.AddChunk(d, uint32(i), int64(len(content)), chunk); err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(1)
			}
		}
		fmt.Printf("%d\n", n)
	}
}

func content(n uint64) ([]byte, protocol.Digest) {
	b := bytes.Repeat(binary.BigEndian.AppendUint64(nil, n), protocol.ChunkSize/8+3)
	return b, protocol.DigestOf(b)
}

func number(b []byte) uint64 {
	if len(b) != 8 {
		return 0
	}
	return binary.BigEndian.Uint64(b)
}

// What returned before a SIGKILL at any moment is there afterwards, whole (D-4).
func TestKill(t *testing.T) {
	if testing.Short() {
		t.Skip("kills processes for some seconds")
	}
	dir := t.TempDir()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	said := uint64(0)
	for range 12 {
		said = max(said, killWriter(t, dir, time.Duration(20+random.IntN(200))*time.Millisecond))
		s, err := disk.Open(dir, nil)
		if err != nil {
			t.Fatal(err)
		}
		if d := s.Damage(); d.Parts > 0 {
			t.Fatalf("a kill did damage: %+v", d)
		}
		check(t, s, said)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if said == 0 {
		t.Fatal("no child wrote anything")
	}
}

// killWriter lets a child write for d and returns the last number that it said.
func killWriter(t *testing.T, dir string, d time.Duration) uint64 {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), writerDir+"="+dir)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	kill := time.AfterFunc(d, func() { _ = cmd.Process.Kill() })
	defer kill.Stop()
	if err := cmd.Wait(); err == nil || errs.Len() > 0 {
		t.Fatalf("child: %v: %s", err, &errs)
	}
	lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
	var n uint64
	_, _ = fmt.Sscan(lines[len(lines)-1], &n)
	return n
}

func check(t *testing.T, s *disk.Store, said uint64) {
	t.Helper()
	value, err := s.Get("n")
	n := number(value)
	if err != nil || n < said {
		t.Fatalf("n is %d, %v: the child had said %d", n, err, said)
	}
	want := uint64(1)
	if n > 200 {
		want = n - 199
	}
	err = s.Scan("r/", "", func(key string, value []byte) bool {
		if key != fmt.Sprintf("r/%016x", want) || number(value[:8]) != want {
			t.Fatalf("record %q has %d, want %d", key, number(value[:8]), want)
		}
		want++
		return true
	})
	if err != nil || n > 0 && want != n+1 {
		t.Fatalf("records end at %d, %v, want %d", want-1, err, n)
	}
	for i := uint64(1); i <= said; i++ {
		b, d := content(i)
		if got, err := s.ReadFile(d); err != nil || !bytes.Equal(got, b) {
			t.Fatalf("file %d: %v", i, err)
		}
	}
}

func TestIdentity(t *testing.T) {
	dir := t.TempDir()
	id, err := disk.OpenIdentity(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := id.Enrolment(); protocol.CodeOf(err) != protocol.CodeNotFound {
		t.Fatalf("enrolment before joining: %v", err)
	}
	key, err := id.Key()
	if err != nil || key.Curve != elliptic.P256() {
		t.Fatalf("key: %v", err)
	}
	path := filepath.Join(dir, "identity", "key.pem")
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("key file: %v, %v", info, err)
	}
	if again, err := id.Key(); err != nil || !again.Equal(key) {
		t.Fatalf("the key is another one at the second time: %v", err)
	}
	for epoch := uint64(1); epoch <= 3; epoch++ {
		if err := id.Enrol(disk.Enrolment{Epoch: epoch, Labels: map[string]string{"a": "b"}}); err != nil {
			t.Fatal(err)
		}
	}
	if e, err := id.Enrolment(); err != nil || e.Epoch != 3 {
		t.Fatalf("enrolment: %+v, %v", e, err)
	}
	// Half an enrolment, as no cut should leave it, is not the end.
	if err := os.WriteFile(filepath.Join(dir, "identity", "enrolment.cbor"), []byte{0xa1}, 0o600); err != nil {
		t.Fatal(err)
	}
	if e, err := id.Enrolment(); err != nil || e.Epoch != 2 {
		t.Fatalf("enrolment behind a spoiled one: %+v, %v", e, err)
	}
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := id.Key(); protocol.CodeOf(err) != protocol.CodeStorage {
		t.Fatalf("empty key file: %v", err)
	}
}

func TestKV(t *testing.T) {
	s := open(t, t.TempDir())
	kv := s.KV(edge.Instance{Workflow: "w", Step: "s"})
	other := s.KV(edge.Instance{Workflow: "w", Step: "s2"})
	for i := range 64 {
		if err := kv.Put(fmt.Sprint(i), protocol.Raw{byte(i % 24)}); err != nil {
			t.Fatal(err)
		}
	}
	var limit *protocol.Error
	if err := kv.Put("more", protocol.Raw{1}); !errors.As(err, &limit) || limit.Code != protocol.CodeLimit {
		t.Fatalf("one key too many: %v", err)
	}
	if err := kv.Put("3", nil); err != nil {
		t.Fatal(err)
	}
	if v, err := kv.Get("3"); v != nil || err != nil {
		t.Fatalf("removed key: %v, %v", v, err)
	}
	if v, err := kv.Get("4"); !bytes.Equal(v, []byte{4}) || err != nil {
		t.Fatalf("key: %v, %v", v, err)
	}
	if v, _ := other.Get("4"); v != nil {
		t.Fatal("one plugin sees what another put by")
	}
}

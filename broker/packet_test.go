package broker

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/stavily/stavily/protocol"
)

// readAll reads packets until the first error, and checks that mochi decodes all that
// passed. It returns the types that passed.
func readAll(t *testing.T, stream []byte) ([]packetType, error) {
	t.Helper()
	r := packetReader{src: bufio.NewReaderSize(bytes.NewReader(stream), readBuffer), keepaliveMax: 60}
	var passed []packetType
	for {
		packet, kind, err := r.next()
		if err != nil {
			return passed, err
		}
		passed = append(passed, kind)
		mochiDecodes(t, packet)
	}
}

// mochiDecodes fails when a packet that passed our check is refused by mochi's
// decoder or makes it panic.
func mochiDecodes(t *testing.T, packet []byte) {
	t.Helper()
	pk := packets.Packet{ProtocolVersion: mqtt311}
	if err := pk.FixedHeader.Decode(packet[0]); err != nil {
		t.Fatalf("%x passed; mochi's header: %v", packet, err)
	}
	size, n, err := packets.DecodeLength(bytes.NewReader(packet[1:]))
	if err != nil || 1+n+size != len(packet) {
		t.Fatalf("%x passed; mochi's length: %d, %v", packet, size, err)
	}
	pk.FixedHeader.Remaining = size
	body, code := packet[1+n:], packets.CodeSuccess
	switch packetType(pk.FixedHeader.Type) {
	case typeConnect:
		err = pk.ConnectDecode(body)
		code = pk.ConnectValidate()
	case typePublish:
		err = pk.PublishDecode(body)
		code = pk.PublishValidate(0)
	case typePuback:
		err = pk.PubackDecode(body)
	case typeSubscribe:
		err = pk.SubscribeDecode(body)
		code = pk.SubscribeValidate()
	case typeUnsubscribe:
		err = pk.UnsubscribeDecode(body)
		code = pk.UnsubscribeValidate()
	}
	if err != nil || code != packets.CodeSuccess {
		t.Fatalf("%x passed; mochi says %v, %v", packet, err, code)
	}
}

// corpus reads testdata/packets.txt: lines of a verdict, hex, and a name.
func corpus(t testing.TB, use func(name, verdict string, stream []byte)) {
	t.Helper()
	all, err := os.ReadFile(filepath.Join("testdata", "packets.txt"))
	if err != nil {
		t.Fatal(err)
	}
	for i, line := range strings.Split(string(all), "\n") {
		if line == "" || line[0] == '#' {
			continue
		}
		part := strings.SplitN(line, " ", 3)
		if len(part) != 3 {
			t.Fatalf("packets.txt line %d: want verdict, hex, name", i+1)
		}
		stream, err := hex.DecodeString(part[1])
		if err != nil {
			t.Fatalf("packets.txt line %d: %v", i+1, err)
		}
		use(part[2], part[0], stream)
	}
}

func TestPacketCorpus(t *testing.T) {
	corpus(t, func(name, verdict string, stream []byte) {
		_, err := readAll(t, stream)
		// A stream that passed ends in EOF, which has no code of ours.
		if got := protocol.CodeOf(err) == protocol.CodeInternal; got != (verdict == "pass") {
			t.Errorf("%s: got %v, want %s", name, err, verdict)
		}
	})
}

func FuzzPackets(f *testing.F) {
	corpus(f, func(_, _ string, stream []byte) { f.Add(stream) })
	f.Fuzz(func(t *testing.T, stream []byte) {
		passed, _ := readAll(t, stream)
		for i, kind := range passed {
			if (i == 0) != (kind == typeConnect) {
				t.Fatalf("packet %d has type %d: want CONNECT first and once", i, kind)
			}
		}
	})
}

func BenchmarkPacketReader(b *testing.B) {
	topic := "m/lab/pump/u/records"
	body := append([]byte{0, byte(len(topic))}, topic...)
	body = append(append(body, 0, 1), make([]byte, 80)...)
	one := append([]byte{0x32, byte(len(body))}, body...)
	in := bytes.NewReader(nil)
	r := packetReader{src: bufio.NewReaderSize(in, readBuffer), began: true}
	stream := bytes.Repeat(one, 100)
	b.ReportAllocs()
	for i := 0; i < b.N; i++ {
		if i%100 == 0 {
			in.Reset(stream)
		}
		if _, _, err := r.next(); err != nil {
			b.Fatal(err)
		}
	}
}

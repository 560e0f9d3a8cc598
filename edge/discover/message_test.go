package discover

import (
	"bytes"
	"encoding/hex"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stavily/stavily/protocol"
)

var (
	gateway = Self{
		Address: protocol.Address{Site: "berlin", Agent: "gw-1"}, Port: 8883,
		At: []netip.Addr{netip.MustParseAddr("10.1.2.3"), netip.MustParseAddr("fd00::7")},
	}
	from  = netip.MustParseAddr("10.1.2.3")
	start = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
)

const (
	hexService = "085f73746176696c79045f746370056c6f63616c00"
	hexQuery   = "000000000001000000000000" + hexService + "000c0001"
	hexLabel   = "0b67772d312e6265726c696e" // gw-1.berlin
	hexHost    = "0467772d31066265726c696e0773746176696c79056c6f63616c00"
)

// brief is the answer to one that asks once with id 7, written down by hand: id, question, no
// flush bit, at most 10 s.
const brief = "0007" + "8400" + "0001" + "0001" + "0000" + "0004" +
	hexService + "000c0001" +
	hexService + "000c0001" + "0000000a" + "0021" + hexLabel + hexService +
	hexLabel + hexService + "00210001" + "0000000a" + "0021" + "0000" + "0000" + "22b3" + hexHost +
	hexLabel + hexService + "00100001" + "0000000a" + "000c" + "0b" + "736974653d6265726c696e" +
	hexHost + "00010001" + "0000000a" + "0004" + "0a010203" +
	hexHost + "001c0001" + "0000000a" + "0010" + "fd000000000000000000000000000007"

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestPacketsToTheByte(t *testing.T) {
	if got := hex.EncodeToString(Query()); got != hexQuery {
		t.Errorf("query\n got %s\nwant %s", got, hexQuery)
	}
	asked := unhex(t, "0007"+hexQuery[4:])
	answer, toAll := NewResponder(gateway).Answer(start, asked, true)
	if got := hex.EncodeToString(answer); got != brief || toAll {
		t.Errorf("answer, to all: %v\n got %s\nwant %s", toAll, got, brief)
	}
	r := NewResponder(gateway)
	if got := hex.EncodeToString(r.Announce()); !strings.HasPrefix(got, "0000"+"8400"+"0000"+"0005"+"0000"+"0000"+
		hexService+"000c0001"+"00000078") || !strings.Contains(got, hexHost+"00018001"+"00000078"+"0004"+"0a010203") {
		t.Errorf("announced %s", got)
	}
	if all, err := Read(r.Goodbye(), "berlin", from); err != nil || len(all) > 0 {
		t.Errorf("found in a goodbye: %v, %v", all, err)
	}
}

func TestRead(t *testing.T) {
	at := func(s string) Gateway {
		return Gateway{Site: "berlin", Name: "gw-1.berlin", Address: netip.MustParseAddrPort(s)}
	}
	both := []Gateway{at("10.1.2.3:8883"), at("[fd00::7]:8883")}
	// The same with compression, as others write it, cut down to one address.
	packed := "0000" + "8400" + "0000" + "0001" + "0000" + "0003" +
		hexService + "000c0001" + "00000078" + "000e" + hexLabel + "c00c" + // 31: rdata
		"c02b" + "00210001" + "00000078" + "0008" + "0000" + "0000" + "22b3" + "c00c" +
		"c02b" + "00100001" + "00000078" + "000c" + "0b" + "736974653d6265726c696e" +
		"c00c" + "00010001" + "00000078" + "0004" + "0a010203"
	replace := func(old, to string) string {
		if !strings.Contains(brief, old) {
			t.Fatalf("nothing to replace: %s", old)
		}
		return strings.ReplaceAll(brief, old, to)
	}
	for _, c := range []struct {
		name, packet string
		site         protocol.Site
		want         []Gateway
	}{
		{"own site", brief, "berlin", both},
		{"no site yet", brief, "", both},
		{"another site", brief, "paris", nil},
		{"compressed", packed, "berlin", both[:1]},
		{"a question", hexQuery, "berlin", nil},
		{"capital letters", replace("5f73746176696c79", "5f53544156494c59"), "berlin", both},
		{"no site", replace("736974653d", "736974653e"), "", nil},
		{"bad site", replace("736974653d6265726c696e", "736974653d62657220696e"), "", nil},
		{"text ends early", replace("0b736974653d", "0c736974653d"), "", nil},
		{"no port", replace("22b3", "0000"), "berlin", nil},
		{"loopback of another device", replace("0a010203", "7f000001"), "berlin", both[1:]},
		{"multicast", replace("0a010203", "e00000fb"), "berlin", both[1:]},
		{"nowhere", replace("0a010203", "00000000"), "berlin", both[1:]},
		{"loopback by the longer form", replace("fd000000000000000000000000000007", "00000000000000000000ffff7f000001"), "berlin", both[:1]},
		{"link-local", replace("fd00000000", "fe80000000"), "berlin", both[:1]},
		{"service is gone", replace("0000000a0021"+hexLabel, "000000000021"+hexLabel), "berlin", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := Read(unhex(t, c.packet), c.site, from)
			if err != nil || !slices.Equal(got, c.want) {
				t.Errorf("got %v, %v\nwant %v", got, err, c.want)
			}
		})
	}
}

// hops is a packet with a name of so many pointers, each to the one before, in the data of a
// text, and one pointer to them.
func hops(n int) string {
	data := "016100" // at byte 23
	for i := range n {
		data += "0161c0" + hex.EncodeToString([]byte{byte(max(23, 22+4*i))})
	}
	size := hex.EncodeToString([]byte{0, byte(len(data) / 2)})
	return "000084000000000200000000" + "00" + "00100001" + "0000000a" + size + data +
		"c0" + hex.EncodeToString([]byte{byte(22 + 4*n)}) + "00100001" + "0000000a" + "0000"
}

func TestJumps(t *testing.T) {
	m, err := parse(unhex(t, hops(jumpsMax-1)))
	if err != nil || len(m.records) != 2 || len(m.records[1].name) != 2*jumpsMax+1 {
		t.Errorf("%v, %v", m, err)
	}
}

func TestReadRefuses(t *testing.T) {
	head := func(questions, records string) string { return "00008400" + questions + records + "00000000" }
	long := strings.Repeat("3f"+strings.Repeat("61", 63), 4) + "00"
	for name, packet := range map[string]string{
		"empty":               "",
		"short":               "00008400",
		"too long":            head("0000", "0000") + strings.Repeat("00", PacketMax),
		"response code":       "0000840300000000" + "00000000",
		"opcode":              "0000a40000000000" + "00000000",
		"too many questions":  head("0011", "0000") + strings.Repeat("0000010001", 17),
		"too many records":    head("0000", "0041") + strings.Repeat("00001000010000000a0000", 65),
		"no question":         head("0001", "0000"),
		"name without end":    head("0001", "0000") + "0161",
		"label beyond packet": head("0001", "0000") + "3f61",
		"name too long":       head("0001", "0000") + long + "000c0001",
		"pointer to itself":   head("0001", "0000") + "c00c" + "000c0001",
		"pointer ahead":       head("0001", "0000") + "c012" + "000c0001" + hexService,
		"pointer into head":   head("0001", "0000") + "c000" + "000c0001",
		"half a pointer":      head("0001", "0000") + "c0",
		"pointer in a circle": head("0001", "0000") + "0161c00c" + "000c0001",
		"label type":          head("0001", "0000") + "8061" + "000c0001",
		"too many jumps":      hops(jumpsMax),
		"data beyond packet":  head("0000", "0001") + hexService + "00100001" + "0000000a" + "0010" + "00",
		"pointer of nothing":  head("0000", "0001") + hexService + "000c0001" + "0000000a" + "0000",
		"name beyond data":    head("0000", "0001") + hexService + "000c0001" + "0000000a" + "0002" + hexService,
		"short service":       head("0000", "0001") + hexService + "00210001" + "0000000a" + "0006" + "000000000001",
	} {
		t.Run(name, func(t *testing.T) {
			if got, err := Read(unhex(t, packet), "", from); protocol.CodeOf(err) != protocol.CodeBadMessage {
				t.Errorf("got %v, %v", got, err)
			}
		})
	}
}

func TestOrder(t *testing.T) {
	g := func(priority uint16, name, at string) Gateway {
		return Gateway{Site: "berlin", Name: name, Priority: priority, Address: netip.MustParseAddrPort(at)}
	}
	want := []Gateway{g(0, "a", "10.0.0.9:1"), g(0, "a", "[fd00::1]:1"), g(0, "b", "10.0.0.1:1"), g(1, "a", "10.0.0.2:1")}
	all := []Gateway{want[3], want[2], want[1], want[0], g(2, "c", "10.0.0.1:1")}
	if got := Order(all); !slices.Equal(got, want) {
		t.Errorf("got %v\nwant %v", got, want)
	}
}

func TestAnswer(t *testing.T) {
	ask := func(n name, typ, class uint16) []byte {
		return outgoing{id: 9, questions: []question{{n, typ, class}}}.build()
	}
	own := NewResponder(gateway)
	knows := func(ttl uint32) []byte {
		known := withTTL(own.self[:1], ttl)
		return outgoing{questions: []question{{service, typePTR, classIN}}, answers: known}.build()
	}
	for _, c := range []struct {
		name         string
		packet       []byte
		once         bool
		answers, all bool
	}{
		{"once", ask(service, typePTR, classIN), true, true, false},
		{"for all", ask(service, typePTR, classIN), false, true, true},
		{"by unicast", ask(service, typePTR, classIN|topBit), false, true, false},
		{"any class and type", ask(service, typeAny, classAny), false, true, true},
		{"the instance", ask(own.self[1].name, typeSRV, classIN), false, true, true},
		{"the host", ask(own.self[3].name, typeA, classIN), false, true, true},
		{"another type", ask(service, typeA, classIN), false, false, false},
		{"another class", ask(service, typePTR, 3), false, false, false},
		{"another name", ask(newName("_http", "_tcp", "local"), typePTR, classIN), false, false, false},
		{"known", knows(lasts / 2), false, false, false},
		{"known, soon no more", knows(lasts/2 - 1), false, true, true},
		{"an answer", own.Announce(), false, false, false},
		{"rubbish", []byte("rubbish"), false, false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, toAll := NewResponder(gateway).Answer(start, c.packet, c.once)
			if (got != nil) != c.answers || toAll != c.all {
				t.Fatalf("answer of %d bytes, to all: %v", len(got), toAll)
			}
			if got != nil && c.name != "the host" && c.name != "the instance" {
				if all, err := Read(got, "berlin", from); err != nil || len(all) != 2 {
					t.Errorf("found %v, %v", all, err)
				}
			}
		})
	}
}

func TestAnswersAreBounded(t *testing.T) {
	r := NewResponder(gateway)
	count := func(now time.Time, once bool) (n int) {
		for range 3 * answersMax {
			if got, _ := r.Answer(now, Query(), once); got != nil {
				n++
			}
		}
		return n
	}
	for _, c := range []struct {
		after time.Duration
		once  bool
		want  int
	}{
		{0, false, 1},
		{0, true, answersMax - 1},
		{999 * time.Millisecond, true, 0},
		{time.Second, true, answersMax},
		{2 * time.Second, false, 1},
		{-time.Hour, true, answersMax}, // the clock was set
	} {
		if got := count(start.Add(c.after), c.once); got != c.want {
			t.Errorf("after %v, once: %v: %d answers, want %d", c.after, c.once, got, c.want)
		}
	}
}

// The longest names make an instance's label that is too long for both.
func TestLongNames(t *testing.T) {
	long := strings.Repeat("a", protocol.NameMax)
	s := gateway
	s.Address = protocol.Address{Site: protocol.Site(long), Agent: protocol.AgentName(long)}
	all, err := Read(NewResponder(s).Announce(), protocol.Site(long), from)
	if err != nil || len(all) != 2 || all[0].Name != long {
		t.Errorf("found %v, %v", all, err)
	}
}

// A packet is refused or read, within its bounds; what it says is answered or not, and an
// answer can be read.
func FuzzPacket(f *testing.F) {
	f.Add(Query())
	f.Add(unhex(f, brief))
	f.Add(NewResponder(gateway).Announce())
	f.Fuzz(func(t *testing.T, packet []byte) {
		before := bytes.Clone(packet)
		all, err := Read(packet, "", from)
		if err != nil && protocol.CodeOf(err) != protocol.CodeBadMessage {
			t.Errorf("error %v", err)
		}
		if len(all) > FoundMax {
			t.Errorf("%d found", len(all))
		}
		for _, g := range all {
			if !g.Address.IsValid() || g.Address.Port() == 0 || g.Site.Check() != nil {
				t.Errorf("found %v", g)
			}
		}
		m, _ := parse(packet)
		for _, r := range m.records {
			if len(r.name) > nameMax || len(r.target) > nameMax {
				t.Errorf("name of %d bytes", max(len(r.name), len(r.target)))
			}
			_ = r.target.first()
		}
		if answer, _ := NewResponder(gateway).Answer(start, packet, true); answer != nil {
			if _, err := parse(answer); err != nil {
				t.Errorf("answer: %v", err)
			}
		}
		if !bytes.Equal(packet, before) {
			t.Error("packet was changed")
		}
	})
}

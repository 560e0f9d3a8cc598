package protocol

import (
	"strings"
	"testing"
)

var berlin = Address{Site: "berlin", Agent: "gw-1"}

func TestTopicsComeBack(t *testing.T) {
	for _, k := range kinds {
		topic := Topic(berlin, k)
		a, got, err := ParseTopic(topic)
		if err != nil || a != berlin || got != k {
			t.Errorf("%s: got %v %q %v", topic, a, got, err)
		}
		if !Match(UpFilter(k), topic) {
			t.Errorf("%s does not match %s", topic, UpFilter(k))
		}
	}
}

func TestParseTopicRefuses(t *testing.T) {
	for topic, want := range map[string]string{
		"":                              "want m/<site>",
		"m/berlin/gw-1/u":               "want m/<site>",
		"x/berlin/gw-1/u/reported":      "want m/<site>",
		"m/berlin/gw-1/u/reported/x":    "want m/<site>",
		"m/berlin/gw-1/u/unheard":       "is not known",
		"m/berlin/gw-1/d/reported":      "is not known",
		"m/Berlin/gw-1/u/reported":      "site",
		"m/berlin//u/reported":          "agent name",
		"m/+/gw-1/u/reported":           "site",
		"m/berlin/#/u/reported":         "agent name",
		strings.Repeat("x", TopicMax+1): "limit 256",
	} {
		if _, _, err := ParseTopic(topic); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40q: got %v, want %q", topic, err, want)
		}
	}
}

// S-12: an agent says its own kinds up, hears its own kinds down, and nothing else.
func TestMay(t *testing.T) {
	other := Address{Site: "berlin", Agent: "gw-2"}
	for _, c := range []struct {
		do    Access
		topic string
		want  bool
	}{
		{Sends, Topic(berlin, UpRecords), true},
		{Sends, Topic(berlin, UpPresence), true},
		{Sends, Topic(berlin, DownHint), false},
		{Sends, Topic(other, UpRecords), false},
		{Sends, "m/berlin/gw-1/u/+", false},
		{Sends, "$SYS/broker", false},
		{Listen, DownFilter(berlin), true},
		{Listen, Topic(berlin, DownChunk), true},
		{Listen, Topic(berlin, UpRecords), false},
		{Listen, DownFilter(other), false},
		{Listen, "m/berlin/gw-1/#", false},
		{Listen, "m/berlin/+/d/hint", false},
		{Listen, "#", false},
		{Listen, "$share/x/" + DownFilter(berlin), false},
		{Listen, "$SYS/#", false},
		{Listen, "", false},
	} {
		if got := May(berlin, c.do, c.topic); got != c.want {
			t.Errorf("May(%v, %q) = %v", c.do, c.topic, got)
		}
	}
	if May(Address{Site: "a/b", Agent: "x"}, Listen, "m/a/b/x/d/+") {
		t.Error("a bad address may listen")
	}
}

func TestNames(t *testing.T) {
	for name, ok := range map[AgentName]bool{
		"a": true, "gw-1": true, "0": true, AgentName(strings.Repeat("a", NameMax)): true,
		"": false, "-a": false, "a-": false, "A": false, "a_b": false, "a/b": false, "a+": false, "ä": false,
		AgentName(strings.Repeat("a", NameMax+1)): false,
	} {
		if err := name.Check(); (err == nil) != ok {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func TestIDsComeBack(t *testing.T) {
	id := RunID{1, 2, 3, 0xff}
	if got, err := ParseRunID(id.String()); err != nil || got != id {
		t.Errorf("run id: %v, %v", got, err)
	}
	d := DigestOf([]byte("x"))
	if got, err := ParseDigest(d.String()); err != nil || got != d {
		t.Errorf("digest: %v, %v", got, err)
	}
	for _, bad := range []string{"", "12", strings.Repeat("g", 32), "sha256:" + strings.Repeat("g", 64)} {
		if _, err := ParseRunID(bad); err == nil {
			t.Errorf("run id %q taken", bad)
		}
		if _, err := ParseDigest(bad); err == nil {
			t.Errorf("digest %q taken", bad)
		}
	}
}

func FuzzParseTopic(f *testing.F) {
	f.Add(Topic(berlin, UpFetch))
	f.Add("m/a/b/u/+")
	f.Fuzz(func(t *testing.T, topic string) {
		a, k, err := ParseTopic(topic)
		if err == nil && Topic(a, k) != topic {
			t.Errorf("%q parses to %v %q", topic, a, k)
		}
		if May(berlin, Listen, topic) && !strings.HasPrefix(topic, "m/berlin/gw-1/d/") {
			t.Errorf("may listen to %q", topic)
		}
	})
}

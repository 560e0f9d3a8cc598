package protocol

import "testing"

func TestMatch(t *testing.T) {
	for _, c := range []struct {
		filter, topic string
		want          bool
	}{
		{"m/lab/pump/d/hint", "m/lab/pump/d/hint", true},
		{"m/lab/pump/d/+", "m/lab/pump/d/hint", true},
		{"m/lab/pump/d/+", "m/lab/pump/d", false},
		{"m/lab/pump/d/+", "m/lab/pump/d/hint/x", false},
		{"m/+/+/u/records", "m/lab/pump/u/records", true},
		{"m/+/+/u/records", "m/lab/pump/d/records", false},
		{"m/lab/#", "m/lab/pump/u/records", true},
		{"m/lab/#", "m/lab", true},
		{"m/lab/#", "m/labor", false},
		{"m/lab", "m/lab/pump", false},
		{"m/lab/pump", "m/lab", false},
		{"#", "$SYS/broker", false},
		{"+/broker", "$SYS/broker", false},
		{"$SYS/#", "$SYS/broker", true},
		{"#", "m", true},
		{"+", "", true},
	} {
		if got := Match(c.filter, c.topic); got != c.want {
			t.Errorf("Match(%q, %q) = %v, want %v", c.filter, c.topic, got, c.want)
		}
	}
}

package cli

import "testing"

func TestDataBytes(t *testing.T) {
	for in, want := range map[string]uint64{"none": 0, "1": 1, "500k": 500 << 10, "5M": 5 << 20, "2G": 2 << 30} {
		if got, err := dataBytes(in); got != want || err != nil {
			t.Errorf("%q: %d, %v, want %d", in, got, err, want)
		}
	}
	for _, in := range []string{"", "k", "0", "-1", "5m", "5 M", "1.5M", "99999999999G"} {
		if got, err := dataBytes(in); err == nil {
			t.Errorf("%q: %d without an error", in, got)
		}
	}
}

package version_test

import (
	"testing"

	"github.com/stavily/stavily/hub/version"
	"github.com/stavily/stavily/protocol"
)

// M-02, O-05: ranges, pins and channels.
func TestTakes(t *testing.T) {
	for _, c := range []struct {
		text    string
		takes   []string
		refuses []string
	}{
		{"", []string{"0.1.0", "9.0.0"}, []string{"1.0.0-rc.1", "1", "v1.0.0"}},
		{"^1.2", []string{"1.2.0", "1.9.3"}, []string{"1.1.9", "2.0.0", "1.3.0-beta.1"}},
		{"~1.4", []string{"1.4.0", "1.4.9"}, []string{"1.5.0", "1.3.9"}},
		{"1.x", []string{"1.0.0", "1.9.9"}, []string{"0.9.0", "2.0.0"}},
		{"1", []string{"1.0.0", "1.9.9"}, []string{"2.0.0"}},
		{"1.2.0", []string{"1.2.0"}, []string{"1.2.1", "1.2.0-rc.1"}},
		{"1.2.0-rc.1", []string{"1.2.0-rc.1"}, []string{"1.2.0", "1.2.0-rc.2"}},
		{">=1.2.0, <1.5.0", []string{"1.4.9"}, []string{"1.5.0"}},
		{"stable", []string{"1.0.0", "2.0.0+b1"}, []string{"2.0.0-rc.1", "2.0.0-beta"}},
		{"rc", []string{"1.0.0", "2.0.0-rc.1", "2.0.0-rc1"}, []string{"2.0.0-beta.9"}},
		{"beta", []string{"1.0.0", "2.0.0-beta.1", "2.0.0-rc.1"}, []string{"2.0.0-alpha.1", "2.0.0-dev"}},
		{"alpha", []string{"2.0.0-alpha.1", "2.0.0-beta"}, []string{"2.0.0-1", "2.0.0-stable.1"}},
	} {
		r, err := version.Parse(c.text)
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range c.takes {
			if !r.Takes(v) {
				t.Errorf("%q does not take %s", c.text, v)
			}
		}
		for _, v := range c.refuses {
			if r.Takes(v) {
				t.Errorf("%q takes %s", c.text, v)
			}
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for _, text := range []string{"nightly", "^", "1.2.3.4", "v", "@beta", "stable ", "1 ||", string(make([]byte, 300))} {
		if _, err := version.Parse(text); protocol.CodeOf(err) != protocol.CodeBadInput {
			t.Errorf("%q: got %v, want bad input", text, err)
		}
	}
}

func TestCompare(t *testing.T) {
	in := []string{"x", "1.0.0-beta", "1.0.0-rc.1", "1.0.0", "1.10.0", "2.0.0"}
	for i := 1; i < len(in); i++ {
		if version.Compare(in[i-1], in[i]) >= 0 || version.Compare(in[i], in[i-1]) <= 0 {
			t.Errorf("%s does not come before %s", in[i-1], in[i])
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"^1.2", "beta", ">=1, <2 || ~3", "1.x", "", "\x00"} {
		f.Add(s, "1.2.0")
	}
	f.Fuzz(func(t *testing.T, text, v string) {
		r, err := version.Parse(text)
		if err == nil && r.String() != text {
			t.Errorf("%q reads as %q", text, r)
		}
		r.Takes(v)
		version.Compare(text, v)
	})
}

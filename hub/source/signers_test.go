package source

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hiddeco/sshsig"
)

// What ParseAllowedSigners refuses, with the line it names.
func TestAllowedSignersErrors(t *testing.T) {
	k := pubLine(t, key("ada"))
	cases := map[string]struct{ text, want string }{
		"no key":                {"ada@x", "line 1: key missing"},
		"second line":           {"# a comment\nada@x " + k + "\n\nbob@x nonsense", "line 4:"},
		"open quote":            {`"ada@x ` + k, "principals: quote without its end"},
		"inner quote":           {`ada"x" ` + k, "principals: quote in the middle"},
		"glued quote":           {`"ada@x"` + k, "principals: text after the quote"},
		"empty principal":       {`ada@x,,bob@x ` + k, "principals: empty name"},
		"unknown option":        {`ada@x no-touch-required ` + k, `option no-touch-required: unknown`},
		"certificates":          {`ada@x cert-authority ` + k, "certificates are not supported"},
		"certificate key":       {`ada@x ssh-ed25519-cert-v01@openssh.com AAAA`, "certificates are not supported"},
		"unquoted value":        {`ada@x namespaces=git ` + k, "want a value in quotes"},
		"open value":            {`ada@x namespaces="git ` + k, "quote without its end"},
		"twice":                 {`ada@x namespaces="git",namespaces="file" ` + k, "given twice"},
		"empty namespaces":      {`ada@x namespaces="" ` + k, "empty, or given twice"},
		"trailing comma":        {`ada@x namespaces="git", ` + k, "want a comma and another option"},
		"glued options":         {`ada@x namespaces="git"valid-after="20260101Z" ` + k, "want a comma"},
		"bad time":              {`ada@x valid-after="tomorrow" ` + k, "want YYYYMMDD"},
		"no such day":           {`ada@x valid-after="20260230Z" ` + k, "want YYYYMMDD"},
		"ends before it begins": {`ada@x valid-after="20260102Z",valid-before="20260101Z" ` + k, "not later"},
		"bad base64":            {"ada@x ssh-ed25519 ???", "not base64"},
		"cut key":               {"ada@x " + k[:40], "line 1: key"},
		"wrong type":            {"ada@x ecdsa-sha2-nistp256 " + strings.Fields(k)[1], `the key itself is "ssh-ed25519"`},
		"control character":     {"ada@x\x07 " + k, "control character"},
		"long line":             {"ada@x " + k + strings.Repeat(" ", maxSignerLine), "bytes of the line"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := ParseAllowedSigners(strings.NewReader(c.text))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
	_, err := ParseAllowedSigners(strings.NewReader(strings.Repeat("#\n", maxSignerLines+1)))
	if !errors.Is(err, ErrLimit) {
		t.Errorf("too many lines: %v", err)
	}
}

// Rule 3: lines as people write them, judged by this package and by ssh-keygen, which must agree.
func TestAllowedSignersOracle(t *testing.T) {
	need(t, "ssh-keygen")
	l := &lab{t: t, dir: t.TempDir(), keys: t.TempDir()}
	k := pubLine(t, key("ada"))
	raw := signed(t, header+"release\n", sshSigner(t, key("ada")), "git", sshsig.HashSHA512)
	tag, err := parseTag(raw)
	if err != nil {
		t.Fatal(err)
	}
	sig := filepath.Join(l.keys, "sig")
	if err := os.WriteFile(sig, tag.signature, 0o600); err != nil {
		t.Fatal(err)
	}
	lines := []string{
		"ada@example.com " + k,
		"ada@example.com\t" + k + " a comment here",
		"  ada@example.com   " + k,
		`"ada@example.com" ` + k,
		"bob@example.com " + k,
		"bob@x,ada@example.com " + k,
		"*@example.com " + k,
		"ada@example.co? " + k,
		"*,!ada@example.com " + k,
		"!ada@example.com,* " + k,
		"a*a@*.com,!eve* " + k,
		"ada@example.com namespaces=\"git\" " + k,
		"ada@example.com namespaces=\"file\" " + k,
		"ada@example.com namespaces=\"file,git,mail\" " + k,
		"ada@example.com namespaces=\"g?t\" " + k,
		"ada@example.com namespaces=\"*,!git\" " + k,
		"ada@example.com Namespaces=\"git\",VALID-AFTER=\"20260301\" " + k,
		"ada@example.com valid-after=\"20260301120000\" " + k,
		"ada@example.com valid-after=\"20260301120001\" " + k,
		"ada@example.com valid-before=\"20260301120000\" " + k,
		"ada@example.com valid-before=\"20260301115959\" " + k,
		"ada@example.com valid-before=\"202603011201\" " + k,
		"ada@example.com valid-after=\"20260102\",valid-before=\"20260101\" " + k,
		"ada@example.com namespaces=git " + k,
		"ada@example.com namespaces=\"git\", " + k,
		"ada@example.com unknown-option " + k,
		"ada@example.com valid-after=\"soon\" " + k,
		"ada@example.com " + pubLine(t, key("eve")),
		"ada@example.com nonsense",
		"# ada@example.com " + k,
		"ada@example.com " + pubLine(t, key("eve")) + "\nada@example.com " + k,
		"ada@example.com namespaces=\"file\" " + k + "\nada@example.com " + k,
	}
	zone := time.Local
	time.Local = time.UTC // as TZ=UTC does for ssh-keygen
	t.Cleanup(func() { time.Local = zone })
	agreed := 0
	for _, line := range lines {
		file := filepath.Join(l.keys, "allowed")
		if err := os.WriteFile(file, []byte(line+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := l.try(tag.payload, "ssh-keygen", "-Y", "verify", "-f", file, "-I", "ada@example.com", "-n", "git",
			"-s", sig, "-Overify-time=20260301120000")
		theirs := err == nil
		mine, why := allowsAda(t, line, raw)
		if mine != theirs {
			t.Errorf("%q: ssh-keygen says %v, we say %v (%v)", line, theirs, mine, why)
		}
		if mine && theirs {
			agreed++
		}
	}
	if agreed < 12 {
		t.Errorf("only %d lines were accepted by both: the oracle does not run", agreed)
	}
}

// allowsAda says whether text allows the signature for ada@example.com on the day, as `-I` asks ssh-keygen.
func allowsAda(t *testing.T, text string, raw []byte) (bool, error) {
	t.Helper()
	a, err := ParseAllowedSigners(strings.NewReader(text))
	if err != nil {
		return false, err
	}
	who, err := VerifyTag(bare(t, raw), a, day)
	if err == nil && who.Principal != "ada@example.com" {
		err = fmt.Errorf("principal is %s", who.Principal)
	}
	return err == nil, err
}

func TestPatterns(t *testing.T) {
	cases := []struct {
		name, list string
		want       int
	}{
		{"git", "git", 1},
		{"git", "Git", 0},
		{"git", "", 0},
		{"", "*", 1},
		{"git", "g*t,!x", 1},
		{"git", "!git,*", -1},
		{"aXbXc", "a*b*c", 1},
		{"aXbXcd", "a*b*c", 0},
		{"ab", "a?", 1},
		{"a", "a?", 0},
		{"a", "a**", 1},
	}
	for _, c := range cases {
		if got := inList(c.name, c.list); got != c.want {
			t.Errorf("%q in %q: %d, want %d", c.name, c.list, got, c.want)
		}
	}
	// A pattern of stars does not run away: a naive matcher would not end in a lifetime.
	if matches(strings.Repeat("a", 8000), strings.Repeat("a*", 4000)+"b") {
		t.Error("matched without a b")
	}
}

// FuzzAllowedSigners: no panic, errors name a line or a limit, and what parses is complete.
func FuzzAllowedSigners(f *testing.F) {
	k := "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAINNwMHM8lLcve+HMdKmjaanRnkdOE0Sm3ZUxkjv5LTgg"
	f.Add("ada@x " + k)
	f.Add(`"a b",!c* namespaces="git,\"x",valid-after="20260101Z",valid-before="20270101" ` + k + " comment")
	f.Add("ada@x cert-authority " + k)
	f.Add("# only\n\n\t\nada@x namespaces=\"")
	f.Fuzz(func(t *testing.T, text string) {
		a, err := ParseAllowedSigners(strings.NewReader(text))
		if err != nil {
			if !strings.Contains(err.Error(), "line") {
				t.Fatalf("no place in %v", err)
			}
			return
		}
		for _, line := range a.lines {
			if line.principals == "" || line.fingerprint == "" || line.number < 1 {
				t.Fatalf("incomplete line %+v", line)
			}
			_ = line.refuses("ada@x", day)
		}
	})
}

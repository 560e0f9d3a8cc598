package build

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stavily/stavily/protocol"
)

const (
	crateText = "[package]\nname = \"tiny\"\nversion = \"1.0.0\"\nedition = \"2021\"\n\n[dependencies]\nstavily = \"0.1\"\n"
	lockText  = "version = 3\n\n[[package]]\nname = \"stavily\"\nversion = \"0.1.0\"\n\n" +
		"[[package]]\nname = \"tiny\"\nversion = \"1.0.0\"\ndependencies = [\n \"stavily\",\n]\n"
	rustText = `use stavily::prelude::*;

fn main() {
    Plugin::action("tiny", |_, _: &(), _| Ok(half(4))).main();
}

fn half(n: i64) -> i64 {
    n / 2
}

#[test]
fn halves() {
    assert_eq!(half(4), 2);
}
`
)

var crate = source{"Cargo.toml": crateText, "Cargo.lock": lockText, "src/main.rs": rustText}

// plainCrate is a crate without the SDK, which is quicker to compile.
var plainCrate = source{
	"Cargo.toml":  "[package]\nname = \"tiny\"\nversion = \"1.0.0\"\nedition = \"2021\"\n",
	"Cargo.lock":  "version = 3\n\n[[package]]\nname = \"tiny\"\nversion = \"1.0.0\"\n",
	"src/main.rs": "fn main() {\n    let two: i64 = std::env::args().count() as i64;\n    eprintln!(\"{}\", two);\n}\n",
}

// rust returns a request for a Rust source, or skips where no toolchain or no room is.
func rust(t *testing.T, s source) Request {
	t.Helper()
	if testing.Short() {
		t.Skip("compiles crates")
	}
	if _, err := rustLanguage().toolchain(t.Context()); err != nil {
		t.Skip(err)
	}
	if _, err := newBuilder(t).confinement(t.Context()); err != nil {
		t.Skip(err)
	}
	req := s.request(t)
	all := ""
	for _, name := range []string{"Cargo.toml", "Cargo.lock", "src/main.rs", "build.rs"} {
		all += name + "\x00" + s[name] + "\x00"
	}
	req.TreeDigest = protocol.DigestOf([]byte(all))
	req.Manifest.Runtime.Language = "rust"
	req.Manifest.Testing.Coverage = 0
	return req
}

// A plugin is built with the SDK of this hub, and its tests run as WebAssembly.
func TestRust(t *testing.T) {
	b := newBuilder(t)
	r, err := b.Build(t.Context(), rust(t, crate))
	if err != nil {
		t.Fatal(err)
	}
	if r.Builder.Name != "rust" || !strings.HasPrefix(r.Builder.Toolchain, "rustc 1.") || len(r.Module) > 200_000 {
		t.Errorf("%d bytes by %+v", len(r.Module), r.Builder)
	}
	said, err := b.Test(t.Context(), rust(t, crate))
	if err != nil || said != "1 tests passed, coverage 50.0 % of 0.0 %" {
		t.Errorf("got %q, %v", said, err)
	}
}

// M-31: what counts are the lines of the source with code; what nobody calls is among them,
// and what is for tests is not.
func TestRustCoverage(t *testing.T) {
	const program = `fn main() {
    println!("{}", sign(4));
}

fn sign(n: i64) -> i64 {
    if n < 0 {
        return -1;
    }
    1
}

mod parts;

#[cfg(test)]
mod tests {
    #[test]
    fn positive() {
        assert_eq!(super::sign(4), 1);
        assert_eq!(super::parts::half(4), 2);
    }

    #[test]
    #[ignore]
    fn never() {
        println!("no line of a test counts");
    }
}
`
	tree := plainCrate.with("src/main.rs", program).with("src/parts.rs",
		"pub fn half(n: i64) -> i64 {\n    n / 2\n}\n\npub fn nobody(n: i64) -> i64 {\n    n * 2\n}\n").
		with("tests/other.rs", "#[test]\nfn other() {\n    if std::env::args().count() > 99 {\n        panic!();\n    }\n}\n")
	// Of main.rs 5, 6, 9 and 10 ran, and 1 as the entry of the tests; 2, 3 and 7 did not. Of
	// parts.rs 2 and 3 ran; 5, 6 and 7 did not.
	const want = "2 tests passed, coverage 53.8 % of "
	req := rust(t, tree)
	req.TreeDigest = protocol.DigestOf([]byte(t.Name()))
	req.Manifest.Testing.Coverage = 50
	said, err := newBuilder(t).Test(t.Context(), req)
	if err != nil || said != want+"50.0 %" {
		t.Errorf("got %q, %v", said, err)
	}
	req.TreeDigest = protocol.DigestOf([]byte(t.Name() + " again"))
	req.Manifest.Testing.Coverage = 54
	_, err = newBuilder(t).Test(t.Context(), req)
	wantError(t, err, protocol.CodeRefused, "coverage 53.8 %, the manifest wants 54.0 %")
}

// O-02, U-02: the same source gives the same module from two folders, and what its own
// profile says counts for nothing.
func TestRustIsReproducible(t *testing.T) {
	var modules [2]string
	for i, profile := range []string{"", "\n[profile.release]\nopt-level = 0\ndebug = true\nstrip = false\n"} {
		r, err := newBuilder(t).Build(t.Context(), rust(t, plainCrate.with("Cargo.toml", plainCrate["Cargo.toml"]+profile)))
		if err != nil {
			t.Fatal(err)
		}
		modules[i] = string(r.Module)
	}
	if modules[0] != modules[1] {
		t.Errorf("%d bytes, then %d others", len(modules[0]), len(modules[1]))
	}
}

// What is wrong with a source is said before anything is compiled, or by the compiler
// with file and line.
func TestRustRefuses(t *testing.T) {
	for _, c := range []struct {
		name string
		tree source
		want []string
	}{
		{"no lock", crate.with("Cargo.lock", ""), []string{"Cargo.lock: the source has none: run `cargo generate-lockfile`"}},
		{
			"git", crate.with("Cargo.lock", lockText+"\n[[package]]\nname = \"x\"\nversion = \"0.1.0\"\nsource = \"git+https://example.com/x#0\"\n"),
			[]string{`Cargo.lock: package "x" 0.1.0: source "git+https://example.com/x#0"`},
		},
		{
			"no checksum", crate.with("Cargo.lock", lockText+"\n[[package]]\nname = \"x\"\nversion = \"0.1.0\"\nsource = \"registry+https://example.com/i\"\n"),
			[]string{`Cargo.lock: package "x" 0.1.0: no checksum`},
		},
		{
			"stale lock", crate.with("Cargo.lock", strings.Replace(lockText, "dependencies = [\n \"stavily\",\n]\n", "", 1)),
			[]string{"cargo build", "--locked"},
		},
		{
			"type error", plainCrate.with("src/main.rs", "fn main() {\n    let n: i64 = \"two\";\n}\n"),
			[]string{"cargo build", "src/main.rs:2:18", "expected `i64`, found `&str`"},
		},
		{"no manifest", crate.with("Cargo.toml", ""), []string{"Cargo.toml: the source has none at its top"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := newBuilder(t).Build(t.Context(), rust(t, c.tree))
			wantError(t, err, protocol.CodeBadInput, c.want...)
			if len(err.Error()) > tailMax+512 {
				t.Errorf("%d bytes of error", len(err.Error()))
			}
		})
	}
}

// A build script is a program of a stranger: it reaches nothing, and its end is the
// build's.
func TestRustBuildScripts(t *testing.T) {
	out := t.TempDir()
	script := `fn main() {
    eprintln!("dial: {:?}", std::net::TcpStream::connect("192.0.2.1:80").err());
    eprintln!("write: {:?}", std::fs::write("/usr/own", "x").err());
    eprintln!("read: {:?}", std::fs::read_dir("` + out + `").err());
    let fork = |_| std::process::Command::new("sleep").arg("2").spawn();
    eprintln!("fork: {:?}", (0..300).find_map(|n| fork(n).err()));
    panic!();
}
`
	_, err := newBuilder(t).Build(t.Context(), rust(t, plainCrate.with("build.rs", script)))
	wantError(t, err, protocol.CodeBadInput, "build.rs:7", "NetworkUnreachable", "ReadOnlyFilesystem", "NotFound",
		"WouldBlock", confinedLimits)

	endless := rust(t, plainCrate.with("build.rs", "fn main() {\n    loop {\n        std::thread::park();\n    }\n}\n"))
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	_, err = newBuilder(t).Build(ctx, endless)
	wantError(t, err, protocol.CodeDeadline, "ended after its time")
	if left, err := os.ReadDir(out); err != nil || len(left) > 0 {
		t.Errorf("left %v, %v", left, err)
	}
}

// Without a room nothing of the source runs, unless policy says so.
func TestRustUnconfined(t *testing.T) {
	w := &workspace{b: newBuilder(t), dir: t.TempDir(), tree: os.DirFS(t.TempDir())}
	w.b.unconfined = os.ErrPermission
	err := w.cargo(t.Context(), cargoCall{args: []string{"build"}})
	wantError(t, err, protocol.CodeUnavailable, "runs build scripts of the source", "cannot confine it: permission denied")
}

// The author's own copy of the SDK is not replaced.
func TestWantsOurSDK(t *testing.T) {
	for text, want := range map[string]bool{
		"[dependencies]\nstavily = \"0.1\"\n":                                    true,
		"[dependencies]\nstavily = { version = \"0.1\" }\n":                      true,
		"[dependencies]\nstavily = { path = \"stavily\" }\n":                     false,
		"[dependencies.stavily]\nversion = \"0.1\"\npath = \"stavily\"\n":        false,
		"[dependencies.stavily]\nversion = \"0.1\"\n\n[lib]\npath = \"src/x\"\n": true,
	} {
		req := crate.with("Cargo.toml", text).request(t)
		if got, err := wantsOurSDK(req.Tree); err != nil || got != want {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
}

func FuzzReadCargoLock(f *testing.F) {
	f.Add([]byte(lockText))
	f.Fuzz(func(t *testing.T, text []byte) {
		if len(text) == 0 {
			return
		}
		if _, err := readCargoLock(source{"Cargo.lock": string(text)}.request(t).Tree); err != nil && protocol.CodeOf(err) == protocol.CodeInternal {
			t.Fatal(err)
		}
	})
}

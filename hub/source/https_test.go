package source

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

const token = "s3cret-token"

// gitServer serves the repositories below root by the real git http-backend, over TLS, for the token only.
func gitServer(t *testing.T, l *lab) (*httptest.Server, Options) {
	t.Helper()
	backend := filepath.Join(l.git("--exec-path"), "git-http-backend")
	if _, err := os.Stat(backend); err != nil {
		t.Skip("git http-backend is not installed")
	}
	run := &cgi.Handler{
		Path:       backend,
		Stderr:     io.Discard,
		Env:        []string{"GIT_PROJECT_ROOT=" + filepath.Dir(l.dir), "GIT_HTTP_EXPORT_ALL=1", "HOME=" + l.keys},
		InheritEnv: []string{"PATH"},
	}
	return tlsServer(t, func(w http.ResponseWriter, r *http.Request) {
		if _, pass, _ := r.BasicAuth(); pass != token {
			w.Header().Set("WWW-Authenticate", `Basic realm="git"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		run.ServeHTTP(w, r)
	})
}

func tlsServer(t *testing.T, h http.HandlerFunc) (*httptest.Server, Options) {
	t.Helper()
	srv := httptest.NewTLSServer(h)
	srv.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	t.Cleanup(srv.Close)
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw})
	return srv, Options{Credentials: Credentials{Token: token, CAPEM: ca}}
}

// O-01: a private repository over https with a token and a CA, served by the real git.
func TestHTTPS(t *testing.T) {
	l := newLab(t)
	l.write("big.txt", strings.Repeat("a line that packs well\n", 5000))
	l.git("add", ".")
	l.git("commit", "-q", "-m", "two")
	l.write("big.txt", strings.Repeat("a line that packs well\n", 5001))
	l.git("commit", "-q", "-am", "three")
	l.tag("v1.0.0", "ada")
	l.git("tag", "v1.1.0")
	l.git("gc", "-q")
	srv, opt := gitServer(t, l)
	at := srv.URL + "/" + filepath.Base(l.dir) + "/.git"

	names, err := Tags(t.Context(), at, opt)
	if err != nil || fmt.Sprint(names) != "[v1.0.0 v1.1.0]" {
		t.Fatalf("tags %v, %v", names, err)
	}
	tree, err := Fetch(t.Context(), Ref{at, "v1.0.0"}, opt)
	if err != nil {
		t.Fatal(err)
	}
	if local := mustFetch(t, l.dir, "v1.0.0"); tree.Digest != local.Digest || tree.Commit != local.Commit {
		t.Error("the remote's tree is not the local one")
	}
	if _, err := VerifyTag(tree, signers(t, "ada@example.com "+l.pub("ada")), day); err != nil {
		t.Error(err)
	}
	if _, err := Fetch(t.Context(), Ref{at, "v1.1.0"}, opt); !errors.Is(err, ErrUnsigned) {
		t.Errorf("lightweight: %v", err)
	}
	if _, err := Fetch(t.Context(), Ref{at, "v7.0.0"}, opt); !errors.Is(err, ErrNotFound) {
		t.Errorf("no such tag: %v", err)
	}
	if _, err := Fetch(t.Context(), Ref{srv.URL + "/nothing.git", "v1.0.0"}, opt); !errors.Is(err, ErrNotFound) {
		t.Errorf("no such repository: %v", err)
	}
	empty := filepath.Join(filepath.Dir(l.dir), "empty.git")
	l.git("init", "-q", "--bare", empty)
	if none, err := Tags(t.Context(), srv.URL+"/empty.git", opt); len(none) > 0 || err != nil {
		t.Errorf("empty repository: %v, %v", none, err)
	}
	for name, change := range map[string]func(*Options){
		"refs":     func(o *Options) { o.Limits.RefBytes = 100 },
		"pack":     func(o *Options) { o.Limits.PackBytes = 200 },
		"unpacked": func(o *Options) { o.Limits.ObjectBytes = 100_000 },
		"objects":  func(o *Options) { o.Limits.Objects = 3 },
	} {
		tight := opt
		change(&tight)
		if _, err := Fetch(t.Context(), Ref{at, "v1.0.0"}, tight); !errors.Is(err, ErrLimit) {
			t.Errorf("limit of %s: %v", name, err)
		}
	}
	wrong := opt
	wrong.Credentials.Token = "other-token"
	if _, err := Fetch(t.Context(), Ref{at, "v1.0.0"}, wrong); !errors.Is(err, ErrAuth) ||
		strings.Contains(err.Error(), "other-token") {
		t.Errorf("wrong token: %v", err)
	}
	stranger := opt
	stranger.Credentials.CAPEM = nil
	if _, err := Fetch(t.Context(), Ref{at, "v1.0.0"}, stranger); err == nil || !strings.Contains(err.Error(),
		"certificate") {
		t.Errorf("unknown authority: %v", err)
	}
}

// One commit deep and one tag only: neither history nor another tag's files travel. O-08
func TestDepthOne(t *testing.T) {
	l := newLab(t)
	l.write("old.bin", "history-only")
	l.git("add", ".")
	l.git("commit", "-q", "-m", "two")
	old := l.git("rev-parse", "HEAD")
	l.tag("v0.9.0", "ada")
	l.git("rm", "-q", "old.bin")
	l.git("commit", "-q", "-m", "three")
	l.tag("v1.0.0", "ada")
	srv, opt := gitServer(t, l)
	opt.Limits = opt.Limits.filled()
	at, err := parseURL(srv.URL + "/" + filepath.Base(l.dir) + "/.git")
	if err != nil {
		t.Fatal(err)
	}
	remote, err := newHTTPRemote(at, opt)
	if err != nil {
		t.Fatal(err)
	}
	defer remote.close()
	tags, err := remote.tags(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	objs, err := remote.fetch(t.Context(), tags["v1.0.0"])
	if err != nil {
		t.Fatal(err)
	}
	pack := objs.(*packObjects)
	// tag, commit, root folder, manifest
	if len(pack.byID) != 4 {
		t.Errorf("%d objects came, want 4", len(pack.byID))
	}
	for id := range pack.byID {
		if id.String() == old {
			t.Error("the parent commit came")
		}
	}
}

// GO-2026-5105: no credential follows a redirect to another host, and none is asked for it.
func TestRedirects(t *testing.T) {
	l := newLab(t)
	l.tag("v1.0.0", "ada")
	home, opt := gitServer(t, l)
	repo := "/" + filepath.Base(l.dir) + "/.git"
	var stolen atomic.Int32
	thief, _ := tlsServer(t, func(_ http.ResponseWriter, r *http.Request) {
		stolen.Add(1)
		if r.Header.Get("Authorization") != "" {
			t.Error("the token came to another host")
		}
	})
	homeURL, err := url.Parse(home.URL)
	if err != nil {
		t.Fatal(err)
	}
	serve := home.Config.Handler
	home.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rest, moved := strings.CutPrefix(r.URL.Path, "/moved")
		switch {
		case strings.HasPrefix(r.URL.Path, "/away/"):
			http.Redirect(w, r, thief.URL+r.URL.RequestURI(), http.StatusFound)
		case strings.HasPrefix(r.URL.Path, "/plain/"):
			http.Redirect(w, r, "http://"+homeURL.Host+r.URL.RequestURI(), http.StatusFound)
		case strings.HasPrefix(r.URL.Path, "/loop/"):
			http.Redirect(w, r, r.URL.RequestURI(), http.StatusFound)
		case strings.HasPrefix(r.URL.Path, "/service/"):
			http.Redirect(w, r, repo+"/HEAD", http.StatusFound)
		case moved:
			http.Redirect(w, r, rest+"?"+r.URL.RawQuery, http.StatusMovedPermanently)
		case r.Method == http.MethodPost && strings.HasPrefix(r.URL.Path, "/late/"):
			http.Redirect(w, r, thief.URL+r.URL.Path, http.StatusTemporaryRedirect)
		case r.Method == http.MethodPost && strings.HasPrefix(r.URL.Path, "/turn/"):
			http.Redirect(w, r, strings.TrimPrefix(r.URL.Path, "/turn"), http.StatusTemporaryRedirect)
		case strings.HasPrefix(r.URL.Path, "/turn/"):
			r.URL.Path = strings.TrimPrefix(r.URL.Path, "/turn")
			serve.ServeHTTP(w, r)
		case strings.HasPrefix(r.URL.Path, "/late/"):
			r.URL.Path = strings.TrimPrefix(r.URL.Path, "/late")
			serve.ServeHTTP(w, r)
		default:
			serve.ServeHTTP(w, r)
		}
	})
	for _, way := range []string{"/away", "/plain", "/loop", "/late", "/turn"} {
		if _, err := Fetch(t.Context(), Ref{home.URL + way + repo, "v1.0.0"}, opt); !errors.Is(err, ErrRedirect) {
			t.Errorf("%s: %v, want %v", way, err, ErrRedirect)
		}
	}
	if _, err := Fetch(t.Context(), Ref{home.URL + "/service" + repo, "v1.0.0"}, opt); err == nil {
		t.Error("a redirect to another service was followed")
	}
	if n := stolen.Load(); n != 0 {
		t.Errorf("%d requests came to another host", n)
	}
	if _, err := Fetch(t.Context(), Ref{home.URL + "/moved" + repo, "v1.0.0"}, opt); err != nil {
		t.Errorf("moved within the host: %v", err)
	}
}

// A remote that never stops sending is cut off at the bound; one that never sends, at the deadline.
func TestEndlessRemotes(t *testing.T) {
	const advert = "application/x-git-upload-pack-advertisement"
	head := "001e# service=git-upload-pack\n0000"
	id := strings.Repeat("1", 40)
	line := func(s string) string { return fmt.Sprintf("%04x%s", len(s)+4, s) }
	var mode atomic.Value
	srv, opt := tlsServer(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			w.Header().Set("Content-Type", "application/x-git-upload-pack-result")
			_, _ = io.WriteString(w, line("shallow "+id)+"0000"+line("NAK\n"))
			if mode.Load() == "progress" {
				for forever(w, line("\x02working...\n")) {
				}
			}
			_, _ = io.WriteString(w, line("\x01PACK\x00\x00\x00\x02\x00\x00\x00\x01\xb0\x80\x80\x80\x01"))
			for forever(w, line("\x01"+strings.Repeat("\x00", 1000))) {
			}
			return
		}
		w.Header().Set("Content-Type", advert)
		_, _ = io.WriteString(w, head)
		_, _ = io.WriteString(w, line(id+" refs/tags/v1.0.0\x00ofs-delta shallow side-band-64k\n"))
		switch mode.Load() {
		case "refs":
			for i := 0; forever(w, line(fmt.Sprintf("%s refs/tags/v1.0.%d\n", id, i+1))); i++ {
			}
		case "silent":
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		default:
			_, _ = io.WriteString(w, "0000")
		}
	})
	opt.Limits = Limits{RefBytes: 1 << 20, PackBytes: 1 << 20}
	for m, want := range map[string]string{"refs": "remote's refs", "progress": "bytes of the pack"} {
		mode.Store(m)
		_, err := Fetch(t.Context(), Ref{srv.URL + "/x", "v1.0.0"}, opt)
		if !errors.Is(err, ErrLimit) || !strings.Contains(err.Error(), want) {
			t.Errorf("endless %s: %v", m, err)
		}
	}
	mode.Store("pack")
	if _, err := Fetch(t.Context(), Ref{srv.URL + "/x", "v1.0.0"}, opt); err == nil {
		t.Error("an endless pack was taken")
	}
	mode.Store("silent")
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if _, err := Fetch(ctx, Ref{srv.URL + "/x", "v1.0.0"}, opt); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("silent remote: %v", err)
	}
	opt.Limits.Time = 200 * time.Millisecond
	if _, err := Tags(t.Context(), srv.URL+"/x", opt); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("silent remote, our own deadline: %v", err)
	}
}

// forever writes once and says whether the other end still listens.
func forever(w io.Writer, s string) bool {
	_, err := io.WriteString(w, s)
	return err == nil
}

// O-01: a credential is in no text, whatever prints it.
func TestCredentialsHide(t *testing.T) {
	c := Credentials{User: "me", Token: token, SSHKeyPEM: []byte("PRIVATE"), KnownHosts: []byte("hosts")}
	ref := struct {
		Opt Options
		At  *Credentials
	}{Options{Credentials: c}, &c}
	var out strings.Builder
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%d", "%x"} {
		fmt.Fprintf(&out, verb+"\n", c)
		fmt.Fprintf(&out, verb+"\n", ref.Opt.Credentials)
		fmt.Fprintf(&out, verb+"\n", ref)
	}
	slog.New(slog.NewTextHandler(&out, nil)).Info("x", slog.Any("c", c))
	slog.New(slog.NewJSONHandler(&out, nil)).Info("x", slog.Any("c", &c))
	js, err := json.Marshal(struct{ C Credentials }{c})
	if err != nil {
		t.Fatal(err)
	}
	out.Write(js)
	for _, secret := range []string{token, "PRIVATE", fmt.Sprintf("%x", token), fmt.Sprintf("%d",
		[]byte("PRIVATE"))} {
		if strings.Contains(out.String(), secret) {
			t.Errorf("%q is in %s", secret, out.String())
		}
	}
}

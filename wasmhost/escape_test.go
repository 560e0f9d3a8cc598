package wasmhost

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stavily/stavily/protocol"
)

const outsideSecret = "the secret of another"

// waysOut are paths by which a plugin could be led out of its folder, or held up. For each
// it says what fs.read, fs.list, fs.append and fs.write answer: k ok, d denied, n not found,
// l limit, b bad input, s storage. What is ok stays within the folder.
var waysOut = []struct{ name, path, want string }{
	{"parent", "..", "dddd"},
	{"parent's file", "../secret", "dddd"},
	{"two up", "../../secret", "dddd"},
	{"many up", strings.Repeat("../", 40) + "etc/passwd", "dddd"},
	{"down and up", "sub/../../secret", "dddd"},
	{"down and further up", "sub/../../../secret", "dddd"},
	{"up within", "sub/../inside", "dddd"},
	{"through a missing folder", "none/../../secret", "dddd"},
	{"through a file", "inside/../../secret", "dddd"},
	{"up at the end", "sub/..", "dddd"},
	{"dot", ".", "dkdd"},
	{"dot first", "./inside", "dddd"},
	{"dot between", "sub/./deep", "dddd"},
	{"dot last", "sub/.", "dddd"},
	{"slash last", "inside/", "dddd"},
	{"two slashes", "sub//deep", "dddd"},
	{"empty", "", "llll"},
	{"root", "/", "dddd"},
	{"absolute", "/etc/passwd", "dddd"},
	{"absolute, two slashes", "//etc/passwd", "dddd"},
	{"the secret by its whole path", "SECRET", "dddd"},
	{"own folder by its whole path", "ROOM/inside", "dddd"},
	{"process's root", "/proc/self/root/etc/passwd", "dddd"},
	{"process's environment", "/proc/self/environ", "dddd"},
	{"process's descriptors", "/dev/fd/0", "dddd"},
	{"home", "~/secret", "nnkk"},
	{"variable", "$HOME/secret", "nnkk"},
	{"address", "file:///etc/passwd", "dddd"},
	{"backslashes", "..\\secret", "dddd"},
	{"drive", "C:\\secret", "dddd"},
	{"drive, slash", "C:/secret", "nnkk"},
	{"NUL", "inside\x00", "dddd"},
	{"NUL before the way up", "\x00/../../secret", "dddd"},
	{"NUL and extension", "../secret\x00.txt", "dddd"},
	{"new line", "in\nside", "nnkk"},
	{"percent", "..%2fsecret", "nnkk"},
	{"full-width dots", "．．/secret", "nnkk"},
	{"full-width slash", "..／secret", "nnkk"},
	{"division slash", "..∕secret", "nnkk"},
	{"one character for two dots", "‥/secret", "nnkk"},
	{"right to left", "\u202e../secret", "nnkk"},
	{"width of nothing", ".\u200b./secret", "nnkk"},
	{"combining mark", "insid\u0065\u0301", "nnkk"},
	{"space for a dot", ". ./secret", "nnkk"},
	{"three dots", ".../secret", "nnkk"},
	{"name of 255", strings.Repeat("x", 255), "nnkk"},
	{"name of 256", strings.Repeat("x", 256), "llll"},
	{"name of 255 in 85 characters", strings.Repeat("€", 85), "nnkk"},
	{"path of 4096", strings.Repeat("x/", 2047) + "x", "llll"},
	{"depth of 128", strings.Repeat("d/", 127) + "f", "nnkk"},
	{"reserved name", ".stavily-write", "dddd"},
	{"reserved name below", "sub/.stavily-write", "dddd"},
	{"link to a file outside", "link", "dddd"},
	{"link to a file outside, relative", "relative", "dddd"},
	{"link to a folder outside", "out", "dddd"},
	{"file through a link to a folder", "out/secret", "dddd"},
	{"new file through a link to a folder", "out/new", "dddd"},
	{"new folder through a link", "out/newfolder/new", "dddd"},
	{"link up", "sub/up", "dddd"},
	{"file through a link up", "sub/up/secret", "dddd"},
	{"link to a link", "chain", "dddd"},
	{"link to itself", "loop", "sssd"},
	{"file through a link to itself", "loop/x", "ssss"},
	{"link to nothing outside", "dangling", "dddd"},
	{"link to nothing inside", "dangling-inside", "nnkd"},
	{"link to own folder, absolute", "home", "dddd"},
	{"link to a folder inside", "inner/deep", "kbkk"},
	{"link to a file inside", "alias", "kbkd"},
	{"link to the process's root", "root/etc/passwd", "dddd"},
	{"link to a descriptor", "fd", "dddd"},
	{"link to a device", "zero", "dddd"},
	{"link to a terminal", "tty", "dddd"},
	{"hard link to a file outside", "hard", "dbdd"},
	{"hard link below", "sub/hard", "dbdd"},
	{"FIFO", "fifo", "dbdd"},
	{"link to a FIFO", "tofifo", "dbsd"},
	{"file below a FIFO", "fifo/x", "ssss"},
	{"socket", "socket", "dbdd"},
	{"character device", "device", "dbdd"},
	{"block device", "disk", "dbdd"},
	{"folder as a file", "sub", "dkdd"},
	{"file as a folder", "inside/x", "ssss"},
	{"reserved name is a link", "trap1/x", "nnkk"},
	{"reserved name is a FIFO", "trap2/x", "nnkk"},
	{"reserved name is a full folder", "trap3/x", "nnks"},
}

// outside is what lies beside a plugin's folder.
type outside struct{ dir, room string }

// plant puts into the room whatever could lead out of it.
func (o outside) plant(t *testing.T) {
	t.Helper()
	must(t, os.MkdirAll(o.room, 0o700))
	old, err := os.ReadDir(o.room)
	must(t, err)
	for _, e := range old {
		must(t, os.RemoveAll(filepath.Join(o.room, e.Name())))
	}
	in := func(name string) string { return filepath.Join(o.room, name) }
	secret := filepath.Join(o.dir, "secret")
	for _, dir := range []string{"sub", "trap1", "trap2", "trap3/" + tempName + "/full"} {
		must(t, os.MkdirAll(in(dir), 0o700))
	}
	must(t, os.WriteFile(in("inside"), []byte("inside"), 0o600), os.WriteFile(in("sub/deep"), []byte("deep"), 0o600))
	for name, to := range map[string]string{
		"link": secret, "relative": "../../secret", "out": o.dir, "sub/up": "../../..", "chain": "link", "loop": "loop",
		"dangling": filepath.Join(o.dir, "new"), "dangling-inside": "nowhere", "home": o.room, "inner": "sub", "alias": "inside",
		"root": "/proc/self/root", "fd": "/proc/self/fd/0", "zero": "/dev/zero", "tty": "/dev/tty", "tofifo": "fifo",
		"trap1/" + tempName: secret,
	} {
		must(t, os.Symlink(to, in(name)))
	}
	must(t, os.Link(secret, in("hard")), os.Link(secret, in("sub/hard")), syscall.Mkfifo(in("fifo"), 0o600),
		syscall.Mkfifo(in("trap2/"+tempName), 0o600))
	socket, err := net.ListenUnix("unix", &net.UnixAddr{Name: in("socket")})
	must(t, err)
	socket.SetUnlinkOnClose(false)
	must(t, socket.Close())
	for name, mode := range map[string]uint32{"device": syscall.S_IFCHR, "disk": syscall.S_IFBLK} {
		if err := syscall.Mknod(in(name), mode|0o600, 1<<8|5); err != nil { // not root
			must(t, syscall.Mkfifo(in(name), 0o600))
		}
	}
}

// state lists all that is outside the room, with contents.
func (o outside) state(t *testing.T) string {
	t.Helper()
	var out strings.Builder
	must(t, filepath.WalkDir(o.dir, func(name string, d fs.DirEntry, err error) error {
		if name == o.room || err != nil {
			return filepath.SkipDir
		}
		b, _ := os.ReadFile(name)
		fmt.Fprintln(&out, name, d.Type(), string(b))
		return nil
	}))
	return out.String()
}

func newOutside(t *testing.T) outside {
	t.Helper()
	dir, err := os.MkdirTemp("", "out") // t.TempDir is too long for a socket's name
	must(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	o := outside{dir: dir, room: filepath.Join(dir, "data", "probe")}
	must(t, os.WriteFile(filepath.Join(dir, "secret"), []byte(outsideSecret), 0o600), os.MkdirAll(filepath.Join(dir, "data"), 0o700))
	return o
}

var fileCalls = []string{"fs.read", "fs.list", "fs.append", "fs.write"}

var letters = map[string]string{"ok": "k", "denied": "d", "not-found": "n", "limit": "l", "bad-input": "b", "storage": "s"}

// TestEscapes: M-24, F7. Each path by each call, under each set of grants.
func TestEscapes(t *testing.T) {
	if len(waysOut) < 60 {
		t.Fatalf("%d cases, want 60", len(waysOut))
	}
	o := newOutside(t)
	o.plant(t)
	before := o.state(t)
	h := newHost(t, Config{DataDir: filepath.Join(o.dir, "data")})
	for _, c := range []struct {
		grants []string
		mask   string // calls that are granted
	}{
		{[]string{"filesystem.read", "filesystem.write"}, "1111"},
		{[]string{"filesystem.read"}, "1100"},
		{[]string{"filesystem.write"}, "0011"},
	} {
		p := load(t, h, asking(t, c.grants...))
		o.plant(t)
		for _, e := range waysOut {
			path := strings.NewReplacer("SECRET", filepath.Join(o.dir, "secret"), "ROOM", o.room).Replace(e.path)
			name, err := json.Marshal(path)
			must(t, err)
			var list []string
			for _, call := range fileCalls {
				list = append(list, fmt.Sprintf(`%s {"path":%s,"data":"gotcha"}`, call, name))
			}
			got, _ := calls(t, p, list...)
			for i, r := range got {
				want := e.want[i : i+1]
				if c.mask[i] == '0' {
					want = "d"
				}
				if letters[r.code()] != want {
					t.Errorf("%v, %s, %s %q: %+v %v, want %s", c.grants, e.name, fileCalls[i], path, r.Error, r.OK, want)
				}
				text := fmt.Sprint(r.OK, r.Error)
				if strings.Contains(text, outsideSecret) || strings.Contains(text, "root:") ||
					strings.Contains(text, o.dir) && !strings.Contains(path, o.dir) {
					t.Errorf("%s, %s: told %s", e.name, fileCalls[i], text)
				}
			}
			if c.mask == "1111" && strings.Contains(e.want[2:], "k") {
				o.plant(t) // the case has changed what the next is to find
			}
		}
		if after := o.state(t); after != before {
			t.Errorf("%v: outside was\n%s\nis\n%s", c.grants, before, after)
		}
	}
}

// TestEscapeRaces: whoever swaps a folder for a link, or a file for a FIFO or a hard link,
// while the plugin opens, gains nothing and holds nobody up.
func TestEscapeRaces(t *testing.T) {
	rounds := 60
	if testing.Short() {
		rounds = 20
	}
	o := newOutside(t)
	o.plant(t)
	must(t, os.WriteFile(filepath.Join(o.dir, "f"), []byte(outsideSecret), 0o600))
	before := o.state(t)
	p := load(t, newHost(t, Config{DataDir: filepath.Join(o.dir, "data")}), asking(t, "filesystem.read", "filesystem.write"))
	in := func(name string) string { return filepath.Join(o.room, name) }
	for name, c := range map[string]struct{ swap func(i int) error }{
		"folder and link": {func(i int) error {
			_ = os.RemoveAll(in("swap"))
			if i%2 == 0 {
				return os.Symlink(o.dir, in("swap"))
			}
			_ = os.Mkdir(in("swap"), 0o700)
			return os.WriteFile(in("swap/f"), []byte("mine"), 0o600)
		}},
		"file and link": {func(i int) error {
			_ = os.RemoveAll(in("swap"))
			_ = os.Mkdir(in("swap"), 0o700)
			if i%2 == 0 {
				return os.Symlink(filepath.Join(o.dir, "f"), in("swap/f"))
			}
			return os.WriteFile(in("swap/f"), []byte("mine"), 0o600)
		}},
		"file and FIFO": {func(i int) error {
			_ = os.RemoveAll(in("swap"))
			_ = os.Mkdir(in("swap"), 0o700)
			if i%2 == 0 {
				return syscall.Mkfifo(in("swap/f"), 0o600)
			}
			return os.WriteFile(in("swap/f"), []byte("mine"), 0o600)
		}},
		"file and hard link": {func(i int) error {
			_ = os.MkdirAll(in("swap"), 0o700)
			_ = os.Remove(in("swap/g"))
			if i%2 == 0 {
				_ = os.Link(filepath.Join(o.dir, "f"), in("swap/g"))
			} else {
				_ = os.WriteFile(in("swap/g"), []byte("mine"), 0o600)
			}
			return os.Rename(in("swap/g"), in("swap/f"))
		}},
	} {
		stop, stopped := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(stopped)
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
					_ = c.swap(i) // the plugin may be faster
					runtime.Gosched()
				}
			}
		}()
		began := time.Now()
		for range rounds {
			got, _ := calls(t, p, `fs.read {"path":"swap/f"}`, `fs.append {"path":"swap/f","data":"x"}`,
				`fs.write {"path":"swap/f","data":"y"}`, `fs.list {"path":"swap"}`)
			if text := fmt.Sprint(got[0].OK, got[3].OK); strings.Contains(text, outsideSecret) || strings.Contains(text, "secret") {
				t.Fatalf("%s: told %s", name, text)
			}
		}
		if took := time.Since(began); took > 30*time.Second {
			t.Errorf("%s: %d rounds took %v", name, rounds, took)
		}
		close(stop)
		<-stopped
		_ = os.RemoveAll(in("swap"))
		if after := o.state(t); after != before {
			t.Errorf("%s: outside was\n%s\nis\n%s", name, before, after)
		}
	}
}

// TestHardLinkThatGoes: a file elsewhere that was opened by a hard link is refused, though the link is
// gone when it is looked at.
func TestHardLinkThatGoes(t *testing.T) {
	dir := t.TempDir()
	must(t, os.Mkdir(filepath.Join(dir, "room"), 0o700))
	outside, link := filepath.Join(dir, "secret"), filepath.Join(dir, "room", "a")
	must(t, os.WriteFile(outside, []byte(outsideSecret), 0o600))
	must(t, os.Link(outside, link))
	root, err := os.OpenRoot(filepath.Join(dir, "room"))
	must(t, err)
	defer root.Close()
	opened, err := root.Open("a")
	must(t, err)
	defer opened.Close()
	f := &files{root: root}
	for _, then := range []func() error{
		func() error { return nil },
		func() error { return os.Remove(link) },
		func() error { return os.WriteFile(link, []byte("mine"), 0o600) },
	} {
		must(t, then())
		info, err := opened.Stat()
		must(t, err)
		if err := f.stillPlain("a", info); err == nil {
			t.Errorf("a file elsewhere with %d names passes for one of the plugin's", linkCount(info))
		}
	}
}

// TestRoomIsNoLink: the folder itself cannot be a way out, nor one that is put in its place
// while it is open.
func TestRoomIsNoLink(t *testing.T) {
	o := newOutside(t)
	before := o.state(t)
	must(t, os.Symlink(o.dir, o.room))
	h := newHost(t, Config{DataDir: filepath.Join(o.dir, "data")})
	p := load(t, h, asking(t, "filesystem.read", "filesystem.write", "process.execute:pwd"))
	got, _ := calls(t, p, `fs.read {"path":"secret"}`, `fs.write {"path":"new","data":"x"}`, `process.run {"argv":["pwd"]}`)
	for i, r := range got {
		if r.code() == "ok" {
			t.Errorf("call %d through a link: %v", i, r.OK)
		}
	}
	must(t, os.Remove(o.room))
	got, _ = calls(t, p, `fs.write {"path":"a","data":"x"}`)
	if got[0].code() != "ok" {
		t.Fatalf("once the link is gone: %+v", got[0].Error)
	}
	must(t, os.Rename(o.room, o.room+"-old"), os.Symlink(o.dir, o.room))
	got, _ = calls(t, p, `fs.read {"path":"secret"}`, `fs.read {"path":"a"}`)
	if got[0].code() != "not-found" || got[1].code() != "ok" {
		t.Errorf("after the folder was put aside: %+v %+v", got[0], got[1])
	}
	must(t, os.Remove(o.room), os.RemoveAll(o.room+"-old"))
	if after := o.state(t); after != before {
		t.Errorf("outside was\n%s\nis\n%s", before, after)
	}
}

// TestNoDescriptorsLeft: whatever becomes of a call, it leaves no file open (F10).
func TestNoDescriptorsLeft(t *testing.T) {
	o := newOutside(t)
	o.plant(t)
	p := load(t, newHost(t, Config{DataDir: filepath.Join(o.dir, "data")}), asking(t, "filesystem.read", "filesystem.write"))
	round := func() {
		for _, path := range []string{"inside", "sub", "fifo", "hard", "link", "none", "new/er", "loop"} {
			args := fmt.Sprintf(` {"path":%q,"data":"x"}`, path)
			calls(t, p, "fs.read"+args, "fs.list"+args, "fs.append"+args, "fs.write"+args)
		}
	}
	round()
	open := descriptors(t)
	for range 20 {
		round()
	}
	if now := descriptors(t); now > open+2 {
		t.Errorf("%d descriptors, before %d", now, open)
	}
	r := work(t, `{"mode":"sleep"}`)
	r.TimeoutMS = 200
	began := time.Now()
	if a := p.Call(t.Context(), r); protocol.CodeOf(asError(a)) != protocol.CodeDeadline || time.Since(began) > 10*time.Second {
		t.Errorf("slept past its deadline: %v after %v", a.Error, time.Since(began))
	}
}

func descriptors(t *testing.T) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skip("no /proc here")
	}
	return len(list)
}

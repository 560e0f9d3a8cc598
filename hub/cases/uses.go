package cases

import (
	"archive/zip"
	"bytes"
	"io"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/stavily/stavily/protocol"
	"github.com/stavily/stavily/wasmhost"
)

// Code is what a plugin is made of: a module, or what an engine runs, which is what counts
// then.
type Code struct {
	Module []byte // WebAssembly
	Script []byte // a zip archive; nil without an engine
}

// Uses is what the host calls that a plugin's code names need, against what its manifest
// asks for (M-32). Capabilities ascend.
type Uses struct {
	// Calls are the host calls that the code names. In a module that is sure, for who does not
	// make a call does not link its name; a script may name one by a way not looked for.
	Calls []string `json:"calls"`
	Sure  bool     `json:"sure"`
	// Missing are needed and not asked for, Idle asked for and not needed.
	Missing []string `json:"missing"`
	Idle    []string `json:"idle"`
}

// Find looks for host calls in the code.
func (c Code) Find(m *protocol.Manifest) (*Uses, error) {
	u := &Uses{Calls: []string{}, Sure: c.Script == nil, Missing: []string{}, Idle: []string{}}
	looks := lookModule
	text := c.Module
	if c.Script != nil {
		looks = lookScript
		var err error
		if text, err = ownText(c.Script); err != nil {
			return nil, err
		}
	}
	var needed []string
	for _, call := range wasmhost.HostCalls() {
		capability, _ := wasmhost.CapabilityOf(call)
		if capability == "" || !looks(text, call) {
			continue
		}
		u.Calls = append(u.Calls, call)
		needed = append(needed, capability)
	}
	var asked []string
	for _, word := range slices.Concat(m.Permissions.System, m.Permissions.Network) {
		capability, _, err := protocol.ParsePermission(word)
		if err != nil {
			return nil, err
		}
		asked = append(asked, capability)
	}
	u.Missing = append(u.Missing, without(needed, asked)...)
	u.Idle = append(u.Idle, slices.DeleteFunc(without(asked, needed), func(capability string) bool {
		return unseen(capability, needed)
	})...)
	return u, nil
}

// Err refuses a module that needs what the manifest does not ask for. It has
// CodeUnverified. What a script may need is only warned of.
func (u *Uses) Err() error {
	if !u.Sure || len(u.Missing) == 0 {
		return nil
	}
	return protocol.Errorf(protocol.CodeUnverified, "the module makes the host calls %s, and the manifest does "+
		"not ask for %s: add it under permissions, or leave the call out", strings.Join(u.Calls, ", "),
		strings.Join(u.Missing, ", "))
}

// Warnings says what is odd and no error.
func (u *Uses) Warnings() []string {
	var out []string
	for _, capability := range u.Missing {
		if !u.Sure {
			out = append(out, "warning: the script seems to need "+capability+
				", and the manifest does not ask for it: such a call is denied")
		}
	}
	for _, capability := range u.Idle {
		out = append(out, "warning: the manifest asks for "+capability+", and the code does not use it")
	}
	return out
}

// unseen reports whether a capability may be used without a host call of its own: topics are
// listened to by an answer, secrets go into a request by their names.
func unseen(capability string, used []string) bool {
	return capability == protocol.CapListen ||
		capability == protocol.CapSecret && slices.Contains(used, protocol.CapHTTP)
}

// without returns what is in a and not in b, once and in ascending order.
func without(a, b []string) []string {
	out := slices.DeleteFunc(slices.Clone(a), func(s string) bool { return slices.Contains(b, s) })
	slices.Sort(out)
	return slices.Compact(out)
}

func lookModule(text []byte, call string) bool { return bytes.Contains(text, []byte(call)) }

// methods are how the SDKs for scripts call the host calls.
var methods = map[string][]string{
	"dns.resolve": {"resolve"}, "fs.append": {"append"}, "fs.list": {"listFiles", "list_files"},
	"fs.read": {"readFile", "read_file"}, "fs.write": {"writeFile", "write_file"}, "http.request": {"http"},
	"kv.get": {"kvGet", "kv_get"}, "kv.put": {"kvPut", "kv_put"}, "metrics.read": {"metrics"},
	"process.run": {"process"}, "tcp.connect": {"dial"},
}

// lookScript looks for the call's own name, for the SDK's method of a context, and, as byte
// code has no dots, for methods that are called like nothing else.
func lookScript(text []byte, call string) bool {
	if lookModule(text, call) {
		return true
	}
	for _, method := range methods[call] {
		if lookModule(text, "ctx."+method+"(") || strings.Contains(method, "_") && lookModule(text, method) {
			return true
		}
	}
	return false
}

// The bounds of a script that is looked into.
const (
	scriptFileMax = 8 << 20
	scriptMax     = 32 << 20
)

// section is where the bundler says from which file the next lines are.
var section = regexp.MustCompile(`(?m)^// ([^\s:]+:)?\S+\.(js|ts|mjs|json)$`)

// ownText returns the files of a packed script without those of the SDK.
func ownText(script []byte) ([]byte, error) {
	archive, err := zip.NewReader(bytes.NewReader(script), int64(len(script)))
	if err != nil {
		return nil, protocol.Errorf(protocol.CodeBadInput, "script: %w", err)
	}
	var out []byte
	for _, f := range archive.File {
		code := slices.Contains([]string{".js", ".py", ".pyc"}, path.Ext(f.Name))
		if !code || strings.Contains("/"+f.Name, "/stavily/") {
			continue
		}
		r, err := f.Open()
		if err != nil {
			return nil, protocol.Errorf(protocol.CodeBadInput, "script: %w", err)
		}
		b, err := io.ReadAll(io.LimitReader(r, scriptFileMax))
		if err := r.Close(); err != nil {
			return nil, protocol.Errorf(protocol.CodeBadInput, "script: %w", err)
		}
		if err != nil {
			return nil, protocol.Errorf(protocol.CodeBadInput, "script: %s: %w", f.Name, err)
		}
		if out = append(out, withoutSDK(b)...); len(out) > scriptMax {
			return nil, protocol.Errorf(protocol.CodeLimit, "script: more than %d bytes", scriptMax)
		}
	}
	return out, nil
}

// withoutSDK leaves out the sections of a bundle that are the SDK's.
func withoutSDK(bundle []byte) []byte {
	marks := section.FindAllIndex(bundle, -1)
	if marks == nil {
		return bundle
	}
	out := slices.Clone(bundle[:marks[0][0]])
	for i, at := range marks {
		end := len(bundle)
		if i+1 < len(marks) {
			end = marks[i+1][0]
		}
		if !bytes.HasPrefix(bundle[at[0]:], []byte("// stavily-sdk:")) {
			out = append(out, bundle[at[0]:end]...)
		}
	}
	return out
}

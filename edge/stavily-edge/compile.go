package main

import (
	"crypto/hmac"
	"crypto/sha256"
	"os"

	"github.com/stavily/stavily/edge/disk"
	"github.com/stavily/stavily/wasmhost"
)

// isCompile reports whether this process was started to compile one module and end.
func isCompile(args []string) bool { return len(args) > 1 && args[1] == wasmhost.CompileCommand }

func compileModule() int { return wasmhost.CompileChild(os.Args[2:], os.Stdin, os.Stdout) }

// selfLink leads to the program that runs, even when an update has replaced its file.
const selfLink = "/proc/self/exe"

// compileBounds has modules compiled by a child of this program.
func compileBounds(here bool) wasmhost.Compile {
	if here {
		return wasmhost.Compile{}
	}
	self := selfLink
	if _, err := os.Stat(self); err != nil {
		if self, err = os.Executable(); err != nil {
			return wasmhost.Compile{}
		}
	}
	return wasmhost.Compile{Command: []string{self, wasmhost.CompileCommand}}
}

// cacheKey seals the list of compiled code. It follows from the device's key, which lies
// apart from all that a plugin or a deployment could write to.
func cacheKey(id *disk.Identity) ([]byte, error) {
	key, err := id.Key()
	if err != nil {
		return nil, err
	}
	secret, err := key.Bytes()
	if err != nil {
		return nil, err
	}
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte("stavily compile cache"))
	return mac.Sum(nil), nil
}
